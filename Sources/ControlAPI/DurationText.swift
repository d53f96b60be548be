/// Lengths of time as people write them: `10s`, `1m`, `1h30m`, `500ms`, `2d`; a bare number is seconds.
public enum DurationText {
    private static let units: [(name: String, ms: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// Milliseconds; `nil` for anything that is not a length of time, is negative, or is longer than 10,000 days.
    public static func milliseconds(_ text: String) -> Int64? {
        var total: Int64 = 0
        var rest = Substring(text)
        guard !rest.isEmpty, text.utf8.count <= 32 else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            guard !digits.isEmpty, digits.count <= 12, let number = Int64(digits) else { return nil }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(unit.count)
            let isBare = unit.isEmpty && rest.isEmpty && total == 0
            guard let scale = isBare ? 1000 : units.first(where: { $0.name == unit })?.ms else { return nil }
            let (length, overflow) = number.multipliedReportingOverflow(by: scale)
            guard !overflow, length <= 864_000_000_000 - total else { return nil }
            total += length
        }
        return total
    }

    /// The shortest exact way of writing it with one unit: `90s`, `10m`, `1h`.
    public static func text(ms: Int64) -> String {
        guard ms != 0 else { return "0s" }
        for unit in units.reversed() where ms % unit.ms == 0 {
            return "\(ms / unit.ms)\(unit.name)"
        }
        return "\(ms)ms"
    }

    /// For people, with two units at most: `3d 4h`, `5m 10s`, `850ms`.
    public static func rough(seconds: Double) -> String {
        guard seconds.isFinite, abs(seconds) < 1e12 else { return "-" }
        if seconds < 0 { return "-" + rough(seconds: -seconds) }
        if seconds == 0 { return "0s" }
        if seconds < 1 { return "\(Int64((seconds * 1000).rounded()))ms" }
        if seconds < 10 { return Number.fixed(seconds, 1) + "s" }
        var left = Int64(seconds.rounded())
        var parts: [String] = []
        for (name, size) in [("d", Int64(86_400)), ("h", 3600), ("m", 60), ("s", 1)] {
            if left >= size || !parts.isEmpty {
                if left / size > 0 { parts.append("\(left / size)\(name)") } else { break }
            }
            left %= size
            if parts.count == 2 { break }
        }
        return parts.joined(separator: " ")
    }
}
