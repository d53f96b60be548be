/// A moment, in milliseconds since 1970 (UTC). In JSON it is RFC 3339 text: `2024-09-02T00:00:00Z`, with three
/// decimals where there is a fraction of a second.
public struct UTCTime: Sendable, Hashable, Comparable {
    public var ms: Int64

    public init(ms: Int64) { self.ms = ms }

    public static func < (left: UTCTime, right: UTCTime) -> Bool { left.ms < right.ms }

    public func adding(ms more: Int64) -> UTCTime { UTCTime(ms: ms &+ more) }
}

/// A date of the Gregorian calendar, extended to all years.
///
/// Both ways after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (`civil_from_days`,
/// `days_from_civil`), which are exact for every Int64 day that is used here.
struct CivilDate: Equatable {
    var year: Int64
    var month: Int64
    var day: Int64

    /// Days since 1970-01-01.
    init(days: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// `nil` for a date that the calendar does not have.
    init?(year: Int64, month: Int64, day: Int64) {
        guard (0...9999).contains(year), (1...12).contains(month), (1...31).contains(day) else { return nil }
        self.year = year
        self.month = month
        self.day = day
        guard CivilDate(days: days) == self else { return nil }
    }

    var days: Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}

extension UTCTime: CustomStringConvertible {
    private static let dayMs: Int64 = 86_400_000

    private var dayAndRest: (day: Int64, rest: Int64) {
        let rest = ms % Self.dayMs
        return rest >= 0 ? (ms / Self.dayMs, rest) : (ms / Self.dayMs - 1, rest + Self.dayMs)
    }

    /// `2024-09-02`.
    public var date: String {
        let civil = CivilDate(days: dayAndRest.day)
        return padded(civil.year, 4) + "-" + padded(civil.month, 2) + "-" + padded(civil.day, 2)
    }

    /// The day that ends at this moment or has this moment in it: windows and bare dates stand for their ends.
    public var endingDate: String { UTCTime(ms: ms - 1).date }

    /// `14:30:05`.
    public var timeOfDay: String {
        let seconds = dayAndRest.rest / 1000
        return padded(seconds / 3600, 2) + ":" + padded(seconds / 60 % 60, 2) + ":" + padded(seconds % 60, 2)
    }

    /// For people: `2024-09-02 14:30:05`.
    public var text: String { date + " " + timeOfDay }

    /// RFC 3339, in UTC.
    public var description: String {
        let fraction = dayAndRest.rest % 1000
        return date + "T" + timeOfDay + (fraction == 0 ? "" : "." + padded(fraction, 3)) + "Z"
    }

    /// Reads RFC 3339 text in UTC (`2024-09-02T14:30:00Z`, `2024-09-02 14:30`), or a bare date, which means the end
    /// of that UTC day.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard (10...32).contains(bytes.count), let date = Self.parseDate(bytes[..<10]) else { return nil }
        if bytes.count == 10 {
            self.init(ms: (date.days + 1) * Self.dayMs)
            return
        }
        guard bytes[10] == UInt8(ascii: "T") || bytes[10] == UInt8(ascii: " ") else { return nil }
        var clock = bytes[11...]
        if clock.last == UInt8(ascii: "Z") { clock = clock.dropLast() }
        guard let time = Self.parseClock(clock) else { return nil }
        self.init(ms: date.days * Self.dayMs + time)
    }

    private static func parseDate(_ bytes: ArraySlice<UInt8>) -> CivilDate? {
        let parts = bytes.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].count == 4, parts[1].count == 2, parts[2].count == 2,
            let year = decimal(parts[0]), let month = decimal(parts[1]), let day = decimal(parts[2])
        else { return nil }
        return CivilDate(year: year, month: month, day: day)
    }

    private static func parseClock(_ bytes: ArraySlice<UInt8>) -> Int64? {
        let halves = bytes.split(
            separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        let parts = (halves.first ?? []).split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), parts.allSatisfy({ $0.count == 2 }) else { return nil }
        let numbers = parts.compactMap(decimal)
        guard numbers.count == parts.count, numbers[0] < 24, numbers.dropFirst().allSatisfy({ $0 < 60 })
        else {
            return nil
        }
        var milliseconds =
            (numbers[0] * 3600 + numbers[1] * 60 + (numbers.count == 3 ? numbers[2] : 0)) * 1000
        if halves.count == 2 {
            guard (1...9).contains(halves[1].count), decimal(halves[1]) != nil else { return nil }
            let digits = Array(halves[1].prefix(3)) + Array(repeating: UInt8(ascii: "0"), count: 3)
            milliseconds += decimal(digits[..<3]) ?? 0
        }
        return milliseconds
    }

    private static func decimal(_ digits: ArraySlice<UInt8>) -> Int64? {
        guard !digits.isEmpty, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else {
            return nil
        }
        return digits.reduce(0) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
    }

    private func padded(_ value: Int64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

extension UTCTime: Codable {
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let time = UTCTime(text) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "\(text) is not a time in RFC 3339"))
        }
        self = time
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
