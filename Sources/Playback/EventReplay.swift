public import Simulation
public import Telemetry

/// The events of a run without its telemetry: what whoever only reports a run that others play tells of it.
public struct EventReplay: Sendable {
    /// Paces up to this one tell of each checkpoint.
    static let checkpointsPaceMax = 60.0

    private let stream: StreamID
    private var model: FleetModel
    private var pending: [ModelEvent] = []
    /// In the order of their times.
    private var turns: [PlaybackTurn] = []

    /// - Parameters:
    ///   - afterMs: what happened before is told already; `nil` for the beginning.
    ///   - injections: faults on purpose that are known.
    ///   - turns: changes of the pace that are known, in order.
    public init(
        plan: FleetPlan, stream: StreamID, pace: Pace, afterMs: Int64? = nil,
        injections: [FaultInjection] = [], turns: [PlaybackTurn] = []
    ) {
        self.stream = stream
        model = FleetModel(plan: plan, injections: injections)
        self.turns = turns
        var pace = pace
        if let afterMs, afterMs > plan.scenario.startMs {
            model.advance(to: afterMs - 1)
            while let next = self.turns.first, next.atMs < afterMs {
                pace = next.pace
                self.turns.removeFirst()
            }
        }
        model.reportsCheckpoints = Self.tellsCheckpoints(pace)
    }

    private static func tellsCheckpoints(_ pace: Pace) -> Bool {
        if case .times(let factor) = pace { factor <= checkpointsPaceMax } else { false }
    }

    /// Faults and paces behind all that was told.
    ///
    /// - Returns: how many faults come too late.
    public mutating func follow(
        _ injections: [FaultInjection], _ turns: [PlaybackTurn]
    ) -> Int {
        self.turns += turns
        return injections.count { !model.inject($0) }
    }

    /// What happens before that time and was not told yet, in order.
    public mutating func events(before timeMs: Int64) -> [Event] {
        while let next = turns.first, next.atMs < timeMs {
            model.advance(to: next.atMs, into: &pending)
            model.reportsCheckpoints = Self.tellsCheckpoints(next.pace)
            turns.removeFirst()
        }
        model.advance(to: timeMs, into: &pending)
        let count = pending.firstIndex { $0.timeMs >= timeMs } ?? pending.count
        defer { pending.removeFirst(count) }
        return pending[..<count].map { model.describe($0, stream: stream) }
    }
}
