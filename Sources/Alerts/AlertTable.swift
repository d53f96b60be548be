public import Telemetry

/// A rule, and a stream that it watches: what is found there is compared with what was open there.
struct AlertScope: Hashable, Sendable {
    var rule: String
    var stream: String
}

/// What is common to the alerts of a rule.
struct AlertForm: Sendable {
    var rule: String
    var severity: AlertSeverity
    var forMs: Int64
    var labels: [String: String] = [:]
    /// A new alert takes over the time of one whose place holds it, or is held by it: it is the same trouble, said in
    /// other words.
    var inherits = false
}

/// Alerts that are open or were so a short time ago. Opens, fires and resolves them, and says what changed.
struct AlertTable: Sendable {
    /// What was found, at what time.
    struct Look: Sendable {
        var stream: StreamID
        /// Of the stream's clock.
        var atMs: Int64
        /// Wall clock.
        var nowMs: Int64
    }

    /// Resolved ones are remembered so long on the wall clock, and so many of them.
    static let resolvedKeepMs: Int64 = 3_600_000
    static let resolvedMax = 1_000
    /// One of which nothing is heard any more counts as over after this time of the stream's clock.
    static let unknownKeepMs: Int64 = 300_000

    var openMax: Int
    var openPerRuleMax: Int

    private var open: [AlertScope: [String: Alert]] = [:]
    /// When something was heard of an open alert.
    private var heardMs: [String: Int64] = [:]
    private var resolved: [String: Alert] = [:]
    /// More were found than are open.
    private(set) var suppressed: [AlertScope: Int] = [:]
    private(set) var openCount = 0
    private(set) var firedTotal: [String: Int64] = [:]

    init(openMax: Int, openPerRuleMax: Int) {
        self.openMax = openMax
        self.openPerRuleMax = openPerRuleMax
    }

    /// Goes on with what was kept.
    mutating func restore(_ alerts: [Alert]) {
        for alert in alerts {
            if alert.state == .resolved {
                resolved[alert.id] = alert
            } else {
                let scope = AlertScope(rule: alert.rule, stream: alert.stream)
                if open[scope, default: [:]].updateValue(alert, forKey: alert.id) == nil { openCount += 1 }
            }
        }
    }

    /// Pending and firing ones, by id.
    var opened: [Alert] { open.values.flatMap(\.values).sorted { $0.id < $1.id } }
    /// The latest first.
    var recentlyResolved: [Alert] {
        resolved.values.sorted { ($1.resolvedMs, $0.id) < ($0.resolvedMs, $1.id) }
    }

    /// Open, or resolved and remembered.
    func alert(_ id: String) -> Alert? { open.values.lazy.compactMap { $0[id] }.first ?? resolved[id] }

    func alerts(of scope: AlertScope) -> [Alert] { open[scope].map { Array($0.values) } ?? [] }
    var scopes: [AlertScope] { Array(open.keys) }

    func hasOpen(_ rule: String, _ stream: StreamID) -> Bool {
        open[AlertScope(rule: rule, stream: stream.name)] != nil
    }

    static func id(_ form: AlertForm, _ stream: StreamID, _ labels: [String: String]) -> String {
        let place = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        return "\(form.rule)|\(stream.name)|\(place)"
    }

    /// Makes the findings the open alerts of a rule in a stream.
    ///
    /// - Parameters:
    ///   - more: how many were found besides, of which nothing is opened.
    ///   - isBounded: whether the limits count for it; not for what says that they are reached.
    ///   - isUnknown: of an open alert that was not found: whether nothing was heard of it, so that nobody knows.
    mutating func settle(
        _ form: AlertForm, _ findings: [Finding], _ look: Look, _ outcome: inout AlertOutcome,
        more: Int = 0, isBounded: Bool = true, isUnknown: (Alert) -> Bool = { _ in false }
    ) {
        let scope = AlertScope(rule: form.rule, stream: look.stream.name)
        let before = open[scope] ?? [:]
        guard !before.isEmpty || !findings.isEmpty || more > 0 else {
            suppressed[scope] = nil
            return
        }
        var present: Set<String> = []
        var left: [(String, Finding)] = []
        for finding in findings {
            let id = Self.id(form, look.stream, finding.labels)
            guard present.insert(id).inserted else { continue }
            if before[id] == nil {
                left.append((id, finding))
            } else {
                goOn(id, scope, finding, form, look, &outcome)
            }
        }
        // What is over makes room first.
        for (id, alert) in before.sorted(by: { $0.key < $1.key }) where !present.contains(id) {
            if isUnknown(alert) {
                let lastMs = heardMs[id] ?? look.atMs
                heardMs[id] = lastMs
                if look.atMs - lastMs < Self.unknownKeepMs { continue }
            }
            end(id, scope, look, &outcome)
        }
        var beyond = more
        for (id, finding) in left {
            guard !isBounded || (open[scope]?.count ?? 0) < openPerRuleMax && openCount < openMax else {
                beyond += 1
                continue
            }
            begin(id, scope, finding, form, look, from: before, &outcome)
        }
        suppressed[scope] = beyond == 0 ? nil : beyond
    }

