public import Simulation

/// A change of a run that counts from a simulated time on, whenever it is known: who shares a run takes it at the same tick.
public struct PlaybackTurn: Sendable, Equatable {
    /// Ticks up to this time are played as before, Unix milliseconds.
    public var atMs: Int64
    public var pace: Pace
    /// It stands still until another turn.
    public var stands: Bool
    /// It ends for good.
    public var stops: Bool
    /// When `atMs` is due, by the run's clock.
    public var anchorNs: Int64
    /// Simulated milliseconds between ticks; set by the run.
    var tickMs: Int64 = 0

    public init(atMs: Int64, pace: Pace, stands: Bool = false, stops: Bool = false, anchorNs: Int64) {
        self.atMs = atMs
        self.pace = pace
        self.stands = stands
        self.stops = stops
        self.anchorNs = anchorNs
    }
}

// A run that others play, too.
extension ScenarioRun {
    /// What is to come, as far as it is known, in the order of time, and how far the run may go until more is known.
    ///
    /// - Parameters:
    ///   - turns: only those that it was not told before; so with the injections.
    ///   - throughMs: no tick after this one is played.
    ///   - missed: told of faults whose time was over, when there are any.
    public nonisolated func follow(
        _ turns: [PlaybackTurn], _ injections: [FaultInjection], throughMs: Int64,
        missed: @escaping @Sendable (Int) -> Void
    ) {
        let turns = turns.map { turn in
            var turn = turn
            turn.tickMs = tickMs(at: turn.pace)
            return turn
        }
        perform { run in
            let count = run.strike(injections)
            if count > 0 { missed(count) }
            run.change(paceToo: !turns.isEmpty) { schedule, _ in schedule.follow(turns, throughMs: throughMs)
            }
        }
    }
}
