/// `colossusctl alerts list`.
public struct AlertsReply: Reply, Hashable {
    public static let schemaName = "colossus.alerts/v1"

    public var schema: String = Self.schemaName
    /// Firing, then pending, then resolved; the oldest first.
    public var alerts: [AlertRow]
    /// Of all, whatever was asked for.
    public var firing: Int = 0
    public var pending: Int = 0
    /// Found and not opened, because there are too many.
    public var suppressed: Int = 0
    public var truncated: Bool

    public init(_ alerts: [AlertRow], truncated: Bool = false) {
        self.alerts = alerts
        self.truncated = truncated
    }
}

/// Something that is wrong with an entity.
public struct AlertRow: Codable, Sendable, Hashable {
    /// Name of the rule.
    public var alert: String
    /// `pending`, `firing` or `resolved`.
    public var state: String
    /// `info`, `warning` or `critical`.
    public var severity: String
    public var stream: String
    /// Node, rack …; empty where the whole stream is meant.
    public var entity: String
    /// Since when it is so, on the stream's clock.
    public var since: UTCTime
    /// On the wall clock.
    public var fired: UTCTime?
    public var resolved: UTCTime?
    public var value: Double
    /// A plain sentence.
    public var summary: String
    public var labels: [String: String] = [:]
    public var annotations: [String: String] = [:]

    public init(
        alert: String, state: String, severity: String, stream: String, entity: String, since: UTCTime,
        value: Double, summary: String
    ) {
        self.alert = alert
        self.state = state
        self.severity = severity
        self.stream = stream
        self.entity = entity
        self.since = since
        self.value = value
        self.summary = summary
    }
}

/// `colossusctl alerts rules`.
public struct AlertRulesReply: Reply, Hashable {
    public static let schemaName = "colossus.alert_rules/v1"

    public var schema: String = Self.schemaName
    /// Built-in ones first.
    public var rules: [AlertRuleRow]
    /// What is watched: `measured`, `simulated`, `all` or `none`.
    public var streams: String

    public init(_ rules: [AlertRuleRow], streams: String) {
        self.rules = rules
        self.streams = streams
    }
}

/// What is looked for.
public struct AlertRuleRow: Codable, Sendable, Hashable {
    public var name: String
    public var builtin: Bool
    public var enabled: Bool
    public var condition: String
    public var level: String?
    /// Milliseconds that it must be so.
    public var forMs: Int64
    /// Length of the windows that are looked at; absent: the finest.
    public var windowMs: Int64?
    public var severity: String
    public var labels: [String: String]?
    public var annotations: [String: String]?
    public var firing: Int = 0
    public var pending: Int = 0

    public init(
        name: String, builtin: Bool, enabled: Bool, condition: String, forMs: Int64, severity: String
    ) {
        self.name = name
        self.builtin = builtin
        self.enabled = enabled
        self.condition = condition
        self.forMs = forMs
        self.severity = severity
    }
}
