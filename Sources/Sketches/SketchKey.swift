/// The bucket of a value, as a number that sorts like the values themselves.
///
/// Zero has the key 0. A positive value in the base-2 exponential bucket i at scale 6, (2^(i/64), 2^((i+1)/64)], has
/// the key i + 65,536; a negative value has the negated key of its magnitude. Magnitudes below the least normal
/// double (2.2e-308) count as zero.
///
/// A bucket is 1.09% wide, so that its middle is within 0.55% of every value in it.
public struct SketchKey: Hashable, Comparable, Sendable {
    public let rawValue: Int32

    /// Added to the bucket index of positive values; makes every key of a positive value positive.
    public static let bias: Int32 = 65_536
    /// The largest key: the bucket of the greatest finite double.
    public static let rawMax: Int32 = 1_023 * 64 + 63 + bias
    /// The base of the buckets is 2^(2^-scale).
    public static let scale = 6

    @inlinable
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// - Parameter value: finite; an infinity lands in the outermost bucket, NaN in some bucket.
    @inlinable @inline(__always)
    public init(_ value: Double) {
        let bits = value.bitPattern
        let exponent = Int32(truncatingIfNeeded: (bits >> 52) & 0x7ff)
        if exponent == 0 {
            rawValue = 0
            return
        }
        let mantissa = bits & 0xf_ffff_ffff_ffff
        var bucket = Int(BucketTable.guesses[Int(truncatingIfNeeded: mantissa >> 45)])
        if mantissa > BucketTable.bounds[bucket &+ 1] { bucket &+= 1 }
        // Upper inclusive: a power of two is the upper bound of the bucket below.
        let index = (exponent &- 1_023) &* 64 &+ Int32(truncatingIfNeeded: bucket) &- (mantissa == 0 ? 1 : 0)
        let key = Swift.min(index &+ Self.bias, Self.rawMax)
        rawValue = Int64(bitPattern: bits) < 0 ? 0 &- key : key
    }

    /// The bucket's index as OTLP and Prometheus count them, of the magnitude; `nil` for zero.
    public var bucketIndex: Int32? { rawValue == 0 ? nil : abs(rawValue) - Self.bias }

    /// The value that stands for the bucket: the harmonic mean of its bounds, which has the least relative error.
    public var value: Double {
        guard let index = bucketIndex else { return 0 }
        let magnitude = Self.lowerBound(index) * Self.middle
        return rawValue < 0 ? -magnitude : magnitude
    }

    /// 2^(index/64), exclusive lower bound of the bucket.
    public static func lowerBound(_ index: Int32) -> Double {
        let sub = index & 63
        let exponent = Int((index - sub) / 64)
        let bits = BucketTable.bounds[Int(sub)]
        // The same number as below, without a call.
        if exponent >= -1_022, exponent <= 1_023 {
            return Double(bitPattern: UInt64(exponent + 1_023) << 52 | bits)
        }
        // The table holds the mantissas that are rounded down: a bound is at most one unit in the last place low.
        return Double(
            sign: .plus, exponent: exponent, significand: 1 + Double(bits) / 4_503_599_627_370_496)
    }

    /// 2γ/(1+γ) for γ = 2^(1/64).
    private static let middle = 1.005_415_159_415_902_6

    @inlinable
    public static func < (left: SketchKey, right: SketchKey) -> Bool { left.rawValue < right.rawValue }
}
