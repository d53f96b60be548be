public import Simulation
public import Telemetry

/// The events of a run without its telemetry: what whoever only reports a run that others play tells of it.
public struct EventReplay: Sendable {
    /// Paces up to this one tell of each checkpoint.
    static let checkpointsPaceMax = 60.0

    private let stream: StreamID
    private var model: FleetModel
    private var pending: [ModelEvent] = []

    /// - Parameter afterMs: what happened before is told already; `nil` for the beginning.
    public init(plan: FleetPlan, stream: StreamID, pace: Pace, afterMs: Int64? = nil) {
        self.stream = stream
        model = FleetModel(plan: plan)
        if let afterMs, afterMs > plan.scenario.startMs { model.advance(to: afterMs - 1) }
        if case .times(let factor) = pace { model.reportsCheckpoints = factor <= Self.checkpointsPaceMax }
    }

    /// What happens before that time and was not told yet, in order.
    public mutating func events(before timeMs: Int64) -> [Event] {
        model.advance(to: timeMs, into: &pending)
        let count = pending.firstIndex { $0.timeMs >= timeMs } ?? pending.count
        defer { pending.removeFirst(count) }
        return pending[..<count].map { model.describe($0, stream: stream) }
    }
}
