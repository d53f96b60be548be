/// Numbers as exposition text writes them.
enum ExpositionNumber {
    /// Powers of ten that a `Double` holds exactly.
    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    ]

    /// A decimal number, `NaN`, `+Inf`, `-Inf` (in any case), rounded to the nearest `Double`.
    static func value(_ text: RawSpan, _ range: Range<Int>) -> Double? {
        var offset = range.lowerBound
        let isNegative = text.byte(offset) == UInt8(ascii: "-")
        if isNegative || text.byte(offset) == UInt8(ascii: "+") { offset &+= 1 }
        // Up to 15 digits are an exact integer; divided by an exact power of ten the result is rounded once, so it
        // is the nearest (Clinger 1990).
        var digits = 0
        var decimals = 0
        var mantissa: Int64 = 0
        var isPlain = true
        var hasPoint = false
        while offset < range.upperBound {
            let byte = text.byte(offset)
            if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), digits < 15 {
                mantissa = mantissa &* 10 &+ Int64(byte &- UInt8(ascii: "0"))
                digits &+= 1
                if hasPoint { decimals &+= 1 }
            } else if byte == UInt8(ascii: "."), !hasPoint {
                hasPoint = true
            } else {
                isPlain = false
                break
            }
            offset &+= 1
        }
        guard isPlain, digits > 0 else { return slow(text, range) }
        let magnitude = Double(mantissa) / powers[decimals]
        return isNegative ? -magnitude : magnitude
    }

    /// A whole number of 64 bits.
    static func whole(_ text: RawSpan, _ range: Range<Int>) -> Int64? {
        guard range.count <= 20, let digits = text.text(range) else { return nil }
        return Int64(digits)
    }

    private static func slow(_ text: RawSpan, _ range: Range<Int>) -> Double? {
        guard range.count <= 400, let word = text.text(range) else { return nil }
        switch word.lowercased() {
        case "nan", "+nan", "-nan": return .nan
        case "inf", "+inf", "infinity", "+infinity": return .infinity
        case "-inf", "-infinity": return -.infinity
        default:
            // The initialiser also reads `0x1p3` and `nan(0x7)`; those are not in the format.
            let isDecimal = word.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"),
                    UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
                    true
                default: false
                }
            }
            guard isDecimal, let value = Double(word), value.isFinite else { return nil }
            return value
        }
    }
}
