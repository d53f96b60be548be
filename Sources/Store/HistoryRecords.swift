public import Telemetry

/// A stream as the history knows it.
public struct StreamRecord: Sendable, Equatable {
    public var stream: StreamID
    /// Everything before this is closed; `nil` before the first closing. Unix milliseconds of the stream's clock.
    public var closedThroughMs: Int64?
    /// Totals at the last closing.
    public var ledger: Ledger
    /// What of the ingest log is in it.
    public var log: LogMark?
}

/// A simulated run, kept so that a restarted daemon goes on with it.
public struct SimulationRun: Sendable, Equatable {
    /// As in the stream's name `sim/NAME`.
    public var name: String
    /// The scenario's text, as it was when the run began.
    public var scenario: String
    /// Where it came from; for people.
    public var path: String
    public var seed: UInt64
    /// As the user said it: `max`, `1x`, `86400x`.
    public var speed: String
    /// `running`, `paused`, `stopped`, `finished`.
    public var state: String
    /// Wall clock, Unix milliseconds.
    public var startedMs: Int64
    /// Simulated milliseconds between ticks, where the user said so; `nil` follows the speed.
    public var tickMs: Int64?

    public init(
        name: String, scenario: String, path: String, seed: UInt64, speed: String, state: String,
        startedMs: Int64, tickMs: Int64? = nil
    ) {
        self.tickMs = tickMs
        self.name = name
        self.scenario = scenario
        self.path = path
        self.seed = seed
        self.speed = speed
        self.state = state
        self.startedMs = startedMs
    }
}

/// Who delivers samples, and when it was last heard.
public struct SenderRecord: Sendable, Equatable {
    public var stream: StreamID
    public var name: String
    /// Wall clock, Unix milliseconds.
    public var seenMs: Int64
    /// Its newest event time, Unix milliseconds.
    public var newestMs: Int64

    public init(stream: StreamID, name: String, seenMs: Int64, newestMs: Int64) {
        self.stream = stream
        self.name = name
        self.seenMs = seenMs
        self.newestMs = newestMs
    }
}

/// An event with its number in the history.
public struct StoredEvent: Sendable, Equatable {
    /// Grows in the order of storing; ask for those after it to follow.
    public var id: Int64
    public var event: Event

    public init(id: Int64, event: Event) {
        self.id = id
        self.event = event
    }
}

/// What became of the windows for one endpoint.
public struct EndpointRecord: Sendable, Equatable {
    public var endpoint: String
    public var position: DeliveryPosition
    public var deliveredParts: Int64
    public var deliveredSamples: Int64
    /// Parts that were refused for good.
    public var dead: Int64
    /// Windows that were deleted before they were delivered, a coarser one still waiting in their place.
    public var coarsened: Int64
    /// Windows that were deleted before they were delivered, with nothing in their place.
    public var dropped: Int64
    /// Windows that the endpoint wants and has not got: after the position, and in gaps.
    public var pending: Int64
    /// When the oldest of them was committed; wall clock, Unix milliseconds.
    public var oldestPendingMs: Int64?
    /// An operator has paused it.
    public var isPaused: Bool
    /// What it has not got although it has got later windows; oldest first.
    public var gaps: [DeliveryGap] = []
    /// Those of `pending` that are in gaps.
    public var backlog: Int64 = 0
    /// When the oldest window after the position was committed; wall clock, Unix milliseconds.
    public var oldestLiveMs: Int64?

    /// All of that window is delivered, or was not wanted.
    public func isBehind(_ sequence: Int64) -> Bool {
        position.sequence >= sequence
            && !gaps.contains { $0.after.sequence < sequence && sequence <= $0.through }
    }
}

/// Which summaries of entities to read.
public struct SummaryQuery: Sendable {
    public var stream: StreamID
    public var resolutionMs: Int64
    /// Windows that start in `fromMs ..< toMs`, Unix milliseconds.
    public var fromMs: Int64
    public var toMs: Int64
    public var level: Level
    /// Names; empty means all.
    public var entities: Set<String>
    /// Empty means all.
    public var fields: Set<FieldIndex>
    /// Rows (an entity in a window); the newest windows are kept.
    public var limit: Int

    public init(
        stream: StreamID, resolutionMs: Int64, fromMs: Int64 = .min, toMs: Int64 = .max, level: Level,
        entities: Set<String> = [], fields: Set<FieldIndex> = [], limit: Int = 1_000
    ) {
        self.stream = stream
        self.resolutionMs = resolutionMs
        self.fromMs = fromMs
        self.toMs = toMs
        self.level = level
        self.entities = entities
        self.fields = fields
        self.limit = limit
    }
}

/// One entity in one window.
public struct EntitySummary: Sendable, Equatable {
    public struct Value: Sendable, Equatable {
        public var field: FieldIndex
        public var count: UInt32
        public var sum: Double
        public var min: Double
        public var max: Double
        /// `nil` below the rack.
        public var p50: Double?
        public var p90: Double?
        public var p99: Double?

        /// `nil` when nothing was heard.
        public var mean: Double? { count == 0 ? nil : sum / Double(count) }
    }

    public var sequence: Int64
    public var startMs: Int64
    public var endMs: Int64
    public var revision: Int
    public var coverage: Double
    public var entity: String
    public var gpusExpected: UInt32
    public var gpusReporting: UInt32
    public var gpusInJob: UInt32
    public var gpusFaulted: UInt32
    public var values: [Value]
}

/// Which events to read. Empty sets mean "all".
public struct EventQuery: Sendable {
    public var stream: StreamID?
    /// `fromMs ..< toMs`, event time, Unix milliseconds.
    public var fromMs: Int64
    public var toMs: Int64
    public var kinds: Set<EventKind>
    public var entity: String?
    public var job: String?
    /// Only events with a larger `StoredEvent.id`, in the order of these numbers: an event may be told long after
    /// its time. Without it they come in the order of time.
    public var afterID: Int64?
    public var limit: Int
    /// Newest first, and the newest ones when there are more than `limit`; else oldest first.
    public var newestFirst: Bool

    public init(
        stream: StreamID? = nil, fromMs: Int64 = .min, toMs: Int64 = .max, kinds: Set<EventKind> = [],
        entity: String? = nil, job: String? = nil, afterID: Int64? = nil, limit: Int = 1_000,
        newestFirst: Bool = false
    ) {
        self.stream = stream
        self.fromMs = fromMs
        self.toMs = toMs
        self.kinds = kinds
        self.entity = entity
        self.job = job
        self.afterID = afterID
        self.limit = limit
        self.newestFirst = newestFirst
    }
}
