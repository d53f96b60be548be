/// `colossusctl store backup|verify`: long work on the whole history, under way or done.
public struct StoreJobReply: Reply, Hashable {
    public static let schemaName = "colossus.store_job/v1"

    public var schema: String = Self.schemaName
    public var kind: Kind
    public var state: State
    /// What is written, or looked at.
    public var file: String
    /// What it does at the moment; absent when it is over.
    public var stage: String?
    /// Pages, or checks.
    public var done: Int64 = 0
    public var total: Int64 = 0
    public var seconds: Double = 0
    /// Of the file.
    public var bytes: Int64?
    /// Which version of the tables the file has.
    public var schemaVersion: Int?
    public var streams: Int?
    public var windows: Int?
    public var events: Int?
    public var endpoints: Int?
    /// What is wrong with the file, or why the work failed.
    public var problems: [String] = []

    public enum Kind: String, Codable, Sendable, Hashable { case backup, verify }

    public enum State: String, Codable, Sendable, Hashable { case running, done, failed }

    public init(kind: Kind, state: State, file: String) {
        self.kind = kind
        self.state = state
        self.file = file
    }
}

/// `colossusctl maintenance`: what is worked on as planned.
public struct MaintenanceReply: Reply, Hashable {
    public static let schemaName = "colossus.maintenance/v1"

    public var schema: String = Self.schemaName
    /// By time.
    public var maintenance: [MaintenanceRow]
    /// GPUs of all of them together; one that is named twice counts once.
    public var gpus: Int

    public init(maintenance: [MaintenanceRow], gpus: Int) {
        self.maintenance = maintenance
        self.gpus = gpus
    }
}

public struct MaintenanceRow: Codable, Sendable, Hashable {
    /// A node, a rack, an array, a hall, the site, or `NODE/ORDINAL`.
    public var entity: String
    public var since: UTCTime
    /// Then it ends by itself; absent: when somebody says so.
    public var until: UTCTime?
    public var reason: String?

    public init(entity: String, since: UTCTime, until: UTCTime? = nil, reason: String? = nil) {
        self.entity = entity
        self.since = since
        self.until = until
        self.reason = reason
    }
}

/// `colossusctl trace`: where the last sample of a GPU's field is now.
public struct TraceReply: Reply, Hashable {
    public static let schemaName = "colossus.trace/v1"

    public var schema: String = Self.schemaName
    public var gpu: String
    public var field: String
    /// Series that tell of it; only one of them counts.
    public var sources: [TraceSource]
    /// Event time that windows may close at; absent before the first sample.
    public var watermark: UTCTime?
    /// Where it is, in a sentence.
    public var verdict: String
    /// Windows that hold it, finest first.
    public var windows: [TraceWindow] = []

    public init(gpu: String, field: String, sources: [TraceSource] = [], verdict: String) {
        self.gpu = gpu
        self.field = field
        self.sources = sources
        self.verdict = verdict
    }
}

public struct TraceSource: Codable, Sendable, Hashable {
    /// Who delivers it.
    public var sender: String
    public var shard: Int
    /// Event time of the newest sample that counted; absent before the first.
    public var time: UTCTime?
    public var value: Double?
    /// Whether this series counts, and not another of the same GPU and field.
    public var counts: Bool

    public init(sender: String, shard: Int, time: UTCTime? = nil, value: Double? = nil, counts: Bool) {
        self.sender = sender
        self.shard = shard
        self.time = time
        self.value = value
        self.counts = counts
    }
}

public struct TraceWindow: Codable, Sendable, Hashable {
    /// `10s`
    public var resolution: String
    public var start: UTCTime
    public var end: UTCTime
    /// In the history.
    public var committed: Bool
    public var revision: Int?
    /// Endpoints that want it, and whether they have got it.
    public var endpoints: [TraceEndpoint] = []

    public init(resolution: String, start: UTCTime, end: UTCTime, committed: Bool) {
        self.resolution = resolution
        self.start = start
        self.end = end
        self.committed = committed
    }
}

public struct TraceEndpoint: Codable, Sendable, Hashable {
    public var name: String
    public var delivered: Bool

    public init(name: String, delivered: Bool) {
        self.name = name
        self.delivered = delivered
    }
}

/// The daemon's own metrics, as the web listener shows them.
public struct MetricsReply: Reply, Hashable {
    public static let schemaName = "colossus.metrics/v1"

    public var schema: String = Self.schemaName
    /// Exposition text 0.0.4.
    public var text: String

    public init(text: String) { self.text = text }
}
