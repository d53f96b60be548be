public import Telemetry

/// Which alerts are open: a pure state machine that looks at each closing, at events and at endpoints, and says what began
/// and what ended.
///
/// Simulated streams have clocks of their own: `for` and `hold` are times of the stream. How many are open is bounded, and
/// troubles of a whole rack, array or hall are said once (`Grouping`).
public struct AlertEngine: Sendable {
    public private(set) var policy: AlertPolicy
    private var table: AlertTable
    private var streams: [StreamID: Watched] = [:]

    /// What is known of a stream.
    private struct Watched: Sendable {
        var places: FleetPlaces?
        /// Nodes, or racks, by name.
        var maintained: Set<String> = []
        var down: Set<String> = []
        /// What the XID of a class was, and until when it counts, by node and class.
        var xids: [XIDKey: XIDMark] = [:]
        /// Length of the shortest windows that came, and the end of the last of them.
        var finestMs: Int64 = .max
        var lastEndMs: Int64?
    }

    private struct XIDKey: Hashable, Sendable {
        var node: String
        var `class`: XID.Class
    }

    private struct XIDMark: Sendable {
        var code: Int
        var gpu: Int?
        var untilMs: Int64
    }

    /// Nodes with XIDs that are remembered of a stream.
    private static let xidsMax = 10_000

    /// - Parameters:
    ///   - alerts: as they were kept.
    ///   - openEvents: nodes that are down, and maintenance that goes on.
    public init(_ policy: AlertPolicy, restoring alerts: [Alert] = [], openEvents: [Event] = []) {
        self.policy = policy
        table = AlertTable(openMax: policy.openMax, openPerRuleMax: policy.openPerRuleMax)
        table.restore(alerts)
        for alert in alerts where alert.rule == BuiltinAlert.xid.rawValue && alert.state != .resolved {
            guard let stream = StreamID(alert.stream), let node = alert.labels["node"],
                let kind = alert.labels["xid_class"].flatMap(XID.Class.init), let untilMs = alert.untilMs
            else { continue }
            streams[stream, default: Watched()].xids[XIDKey(node: node, class: kind)] = XIDMark(
                code: Int(alert.value), gpu: nil, untilMs: untilMs)
        }
        for event in openEvents { note(event) }
    }

    /// Pending and firing.
    public var open: [Alert] { table.opened }
    public var recentlyResolved: [Alert] { table.recentlyResolved }
    /// Found and not opened, because there are too many.
    public var suppressed: Int { table.suppressed.values.reduce(0, +) }
    /// How often a rule has fired.
    public var firedTotal: [String: Int64] { table.firedTotal }
    public func openCount(rule: String) -> Int { open.count { $0.rule == rule } }

    // MARK: Looking

    public mutating func look(at close: WindowClose, nowMs: Int64) -> AlertOutcome {
        var outcome = AlertOutcome()
        guard policy.contains(close.stream) else { return outcome }
        var watched = streams[close.stream] ?? Watched()
        if watched.places?.topology.version != close.topology.version
            || watched.places?.topology.nodeNames.count != close.topology.nodeNames.count
        {
            watched.places = FleetPlaces(close.topology)
        }
        let windows = close.windows.filter { $0.revision == 0 }
        watched.finestMs = min(watched.finestMs, windows.map(\.resolutionMs).min() ?? .max)
        let finest = windows.last { $0.resolutionMs == watched.finestMs }
        // Where nobody is heard, closings come without a finest window. One without a window may also only bring events.
        let isGap =
            finest == nil && !(windows.isEmpty && !close.windows.isEmpty)
            && watched.lastEndMs.map { close.closedThroughMs >= $0 + watched.finestMs } ?? false
        if let finest { watched.lastEndMs = finest.endMs }
        streams[close.stream] = watched
        for event in close.events { note(event) }
        let look = AlertTable.Look(stream: close.stream, atMs: close.closedThroughMs, nowMs: nowMs)
        if finest != nil || isGap {
            silence(finest, look, &outcome)
            coverage(finest, look, &outcome)
        }
        for rule in policy.rules { apply(rule, windows, finest, isGap: isGap, look, &outcome) }
        told(look, &outcome)
        tooMany(look, &outcome)
        table.sweep(nowMs: nowMs, &outcome)
        return outcome
    }

