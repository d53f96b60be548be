import Telemetry

/// Up to which event time a measured stream is complete: a pure state machine on the times that it is given.
///
/// The least over the active senders of (their newest event time - lateness). A newest event time beyond the wall
/// clock counts as the wall clock, so that a fast clock closes nothing early; a silent sender leaves; one with a
/// backlog is waited for, but not for ever. With nobody active the wall clock drives it, late enough that nobody who
/// is only slow is cut off. It never goes back.
struct Watermark: Sendable {
    /// What is known of a sender.
    struct Sender: Sendable {
        /// First and newest event time.
        var firstMs: Int64
        var newestMs: Int64
        /// It was there from the beginning, or before it.
        var isMissedBefore: Bool
        /// Wall clock when it was last heard.
        var lastArrivalMs: Int64
        /// Since when, on the wall clock, it has been far behind without a break.
        var behindSinceMs: Int64?
        /// The latest differences of arrival and event time, for the median; a ring.
        var skewsMs: [Int64] = []
        var nextSkew = 0

        static let skewsMax = 15

        mutating func note(skewMs: Int64) {
            if skewsMs.count < Self.skewsMax {
                skewsMs.append(skewMs)
            } else {
                skewsMs[nextSkew] = skewMs
                nextSkew = (nextSkew + 1) % Self.skewsMax
            }
        }

        /// Median of arrival - newest event time: a clock that is behind (positive) or ahead, plus the way.
        var skewMs: Int64 { skewsMs.isEmpty ? 0 : skewsMs.sorted()[skewsMs.count / 2] }
    }

    let latenessMs: Int64
    let senderSilentMs: Int64
    let maxHoldMs: Int64
    let sendersMax: Int
    /// A sender that was not heard for so long is forgotten; until then it counts as expected.
    static let forgetMs: Int64 = 3_600_000

    private(set) var senders: [SenderID: Sender] = [:]
    /// When anybody was heard for the first time. Whoever comes within the time in which a sender counts as silent
    /// is taken to have been there before.
    private var firstArrivalMs: Int64?
    /// After a start with a gap behind it, senders that kept what they could not deliver come with it, the slowest of them
    /// last: nothing closes before, so that none of it is late.
    private let waitsUntilMs: Int64
    private let startedMs: Int64
    /// `nil` until something was heard.
    private(set) var currentMs: Int64?

    var heard: [CloseStep.Heard] {
        senders.sorted { $0.key.rawValue < $1.key.rawValue }.map(\.value).map {
            .init(firstMs: $0.firstMs, newestMs: $0.newestMs, isMissedBefore: $0.isMissedBefore)
        }
    }

    /// - Parameter startedMs: wall clock when the stream was opened.
    init(plan: WindowPlan, sendersMax: Int, closedThroughMs: Int64?, startedMs: Int64) {
        latenessMs = plan.latenessMs
        senderSilentMs = plan.senderSilentMs
        maxHoldMs = plan.maxHoldMs
        self.sendersMax = sendersMax
        currentMs = closedThroughMs
        let gapMs = plan.latenessMs + 2 * plan.senderSilentMs
        let isGap = closedThroughMs.map { $0 < startedMs - gapMs } ?? false
        waitsUntilMs = isGap ? startedMs + senderSilentMs : startedMs
        self.startedMs = startedMs
    }

