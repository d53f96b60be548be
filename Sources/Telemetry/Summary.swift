/// One field's statistics over the entities of one level in one window, column by column in entity order.
/// An entity that nothing was heard of has count 0 and zeros elsewhere.
public struct FieldColumn: Sendable, Equatable {
    public var field: FieldIndex
    /// Number of samples.
    public var count: [UInt32]
    /// In the field's unit. The mean is sum / count.
    public var sum: [Double]
    public var min: [Double]
    public var max: [Double]
    /// 50th, 90th and 99th percentile with a relative error of 1% at most; empty below the rack.
    public var p50: [Double]
    public var p90: [Double]
    public var p99: [Double]
    /// `Sketches` encodings, back to back; entity e has the bytes `sketchOffsets[e] ..< sketchOffsets[e + 1]`.
    /// Empty where no sketch is kept.
    public var sketchOffsets: [UInt32]
    public var sketchBytes: [UInt8]

    public init(field: FieldIndex, entityCount: Int) {
        self.field = field
        count = Array(repeating: 0, count: entityCount)
        sum = Array(repeating: 0, count: entityCount)
        min = Array(repeating: 0, count: entityCount)
        max = Array(repeating: 0, count: entityCount)
        p50 = []
        p90 = []
        p99 = []
        sketchOffsets = []
        sketchBytes = []
    }

    public var entityCount: Int { count.count }
    public func mean(_ entity: Int) -> Double? {
        count[entity] == 0 ? nil : sum[entity] / Double(count[entity])
    }
    public func sketch(_ entity: Int) -> ArraySlice<UInt8> {
        guard !sketchOffsets.isEmpty else { return [] }
        return sketchBytes[Int(sketchOffsets[entity])..<Int(sketchOffsets[entity + 1])]
    }
}

/// GPUs of each entity of a level in a window. One under maintenance is counted as such and as nothing else but expected:
/// whether it reports, is silent or broken meanwhile is nobody's alarm.
public struct GPUCounts: Sendable, Equatable {
    /// Known to be there.
    public var expected: [UInt32]
    /// At least one sample in the window.
    public var reporting: [UInt32]
    public var inJob: [UInt32]
    public var faulted: [UInt32]
    /// Where somebody works as planned.
    public var maintenance: [UInt32]

    public init(entityCount: Int) {
        expected = Array(repeating: 0, count: entityCount)
        reporting = expected
        inJob = expected
        faulted = expected
        maintenance = expected
    }

    public func silent(_ entity: Int) -> UInt32 {
        let accounted = reporting[entity] + maintenance[entity]
        return expected[entity] > accounted ? expected[entity] - accounted : 0
    }
}

/// A closed window at one level.
public struct LevelSummary: Sendable, Equatable {
    public var level: Level
    /// Names in column order. For jobs only: other levels take theirs from the topology of `topologyVersion`.
    public var jobs: [String]
    public var columns: [FieldColumn]
    public var gpus: GPUCounts

    public init(level: Level, jobs: [String] = [], columns: [FieldColumn], gpus: GPUCounts) {
        self.level = level
        self.jobs = jobs
        self.columns = columns
        self.gpus = gpus
    }
}

/// Where a stream stands at a window's end, for the timeline: the four counts of a build-out and what it does.
public struct TimelinePoint: Sendable, Equatable {
    /// Unix milliseconds: the window's end.
    public var timeMs: Int64
    /// Day n of phase p, for simulated builds; 0 where there is no scenario.
    public var day: Int = 0
    public var phase: String = ""
    public var phaseDay: Int = 0
    public var phaseDays: Int = 0
    public var announced: Int = 0
    public var installed: Int = 0
    public var powered: Int = 0
    public var inTraining: Int = 0
    /// Mean GPU utilisation of the reporting GPUs, 0...1.
    public var utilization: Double = 0
    /// Facility power, megawatts.
    public var megawatts: Double = 0
    /// Job interruptions since the stream began.
    public var interruptions: Int = 0
    /// Effective training time ratio since the job first started, 0...1.
    public var ettr: Double = 0

    public init(timeMs: Int64) { self.timeMs = timeMs }
}

/// A closed window of one stream at one resolution: everything that one transaction commits.
public struct WindowSummary: Sendable, Equatable {
    public var stream: StreamID
    /// Length in milliseconds. Windows are [start, end), aligned to multiples of their length since 1970 (UTC).
    public var resolutionMs: Int64
    public var startMs: Int64
    /// 0 for the first summary of a window; late data makes 1, 2 …
    public var revision: Int
    public var topologyVersion: Int
    /// Share of the expected senders that was heard, 0...1.
    public var coverage: Double
    public var levels: [LevelSummary]
    public var timeline: TimelinePoint?

    public var endMs: Int64 { startMs + resolutionMs }

    public init(
        stream: StreamID, resolutionMs: Int64, startMs: Int64, revision: Int = 0, topologyVersion: Int,
        coverage: Double = 1, levels: [LevelSummary], timeline: TimelinePoint? = nil
    ) {
        self.stream = stream
        self.resolutionMs = resolutionMs
        self.startMs = startMs
        self.revision = revision
        self.topologyVersion = topologyVersion
        self.coverage = coverage
        self.levels = levels
        self.timeline = timeline
    }

    public func level(_ level: Level) -> LevelSummary? { levels.first { $0.level == level } }
}

/// What a window knows of its nodes beside what they said.
public struct WindowNodes: Sendable, Equatable {
    /// Nodes of each job, topology indices.
    public var jobs: [String: [Int32]]
    /// Faulted GPUs of the nodes that have any.
    public var faulted: [Int32: UInt32]

    public init(jobs: [String: [Int32]] = [:], faulted: [Int32: UInt32] = [:]) {
        self.jobs = jobs
        self.faulted = faulted
    }
}

/// What one closing of the watermark produced: the finest window and every rollup that ends with it, committed
/// together or not at all.
public struct WindowClose: Sendable {
    public var stream: StreamID
    /// Everything before this is closed. Unix milliseconds.
    public var closedThroughMs: Int64
    /// Finest first. Empty when a quiet stretch of time was passed over.
    public var windows: [WindowSummary]
    public var topology: TopologySnapshot
    /// Totals since the stream began, at this closing.
    public var ledger: Ledger
    public var events: [Event]
    /// What the shards remember of counters and sticky gauges, in an encoding of their own; one a shard, and none with
    /// most closings. To be kept with this closing, and given back when the stream is opened again.
    public var checkpoints: [[UInt8]] = []
    /// What of the ingest log is in this closing; `nil` for a stream without a log.
    public var log: LogMark?
    /// By the start of its finest windows, of a stream that is shared (`StreamSpec.tellsOrdinals`).
    public var nodes: [Int64: WindowNodes] = [:]
    /// Alerts that began, ended or were forgotten with it.
    public var alerts = AlertChanges()

    public init(
        stream: StreamID, closedThroughMs: Int64, windows: [WindowSummary], topology: TopologySnapshot,
        ledger: Ledger, events: [Event] = []
    ) {
        self.stream = stream
        self.closedThroughMs = closedThroughMs
        self.windows = windows
        self.topology = topology
        self.ledger = ledger
        self.events = events
    }
}

/// Where closed windows go. Never blocks; `done` is called on some queue once the transaction is durable, and bounds
/// how many closings are on their way.
public protocol SummarySink: Sendable {
    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void)
}