    /// Events that come without a closing.
    public mutating func look(at events: [Event], nowMs: Int64) -> AlertOutcome {
        var outcome = AlertOutcome()
        for event in events { note(event) }
        for stream in Set(events.map(\.stream)) where policy.contains(stream) {
            let atMs = events.filter { $0.stream == stream }.map(\.timeMs).max() ?? nowMs
            let look = AlertTable.Look(stream: stream, atMs: atMs, nowMs: nowMs)
            told(look, &outcome)
            tooMany(look, &outcome)
        }
        return outcome
    }

    /// - Parameter failing: endpoints that do not work, with what was said last.
    public mutating func look(atFailing failing: [String: String], nowMs: Int64) -> AlertOutcome {
        var outcome = AlertOutcome()
        let look = AlertTable.Look(stream: .measured, atMs: nowMs, nowMs: nowMs)
        let isWanted = policy.endpointFailing.isOn && policy.streams != .none
        let findings = failing.sorted { $0.key < $1.key }.map { name, reason in
            Finding(
                entity: name, labels: ["endpoint": name], value: 1,
                summary: "endpoint \(name) takes nothing: \(reason.prefix(200))")
        }
        table.settle(
            form(.endpointFailing, policy.endpointFailing), isWanted ? findings : [], look, &outcome)
        table.sweep(nowMs: nowMs, &outcome)
        return outcome
    }

    /// Takes another policy. Alerts of rules that are gone are over.
    public mutating func replace(_ policy: AlertPolicy, nowMs: Int64) -> AlertOutcome {
        var outcome = AlertOutcome()
        self.policy = policy
        table.openMax = policy.openMax
        table.openPerRuleMax = policy.openPerRuleMax
        let names = Set(policy.rules.map(\.name)).union(BuiltinAlert.allCases.map(\.rawValue))
        for scope in table.scopes {
            guard let stream = StreamID(scope.stream), !names.contains(scope.rule) || !policy.contains(stream)
            else { continue }
            end(scope, stream, nowMs, &outcome)
        }
        return outcome
    }

    /// A stream is gone, and its alerts with it.
    public mutating func forget(_ stream: StreamID, nowMs: Int64) -> AlertOutcome {
        var outcome = AlertOutcome()
        for scope in table.scopes where scope.stream == stream.name { end(scope, stream, nowMs, &outcome) }
        streams[stream] = nil
        return outcome
    }

    private mutating func end(
        _ scope: AlertScope, _ stream: StreamID, _ nowMs: Int64, _ outcome: inout AlertOutcome
    ) {
        let form = AlertForm(rule: scope.rule, severity: .info, forMs: 0)
        let atMs = stream.isSimulated ? (streams[stream]?.lastEndMs ?? nowMs) : nowMs
        table.settle(form, [], .init(stream: stream, atMs: atMs, nowMs: nowMs), &outcome)
    }

    private func form(_ builtin: BuiltinAlert, _ said: AlertPolicy.Builtin, inherits: Bool = false)
        -> AlertForm
    {
        AlertForm(rule: builtin.rawValue, severity: said.severity, forMs: said.forMs, inherits: inherits)
    }
}

// MARK: What windows show

extension AlertEngine {
    /// - Parameter window: the finest; `nil` when nobody was heard for so long that no window was made.
    private mutating func silence(
        _ window: WindowSummary?, _ look: AlertTable.Look, _ outcome: inout AlertOutcome
    ) {
        guard let places = streams[look.stream]?.places else { return }
        var findings: [Finding] = []
        if policy.gpuSilent.isOn {
            let kept = excused(look.stream, places)
            if let window {
                guard
                    let level = window.levels.filter({ $0.level != .job }).min(by: { $0.level < $1.level })
                else { return }
                findings = Self.silent(level, places, kept)
            } else if !places.topology.gpuNode.isEmpty {
                let gpus = places.topology.gpuNode.count
                findings = [Self.silent(places, .site, 0, gpus: Double(gpus), units: gpus)]
            }
        }
        table.settle(form(.gpuSilent, policy.gpuSilent, inherits: true), findings, look, &outcome)
    }

    /// Nodes whose silence is no news.
    private func excused(_ stream: StreamID, _ places: FleetPlaces) -> Set<Int> {
        guard let watched = streams[stream] else { return [] }
        let down = policy.nodeDown.isOn ? watched.down : []
        return Set(watched.maintained.union(down).flatMap { places.nodes(named: $0) })
    }

