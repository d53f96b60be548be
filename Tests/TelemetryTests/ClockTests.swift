import Foundation
import Telemetry
import Testing

@Suite("UTC")
struct ClockTests {
    @Test(
        "times read and print as `date -u` does",
        arguments: [
            ("2024-05-03", 1_714_694_400_000), ("2024-09-02", 1_725_235_200_000), ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000), ("2100-03-01", 4_107_542_400_000), ("1969-12-31", -86_400_000),
        ] as [(String, Int64)]
    )
    func knownDates(text: String, ms: Int64) {
        #expect(UTC.parse(text) == ms)
        #expect(UTC.date(ms) == text)
    }

    @Test("every day of four centuries agrees with Foundation's calendar")
    func againstFoundation() {
        let format = Date.ISO8601FormatStyle(timeZone: TimeZone(secondsFromGMT: 0) ?? .gmt)
        for day in stride(from: Int64(-30_000), to: 120_000, by: 7) {
            let ms = day * UTC.dayMs + 12_345_000
            let text = Date(timeIntervalSince1970: Double(ms) / 1_000).formatted(format)
            #expect(UTC.timestamp(ms) == text)
            #expect(UTC.parse(text) == ms)
        }
    }

    @Test("milliseconds survive", arguments: [1_714_694_400_250, 1_714_694_400_001] as [Int64])
    func milliseconds(ms: Int64) { #expect(UTC.parse(UTC.timestamp(ms)) == ms) }

    @Test(
        "what is no time is refused",
        arguments: [
            "", "2024", "2024-13-01", "2023-02-29", "2024-05-03T25:00:00Z", "2024-05-03 10:00:00", "2024-5-3",
        ]
    )
    func refused(text: String) { #expect(UTC.parse(text) == nil) }
}
