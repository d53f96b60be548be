/// Where the time comes from, so that tests bring their own.
public struct WallClock: Sendable {
    /// Unix time in milliseconds.
    public var nowMs: @Sendable () -> Int64
    public init(nowMs: @escaping @Sendable () -> Int64) { self.nowMs = nowMs }
}

/// Calendar times as text, without Foundation. All times are UTC.
public enum UTC {
    public static let dayMs: Int64 = 86_400_000

    /// `2024-09-02T00:00:00Z`; milliseconds are printed when there are any.
    public static func timestamp(_ ms: Int64) -> String {
        let (date, rest) = split(ms)
        let clock = two(rest / 3_600_000) + ":" + two(rest / 60_000 % 60) + ":" + two(rest / 1_000 % 60)
        let fraction = rest % 1_000
        let tail = fraction == 0 ? "" : "." + String(1_000 + fraction).dropFirst()
        return date + "T" + clock + tail + "Z"
    }

    /// `2024-09-02`.
    public static func date(_ ms: Int64) -> String { split(ms).date }

    /// Reads `2024-09-02`, `2024-09-02T10:00:00Z` or `2024-09-02T10:00:00.250Z`; `nil` for anything else.
    public static func parse(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 10, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            let year = number(bytes[0..<4]), let month = number(bytes[5..<7]),
            let day = number(bytes[8..<10]),
            (1...12).contains(month), (1...daysIn(month, year)).contains(day)
        else { return nil }
        let midnight = Int64(days(year, month, day)) * dayMs
        if bytes.count == 10 { return midnight }
        guard bytes.count >= 20, bytes[10] == UInt8(ascii: "T"), bytes[13] == UInt8(ascii: ":"),
            bytes[16] == UInt8(ascii: ":"), bytes.last == UInt8(ascii: "Z"),
            let hour = number(bytes[11..<13]), let minute = number(bytes[14..<16]),
            let second = number(bytes[17..<19]),
            hour < 24, minute < 60, second < 60
        else { return nil }
        var fraction = 0
        if bytes.count > 20 {
            guard bytes[19] == UInt8(ascii: "."), bytes.count == 24, let read = number(bytes[20..<23]) else {
                return nil
            }
            fraction = read
        }
        return midnight + Int64((hour * 60 + minute) * 60 + second) * 1_000 + Int64(fraction)
    }

    private static func split(_ ms: Int64) -> (date: String, rest: Int64) {
        let day = ms >= 0 ? ms / dayMs : (ms - dayMs + 1) / dayMs
        // Civil from days, after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (public domain).
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let dayOfMonth = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let padded = year < 1_000 ? String(10_000 + year).dropFirst() : Substring(String(year))
        return (padded + "-" + two(month) + "-" + two(dayOfMonth), ms - day * dayMs)
    }

    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func daysIn(_ month: Int, _ year: Int) -> Int {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : String(value) }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        var value = 0
        for digit in digits {
            guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return value
    }
}