    private static func silent(_ level: LevelSummary, _ places: FleetPlaces, _ excused: Set<Int>) -> [Finding]
    {
        let gpus = level.gpus
        func isExcused(_ index: Int) -> Bool { level.level == .node && excused.contains(index) }
        let counted = gpus.expected.indices.filter { gpus.expected[$0] > 0 && !isExcused($0) }
        let struck = counted.filter { gpus.silent($0) > 0 }.map {
            Grouping.Unit(index: $0, isWhole: gpus.reporting[$0] == 0, value: Double(gpus.silent($0)))
        }
        return Grouping(places: places, level: level.level).groups(struck, counted: counted).map { group in
            silent(places, group.level, group.index, gpus: group.value, units: group.units)
        }
    }

    private static func silent(
        _ places: FleetPlaces, _ level: Level, _ index: Int, gpus: Double, units: Int
    ) -> Finding {
        let name = places.name(level, index)
        return Finding(
            entity: name, labels: places.labels(level, index).merging(["level": level.rawValue]) { $1 },
            value: gpus,
            summary: "\(AlertText.number(gpus)) GPU\(gpus == 1 ? "" : "s") of \(level.rawValue) \(name) "
                + "\(gpus == 1 ? "is" : "are") silent")
    }

    private mutating func coverage(
        _ window: WindowSummary?, _ look: AlertTable.Look, _ outcome: inout AlertOutcome
    ) {
        let share = window?.coverage ?? 0
        let places = streams[look.stream]?.places
        let isLow = policy.coverageLow.isOn && share < policy.coverageMin
        let finding = Finding(
            entity: places?.topology.site ?? "", labels: ["site": places?.topology.site ?? ""], value: share,
            summary: "only \(AlertText.number(share * 100)) % of the expected senders are heard")
        table.settle(form(.coverageLow, policy.coverageLow), isLow ? [finding] : [], look, &outcome)
    }

    private mutating func apply(
        _ rule: AlertRule, _ windows: [WindowSummary], _ finest: WindowSummary?, isGap: Bool,
        _ look: AlertTable.Look, _ outcome: inout AlertOutcome
    ) {
        let form = AlertForm(
            rule: rule.name, severity: rule.severity, forMs: rule.forMs, labels: rule.labels)
        let chosen = rule.windowMs.map { length in windows.last { $0.resolutionMs == length } } ?? finest
        guard let window = chosen, let places = streams[look.stream]?.places else {
            // Nobody knows: what is open stays so for a while.
            if isGap { table.settle(form, [], look, &outcome) { _ in true } }
            return
        }
        let reading = RuleReading(rule, window)
        func name(_ index: Int) -> String {
            guard rule.level == .job else { return places.name(rule.level, index) }
            let jobs = reading.level?.jobs ?? []
            return jobs.indices.contains(index) ? jobs[index] : ""
        }
        let findings = reading.struck().compactMap { index, value -> Finding? in
            let entity = name(index)
            guard !(rule.level == .job && entity.isEmpty) else { return nil }
            var labels = rule.level == .job ? ["job": entity] : places.labels(rule.level, index)
            labels["level"] = rule.level.rawValue
            return Finding(
                entity: entity, labels: labels, value: value,
                summary: Self.summary(rule, entity, value),
                annotations: Self.annotations(rule, entity, value, look.stream))
        }
        table.settle(form, findings, look, &outcome) { alert in
            !(0..<reading.entityCount).contains { name($0) == alert.entity && reading.isKnown($0) }
        }
    }

    private static func summary(_ rule: AlertRule, _ entity: String, _ value: Double) -> String {
        "\(rule.subjectText) of \(rule.level.rawValue) \(entity) is \(AlertText.number(value)) "
            + "(\(rule.comparison.rawValue) \(AlertText.number(rule.threshold)))"
    }

    private static func annotations(
        _ rule: AlertRule, _ entity: String, _ value: Double, _ stream: StreamID
    ) -> [String: String] {
        guard !rule.annotations.isEmpty else { return [:] }
        let values = [
            "value": AlertText.number(value), "threshold": AlertText.number(rule.threshold), "entity": entity,
            "level": rule.level.rawValue, "rule": rule.name, "stream": stream.name,
        ]
        return rule.annotations.mapValues { AlertText.filled($0, values) }
    }
}

// MARK: What is told

extension AlertEngine {
    private mutating func note(_ event: Event) {
        let names = event.nodes.isEmpty ? [event.entity] : event.nodes
        guard names != [""] || event.kind == .xid else { return }
        var watched = streams[event.stream] ?? Watched()
        switch event.kind {
        case .nodeDown: watched.down.formUnion(names)
        case .nodeUp:
            watched.down.subtract(names)
            // Whoever comes back has been seen to.
            for key in watched.xids.keys where names.contains(key.node) { watched.xids[key] = nil }
        case .maintenanceStart: watched.maintained.formUnion(names)
        case .maintenanceEnd: watched.maintained.subtract(names)
        case .xid: note(xid: event, &watched)
        default: return
        }
        streams[event.stream] = watched
    }

