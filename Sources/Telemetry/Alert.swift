/// How much an alert matters. The raw value is what users write and see.
public enum AlertSeverity: String, CaseIterable, Sendable, Hashable, Codable { case info, warning, critical }

/// Something that is wrong with an entity, from when it is first seen until some time after it is over.
public struct Alert: Sendable, Hashable, Codable {
    /// The raw value is what users see.
    public enum State: String, CaseIterable, Sendable, Hashable, Codable {
        /// It is so, but not for long enough.
        case pending
        case firing
        /// It was so.
        case resolved
    }

    /// Rule, stream and entity: the same for as long as the rule has its name.
    public var id: String
    public var rule: String
    /// Name of the stream.
    public var stream: String
    /// Name of the node, rack …; of the endpoint; empty where the whole stream is meant.
    public var entity: String
    public var severity: AlertSeverity
    /// Names of the entity and of what it is part of, with what the rule adds; `alertname` and `severity` are not in it.
    public var labels: [String: String]
    /// `summary` is a sentence for people.
    public var annotations: [String: String]
    public var state: State
    /// The rule's value when it was looked at last.
    public var value: Double
    /// Since when it is so: the end of the first window that shows it, Unix milliseconds of the stream's clock.
    public var sinceMs: Int64
    /// When it was noticed to fire, and to be over; wall clock, Unix milliseconds. 0: not yet.
    public var firedMs: Int64 = 0
    public var resolvedMs: Int64 = 0
    /// For what happens at a moment and has no end of its own: when it counts as over, unless it happens again. Unix
    /// milliseconds of the stream's clock.
    public var untilMs: Int64?

    public init(
        id: String, rule: String, stream: String, entity: String, severity: AlertSeverity,
        labels: [String: String] = [:], annotations: [String: String] = [:], state: State = .pending,
        value: Double = 0, sinceMs: Int64
    ) {
        self.id = id
        self.rule = rule
        self.stream = stream
        self.entity = entity
        self.severity = severity
        self.labels = labels
        self.annotations = annotations
        self.state = state
        self.value = value
        self.sinceMs = sinceMs
    }

    public var summary: String { annotations["summary"] ?? rule }
    public var isSimulated: Bool { stream != StreamID.measured.name }
}

/// What is to be kept of alerts together with a closing.
public struct AlertChanges: Sendable, Equatable {
    /// New or changed, by id; of a transaction the last one counts.
    public var saved: [Alert] = []
    /// Gone: ids.
    public var removed: [String] = []

    public init() {}
    public var isEmpty: Bool { saved.isEmpty && removed.isEmpty }

    /// Later changes, after these.
    public mutating func add(_ later: AlertChanges) {
        let settled = Set(later.saved.map(\.id)).union(later.removed)
        saved = saved.filter { !settled.contains($0.id) } + later.saved
        removed = removed.filter { !settled.contains($0) } + later.removed
    }
}
