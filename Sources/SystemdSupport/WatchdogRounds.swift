/// When to feed systemd's watchdog: only after every queue has answered since the last feeding.
///
/// Pure: it knows neither queues nor clocks. A queue that has not answered is not asked again, so that a blocked queue
/// does not pile up questions.
public struct WatchdogRounds: Sendable {
    public enum Action: Sendable, Equatable {
        /// Send `WATCHDOG=1`.
        case feed
        /// Ask these queues for a sign of life, with the number of the round.
        case ask(round: Int, queues: [String])
        /// These queues have not answered for a whole interval. Said once a round for each.
        case late([String])
        /// These late queues have answered after all, so many milliseconds after the question.
        case back([String], afterMs: Int64)
    }

    private var round = 0
    private var askedMs: Int64 = 0
    private var outstanding: [String] = []
    private var late: [String] = []
    private var started = false

    public init() {}

    /// The queues that have been told late and have not answered since.
    public var lateQueues: [String] { late }

    /// An interval has passed, a third of what systemd allows.
    ///
    /// - Parameter queues: the queues as they are now, by label; the next round asks them.
    public mutating func tick(nowMs: Int64, queues: [String]) -> [Action] {
        guard started else {
            started = true
            return [ask(nowMs, queues)]
        }
        if outstanding.isEmpty { return [.feed, ask(nowMs, queues)] }
        let newly = outstanding.filter { !late.contains($0) }
        late += newly
        return newly.isEmpty ? [] : [.late(newly)]
    }

    /// A queue has answered. Answers of earlier rounds mean nothing.
    ///
    /// When the answer was overdue and is the last one, the watchdog is fed at once: the next tick might be too late.
    public mutating func answered(queue: String, round: Int, nowMs: Int64) -> [Action] {
        guard round == self.round, let position = outstanding.firstIndex(of: queue) else { return [] }
        outstanding.remove(at: position)
        guard let told = late.firstIndex(of: queue) else {
            return []
        }
        late.remove(at: told)
        let back = Action.back([queue], afterMs: nowMs - askedMs)
        return outstanding.isEmpty ? [back, .feed] : [back]
    }

    private mutating func ask(_ nowMs: Int64, _ queues: [String]) -> Action {
        round += 1
        askedMs = nowMs
        outstanding = queues
        late = []
        return .ask(round: round, queues: queues)
    }
}