    private mutating func begin(
        _ id: String, _ scope: AlertScope, _ finding: Finding, _ form: AlertForm, _ look: Look,
        from before: [String: Alert], _ outcome: inout AlertOutcome
    ) {
        var alert = Alert(
            id: id, rule: form.rule, stream: look.stream.name, entity: finding.entity,
            severity: form.severity, labels: form.labels.merging(finding.labels) { $1 },
            annotations: finding.annotations.merging(["summary": finding.summary]) { own, _ in own },
            value: finding.value, sinceMs: look.atMs)
        alert.untilMs = finding.untilMs
        var isFiring = form.forMs <= 0
        if form.inherits {
            for other in before.values where Self.concern(other.labels, alert.labels) {
                alert.sinceMs = min(alert.sinceMs, other.sinceMs)
                isFiring = isFiring || other.state == .firing
            }
        }
        resolved[id] = nil
        heardMs[id] = look.atMs
        openCount += 1
        if isFiring { fire(&alert, look, &outcome) }
        open[scope, default: [:]][id] = alert
        outcome.changes.add(saved: alert)
    }

    private mutating func goOn(
        _ id: String, _ scope: AlertScope, _ finding: Finding, _ form: AlertForm, _ look: Look,
        _ outcome: inout AlertOutcome
    ) {
        guard var alert = open[scope]?[id] else { return }
        heardMs[id] = look.atMs
        let before = alert
        alert.value = finding.value
        alert.annotations = finding.annotations.merging(["summary": finding.summary]) { own, _ in own }
        alert.labels = form.labels.merging(finding.labels) { $1 }
        alert.severity = form.severity
        alert.untilMs = finding.untilMs
        let isFiringNow = alert.state == .pending && look.atMs - alert.sinceMs >= form.forMs
        if isFiringNow { fire(&alert, look, &outcome) }
        open[scope]?[id] = alert
        let isOther =
            alert.untilMs != before.untilMs || alert.labels != before.labels
            || alert.severity != before.severity
        if isFiringNow || isOther { outcome.changes.add(saved: alert) }
        // Numbers in sentences change all the time: whoever listens is told, and nothing is written.
        if alert.state == .firing, alert.annotations != before.annotations { outcome.isRetold = true }
    }

    private mutating func fire(_ alert: inout Alert, _ look: Look, _ outcome: inout AlertOutcome) {
        alert.state = .firing
        alert.firedMs = look.nowMs
        firedTotal[alert.rule, default: 0] += 1
        outcome.events.append(Self.event(.alertFiring, alert, look))
        outcome.fired.append(alert)
    }

    private mutating func end(
        _ id: String, _ scope: AlertScope, _ look: Look, _ outcome: inout AlertOutcome
    ) {
        guard var alert = open[scope]?.removeValue(forKey: id) else { return }
        if open[scope]?.isEmpty == true { open[scope] = nil }
        openCount -= 1
        heardMs[id] = nil
        guard alert.state == .firing else { return outcome.changes.add(removed: id) }
        alert.state = .resolved
        alert.resolvedMs = look.nowMs
        resolved[id] = alert
        outcome.changes.add(saved: alert)
        outcome.events.append(Self.event(.alertResolved, alert, look))
        outcome.resolved.append(alert)
    }

    /// Forgets what was resolved long ago.
    mutating func sweep(nowMs: Int64, _ outcome: inout AlertOutcome) {
        var old = resolved.values.filter { nowMs - $0.resolvedMs >= Self.resolvedKeepMs }.map(\.id)
        if resolved.count - old.count > Self.resolvedMax {
            old = recentlyResolved.dropFirst(Self.resolvedMax).map(\.id)
        }
        for id in old {
            resolved[id] = nil
            outcome.changes.add(removed: id)
        }
    }

    /// One of the places holds the other: all names that both have are the same.
    private static func concern(_ left: [String: String], _ right: [String: String]) -> Bool {
        left.allSatisfy { $0.key == "level" || right[$0.key] == nil || right[$0.key] == $0.value }
    }

    private static func event(_ kind: EventKind, _ alert: Alert, _ look: Look) -> Event {
        var event = Event(
            stream: look.stream, timeMs: look.atMs, kind: kind, entity: alert.entity, value: alert.value,
            message: kind == .alertFiring ? alert.summary : "over: " + alert.summary, source: .detected)
        event.alert = alert
        return event
    }
}

/// What became of alerts at one look.
public struct AlertOutcome: Sendable {
    /// To be kept.
    public var changes = AlertChanges()
    /// To be kept with them: `alert_firing` and `alert_resolved`.
    public var events: [Event] = []
    public var fired: [Alert] = []
    public var resolved: [Alert] = []

    /// What is said of an open alert is not what it was; it need not be kept.
    public var isRetold = false

    public init() {}
    /// Nothing is to be kept.
    public var isEmpty: Bool { changes.isEmpty && events.isEmpty }

    /// These, and then others.
    func adding(_ later: AlertOutcome) -> AlertOutcome {
        var both = self
        both.changes.add(later.changes)
        both.events += later.events
        both.fired += later.fired
        both.resolved += later.resolved
        both.isRetold = isRetold || later.isRetold
        return both
    }
}

extension AlertChanges {
    mutating func add(saved alert: Alert) {
        saved.removeAll { $0.id == alert.id }
        removed.removeAll { $0 == alert.id }
        saved.append(alert)
    }

    mutating func add(removed id: String) {
        saved.removeAll { $0.id == id }
        removed.append(id)
    }
}
