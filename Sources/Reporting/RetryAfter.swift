import Telemetry

/// The header `Retry-After`: seconds or an HTTP date (RFC 9110, sections 10.2.3 and 5.6.7).
enum RetryAfter {
    /// Milliseconds from now, 0 at least; `nil` for what is neither.
    static func delayMs(_ text: String, nowMs: Int64) -> Int64? {
        let value = text.split(separator: " ", omittingEmptySubsequences: true)
        guard !value.isEmpty else { return nil }
        if value.count == 1 {
            guard value[0].utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else {
                return nil
            }
            // More digits than an integer has mean "for ever"; whoever asked caps it.
            return Int64(value[0]).map { $0.multipliedReportingOverflow(by: 1_000) }
                .map { $0.overflow ? Int64.max : $0.partialValue } ?? Int64.max
        }
        guard let date = httpDateMs(value, nowMs: nowMs) else { return nil }
        return max(0, date - nowMs)
    }

    /// All three forms that a recipient has to understand.
    private static func httpDateMs(_ words: [Substring], nowMs: Int64) -> Int64? {
        switch words.count {
        case 6:  // Sun, 06 Nov 1994 08:49:37 GMT
            return time(day: words[1], month: words[2], year: words[3], clock: words[4])
        case 4:  // Sunday, 06-Nov-94 08:49:37 GMT
            let date = words[1].split(separator: "-")
            guard date.count == 3, date[2].count == 2, let short = Int(date[2]) else { return nil }
            // "More than 50 years in the future means the most recent year in the past with those digits."
            let thisYear = Int(UTC.date(nowMs).prefix(4)) ?? 2_000
            var year = thisYear - thisYear % 100 + short
            if year > thisYear + 50 { year -= 100 }
            return time(day: date[0], month: date[1], year: Substring(String(year)), clock: words[2])
        case 5:  // Sun Nov  6 08:49:37 1994
            return time(day: words[2], month: words[1], year: words[4], clock: words[3])
        default:
            return nil
        }
    }

    private static func time(day: Substring, month: Substring, year: Substring, clock: Substring) -> Int64? {
        let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard let number = names.firstIndex(of: String(month)), year.count == 4, (1...2).contains(day.count)
        else { return nil }
        let two = number + 1 < 10 ? "0\(number + 1)" : String(number + 1)
        let padded = day.count == 1 ? "0" + day : String(day)
        return UTC.parse("\(year)-\(two)-\(padded)T\(clock)Z")
    }
}
