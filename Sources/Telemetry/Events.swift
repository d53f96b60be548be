/// What happened. The raw value is what users see in JSON, in the journal and on the command line.
public enum EventKind: String, CaseIterable, Sendable, Hashable {
    case xid
    case nodeDown = "node_down"
    case nodeUp = "node_up"
    case jobStart = "job_start"
    case jobEnd = "job_end"
    case jobInterrupted = "job_interrupted"
    case jobRestarted = "job_restarted"
    case checkpoint
    case maintenanceStart = "maintenance_start"
    case maintenanceEnd = "maintenance_end"
    case milestone
    case phaseStart = "phase_start"
    case phaseEnd = "phase_end"
    case powerChange = "power_change"
    case alertFiring = "alert_firing"
    case alertResolved = "alert_resolved"
}

/// One thing that happened to an entity or a job at a time.
public struct Event: Sendable, Hashable {
    public var stream: StreamID
    /// Unix milliseconds, event time.
    public var timeMs: Int64
    public var kind: EventKind
    /// Name of the node (or rack, hall …) it happened to; empty when it concerns the site or a job alone.
    public var entity: String
    /// GPU ordinal within `entity`, for events of a single GPU.
    public var gpu: Int?
    public var job: String
    /// Nodes of a job that starts.
    public var nodes: [String]
    /// XID number, megawatts, seconds lost …: what it is depends on the kind.
    public var value: Double?
    /// A plain sentence for people.
    public var message: String
    /// Who says so: `simulation`, `ingest` (somebody told us), `detected` (seen in telemetry).
    public var source: Source
    /// Of `alert_firing` and `alert_resolved`: as it was then.
    public var alert: Alert?

    public enum Source: String, Sendable, Hashable { case simulation, ingest, detected }

    public init(
        stream: StreamID, timeMs: Int64, kind: EventKind, entity: String = "", gpu: Int? = nil,
        job: String = "",
        nodes: [String] = [], value: Double? = nil, message: String = "", source: Source
    ) {
        self.stream = stream
        self.timeMs = timeMs
        self.kind = kind
        self.entity = entity
        self.gpu = gpu
        self.job = job
        self.nodes = nodes
        self.value = value
        self.message = message
        self.source = source
    }
}

/// Where events go; never blocks.
public protocol EventSink: Sendable {
    func emit(_ events: [Event])
}
