/// Numbers as text, without a locale: `.` for decimals, `,` between thousands.
public enum Number {
    /// `100,000`.
    public static func grouped(_ value: Int64) -> String {
        let digits = String(value.magnitude)
        var out = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { out += "," }
            out.append(digit)
        }
        return (value < 0 ? "-" : "") + out
    }

    public static func grouped(_ value: Int) -> String { grouped(Int64(value)) }

    /// With so many decimals (0 to 9), rounded half away from zero: `43.10`.
    public static func fixed(_ value: Double, _ decimals: Int, grouping: Bool = false) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value > 0 ? "+Inf" : "-Inf" }
        let scale = (0..<min(max(decimals, 0), 9)).reduce(1.0) { factor, _ in factor * 10 }
        let scaled = (abs(value) * scale).rounded()
        guard scaled < 9e15 else { return String(value) }
        let whole = Int64(scaled) / Int64(scale)
        let fraction = Int64(scaled) % Int64(scale)
        let sign = value < 0 && scaled > 0 ? "-" : ""
        let text = sign + (grouping ? grouped(whole) : String(whole))
        guard decimals > 0 else { return text }
        let digits = String(fraction)
        return text + "." + String(repeating: "0", count: decimals - digits.count) + digits
    }

    /// About four figures, for statistics of unknown size: `1.234e-05`, `0.01234`, `412.3`, `1,234,568`.
    public static func compact(_ value: Double) -> String {
        switch abs(value) {
        case 0: "0"
        case ..<0.001: scientific(value)
        case ..<0.01: fixed(value, 6)
        case ..<0.1: fixed(value, 5)
        case ..<1: fixed(value, 4)
        case ..<10: fixed(value, 3)
        case ..<100: fixed(value, 2)
        case ..<10_000: fixed(value, 1, grouping: true)
        default: fixed(value, 0, grouping: true)
        }
    }

    /// Four figures and a power of ten, for what is less than 1: `1.234e-05`.
    private static func scientific(_ value: Double) -> String {
        guard abs(value) >= 1e-300 else { return String(value) }
        var (mantissa, exponent) = (abs(value), 0)
        while mantissa < 1 { (mantissa, exponent) = (mantissa * 10, exponent + 1) }
        // 9.9996 is 1.000 of the next power.
        if mantissa >= 9.9995 { (mantissa, exponent) = (1, exponent - 1) }
        return (value < 0 ? "-" : "") + fixed(mantissa, 3) + (exponent < 10 ? "e-0" : "e-") + String(exponent)
    }

    /// `1.2 GB`, in powers of 1000.
    public static func bytes(_ count: Int64) -> String {
        var value = Double(count)
        for unit in ["B", "kB", "MB", "GB"] {
            if abs(value) < 1000 {
                return fixed(value, unit == "B" || value == value.rounded() ? 0 : 1) + " " + unit
            }
            value /= 1000
        }
        return fixed(value, 1) + " TB"
    }

    /// Power: `43.1 MW`, and `52.3 kW` below one of them.
    public static func power(megawatts: Double) -> String {
        abs(megawatts) < 1 ? fixed(megawatts * 1_000, 1) + " kW" : fixed(megawatts, 1) + " MW"
    }

    /// 0.912 as `91.2%`.
    public static func percent(_ share: Double) -> String { fixed(share * 100, 1) + "%" }
}
