import ControlAPI
import Glibc
import Testing

@Suite struct UTCTimeTests {
    @Test(
        "times are written as RFC 3339 in UTC",
        arguments: [
            (Int64(0), "1970-01-01T00:00:00Z"), (1_714_694_400_000, "2024-05-03T00:00:00Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (1_725_287_405_120, "2024-09-02T14:30:05.120Z"), (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ])
    func writes(ms: Int64, text: String) {
        #expect(UTCTime(ms: ms).description == text)
        #expect(UTCTime(text) == UTCTime(ms: ms))
    }

    @Test("a bare date is the end of its day, and a moment ends the day that it closes")
    func bareDate() throws {
        let end = try #require(UTCTime("2024-09-02"))
        #expect(end.description == "2024-09-03T00:00:00Z")
        #expect(end.endingDate == "2024-09-02")
        #expect(end.date == "2024-09-03")
    }

    @Test(
        "what is not a time is refused",
        arguments: [
            "", "2024", "2024-13-01", "2024-02-30", "2023-02-29", "24-01-01", "2024-01-01T25:00Z",
            "2024-01-01T10:60Z",
            "2024-01-01T1:00Z", "2024-01-01T10:00:00+02:00", "2024-01-01T10:00:00.Z", "2024-01-01x10:00",
            "yesterday",
            "2024-01-01T10:00:00.1234567890Z", "２０２４-01-01",
        ])
    func refuses(text: String) { #expect(UTCTime(text) == nil) }

    @Test("every day of 400 years agrees with the C library")
    func agreesWithGlibc() {
        for day in stride(from: -80_000, to: 80_000, by: 7) {
            var seconds = time_t(day * 86_400 + 3723)
            var parts = tm()
            gmtime_r(&seconds, &parts)
            let two = { (value: Int32) in (value < 10 ? "0" : "") + String(value) }
            let text = "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T01:02:03Z"
            #expect(UTCTime(ms: Int64(seconds) * 1000).description == text)
            #expect(UTCTime(text)?.ms == Int64(seconds) * 1000)
        }
    }

    @Test(
        "lengths of time",
        arguments: [
            ("10s", Int64(10_000)), ("1m", 60_000), ("1h30m", 5_400_000), ("500ms", 500), ("2d", 172_800_000),
            ("30", 30_000),
            ("0s", 0),
        ])
    func lengths(text: String, ms: Int64) { #expect(DurationText.milliseconds(text) == ms) }

    @Test(
        "what is not a length of time is refused",
        arguments: [
            "", "s", "10x", "-1s", "1.5h", "10 s", "1h30", "99999999999d", "999999999999999999s", "٣s",
        ])
    func refusedLengths(text: String) { #expect(DurationText.milliseconds(text) == nil) }

    @Test("lengths are written back exactly", arguments: ["10s", "1m", "90s", "36h", "1d", "1500ms"])
    func writtenLengths(text: String) throws {
        let ms = try #require(DurationText.milliseconds(text))
        #expect(DurationText.text(ms: ms) == text)
    }

    @Test(
        "lengths for people have two units at most",
        arguments: [
            (0.0, "0s"), (0.25, "250ms"), (5.04, "5.0s"), (65, "1m 5s"), (3600, "1h"), (11_110, "3h 5m"),
            (200_000, "2d 7h"),
            (-90, "-1m 30s"),
        ])
    func rough(seconds: Double, text: String) { #expect(DurationText.rough(seconds: seconds) == text) }
}
