public import Telemetry

extension DaemonSettings {
    /// What is wrong enough to be said.
    public struct Alerts: Sendable, Equatable {
        public var streams = Streams.measured
        public var openMax = 1_000
        public var openPerRuleMax = 100
        public var gpuSilent = Builtin(forMs: 60_000, severity: .warning)
        public var nodeDown = Builtin(forMs: 0, severity: .critical)
        public var xid = Builtin(forMs: 0, severity: .warning)
        public var xidClasses: [XID.Class] = [.memory, .link, .bus, .firmware]
        /// Milliseconds after which an XID that does not come again counts as over.
        public var xidHoldMs: Int64 = 900_000
        public var coverageLow = Builtin(forMs: 60_000, severity: .warning)
        /// 0...1.
        public var coverageMin = 0.9
        public var endpointFailing = Builtin(forMs: 300_000, severity: .warning)
        /// In the order of the files; names are unique.
        public var rules: [Rule] = []

        public enum Streams: String, CaseIterable, Sendable { case none, measured, simulated, all }

        /// An alert that needs no rule.
        public struct Builtin: Sendable, Equatable {
            public var isOn = true
            public var forMs: Int64
            public var severity: AlertSeverity

            public init(forMs: Int64, severity: AlertSeverity) {
                self.forMs = forMs
                self.severity = severity
            }
        }

        public init() {}
    }
}

extension DaemonSettings.Alerts {
    /// An alert for each entity of a level of which it is so.
    public struct Rule: Sendable, Equatable {
        public var name: String
        public var level = Level.site
        public var subject = Subject.coverage
        public var comparison = Comparison.above
        public var threshold = 0.0
        public var forMs: Int64 = 0
        /// Length of the windows that are looked at; `nil` is the finest.
        public var windowMs: Int64?
        public var severity = AlertSeverity.warning
        public var labels: [String: String] = [:]
        public var annotations: [String: String] = [:]

        public enum Subject: Sendable, Hashable {
            case field(FieldIndex, FieldStatistic)
            case gpus(Count)
            case share(Count)
            case coverage
        }

        public enum Count: String, CaseIterable, Sendable {
            case expected, reporting, silent
            case inJob = "in_job"
            case faulted
        }

        public enum Comparison: String, CaseIterable, Sendable {
            case above = ">"
            case atLeast = ">="
            case below = "<"
            case atMost = "<="
            case equal = "=="
            case notEqual = "!="
        }

        public init(name: String) { self.name = name }
    }

    /// Names of the alerts that need no rule.
    public static let builtinNames = [
        "GPUSilent", "NodeDown", "XID", "CoverageLow", "EndpointFailing", "AlertsSuppressed",
    ]
    /// Labels that alerts have of their own.
    public static let ownLabels: Set<String> = [
        "alertname", "severity", "site", "hall", "array", "rack", "node", "job", "level", "endpoint", "rule",
        "xid_class", "colossus_stream",
    ]
}
