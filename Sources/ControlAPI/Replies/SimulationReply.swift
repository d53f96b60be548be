/// One simulated run: `colossusctl simulate start|status|pause|resume|speed|stop`.
public struct SimulationReply: Reply, Hashable {
    public static let schemaName = "colossus.simulation/v1"

    public var schema: String = Self.schemaName
    public var simulation: SimulationStatus

    public init(_ simulation: SimulationStatus) { self.simulation = simulation }
}

/// All runs that the daemon knows, by name.
public struct SimulationsReply: Reply, Hashable {
    public static let schemaName = "colossus.simulations/v1"

    public var schema: String = Self.schemaName
    public var simulations: [SimulationStatus]

    public init(_ simulations: [SimulationStatus]) { self.simulations = simulations }
}

/// Where a simulated run stands.
public struct SimulationStatus: Codable, Sendable, Hashable {
    /// The run's name; its stream is `sim/RUN`.
    public var run: String
    public var scenario: String
    public var seed: UInt64
    public var state: State
    /// As it was asked for: `1`, `86400`, `1d/s`, `max`.
    public var speed: String
    /// Simulated seconds in a second of the wall clock, as it really goes.
    public var pace: Double = 0
    /// One tick of telemetry, in simulated seconds.
    public var tickSeconds: Double = 0
    /// The finest window, in simulated seconds.
    public var windowSeconds: Double = 0
    public var start: UTCTime
    public var end: UTCTime
    /// Where the run stands, and with it the counts.
    public var now: TimelineRow
    /// Days of the whole scenario; `now.day` of them have begun.
    public var days: Int = 0
    /// 0...1.
    public var progress: Double = 0
    /// Behind the pace that was asked for, in seconds of the wall clock.
    public var lagSeconds: Double = 0
    /// In the order of their dates.
    public var milestones: [MilestoneRow] = []
    /// Why it failed.
    public var message: String?

    public enum State: String, Codable, Sendable, Hashable {
        case starting, running, paused, finished, stopped, failed

        /// Nothing more will come.
        public var isOver: Bool { self == .finished || self == .stopped || self == .failed }
    }

    public init(
        run: String, scenario: String, seed: UInt64, state: State, speed: String, start: UTCTime,
        end: UTCTime, now: TimelineRow
    ) {
        self.run = run
        self.scenario = scenario
        self.seed = seed
        self.state = state
        self.speed = speed
        self.start = start
        self.end = end
        self.now = now
    }
}

/// A date that somebody made a claim about, and what the run had on it.
public struct MilestoneRow: Codable, Sendable, Hashable {
    /// The moment that was looked at: the end of the date's day.
    public var time: UTCTime
    /// `2024-09-02`.
    public var date: String
    public var what: String
    /// GPUs in the claim; absent where the claim has no number.
    public var claimed: Int?
    /// What the claim counts: `announced`, `installed`, `powered` or `in_training`; absent where it says none.
    public var claims: String?
    /// Simulated, at that date; absent until the run has been there.
    public var installed: Int?
    public var powered: Int?
    public var inTraining: Int?

    public init(time: UTCTime, what: String, claimed: Int? = nil, claims: String? = nil) {
        self.time = time
        date = time.endingDate
        self.what = what
        self.claimed = claimed
        self.claims = claims
    }

    public var isReached: Bool { installed != nil }
}
