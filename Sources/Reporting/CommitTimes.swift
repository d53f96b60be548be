/// When windows were committed, roughly and only lately: enough to tell those that wait for long from new ones.
struct CommitTimes: Sendable {
    /// Named limits.
    enum Limits {
        /// Commits in so short a time are taken for one, at least.
        static let stepMs: Int64 = 250
        static let steps = 128
    }

    /// All steps together reach back twice as far as anybody asks, so that there always is one that is old enough.
    private let stepMs: Int64

    /// - Parameter horizonMs: how far back it will be asked.
    init(horizonMs: Int64 = 0) {
        stepMs = max(Limits.stepMs, 2 * horizonMs / Int64(Limits.steps))
    }

    /// Ascending in both.
    private var steps: [(newest: Int64, atMs: Int64)] = []

    /// - Parameter atMs: `.min` for what was there already.
    mutating func note(_ newest: Int64, atMs: Int64) {
        guard let last = steps.last else { return steps.append((newest, atMs)) }
        guard newest > last.newest else { return }
        // The clock was set back: what was before cannot be later.
        if atMs < last.atMs { steps = steps.map { ($0.newest, min($0.atMs, atMs)) } }
        if last.atMs != .min, atMs - min(last.atMs, atMs) < stepMs {
            steps[steps.count - 1].newest = newest
        } else {
            steps.append((newest, atMs))
        }
        if steps.count > Limits.steps { steps.removeFirst() }
    }

    /// The newest window that was committed then or earlier, up to a step after; `nil` when none is known.
    func newest(beforeMs: Int64) -> Int64? { steps.last { $0.atMs <= beforeMs }?.newest }

    /// Windows that wait for long while there are newer ones, or very many, make room for newer ones: the last of them.
    func leapTarget(from reached: Int64, to newest: Int64, beforeMs: Int64) -> Int64? {
        guard let old = self.newest(beforeMs: beforeMs), old > reached else { return nil }
        return newest > old || old - reached > EndpointStateMachine.Limits.gapWindows ? old : nil
    }
}
