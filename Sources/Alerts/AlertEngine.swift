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

    /// Names and XIDs out of events that were not remembered, because there are too many.
    public private(set) var refusedTotal: Int64 = 0

    /// How far a stream had come before a restart.
    public struct Resumed: Sendable {
        public var stream: StreamID
        /// Unix milliseconds of the stream's clock.
        public var closedThroughMs: Int64
        /// Length of its finest windows, milliseconds.
        public var finestMs: Int64

        public init(stream: StreamID, closedThroughMs: Int64, finestMs: Int64) {
            self.stream = stream
            self.closedThroughMs = closedThroughMs
            self.finestMs = finestMs
        }
    }

    /// - Parameters:
    ///   - alerts: as they were kept.
    ///   - events: what was said last of nodes, and of their maintenance: what is over by now, too, so that nothing that comes
    ///     late or again begins it anew.
    ///   - resumed: streams that go on; without it, silence counts from the first window that comes.
    ///   - nowMs: wall clock: no event of the measured fleet is taken to be later.
    public init(
        _ policy: AlertPolicy, restoring alerts: [Alert] = [], events: [Event] = [],
        resumed: [Resumed] = [], nowMs: Int64 = .max
    ) {
        self.policy = policy
        table = AlertTable(openMax: policy.openMax, openPerRuleMax: policy.openPerRuleMax)
        table.restore(alerts)
        for one in resumed {
            streams[one.stream, default: Watched()].lastEndMs = one.closedThroughMs
            streams[one.stream, default: Watched()].finestMs = one.finestMs
            streams[one.stream, default: Watched()].looked(atMs: one.closedThroughMs)
        }
        for event in events { note(event, nowMs: nowMs) }
        // Behind the events: a node that came back before has been seen to since.
        for alert in alerts where alert.rule == BuiltinAlert.xid.rawValue && alert.state != .resolved {
            guard let stream = StreamID(alert.stream), let node = alert.labels["node"],
                let kind = alert.labels["xid_class"].flatMap(XID.Class.init), let untilMs = alert.untilMs
            else { continue }
            let mark = XIDMark(code: Int(alert.value), gpu: nil, untilMs: untilMs)
            _ = streams[stream, default: Watched()].remember(mark, kind, of: node)
        }
    }

    /// Pending and firing.
    public var open: [Alert] { table.opened }
    public var recentlyResolved: [Alert] { table.recentlyResolved }
    /// Found and not opened, because there are too many.
    public var suppressed: Int { table.suppressed.values.reduce(0, +) }
    /// How often a rule has fired.
    public var firedTotal: [String: Int64] { table.firedTotal }
    public func openCount(rule: String) -> Int { open.count { $0.rule == rule } }

    /// What is to be kept of these alerts, as they are by now.
    func current(_ ids: Set<String>) -> AlertChanges {
        var current = AlertChanges()
        for id in ids.sorted() {
            if let alert = table.alert(id) { current.saved.append(alert) } else { current.removed.append(id) }
        }
        return current
    }

    // MARK: Looking

    public mutating func look(at close: WindowClose, nowMs: Int64) -> AlertOutcome {
        var outcome = AlertOutcome()
        // Also of streams that are not watched: they may be after a reload.
        guard policy.contains(close.stream) else {
            for event in close.events { note(event, nowMs: nowMs) }
            return outcome
        }
        let windows = close.windows.filter { $0.revision == 0 }
        let (finest, isGap) = see(close, windows)
        for event in close.events { note(event, nowMs: nowMs) }
        streams[close.stream]?.looked(atMs: close.closedThroughMs)
        let look = AlertTable.Look(stream: close.stream, atMs: close.closedThroughMs, nowMs: nowMs)
        // The windows of what is shared say nothing: those of all members come back in `measured`.
        if close.stream != .ingested {
            if finest != nil || isGap {
                silence(finest, look, &outcome)
                coverage(finest, look, &outcome)
            }
            for rule in policy.rules { apply(rule, windows, finest, isGap: isGap, look, &outcome) }
        }
        told(look, &outcome)
        tooMany(look, &outcome)
        table.sweep(nowMs: nowMs, &outcome)
        return outcome
    }

    /// - Returns: the last of the finest windows, and whether there is none where one should be.
    private mutating func see(_ close: WindowClose, _ windows: [WindowSummary]) -> (WindowSummary?, Bool) {
        // In place: sets of names are not copied for each closing.
        func see(_ watched: inout Watched) -> (WindowSummary?, Bool) {
            // Revisions come with the fleet of their windows, which is not where things are now.
            if !windows.isEmpty || close.windows.isEmpty { watched.see(close.topology) }
            watched.finestMs = min(watched.finestMs, windows.map(\.resolutionMs).min() ?? .max)
            let finest = windows.last { $0.resolutionMs == watched.finestMs }
            // Where nobody is heard, closings come without a finest window. One without a window may also only bring
            // events.
            let isGap =
                finest == nil && !(windows.isEmpty && !close.windows.isEmpty)
                && watched.misses(throughMs: close.closedThroughMs)
            if let finest { watched.lastEndMs = finest.endMs }
            return (finest, isGap)
        }
        return see(&streams[close.stream, default: Watched()])
    }

    /// Events that come without a closing.
    public mutating func look(at events: [Event], nowMs: Int64) -> AlertOutcome {
        var outcome = AlertOutcome()
        for event in events { note(event, nowMs: nowMs) }
        for stream in Set(events.map(\.stream)) where policy.contains(stream) {
            var atMs = events.lazy.filter { $0.stream == stream }.map(\.timeMs).max() ?? nowMs
            // Times from outside: the clock of what is measured goes neither ahead of ours nor back.
            if !stream.isSimulated { atMs = min(atMs, nowMs) }
            atMs = max(atMs, streams[stream]?.lookMs ?? atMs)
            streams[stream]?.looked(atMs: atMs)
            let look = AlertTable.Look(stream: stream, atMs: atMs, nowMs: nowMs)
            told(look, &outcome)
            tooMany(look, &outcome)
        }
        return outcome
    }

    /// - Parameters:
    ///   - failing: endpoints that do not work, with what was said last.
    ///   - unknown: endpoints that have not answered yet.
    public mutating func look(
        atFailing failing: [String: String], unknown: Set<String> = [], nowMs: Int64
    ) -> AlertOutcome {
        var outcome = AlertOutcome()
        let look = AlertTable.Look(stream: .measured, atMs: nowMs, nowMs: nowMs)
        let isWanted = policy.endpointFailing.isOn && policy.streams != .none
        let findings = failing.sorted { $0.key < $1.key }.map { name, reason in
            Finding(
                entity: name, labels: ["endpoint": name], value: 1,
                summary: "endpoint \(name) takes nothing: \(reason.prefix(200))")
        }
        table.settle(
            form(.endpointFailing, policy.endpointFailing), isWanted ? findings : [], look, &outcome
        ) { isWanted && unknown.contains($0.entity) }
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
    ///
    /// - Parameter closedThroughMs: how far it had come, where no closing has told.
    public mutating func forget(
        _ stream: StreamID, closedThroughMs: Int64? = nil, nowMs: Int64
    ) -> AlertOutcome {
        var outcome = AlertOutcome()
        if let closedThroughMs, streams[stream]?.lastEndMs == nil {
            streams[stream, default: Watched()].lastEndMs = closedThroughMs
        }
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
                let gpus = places.expectedGPUs
                if gpus > 0 { findings = [Self.silent(places, .site, 0, gpus: Double(gpus), units: gpus)] }
            }
        }
        table.settle(form(.gpuSilent, policy.gpuSilent, inherits: true), findings, look, &outcome)
    }

    /// Nodes whose silence is no news.
    private func excused(_ stream: StreamID, _ places: FleetPlaces) -> Set<Int> {
        guard let watched = streams[stream] else { return [] }
        let down = policy.nodeDown.isOn ? Array(watched.down.on.keys) : []
        return Set(Set(watched.maintained.on.keys).union(down).flatMap { places.nodes(named: $0) })
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
        func labels(_ index: Int) -> [String: String] {
            var labels = rule.level == .job ? ["job": name(index)] : places.labels(rule.level, index)
            labels["level"] = rule.level.rawValue
            return labels
        }
        let findings = reading.struck().compactMap { index, value -> Finding? in
            let entity = name(index)
            guard !(rule.level == .job && entity.isEmpty) else { return nil }
            return Finding(
                entity: entity, labels: labels(index), value: value,
                summary: Self.summary(rule, entity, value),
                annotations: Self.annotations(rule, entity, value, look.stream))
        }
        // Names are unique only within their parents: ids are compared, of those alone whose name has an alert.
        let entities = Set(
            table.alerts(of: AlertScope(rule: rule.name, stream: look.stream.name)).map(\.entity))
        var known: Set<String>?
        table.settle(form, findings, look, &outcome) { alert in
            let heard =
                known
                ?? Set(
                    reading.known().filter { entities.contains(name($0)) }.map {
                        AlertTable.id(form, look.stream, labels($0))
                    })
            known = heard
            return !heard.contains(alert.id)
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
    private mutating func note(_ event: Event, nowMs: Int64) {
        refusedTotal += streams[event.stream, default: Watched()].note(event, policy, nowMs: nowMs)
    }

    /// Alerts that come of events.
    private mutating func told(_ look: AlertTable.Look, _ outcome: inout AlertOutcome) {
        streams[look.stream]?.expire(atMs: look.atMs)
        guard let watched = streams[look.stream] else { return }
        let (down, more) = policy.nodeDown.isOn ? downFindings(watched, look.stream) : ([], 0)
        table.settle(form(.nodeDown, policy.nodeDown, inherits: true), down, look, &outcome, more: more)
        let order = watched.xids.flatMap { node, marks in
            marks.map { (node: node, class: $0.key, mark: $0.value) }
        }.sorted { ($0.node, $0.class.rawValue) < ($1.node, $1.class.rawValue) }
        let findings = order.map { node, kind, mark -> Finding in
            var labels = watched.places.flatMap { places in
                places.node(node).map { places.labels(.node, $0) }
            }
            labels = labels ?? ["node": node]
            labels?["xid_class"] = kind.rawValue
            let text = XID.text(mark.code).map { " (\($0))" } ?? ""
            let gpu = mark.gpu.map { "GPU \($0) of " } ?? ""
            return Finding(
                entity: node, labels: labels ?? [:], value: Double(mark.code),
                summary: "XID \(mark.code)\(text) on \(gpu)\(node)", untilMs: mark.untilMs)
        }
        table.settle(form(.xid, policy.xid), policy.xid.isOn ? findings : [], look, &outcome)
    }

    /// - Returns: what is found, and how many strangers more are down.
    private func downFindings(_ watched: Watched, _ stream: StreamID) -> ([Finding], more: Int) {
        let maintained = watched.maintained.on
        let names = watched.down.on.keys.filter { maintained[$0] == nil }
        guard let places = watched.places else { return strangers(names, stream) }
        let excused = Set(maintained.keys.flatMap { places.nodes(named: $0) }).union(places.removedNodes)
        let indices = Set(names.compactMap { places.node($0) }).subtracting(excused)
        let (unknown, more) = strangers(names.filter { places.node($0) == nil }, stream)
        let counted = places.topology.nodeNames.indices.lazy.filter { !excused.contains($0) }
        let struck = indices.sorted().map { Grouping.Unit(index: $0, value: 1) }
        let groups = Grouping(places: places, level: .node).groups(struck, counted: counted)
        let known = groups.map { group in
            let name = places.name(group.level, group.index)
            let labels = places.labels(group.level, group.index)
            return Finding(
                entity: name, labels: labels.merging(["level": group.level.rawValue]) { $1 },
                value: group.value,
                summary: group.units == 1
                    ? "\(name) is down" : "\(group.units) nodes of \(group.level.rawValue) \(name) are down")
        }
        return (known + unknown, more)
    }

    /// Names that the fleet does not have: those that are open, and as many more as may be opened.
    private func strangers(_ names: [String], _ stream: StreamID) -> ([Finding], more: Int) {
        guard !names.isEmpty else { return ([], 0) }
        let scope = AlertScope(rule: BuiltinAlert.nodeDown.rawValue, stream: stream.name)
        let open = Set(table.alerts(of: scope).map(\.entity))
        let new = names.filter { !open.contains($0) }.sorted()
        let told = names.filter { open.contains($0) }.sorted() + new.prefix(policy.openPerRuleMax)
        return (told.map(Self.down), max(0, new.count - policy.openPerRuleMax))
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
