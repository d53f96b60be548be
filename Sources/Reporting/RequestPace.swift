/// How many requests a receiver takes a minute, as a pause between two of them.
///
/// By the wall clock, which may be set back: what seems to have been asked in the future counts as asked now, so that
/// nothing waits for longer than the pause.
struct RequestPace: Sendable {
    private var pauseMs: Int64 = 0
    private var askedMs: Int64?

    /// - Parameter ratePerMinute: 1 at least, as receivers say it, however large; `nil` without a limit.
    mutating func allow(ratePerMinute: Int?) {
        // Clocks tell milliseconds: a pause is one at least.
        pauseMs = ratePerMinute.map { (60_000 + min(Int64($0), 60_000) - 1) / min(Int64($0), 60_000) } ?? 0
    }

    /// A request goes out.
    mutating func asked(nowMs: Int64) { askedMs = nowMs }

    /// How long the next request has to wait; 0 for not at all.
    mutating func waitMs(nowMs: Int64) -> Int64 {
        guard let asked = askedMs else { return 0 }
        if asked > nowMs { askedMs = nowMs }
        return max(0, min(asked, nowMs) + pauseMs - nowMs)
    }
}