    /// - Parameter oldestMs: the oldest event time of the request; a backlog begins far before its newest one.
    mutating func observed(
        _ id: SenderID, oldestMs untrustedOldestMs: Int64? = nil, newestMs untrustedMs: Int64,
        arrivalMs: Int64
    ) {
        // Event times come from outside: keep them where sums cannot overflow.
        let newestMs = min(max(untrustedMs, 0), .max / 4)
        let oldestMs = min(max(untrustedOldestMs ?? newestMs, 0), newestMs)
        guard var sender = senders[id] else {
            guard senders.count < sendersMax else { return }
            let beganMs = firstArrivalMs ?? arrivalMs
            firstArrivalMs = beganMs
            var sender = Sender(
                firstMs: oldestMs, newestMs: newestMs, isMissedBefore: arrivalMs - beganMs < senderSilentMs,
                lastArrivalMs: arrivalMs)
            sender.note(skewMs: arrivalMs - newestMs)
            sender.behindSinceMs = isBehind(sender, leaderMs: leader(arrivalMs)) ? arrivalMs : nil
            senders[id] = sender
            return
        }
        if arrivalMs - sender.lastArrivalMs >= senderSilentMs { sender.behindSinceMs = nil }
        sender.firstMs = min(sender.firstMs, oldestMs)
        sender.newestMs = max(sender.newestMs, newestMs)
        sender.lastArrivalMs = max(sender.lastArrivalMs, arrivalMs)
        sender.note(skewMs: arrivalMs - newestMs)
        senders[id] = sender
    }

    /// It wanted to deliver, and was asked to wait: so it is there, and as far as the oldest that it has still to bring.
    mutating func refused(_ id: SenderID, oldestMs: Int64, arrivalMs: Int64) {
        guard var sender = senders[id] else {
            observed(id, newestMs: oldestMs, arrivalMs: arrivalMs)
            return
        }
        if arrivalMs - sender.lastArrivalMs >= senderSilentMs { sender.behindSinceMs = nil }
        sender.lastArrivalMs = max(sender.lastArrivalMs, arrivalMs)
        senders[id] = sender
    }

    /// Moves to the wall clock `nowMs`.
    ///
    /// - Returns: the watermark, `nil` while nothing was ever heard.
    mutating func advance(nowMs: Int64) -> Int64? {
        forgetOld(nowMs)
        guard !senders.isEmpty || currentMs != nil else { return nil }
        // Not when the clock was set back: it would be a wait without end.
        if nowMs >= startedMs, nowMs < waitsUntilMs { return currentMs }
        let leaderMs = leader(nowMs)
        var least: Int64?
        for (id, sender) in senders where isActive(sender, nowMs) {
            guard holds(id, leaderMs: leaderMs, nowMs: nowMs) else { continue }
            least = min(least ?? .max, min(sender.newestMs, nowMs) - latenessMs)
        }
        // Whoever is active but given up does not hold; with nobody left the wall clock drives.
        let next = least ?? (nowMs - latenessMs - senderSilentMs)
        currentMs = max(currentMs ?? next, next)
        return currentMs
    }

    private func isActive(_ sender: Sender, _ nowMs: Int64) -> Bool {
        nowMs - sender.lastArrivalMs < senderSilentMs
    }

    /// The newest event time of any active sender, not beyond the wall clock.
    private func leader(_ nowMs: Int64) -> Int64? {
        senders.values.lazy.filter { isActive($0, nowMs) }.map { min($0.newestMs, nowMs) }.max()
    }

    /// It delivers what is closed already, or holds more windows open than a backlog may.
    private func isBehind(_ sender: Sender, leaderMs: Int64?) -> Bool {
        let reachesMs = sender.newestMs - latenessMs
        if let currentMs, reachesMs < currentMs { return true }
        if let leaderMs { return reachesMs < leaderMs - latenessMs - maxHoldMs }
        return false
    }

    private mutating func holds(_ id: SenderID, leaderMs: Int64?, nowMs: Int64) -> Bool {
        guard let sender = senders[id] else { return false }
        guard isBehind(sender, leaderMs: leaderMs) else {
            senders[id]?.behindSinceMs = nil
            return true
        }
        let sinceMs = sender.behindSinceMs ?? nowMs
        senders[id]?.behindSinceMs = sinceMs
        return nowMs - sinceMs < maxHoldMs
    }

    private mutating func forgetOld(_ nowMs: Int64) {
        let old = senders.filter { nowMs - $0.value.lastArrivalMs >= Self.forgetMs }.keys
        for id in old { senders[id] = nil }
    }
}