    private func note(xid event: Event, _ watched: inout Watched) {
        guard let code = event.value.flatMap({ Int(exactly: $0) }), !event.entity.isEmpty else { return }
        let kind = XID.class(code)
        guard policy.xid.isOn, policy.xidClasses.contains(kind) else { return }
        let key = XIDKey(node: event.entity, class: kind)
        guard watched.xids[key] != nil || watched.xids.count < Self.xidsMax else { return }
        // A time from outside: kept where sums cannot overflow.
        let untilMs = min(max(event.timeMs, 0), .max / 4) + policy.xidHoldMs
        let known = watched.xids[key]
        watched.xids[key] = XIDMark(
            code: code, gpu: event.gpu, untilMs: max(untilMs, known?.untilMs ?? 0))
    }

    /// Alerts that come of events.
    private mutating func told(_ look: AlertTable.Look, _ outcome: inout AlertOutcome) {
        guard let watched = streams[look.stream] else { return }
        let down = policy.nodeDown.isOn ? downFindings(watched) : []
        table.settle(form(.nodeDown, policy.nodeDown, inherits: true), down, look, &outcome)
        streams[look.stream]?.xids = watched.xids.filter { $0.value.untilMs > look.atMs }
        let xids = streams[look.stream]?.xids ?? [:]
        let order = xids.sorted {
            ($0.key.node, $0.key.class.rawValue) < ($1.key.node, $1.key.class.rawValue)
        }
        let findings = order.map { key, mark -> Finding in
            var labels = watched.places.flatMap { places in
                places.node(key.node).map { places.labels(.node, $0) }
            }
            labels = labels ?? ["node": key.node]
            labels?["xid_class"] = key.class.rawValue
            let text = XID.text(mark.code).map { " (\($0))" } ?? ""
            let gpu = mark.gpu.map { "GPU \($0) of " } ?? ""
            return Finding(
                entity: key.node, labels: labels ?? [:], value: Double(mark.code),
                summary: "XID \(mark.code)\(text) on \(gpu)\(key.node)", untilMs: mark.untilMs)
        }
        table.settle(form(.xid, policy.xid), policy.xid.isOn ? findings : [], look, &outcome)
    }

    private func downFindings(_ watched: Watched) -> [Finding] {
        let names = watched.down.subtracting(watched.maintained).sorted()
        guard let places = watched.places else { return names.map(Self.down) }
        let excused = Set(watched.maintained.flatMap { places.nodes(named: $0) })
        let indices = Set(names.compactMap { places.node($0) }).subtracting(excused)
        let strangers = names.filter { places.node($0) == nil }
        let counted = places.topology.nodeNames.indices.lazy.filter { !excused.contains($0) }
        let struck = indices.sorted().map { Grouping.Unit(index: $0, value: 1) }
        let groups = Grouping(places: places, level: .node).groups(struck, counted: counted)
        return groups.map { group in
            let name = places.name(group.level, group.index)
            let labels = places.labels(group.level, group.index)
            return Finding(
                entity: name, labels: labels.merging(["level": group.level.rawValue]) { $1 },
                value: group.value,
                summary: group.units == 1
                    ? "\(name) is down" : "\(group.units) nodes of \(group.level.rawValue) \(name) are down")
        } + strangers.map(Self.down)
    }

    private static func down(_ name: String) -> Finding {
        Finding(entity: name, labels: ["node": name, "level": "node"], value: 1, summary: "\(name) is down")
    }

    /// Says once a rule that there is more of it than is opened.
    private mutating func tooMany(_ look: AlertTable.Look, _ outcome: inout AlertOutcome) {
        let beyond = table.suppressed.filter { $0.key.stream == look.stream.name }
        let findings = beyond.sorted { $0.key.rule < $1.key.rule }.map { scope, count in
            Finding(
                entity: scope.rule, labels: ["rule": scope.rule], value: Double(count),
                summary: "\(count) more alerts of \(scope.rule) are not opened: there are too many")
        }
        let form = AlertForm(rule: BuiltinAlert.suppressed.rawValue, severity: .warning, forMs: 0)
        table.settle(form, findings, look, &outcome, isBounded: false)
    }
}
