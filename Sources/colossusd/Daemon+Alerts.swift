import Alerts
import ControlAPI
import Reporting
import Store
import Telemetry

// What the control interface asks of alerts, and what they hear of endpoints.
extension Daemon {
    func alerts(_ request: AlertsRequest) async throws -> AlertsReply {
        let parts = try running()
        let all = await parts.alerts.alerts
        let wanted = all.filter { alert in
            (request.all || alert.state != .resolved)
                && (request.rule.map { $0 == alert.rule } ?? true)
                && (request.stream.map { $0 == alert.stream } ?? true)
                && (request.severity.map { $0 == alert.severity.rawValue } ?? true)
        }
        let order: [Alert.State] = [.firing, .pending, .resolved]
        let sorted = wanted.sorted { left, right in
            let places = [left, right].map { order.firstIndex(of: $0.state) ?? 0 }
            return (places[0], left.sinceMs, left.id) < (places[1], right.sinceMs, right.id)
        }
        var reply = AlertsReply(
            sorted.prefix(request.limit).map { AlertRow($0) }, truncated: sorted.count > request.limit)
        reply.firing = all.count { $0.state == .firing }
        reply.pending = all.count { $0.state == .pending }
        reply.suppressed = await parts.alerts.suppressed
        return reply
    }

    func alertRules() async throws -> AlertRulesReply {
        let parts = try running()
        let policy = await parts.alerts.policy
        let all = await parts.alerts.alerts
        let rows = Self.builtins(policy) + policy.rules.map(Self.row)
        return AlertRulesReply(
            rows.map { row in
                var row = row
                row.firing = all.count { $0.rule == row.name && $0.state == .firing }
                row.pending = all.count { $0.rule == row.name && $0.state == .pending }
                return row
            }, streams: policy.streams.rawValue)
    }

    private static func builtins(_ policy: AlertPolicy) -> [AlertRuleRow] {
        func row(_ name: BuiltinAlert, _ builtin: AlertPolicy.Builtin, _ condition: String) -> AlertRuleRow {
            AlertRuleRow(
                name: name.rawValue, builtin: true, enabled: builtin.isOn, condition: condition,
                forMs: builtin.forMs, severity: builtin.severity.rawValue)
        }
        let classes = policy.xidClasses.map(\.rawValue).sorted().joined(separator: ", ")
        return [
            row(.gpuSilent, policy.gpuSilent, "GPUs that are expected are not heard"),
            row(.nodeDown, policy.nodeDown, "node_down without node_up"),
            row(.xid, policy.xid, "an XID of class \(classes)"),
            row(.coverageLow, policy.coverageLow, "coverage < \(policy.coverageMin)"),
            row(.endpointFailing, policy.endpointFailing, "an endpoint takes nothing"),
        ]
    }

    private static func row(_ rule: AlertRule) -> AlertRuleRow {
        var row = AlertRuleRow(
            name: rule.name, builtin: false, enabled: true,
            condition: "\(rule.subjectText) \(rule.comparison.rawValue) \(rule.threshold)", forMs: rule.forMs,
            severity: rule.severity.rawValue)
        row.level = rule.level.rawValue
        row.windowMs = rule.windowMs
        row.labels = rule.labels.isEmpty ? nil : rule.labels
        row.annotations = rule.annotations.isEmpty ? nil : rule.annotations
        return row
    }

    /// Every two seconds. An endpoint that an operator has paused does not fail, and of one that has not answered yet
    /// nobody knows.
    func lookAtEndpoints() async {
        guard let parts else { return }
        var failing: [String: String] = [:]
        var unknown: Set<String> = []
        for status in await parts.reporter.status() where !status.name.hasSuffix("#replay") {
            let isFailing = status.failuresInARow > 0 || status.isRefusingAll
            if status.state == .disabled || isFailing && status.state != .paused {
                failing[status.name] = status.lastError ?? ""
            } else if !status.isAnswered, status.state != .paused {
                unknown.insert(status.name)
            }
        }
        // A store that fails has said so; the alerts are kept the next time.
        try? await parts.alerts.look(atFailing: failing, unknown: unknown)
    }
}

extension AlertRow {
    init(_ alert: Alert) {
        self.init(
            alert: alert.rule, state: alert.state.rawValue, severity: alert.severity.rawValue,
            stream: alert.stream, entity: alert.entity, since: UTCTime(ms: alert.sinceMs), value: alert.value,
            summary: alert.summary)
        fired = alert.firedMs > 0 ? UTCTime(ms: alert.firedMs) : nil
        resolved = alert.resolvedMs > 0 ? UTCTime(ms: alert.resolvedMs) : nil
        labels = alert.labels
        annotations = alert.annotations
    }
}
