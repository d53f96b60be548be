import Telemetry
import Yams

extension YAMLType<String> {
    /// A text as written, quoted or not.
    ///
    /// - Parameter max: bytes, 4,096 at most unless said otherwise.
    public static func text(min: Int = 1, max: Int = 4_096) -> YAMLType<String> {
        let expected = min > 0 ? "a text of \(min) to \(max) bytes" : "a text of at most \(max) bytes"
        return YAMLType<String>(expected) { value in
            guard let text = value.scalar(expected)?.string else { return nil }
            guard text.utf8.count >= min, text.utf8.count <= max, !text.utf8.contains(0) else {
                return value.refuse(expected)
            }
            return text
        }
    }

}

extension YAMLType<Bool> {
    /// `true` or `false`.
    public static var bool: YAMLType<Bool> {
        YAMLType<Bool>("true or false") { value in
            switch value.plain("true or false") {
            case nil: nil
            case "true": true
            case "false": false
            default: value.refuse("true or false")
            }
        }
    }

}

extension YAMLType<Int> {
    /// A whole number in decimal digits; `_` may group them: `100_000`.
    public static func int(in range: ClosedRange<Int> = 0...Int.max) -> YAMLType<Int> {
        let expected = "a whole number" + (range == 0...Int.max ? " from 0" : shown(range))
        return YAMLType<Int>(expected) { value in
            guard let text = value.plain(expected) else { return nil }
            guard let number = Int(ungrouped(text)), range.contains(number) else {
                return value.refuse(expected)
            }
            return number
        }
    }

    private static func shown(_ range: ClosedRange<Int>) -> String {
        range.upperBound == Int.max
            ? " from \(range.lowerBound)" : " from \(range.lowerBound) to \(range.upperBound)"
    }
}

extension YAMLType<Double> {
    /// A decimal number: `0.85`, `-3`, `1_000.5`, `1e-6`.
    public static func double(in range: ClosedRange<Double>) -> YAMLType<Double> {
        let expected = "a number from \(range.lowerBound) to \(range.upperBound)"
        return YAMLType<Double>(expected) { value in
            guard let text = value.plain(expected) else { return nil }
            let digits = ungrouped(text)
            // Double("nan") and Double("0x10") are numbers to Swift and surprises in a file.
            guard digits.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }),
                let number = Double(digits),
                number.isFinite, range.contains(number)
            else { return value.refuse(expected) }
            return number
        }
    }

}

extension YAMLType<Int64> {
    /// A length of time with its unit, in milliseconds: `250ms`, `10s`, `1m`, `6h`, `7d`.
    public static func duration(in range: ClosedRange<Int64> = 0...Int64.max / 4) -> YAMLType<Int64> {
        let top = range.upperBound == Int64.max / 4 ? "" : " to \(Quantity.duration(range.upperBound))"
        let bounds = " from \(Quantity.duration(range.lowerBound))\(top)"
        let expected = "a duration\(bounds) with its unit (ms, s, m, h, d)"
        return quantity(expected, Quantity.durationUnits, range)
    }

    /// A number of bytes with its unit: `512B`, `64KiB`, `32MiB`, `10GB`.
    public static func bytes(in range: ClosedRange<Int64> = 0...Int64.max) -> YAMLType<Int64> {
        let top = range.upperBound == Int64.max ? "" : " to \(Quantity.bytes(range.upperBound))"
        let bounds = " from \(Quantity.bytes(range.lowerBound))\(top)"
        let expected = "a size\(bounds) with its unit (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)"
        return quantity(expected, Quantity.byteUnits, range)
    }

    /// A UTC date or time, in Unix milliseconds: `2024-09-02` (its midnight) or `2024-09-02T10:00:00Z`.
    ///
    /// What a bare date means is the reader's business; where it stands for the end of a day, add `UTC.dayMs`.
    public static var date: YAMLType<Int64> {
        let expected = "a UTC date (2024-09-02) or time (2024-09-02T10:00:00Z)"
        return YAMLType<Int64>(expected) { value in
            guard let text = value.plain(expected) else { return nil }
            return UTC.parse(text) ?? value.refuse(expected)
        }
    }

    private static func quantity(_ expected: String, _ units: [(String, Int64)], _ range: ClosedRange<Int64>)
        -> YAMLType<Int64>
    {
        YAMLType<Int64>(expected) { value in
            guard let text = value.plain(expected) else { return nil }
            guard let amount = Quantity.parse(text, units), range.contains(amount) else {
                return value.refuse(expected)
            }
            return amount
        }
    }
}

