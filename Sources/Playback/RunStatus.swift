/// Where a run stands, for people and scripts.
public struct RunStatus: Sendable, Equatable {
    public enum State: String, Sendable, Equatable {
        case running, paused, finished, stopped

        /// Nothing more will come.
        public var isOver: Bool { self == .finished || self == .stopped }
    }

    public var state: State
    /// What was asked for.
    public var pace: Pace
    /// How it really goes: simulated seconds a second of the wall clock over the last ticks; 0 when it stands.
    public var actualPace: Double
    /// What is played now; the windows are those of the run's beginning.
    public var resolution: Resolution
    /// First and last moment of the scenario, Unix milliseconds.
    public var startMs: Int64
    public var endMs: Int64
    /// The newest tick that the sink is done with; `nil` before the first.
    public var positionMs: Int64?
    public var ticks: Int
    /// Ticks that the sink is working on.
    public var inFlight: Int
    /// How long the next tick has been due, seconds of the wall clock.
    public var lagSeconds: Double
    /// Changes of a shared run that were known only after their time; always 0, or its windows are not those of others.
    public var missedTurns = 0

    /// 0...1.
    public var progress: Double {
        guard let positionMs, endMs > startMs else { return state == .finished ? 1 : 0 }
        return Double(positionMs - startMs) / Double(endMs - startMs)
    }
}

/// How fast the last ticks went.
struct PaceMeter: Sendable {
    private static let kept = 32
    private var marks: [(ns: Int64, ms: Int64)] = []

    mutating func note(ns: Int64, ms: Int64) {
        if marks.count == Self.kept { marks.removeFirst() }
        marks.append((ns, ms))
    }

    /// After a pause or a new pace.
    mutating func reset() { marks.removeAll(keepingCapacity: true) }

    /// Simulated seconds a second; falls when no tick comes for long.
    func pace(nowNs: Int64) -> Double {
        guard let first = marks.first, let last = marks.last, marks.count > 1 else { return 0 }
        let step = (last.ns - first.ns) / Int64(marks.count - 1)
        let until = max(last.ns, nowNs - 2 * step)
        return until > first.ns ? Double(last.ms - first.ms) * 1e6 / Double(until - first.ns) : 0
    }
}
