import Alerts
import Logging
import Settings
import Store
import SystemdSupport
import Telemetry

/// The history, where alerts are kept.
struct AlertHistory: AlertStore {
    let store: HistoryStore

    func save(_ events: [Event], alerts: AlertChanges, nowMs: Int64) async throws {
        try await store.save(events, alerts: alerts, nowMs: nowMs)
    }
}

extension AlertPolicy {
    /// What the keeper has to know of the configuration.
    init(_ alerts: DaemonSettings.Alerts) {
        self.init()
        streams = Streams(rawValue: alerts.streams.rawValue) ?? .measured
        openMax = alerts.openMax
        openPerRuleMax = alerts.openPerRuleMax
        gpuSilent = Builtin(alerts.gpuSilent)
        nodeDown = Builtin(alerts.nodeDown)
        xid = Builtin(alerts.xid)
        xidClasses = Set(alerts.xidClasses)
        xidHoldMs = alerts.xidHoldMs
        coverageLow = Builtin(alerts.coverageLow)
        coverageMin = alerts.coverageMin
        endpointFailing = Builtin(alerts.endpointFailing)
        rules = alerts.rules.map { AlertRule($0) }
    }
}

extension AlertPolicy.Builtin {
    init(_ builtin: DaemonSettings.Alerts.Builtin) {
        self.init(forMs: builtin.forMs, severity: builtin.severity)
        isOn = builtin.isOn
    }
}

extension AlertRule {
    init(_ rule: DaemonSettings.Alerts.Rule) {
        let subject: Subject =
            switch rule.subject {
            case .field(let field, let statistic): .field(field, statistic)
            case .gpus(let count): .gpus(GPUCount(count))
            case .share(let count): .share(GPUCount(count))
            case .coverage: .coverage
            }
        self.init(
            name: rule.name, level: rule.level, subject: subject, comparison: Comparison(rule.comparison),
            threshold: rule.threshold)
        forMs = rule.forMs
        windowMs = rule.windowMs
        severity = rule.severity
        labels = rule.labels
        annotations = rule.annotations
    }
}

extension AlertRule.GPUCount {
    init(_ count: DaemonSettings.Alerts.Rule.Count) { self = Self(rawValue: count.rawValue) ?? .silent }
}

extension AlertRule.Comparison {
    init(_ sign: DaemonSettings.Alerts.Rule.Comparison) { self = Self(rawValue: sign.rawValue) ?? .above }
}

/// What an operator reads of alerts in the journal: when they begin and end.
enum AlertJournal {
    /// Lines of one closing; there are more in `colossusctl alerts`.
    private static let linesMax = 20

    static func log(_ news: AlertOutcome, _ logger: Logger) {
        for alert in news.fired.prefix(linesMax) {
            logger.log(
                level: alert.severity == .info ? .notice : .warning, "an alert fires",
                metadata: JournalMessage.alertFiring.metadata(metadata(alert)))
        }
        for alert in news.resolved.prefix(linesMax) {
            logger.notice(
                "an alert is over", metadata: JournalMessage.alertResolved.metadata(metadata(alert)))
        }
        let more = max(0, news.fired.count - linesMax) + max(0, news.resolved.count - linesMax)
        if more > 0 { logger.warning("more alerts began or ended", metadata: ["count": "\(more)"]) }
    }

    private static func metadata(_ alert: Alert) -> Logger.Metadata {
        [
            "alert": "\(alert.rule)", "stream": "\(alert.stream)", "entity": "\(alert.entity)",
            "severity": "\(alert.severity.rawValue)", "summary": "\(alert.summary)",
        ]
    }
}