extension YAMLType {
    /// One of the named values; the error lists them.
    public static func oneOf(_ names: [(String, Value)]) -> YAMLType<Value> {
        let expected = "one of: " + names.map(\.0).joined(separator: ", ")
        return YAMLType(expected) { value in
            guard let text = value.scalar(expected)?.string else { return nil }
            if let found = names.first(where: { $0.0 == text }) { return found.1 }
            let near = Suggestion.nearest(to: text, in: names.map(\.0))
            let hint = near.map { "; did you mean `\($0)`?" } ?? ""
            value.fail("\(value.shown) is not allowed here\(hint)", expected: expected)
            return nil
        }
    }

    /// A list of values; wrong ones are reported one by one.
    public static func list<Element>(of type: YAMLType<Element>, min: Int = 0, max: Int = 1_000)
        -> YAMLType<[Element]> where Value == [Element]
    {
        let expected = "a list of \(min) to \(max) values, each \(type.expected)"
        return YAMLType<[Element]>(expected) { value in
            guard let entries = value.list(expected) else { return nil }
            guard (min...max).contains(entries.count) else {
                value.fail("the list has \(entries.count) values", expected: expected)
                return nil
            }
            let read = entries.map { $0.read(type) }
            let good = read.compactMap(\.self)
            return good.count == read.count ? good : nil
        }
    }

    /// A mapping with known keys. `decode` asks for all of them, whatever their values are.
    public static func mapping(
        _ expected: String = "a mapping of keys to values", _ decode: @escaping (YAMLMapping) -> Value?
    ) -> YAMLType<Value> {
        YAMLType(expected) { value in
            guard let mapping = YAMLMapping(value, expected: expected) else { return nil }
            let decoded = decode(mapping)
            mapping.finish()
            return decoded
        }
    }

    /// A mapping with free keys, in the order of the file.
    public static func dictionary<Element>(of type: YAMLType<Element>) -> YAMLType<
        [(key: String, value: Element)]
    > {
        let expected = "a mapping of names to values, each \(type.expected)"
        return YAMLType<[(key: String, value: Element)]>(expected) { value in
            YAMLMapping(value, expected: expected)?.all(type)
        }
    }
}

extension YAMLType where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of the cases of an enumeration, by raw value; the error lists them.
    public static func oneOf(_ type: Value.Type = Value.self) -> YAMLType<Value> {
        oneOf(Value.allCases.map { ($0.rawValue, $0) })
    }
}

/// `100_000` without its underscores; a `_` that does not stand between digits stays, and spoils the number.
private func ungrouped(_ text: String) -> String {
    let bytes = Array(text.utf8)
    func isDigit(_ index: Int) -> Bool {
        bytes.indices.contains(index) && (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[index])
    }
    let kept = bytes.indices.filter { index in
        !(bytes[index] == UInt8(ascii: "_") && isDigit(index - 1) && isDigit(index + 1))
    }
    return String(decoding: kept.map { bytes[$0] }, as: UTF8.self)
}

/// Amounts with units, as configuration files and the command line write them.
public enum Quantity {
    static let durationUnits: [(String, Int64)] = [
        ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]
    static let byteUnits: [(String, Int64)] = [
        ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
        ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("B", 1),
    ]

    /// Milliseconds of `250ms`, `10s`, `1m`, `6h`, `7d`; `nil` for anything else.
    public static func durationMs(_ text: String) -> Int64? { parse(text, durationUnits) }

    /// Milliseconds in the largest unit that divides them: `90000` is `90s`.
    public static func duration(_ ms: Int64) -> String { shown(ms, durationUnits, zero: "0s") }

    /// Bytes in the largest unit that divides them.
    public static func bytes(_ count: Int64) -> String { shown(count, byteUnits, zero: "0B") }

    static func parse(_ text: String, _ units: [(String, Int64)]) -> Int64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber || $0 == "_" }
        let unit = text.dropFirst(digits.count).drop { $0 == " " }
        guard let number = Int64(ungrouped(String(digits))),
            let factor = units.first(where: { $0.0 == unit })?.1
        else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }

    private static func shown(_ amount: Int64, _ units: [(String, Int64)], zero: String) -> String {
        if amount == 0 { return zero }
        let fitting = units.filter { amount % $0.1 == 0 }
        guard let largest = fitting.max(by: { $0.1 < $1.1 }) else { return String(amount) }
        return "\(amount / largest.1)\(largest.0)"
    }
}
