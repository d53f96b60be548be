/// `colossusctl events`: what happened.
public struct EventsReply: Reply, Hashable {
    public static let schemaName = "colossus.events/v1"

    public var schema: String = Self.schemaName
    /// Oldest first.
    public var events: [EventRow]
    /// Ask with `after` = this for what comes next; the newest position that was looked at, also when nothing matched.
    public var next: Int64
    public var truncated: Bool

    public init(events: [EventRow], next: Int64, truncated: Bool = false) {
        self.events = events
        self.next = next
        self.truncated = truncated
    }
}

/// One thing that happened to an entity or a job at a time.
public struct EventRow: Codable, Sendable, Hashable {
    /// Position in the order of storing, from 1.
    public var sequence: Int64
    public var stream: String
    public var time: UTCTime
    /// `xid`, `node_down`, `job_start`, `milestone` …
    public var kind: String
    /// Empty when it concerns the site or a job alone.
    public var entity: String = ""
    /// Ordinal within the entity.
    public var gpu: Int?
    public var job: String = ""
    /// Nodes of a job that starts, or all nodes that it happened to; absent where there are none.
    public var nodes: [String]?
    /// XID number, megawatts, seconds lost …: what it is depends on the kind.
    public var value: Double?
    /// A plain sentence.
    public var message: String
    /// `simulation`, `ingest` or `detected`.
    public var source: String

    public init(
        sequence: Int64, stream: String, time: UTCTime, kind: String, message: String, source: String
    ) {
        self.sequence = sequence
        self.stream = stream
        self.time = time
        self.kind = kind
        self.message = message
        self.source = source
    }
}
