/// Which windows of a stream were admitted and are not closed yet, by their start: so that a backlog that comes faster
/// than its windows close is told to wait, and is not dropped for want of room.
///
/// Counts windows, not the distance from what is closed: a live sender beside a long backlog, or the first one after
/// a long pause, opens one window, however far away it is. A request counts for every window from its oldest to its
/// newest sample, whether it has samples there or not.
struct AdmittedWindows: Sendable {
    private var starts: Set<Int64> = []
    private let lengthMs: Int64
    private let futureMaxMs: Int64
    /// Windows that one sender may hold open for the others, with all that is ahead of its clock.
    let heldMax: Int
    /// Admitted at once; beyond, whoever would open another has to wait.
    let limit: Int
    /// What a single request may open beyond that: it cannot come in parts. Of a request with samples in more windows,
    /// the shards drop (and count) those for which there is no room any more.
    static let requestMax = 1_024
    /// However long slow senders are waited for.
    private static let heldMost = 2_048

    init(plan: WindowPlan, limits: AggregationLimits) {
        lengthMs = plan.finestMs
        futureMaxMs = limits.futureMaxMs
        heldMax = Self.held(plan, limits)
        limit = Self.limit(plan, limits)
    }

    /// What shards have to have room for.
    static func most(_ plan: WindowPlan, _ limits: AggregationLimits) -> Int {
        limit(plan, limits) + requestMax
    }

    /// At least twice of what waits for a slow sender, or one that is slow would stop all.
    private static func limit(_ plan: WindowPlan, _ limits: AggregationLimits) -> Int {
        max(limits.openWindowsMax, 2 * held(plan, limits))
    }

    private static func held(_ plan: WindowPlan, _ limits: AggregationLimits) -> Int {
        let heldMs = plan.maxHoldMs + plan.latenessMs + limits.futureMaxMs
        return min(Int(heldMs / plan.finestMs) + 2, heldMost)
    }

    var count: Int { starts.count }

    /// Admits samples of these times if there is room for their windows.
    ///
    /// Two kinds of request are taken beyond the limit, or nothing would ever close again: one with more windows than
    /// there ever are, as soon as nothing but what waits for slow senders is open; and one at the near end, because it
    /// is what the watermark waits for.
    ///
    /// - Parameters:
    ///   - arrivalMs: samples too far ahead of it are dropped, and open nothing.
    ///   - closedThroughMs: what ends by then opens nothing any more.
    ///   - always: it was taken before, and is repeated.
    mutating func admit(
        oldestMs: Int64, newestMs: Int64, arrivalMs: Int64, closedThroughMs: Int64?, always: Bool
    ) -> Bool {
        let last = floorMultiple(max(0, min(newestMs, arrivalMs + futureMaxMs)), lengthMs)
        // Times come from outside: no more windows than a request may open are looked at, the newest ones.
        let mostMs = Int64(Self.requestMax - 1) * lengthMs
        let earliest = max(last - mostMs, floorMultiple(closedThroughMs ?? .min / 2, lengthMs))
        let first = max(floorMultiple(max(0, min(oldestMs, newestMs)), lengthMs), earliest)
        guard first <= last, first < last || !starts.contains(first) else { return true }
        let new = stride(from: first, through: last, by: Int(lengthMs)).filter { !starts.contains($0) }
        let hasRoom = new.isEmpty || starts.count + new.count <= limit || starts.count <= heldMax
        guard always || hasRoom || isNear(last, count: new.count, closedThroughMs) else { return false }
        starts.formUnion(new)
        return true
    }

    /// No further from what is closed than what waits for slow senders.
    private func isNear(_ last: Int64, count: Int, _ closedThroughMs: Int64?) -> Bool {
        guard let nearMs = closedThroughMs ?? starts.min() else { return true }
        return last < nearMs + Int64(heldMax) * lengthMs && starts.count + count <= limit + Self.requestMax
    }

    /// Closing was ordered up to there.
    mutating func close(throughMs: Int64) {
        guard !starts.isEmpty else { return }
        starts = starts.filter { $0 + lengthMs > throughMs }
    }
}
