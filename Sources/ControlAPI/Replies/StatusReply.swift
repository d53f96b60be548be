/// `colossusctl status`: is it well, is it keeping up, and where is everything.
public struct StatusReply: Reply, Hashable {
    public static let schemaName = "colossus.status/v1"

    public var schema: String = Self.schemaName
    public var version: String
    public var pid: Int
    public var started: UTCTime
    public var uptimeSeconds: Double
    public var state: DaemonState
    public var ready: Bool
    /// Why it is not ready, or what it waits for.
    public var reason: String?
    public var streams: [StreamStatus] = []
    public var simulations: [SimulationStatus] = []
    public var endpoints: [EndpointStatus] = []
    public var store: StoreStatus?
    /// Absent where nothing is logged.
    public var ingestLog: IngestLogStatus?
    /// Absent where the daemon works alone.
    public var cluster: ClusterStatus?
    public var shards: [ShardStatus] = []
    /// What is worked on as planned; absent when nothing is.
    public var maintenance: [MaintenanceRow]?
    /// GPUs of it all.
    public var maintenanceGpus: Int?
    /// Plain sentences about what an operator should look at.
    public var warnings: [String] = []

    public init(
        version: String, pid: Int, started: UTCTime, uptimeSeconds: Double, state: DaemonState, ready: Bool,
        reason: String? = nil
    ) {
        self.version = version
        self.pid = pid
        self.started = started
        self.uptimeSeconds = uptimeSeconds
        self.state = state
        self.ready = ready
        self.reason = reason
    }
}

/// Where the daemon is in its life.
public enum DaemonState: String, Codable, Sendable, Hashable {
    case starting, running, draining
}

/// One stream: its clock, its series, its account.
public struct StreamStatus: Codable, Sendable, Hashable {
    /// `measured`, or `sim/RUN`.
    public var stream: String
    public var kind: Kind
    /// Newest event time that windows may close at; absent before the first sample.
    public var watermark: UTCTime?
    /// Every window that ends here or before is closed and stored.
    public var closedThrough: UTCTime?
    /// Watermark behind the stream's clock: the wall clock for `measured`, the simulated clock for a run.
    public var lagSeconds: Double?
    public var keepingUp: Bool
    /// In words: `keeping up`, `falling behind`, `idle`, `catching up` …
    public var verdict: String
    public var series: Int = 0
    public var gpusExpected: Int = 0
    public var gpusReporting: Int = 0
    public var samples = SampleAccount()
    /// Received, averaged over the last ten seconds or so of the wall clock.
    public var samplesPerSecond: Double = 0
    public var senders: Int = 0

    public enum Kind: String, Codable, Sendable, Hashable { case measured, simulated }

    public init(stream: String, kind: Kind, keepingUp: Bool, verdict: String) {
        self.stream = stream
        self.kind = kind
        self.keepingUp = keepingUp
        self.verdict = verdict
    }
}

/// received = aggregated + the sum of dropped + in flight.
public struct SampleAccount: Codable, Sendable, Hashable {
    public var received: Int64
    public var aggregated: Int64
    /// By reason (`out_of_order`, `late` …); reasons that never happened may be left out.
    public var dropped: [String: Int64]
    public var inFlight: Int64
    /// What to do about a reason, for those that somebody can do something about.
    public var hints: [String: String]?

    public init(
        received: Int64 = 0, aggregated: Int64 = 0, dropped: [String: Int64] = [:], inFlight: Int64 = 0
    ) {
        self.received = received
        self.aggregated = aggregated
        self.dropped = dropped
        self.inFlight = inFlight
    }

    public var droppedTotal: Int64 { dropped.values.reduce(0, +) }
}

/// The log of what is received.
public struct IngestLogStatus: Codable, Sendable, Hashable {
    public var bytes: Int64
    public var bytesMax: Int64
    /// How much of what there was at the start is repeated, 0 ... 1.
    public var replayed: Double
    /// Requests that were repeated.
    public var records: Int64
    /// Requests that could not be read again.
    public var unreadable: Int64
    /// Why it takes nothing at the moment; absent when it does.
    public var obstacle: String?

    public init(bytes: Int64, bytesMax: Int64, replayed: Double, records: Int64, unreadable: Int64) {
        self.bytes = bytes
        self.bytesMax = bytesMax
        self.replayed = replayed
        self.records = records
        self.unreadable = unreadable
    }
}

/// The history on disk.
public struct StoreStatus: Codable, Sendable, Hashable {
    public var path: String
    public var bytes: Int64
    public var bytesMax: Int64?
    /// Windows kept.
    public var windows: Int64?

    public init(path: String, bytes: Int64, bytesMax: Int64? = nil, windows: Int64? = nil) {
        self.path = path
        self.bytes = bytes
        self.bytesMax = bytesMax
        self.windows = windows
    }
}

/// One shard of the core. Credit is what may still be handed to it before senders have to wait.
public struct ShardStatus: Codable, Sendable, Hashable {
    public var shard: Int
    public var series: Int
    public var creditFree: Int
    public var creditTotal: Int

    public init(shard: Int, series: Int, creditFree: Int, creditTotal: Int) {
        self.shard = shard
        self.series = series
        self.creditFree = creditFree
        self.creditTotal = creditTotal
    }
}

/// `GET /v1/ready`.
public struct ReadyReply: Reply, Hashable {
    public static let schemaName = "colossus.ready/v1"

    public var schema: String = Self.schemaName
    public var ready: Bool
    public var state: DaemonState
    /// What it waits for; absent when ready.
    public var reason: String?

    public init(ready: Bool, state: DaemonState, reason: String? = nil) {
        self.ready = ready
        self.state = state
        self.reason = reason
    }
}
