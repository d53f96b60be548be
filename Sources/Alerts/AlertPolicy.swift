public import Telemetry

/// What is looked for, and how much of it is said.
public struct AlertPolicy: Sendable, Hashable {
    /// Of which streams.
    public enum Streams: String, CaseIterable, Sendable, Hashable { case none, measured, simulated, all }

    public var streams = Streams.measured
    /// Alerts that are pending or firing at a time, of all rules together; what is beyond is counted and said in one more.
    public var openMax = 1_000
    /// The same for one rule in one stream.
    public var openPerRuleMax = 100
    /// GPUs that are expected and were not heard in a window, grouped: by node; by rack, array, hall or site when all of
    /// it is silent.
    public var gpuSilent = Builtin(forMs: 60_000, severity: .warning)
    /// Between `node_down` and `node_up`; grouped in the same way.
    public var nodeDown = Builtin(forMs: 0, severity: .critical)
    /// By node and class of the XID; over when none of the class came for `holdMs`.
    public var xid = Builtin(forMs: 0, severity: .warning)
    public var xidClasses: Set<XID.Class> = [.memory, .link, .bus, .firmware]
    /// Milliseconds.
    public var xidHoldMs: Int64 = 900_000
    /// Less of the expected senders than this was heard in a window.
    public var coverageLow = Builtin(forMs: 60_000, severity: .warning)
    /// 0...1.
    public var coverageMin = 0.9
    /// On the wall clock.
    public var endpointFailing = Builtin(forMs: 300_000, severity: .warning)
    /// Of the configuration; names are unique and none is that of a built-in one.
    public var rules: [AlertRule] = []

    public init() {}

    /// An alert that needs no rule.
    public struct Builtin: Sendable, Hashable {
        public var isOn = true
        /// Milliseconds that it must be so.
        public var forMs: Int64
        public var severity: AlertSeverity

        public init(forMs: Int64, severity: AlertSeverity) {
            self.forMs = forMs
            self.severity = severity
        }
    }

    public func contains(_ stream: StreamID) -> Bool {
        switch streams {
        case .none: false
        case .measured: !stream.isSimulated
        case .simulated: stream.isSimulated
        case .all: true
        }
    }
}

/// The alerts that need no rule. The raw value is their name.
public enum BuiltinAlert: String, CaseIterable, Sendable, Hashable {
    case gpuSilent = "GPUSilent"
    case nodeDown = "NodeDown"
    case xid = "XID"
    case coverageLow = "CoverageLow"
    case endpointFailing = "EndpointFailing"
    /// There are more alerts of a rule than are opened.
    case suppressed = "AlertsSuppressed"
}

/// A rule of the configuration: an alert for each entity of a level of which it is so.
public struct AlertRule: Sendable, Hashable {
    /// What is looked at.
    public enum Subject: Sendable, Hashable {
        case field(FieldIndex, FieldStatistic)
        case gpus(GPUCount)
        /// The same as a share of the GPUs that are expected, 0...1.
        case share(GPUCount)
        /// Of the window, 0...1; at the site only.
        case coverage
    }

    /// GPUs of an entity. The raw value is what users write.
    public enum GPUCount: String, CaseIterable, Sendable, Hashable {
        case expected, reporting, silent
        case inJob = "in_job"
        case faulted
    }

    /// The raw value is what users write.
    public enum Comparison: String, CaseIterable, Sendable, Hashable {
        case above = ">"
        case atLeast = ">="
        case below = "<"
        case atMost = "<="
        case equal = "=="
        case notEqual = "!="

        public func holds(_ value: Double, _ threshold: Double) -> Bool {
            switch self {
            case .above: value > threshold
            case .atLeast: value >= threshold
            case .below: value < threshold
            case .atMost: value <= threshold
            case .equal: value == threshold
            case .notEqual: value != threshold
            }
        }
    }

    public var name: String
    public var level: Level
    public var subject: Subject
    public var comparison: Comparison
    public var threshold: Double
    /// Milliseconds that it must be so, by the ends of windows.
    public var forMs: Int64 = 0
    /// Length of the windows that are looked at, in milliseconds; `nil` is the finest.
    public var windowMs: Int64?
    public var severity = AlertSeverity.warning
    public var labels: [String: String] = [:]
    /// `{value}`, `{threshold}`, `{entity}`, `{level}`, `{rule}` and `{stream}` are replaced.
    public var annotations: [String: String] = [:]

    public init(
        name: String, level: Level, subject: Subject, comparison: Comparison, threshold: Double
    ) {
        self.name = name
        self.level = level
        self.subject = subject
        self.comparison = comparison
        self.threshold = threshold
    }

    /// As it is said to people: `p99 of DCGM_FI_DEV_GPU_TEMP`.
    public var subjectText: String {
        switch subject {
        case .field(let field, let statistic): "\(statistic.rawValue) of \(field.field.name)"
        case .gpus(let count): "GPUs \(count.rawValue)"
        case .share(let count): "share of GPUs \(count.rawValue)"
        case .coverage: "coverage"
        }
    }
}
