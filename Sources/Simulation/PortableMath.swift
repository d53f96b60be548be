/// Logarithm, exponential and normal quantile out of additions, multiplications and divisions only.
///
/// The C library picks its versions by processor, and their last bits differ; these give the same failure at the same
/// millisecond on every machine. Relative error below 1e-15 for `log` and `exp`.
enum PortableMath {
    private static let ln2High = 0x1.62e42fefa38p-1
    private static let ln2Low = 0x1.ef35793c7673p-45

    /// Natural logarithm of a positive, finite, normal number.
    static func log(_ x: Double) -> Double {
        let bits = x.bitPattern
        var exponent = Double(Int64(bits >> 52) - 1_023)
        var significand = Double(bitPattern: bits & 0xf_ffff_ffff_ffff | 0x3ff0_0000_0000_0000)
        if significand > 1.414_213_562_373_095_1 {
            significand *= 0.5
            exponent += 1
        }
        let t = (significand - 1) / (significand + 1)
        let square = t * t
        // 2 artanh(t) = 2 (t + t^3 / 3 + t^5 / 5 + …); |t| < 0.172, so 11 terms reach 1e-18. Pairs of terms, and pairs of
        // pairs: the processor works on several at once.
        let fourth = square * square
        let eighth = fourth * fourth
        let first = (1 + square * (1.0 / 3)) + fourth * (1.0 / 5 + square * (1.0 / 7))
        let second = (1.0 / 9 + square * (1.0 / 11)) + fourth * (1.0 / 13 + square * (1.0 / 15))
        let third = (1.0 / 17 + square * (1.0 / 19)) + fourth * (1.0 / 21)
        let series = first + eighth * (second + eighth * third)
        return exponent * ln2High + (exponent * ln2Low + 2 * t * series)
    }

    /// e to the power of x; 0 below -700, and x must not exceed 700.
    static func exp(_ x: Double) -> Double {
        precondition(x <= 700, "out of range")
        if x < -700 { return 0 }
        // Adding and taking away 1.5 x 2^52 rounds to the nearest integer without a call.
        let power = (x * 1.442_695_040_888_963_4 + 0x1.8p52) - 0x1.8p52
        let rest = (x - power * ln2High) - power * ln2Low
        // |rest| < 0.35: Taylor to the 14th power reaches 1e-18; in pairs, as above.
        let square = rest * rest
        let fourth = square * square
        let eighth = fourth * fourth
        let first = (1 + rest) + square * (0.5 + rest * (1.0 / 6))
        let second = (1.0 / 24 + rest * (1.0 / 120)) + square * (1.0 / 720 + rest * (1.0 / 5_040))
        let third =
            (1.0 / 40_320 + rest * (1.0 / 362_880)) + square * (1.0 / 3_628_800 + rest * (1.0 / 39_916_800))
        let last =
            (1.0 / 479_001_600 + rest * (1.0 / 6_227_020_800)) + square * (1.0 / 87_178_291_200)
        let series = (first + fourth * second) + eighth * (third + fourth * last)
        // 2^power in two steps: it may be subnormal.
        let half = Int64(power) / 2
        return series * exp2(half) * exp2(Int64(power) - half)
    }

    @inline(__always)
    private static func exp2(_ power: Int64) -> Double { Double(bitPattern: UInt64(power + 1_023) << 52) }

    /// The x below which a standard normal variable falls with probability p, 0 < p < 1; relative error below 1.2e-9.
    /// Peter J. Acklam, "An algorithm for computing the inverse normal cumulative distribution function" (2003).
    static func normalQuantile(_ p: Double) -> Double {
        if p < 0.02425 { return tail((-2 * log(p)).squareRoot()) }
        if p > 1 - 0.02425 { return -tail((-2 * log(1 - p)).squareRoot()) }
        let q = p - 0.5
        let r = q * q
        let above =
            ((((-3.969683028665376e+01 * r + 2.209460984245205e+02) * r - 2.759285104469687e+02) * r
                + 1.383577518672690e+02) * r - 3.066479806614716e+01) * r + 2.506628277459239e+00
        let below =
            ((((-5.447609879822406e+01 * r + 1.615858368580409e+02) * r - 1.556989798598866e+02) * r
                + 6.680131188771972e+01) * r - 1.328068155288572e+01) * r + 1
        return above * q / below
    }

    private static func tail(_ q: Double) -> Double {
        let above =
            ((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838e+00) * q
                - 2.549732539343734e+00) * q + 4.374664141464968e+00) * q + 2.938163982698783e+00
        let below =
            (((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996e+00) * q
                + 3.754408661907416e+00) * q + 1
        return above / below
    }
}
