import Telemetry
import TestSupport
import Testing

@testable import Alerts

@Suite("Alerts")
struct AlertEngineTests {
    @Test("a silent GPU is said of its node, after a minute, and is over when it is heard again")
    func silentGPU() {
        var fleet = Fleet(racks: 16)
        #expect(fleet.pass(3).isEmpty)
        #expect(fleet.pass(6, silent: [5: 1]).fired.isEmpty)
        #expect(fleet.engine.open.map(\.state) == [.pending])
        let outcome = fleet.pass(1, silent: [5: 1])
        #expect(outcome.fired.map(\.entity) == ["r0-n5"])
        #expect(outcome.fired.first?.value == 1)
        #expect(outcome.fired.first?.labels["rack"] == "r0")
        #expect(outcome.events.map(\.kind) == [.alertFiring])
        #expect(outcome.changes.saved.map(\.state) == [.firing])
        #expect(fleet.pass(50, silent: [5: 1]).isEmpty)
        let over = fleet.pass(1)
        #expect(over.resolved.map(\.entity) == ["r0-n5"])
        #expect(over.events.map(\.kind) == [.alertResolved])
        #expect(fleet.engine.open.isEmpty)
        #expect(fleet.engine.recentlyResolved.count == 1)
    }

    @Test("what does not last leaves no trace")
    func blip() {
        var fleet = Fleet(racks: 2)
        _ = fleet.pass(1)
        _ = fleet.pass(3, silent: [1: 8])
        let outcome = fleet.pass(1)
        #expect(outcome.events.isEmpty && outcome.resolved.isEmpty)
        #expect(outcome.changes.removed.count == 1)
    }

    @Test(
        "in a fleet of 200,000 GPUs a rack, an array, a hall and all of it are one alert each",
        arguments: [
            (0..<1, "rack", 64.0), (8..<16, "array", 512.0), (392..<784, "hall", 25_088.0),
            (0..<3_136, "site", 200_704.0),
        ])
    func grouped(racks: Range<Int>, level: String, gpus: Double) {
        var fleet = Fleet(racks: 3_136)
        #expect(fleet.topology.gpuNode.count == 200_704)
        let outcome = fleet.pass(8, silent: Fleet.racks(racks))
        #expect(outcome.fired.map { $0.labels["level"] } == [level])
        #expect(outcome.fired.map(\.value) == [gpus])
        #expect(outcome.events.count == 1)
    }

    @Test("one GPU in each of 25,088 nodes gives no more alerts than the limit, and one that says so")
    func flood() {
        var fleet = Fleet(racks: 3_136)
        let silent = Dictionary(uniqueKeysWithValues: (0..<25_088).map { ($0, UInt32(1)) })
        let outcome = fleet.pass(8, silent: silent)
        #expect(fleet.engine.open.count { $0.rule == "GPUSilent" } == 100)
        #expect(fleet.firing.filter { $0.rule == "AlertsSuppressed" }.map(\.value) == [24_988])
        #expect(outcome.events.count == 101)
        #expect(fleet.engine.suppressed == 24_988)
        let over = fleet.pass(1)
        #expect(over.resolved.count == 101)
        #expect(fleet.engine.open.isEmpty && fleet.engine.suppressed == 0)
    }

    @Test("when a node of a silent rack comes back, the others go on firing without a gap")
    func regrouped() {
        var fleet = Fleet(racks: 16)
        _ = fleet.pass(8, silent: Fleet.racks([3]))
        #expect(fleet.firing.map(\.entity) == ["r3"])
        let since = fleet.firing.first?.sinceMs
        var less = Fleet.racks([3])
        less[3 * 8] = nil
        let outcome = fleet.pass(1, silent: less)
        #expect(outcome.resolved.map(\.entity) == ["r3"])
        #expect(fleet.firing.map(\.entity) == (1..<8).map { "r3-n\($0)" })
        #expect(Set(fleet.firing.map(\.sinceMs)) == Set([since].compactMap(\.self)))
        _ = fleet.pass(1, silent: Fleet.racks([3]))
        #expect(fleet.firing.map(\.entity) == ["r3"])
    }

    @Test("a node that is down or in maintenance is not silent, too")
    func excused() {
        var fleet = Fleet(racks: 2)
        let told = [fleet.event(.nodeDown, "r0-n1"), fleet.event(.maintenanceStart, "r1")]
        let outcome = fleet.close([fleet.window()], events: told)
        #expect(outcome.fired.map(\.rule) == ["NodeDown"])
        var silent = Fleet.racks([1])
        silent[1] = 8
        #expect(fleet.pass(20, silent: silent).fired.isEmpty)
        let up = [fleet.event(.nodeUp, "r0-n1"), fleet.event(.maintenanceEnd, "r1")]
        #expect(fleet.close([fleet.window(silent: silent)], events: up).resolved.map(\.rule) == ["NodeDown"])
        #expect(fleet.pass(6, silent: silent).fired.map(\.entity).sorted() == ["r0-n1", "r1"])
    }

    @Test("work on an array, a hall or the site excuses all its nodes", arguments: ["a1", "h0", "memphis"])
    func excusedPlaces(place: String) {
        var fleet = Fleet(racks: 16)
        let silent = Fleet.racks([9])
        _ = fleet.close([fleet.window()], events: [fleet.event(.maintenanceStart, place)])
        #expect(fleet.pass(20, silent: silent).fired.isEmpty)
        _ = fleet.close([fleet.window(silent: silent)], events: [fleet.event(.maintenanceEnd, place)])
        #expect(fleet.pass(7, silent: silent).fired.map(\.entity) == ["r9"])
    }

    @Test("work on one GPU excuses neither its node, nor ends the node's own maintenance")
    func excusedGPU() {
        var fleet = Fleet(racks: 2)
        _ = fleet.close([fleet.window()], events: [fleet.event(.maintenanceStart, "r0-n1", gpu: 5)])
        #expect(fleet.pass(8, silent: [1: 8]).fired.map(\.entity) == ["r0-n1"])
        _ = fleet.close(
            [fleet.window()],
            events: [fleet.event(.maintenanceStart, "r0-n2"), fleet.event(.maintenanceEnd, "r0-n2", gpu: 0)])
        #expect(fleet.pass(8, silent: [2: 8]).fired.isEmpty)
    }

    @Test("nodes of a rack that are all down are one alert; events need no closing")
    func nodesDown() {
        var fleet = Fleet(racks: 4)
        _ = fleet.pass(1)
        let down = (0..<8).map { fleet.event(.nodeDown, "r2-n\($0)") }
        let outcome = fleet.engine.look(at: down + [fleet.event(.nodeDown, "stranger")], nowMs: 1)
        #expect(outcome.fired.map(\.entity).sorted() == ["r2", "stranger"])
        #expect(outcome.fired.first { $0.entity == "r2" }?.summary == "8 nodes of rack r2 are down")
    }

    @Test(
        "XIDs are said by node and class, go on with each new one, and are over after a while or with node_up"
    )
    func xids() {
        var fleet = Fleet(racks: 2)
        _ = fleet.pass(1)
        let first = [
            fleet.event(.xid, "r0-n0", value: 79, gpu: 3), fleet.event(.xid, "r0-n0", value: 94),
            fleet.event(.xid, "r0-n0", value: 95), fleet.event(.xid, "r0-n1", value: 31),
        ]
        let outcome = fleet.close([fleet.window()], events: first)
        #expect(
            outcome.fired.map { $0.labels["xid_class"] }.sorted { $0 ?? "" < $1 ?? "" } == ["bus", "memory"])
        #expect(outcome.fired.contains { $0.summary.contains("GPU has fallen off the bus") })
        // 80 windows later one comes again: it lasts another 15 minutes from then.
        _ = fleet.pass(80)
        _ = fleet.close([fleet.window()], events: [fleet.event(.xid, "r0-n0", value: 48)])
        #expect(fleet.pass(20).resolved.map { $0.labels["xid_class"] } == ["bus"])
        #expect(fleet.firing.count == 1)
        #expect(fleet.engine.look(at: [fleet.event(.nodeUp, "r0-n0")], nowMs: 1).resolved.count == 1)
    }

    @Test("of what a member shares only events are looked at: its windows come back with those of all")
    func shared() {
        var fleet = Fleet(racks: 2)
        fleet.stream = .ingested
        #expect(fleet.pass(20, silent: Fleet.racks([1]), coverage: 0.5).fired.isEmpty)
        let told = [fleet.event(.xid, "r0-n0", value: 79)]
        #expect(fleet.close([fleet.window()], events: told).fired.map(\.rule) == ["XID"])
    }

    @Test("low coverage, and a fleet that falls silent altogether")
    func coverage() {
        var fleet = Fleet(racks: 2)
        _ = fleet.pass(1)
        #expect(fleet.pass(10, coverage: 0.5).fired.map(\.rule) == ["CoverageLow"])
        #expect(fleet.pass(1).resolved.count == 1)
        // Nobody is heard: a closing without windows comes once a minute.
        var outcome = AlertOutcome()
        for _ in 0..<3 {
            fleet.nowMs += 50_000
            outcome = outcome.adding(fleet.close([]))
        }
        #expect(outcome.fired.map(\.rule).sorted() == ["CoverageLow", "GPUSilent"])
        #expect(outcome.fired.first { $0.rule == "GPUSilent" }?.entity == "memphis")
        #expect(outcome.fired.first { $0.rule == "GPUSilent" }?.value == 128)
    }

    @Test("endpoints that do not work, on the wall clock")
    func endpoints() {
        var fleet = Fleet(racks: 1)
        #expect(fleet.engine.look(atFailing: ["victoria": "503"], nowMs: 1_000).fired.isEmpty)
        #expect(fleet.engine.look(atFailing: ["victoria": "503"], nowMs: 301_000).fired.count == 1)
        #expect(fleet.engine.look(atFailing: [:], nowMs: 302_000).resolved.count == 1)
    }

    @Test("a simulated stream is left alone unless it is asked for")
    func streams() {
        var policy = AlertPolicy()
        var fleet = Fleet(racks: 2, policy: policy)
        fleet.stream = StreamID("sim/run") ?? .measured
        #expect(fleet.pass(20, silent: [0: 8]).isEmpty)
        policy.streams = .all
        _ = fleet.engine.replace(policy, nowMs: 0)
        #expect(fleet.pass(20, silent: [0: 8]).fired.count == 1)
        #expect(fleet.engine.forget(fleet.stream, nowMs: 1).resolved.count == 1)
        #expect(fleet.engine.open.isEmpty)
    }

    @Test("what was kept goes on after a restart: pending, firing, and XIDs; and nothing fires twice")
    func restart() {
        var fleet = Fleet(racks: 4)
        _ = fleet.pass(1)
        _ = fleet.close([fleet.window()], events: [fleet.event(.xid, "r0-n0", value: 79)])
        _ = fleet.pass(7, silent: [9: 8])
        _ = fleet.pass(3, silent: [9: 8, 20: 2])
        let before = fleet.engine.open
        #expect(before.count == 3)
        fleet.engine = AlertEngine(AlertPolicy(), restoring: before + fleet.engine.recentlyResolved)
        #expect(fleet.engine.open == before)
        let outcome = fleet.pass(4, silent: [9: 8, 20: 2])
        #expect(
            outcome.fired.map(\.entity) == ["r2-n4"], "its minute is over, counted from before the restart")
        #expect(fleet.pass(100).resolved.count == 3)
    }

    @Test("after a restart an old word that comes late or again begins nothing anew; an XID since then stays")
    func lateAfterRestart() {
        var fleet = Fleet(racks: 2)
        _ = fleet.pass(1)
        let down = fleet.event(.nodeDown, "r0-n1")
        let work = fleet.event(.maintenanceStart, "r0-n2")
        _ = fleet.pass(1)
        let ends = [fleet.event(.nodeUp, "r0-n1"), fleet.event(.maintenanceEnd, "r0-n2")]
        _ = fleet.close([fleet.window()], events: [down, work] + ends)
        let xid = fleet.event(.xid, "r0-n1", value: 79)
        _ = fleet.close([fleet.window()], events: [xid])
        #expect(fleet.firing.map(\.rule) == ["XID"])
        fleet.engine = AlertEngine(AlertPolicy(), restoring: fleet.engine.open, events: ends)
        _ = fleet.close([fleet.window()], events: [down, work])
        #expect(fleet.firing.map(\.rule) == ["XID"])
        // What is new counts.
        let outcome = fleet.close([fleet.window()], events: [fleet.event(.nodeDown, "r0-n2")])
        #expect(outcome.fired.map(\.entity) == ["r0-n2"], "its maintenance is over")
    }

    @Test("a stored alert is the same when it is read again, in any order of changes")
    func changes() {
        var random = SeededRandom(seed: 7)
        var kept: [String: Alert] = [:]
        var fleet = Fleet(racks: 8)
        _ = fleet.pass(1)
        for _ in 0..<300 {
            var silent: [Int: UInt32] = [:]
            for _ in 0..<Int.random(in: 0..<4, using: &random) {
                silent[Int.random(in: 0..<64, using: &random)] = 8
            }
            let outcome = fleet.pass(Int.random(in: 1..<9, using: &random), silent: silent)
            for alert in outcome.changes.saved { kept[alert.id] = alert }
            for id in outcome.changes.removed { kept[id] = nil }
            let open = Dictionary(uniqueKeysWithValues: fleet.engine.open.map { ($0.id, $0.state) })
            let stored = kept.filter { $0.value.state != .resolved }.mapValues(\.state)
            #expect(open == stored)
            #expect(
                Set(kept.values.filter { $0.state == .resolved }.map(\.id))
                    == Set(fleet.engine.recentlyResolved.map(\.id)))
        }
    }
}

@Suite("Alert rules")
struct AlertRuleTests {
    private func policy(_ rules: AlertRule...) -> AlertPolicy {
        var policy = AlertPolicy()
        policy.rules = rules
        return policy
    }

    private func hot() -> AlertRule {
        var rule = AlertRule(
            name: "Hot", level: .node, subject: .field(.gpuTemp, .max), comparison: .above, threshold: 85)
        rule.forMs = 20_000
        rule.severity = .critical
        rule.labels = ["team": "cooling"]
        rule.annotations = ["summary": "{entity} has {value} °C (over {threshold}) {nothing}"]
        return rule
    }

    @Test("a rule of a field fires for each entity, with its labels and sentence")
    func field() {
        var fleet = Fleet(racks: 2, policy: policy(hot()))
        let fields = [fleet.column(.gpuTemp) { $0 == 4 ? 91.5 : 60 }]
        #expect(fleet.pass(2, fields: fields).fired.isEmpty)
        let alert = fleet.pass(1, fields: fields).fired.first
        #expect(alert?.rule == "Hot" && alert?.severity == .critical && alert?.value == 91.5)
        #expect(alert?.labels["team"] == "cooling" && alert?.labels["node"] == "r0-n4")
        #expect(alert?.summary == "r0-n4 has 91.5 °C (over 85) {nothing}")
        #expect(fleet.pass(1, fields: [fleet.column(.gpuTemp) { _ in 60 }]).resolved.count == 1)
    }

    @Test("where nothing is heard, nobody knows: it goes on firing for five minutes")
    func unknown() {
        var fleet = Fleet(racks: 2, policy: policy(hot()))
        _ = fleet.pass(3, fields: [fleet.column(.gpuTemp) { $0 == 4 ? 91.5 : 60 }])
        #expect(fleet.pass(29, fields: [fleet.column(.gpuTemp) { $0 == 4 ? nil : 60 }]).resolved.isEmpty)
        #expect(fleet.pass(2, fields: [fleet.column(.gpuTemp) { $0 == 4 ? nil : 60 }]).resolved.count == 1)
    }

    @Test("an entity of the same name elsewhere, or none at all, does not speak for one that is not heard")
    func sameName() {
        var fleet = Fleet(racks: 2, policy: policy(hot()))
        let hot = [fleet.column(.gpuTemp) { $0 == 4 ? 91.5 : 60 }]
        _ = fleet.pass(3, fields: hot)
        // After a restart the alert is of a node of that name in a rack that is gone.
        var alert = fleet.firing[0]
        alert.labels["rack"] = "elsewhere"
        alert.id = alert.id.replacing("rack=r0", with: "rack=elsewhere")
        fleet.engine = AlertEngine(policy(self.hot()), restoring: [alert])
        let outcome = fleet.pass(3, fields: [fleet.column(.gpuTemp) { _ in 60 }])
        #expect(outcome.resolved.isEmpty, "nobody knows of it")
        #expect(fleet.pass(30, fields: [fleet.column(.gpuTemp) { _ in 60 }]).resolved.count == 1)
    }

    @Test("who listens hears of other labels, severities and sentences; numbers alone are not written")
    func retold() {
        var fleet = Fleet(racks: 2, policy: policy(hot()))
        _ = fleet.pass(3, fields: [fleet.column(.gpuTemp) { $0 == 4 ? 91.5 : 60 }])
        let same = fleet.pass(1, fields: [fleet.column(.gpuTemp) { $0 == 4 ? 91.5 : 60 }])
        #expect(same.isEmpty && !same.isRetold)
        let warmer = fleet.pass(1, fields: [fleet.column(.gpuTemp) { $0 == 4 ? 93 : 60 }])
        #expect(warmer.isEmpty && warmer.isRetold)
        var rule = hot()
        rule.severity = .warning
        rule.labels = ["team": "power"]
        _ = fleet.engine.replace(policy(rule), nowMs: 0)
        let other = fleet.pass(1, fields: [fleet.column(.gpuTemp) { $0 == 4 ? 93 : 60 }])
        #expect(other.changes.saved.map(\.severity) == [.warning])
        #expect(other.changes.saved.first?.labels["team"] == "power" && other.events.isEmpty)
    }

    @Test("GPU counts, shares of them, and coverage")
    func counts() {
        let rules = [
            AlertRule(
                name: "Some", level: .site, subject: .gpus(.silent), comparison: .atLeast, threshold: 6),
            AlertRule(
                name: "Share", level: .node, subject: .share(.reporting), comparison: .below, threshold: 0.5),
            AlertRule(name: "Heard", level: .site, subject: .coverage, comparison: .below, threshold: 0.99),
        ]
        var policy = AlertPolicy()
        policy.rules = rules
        var fleet = Fleet(racks: 2, policy: policy)
        let outcome = fleet.pass(1, silent: [3: 5, 4: 4], coverage: 0.98)
        #expect(outcome.fired.map(\.rule) == ["Some", "Share", "Heard"])
        #expect(outcome.fired.map(\.entity) == ["memphis", "r0-n3", "memphis"])
        #expect(outcome.fired.map(\.value) == [9, 0.375, 0.98])
    }

    @Test("a rule of longer windows looks at those alone; revisions are not looked at")
    func windows() {
        var rule = AlertRule(
            name: "Minute", level: .site, subject: .gpus(.silent), comparison: .above, threshold: 0)
        rule.windowMs = 60_000
        var fleet = Fleet(racks: 2, policy: policy(rule))
        #expect(!fleet.pass(3, silent: [3: 5]).fired.contains { $0.rule == "Minute" })
        var minute = fleet.window(silent: [3: 5])
        minute.resolutionMs = 60_000
        let finest = fleet.window(silent: [3: 5])
        #expect(fleet.close([finest, minute]).fired.map(\.rule) == ["Minute"])
        let revised = fleet.window(silent: [:], revision: 1)
        #expect(fleet.close([revised]).resolved.isEmpty)
    }

    @Test("a revised window's fleet of before does not put nodes back where they stood")
    func fleetOfBefore() throws {
        var fleet = Fleet(racks: 2)
        _ = fleet.pass(1)
        let before = fleet.topology
        let now = Topology(restoring: before)
        _ = now.arrange { node, place in
            var place = place
            if node == "r0-n3" { place.rack = "r1" }
            return place
        }
        fleet.topology = now.snapshot()
        _ = fleet.pass(1)
        fleet.topology = before
        let outcome = fleet.close([fleet.window(revision: 1)], events: [fleet.event(.nodeDown, "r0-n3")])
        let down = try #require((outcome.fired + fleet.engine.open).first { $0.entity == "r0-n3" })
        #expect(down.labels["rack"] == "r1")
    }

    @Test("a rule that went while nobody ran takes its alerts with it")
    func goneMeanwhile() {
        var fleet = Fleet(
            racks: 2,
            policy: policy(
                AlertRule(name: "X", level: .site, subject: .gpus(.silent), comparison: .above, threshold: 0))
        )
        _ = fleet.pass(1, silent: [3: 5])
        fleet.engine = AlertEngine(AlertPolicy(), restoring: fleet.engine.open)
        #expect(fleet.engine.open.contains { $0.rule == "X" })
        let outcome = fleet.engine.replace(AlertPolicy(), nowMs: 5)
        #expect(outcome.resolved.map(\.rule) == ["X"] && outcome.changes.saved.map(\.state) == [.resolved])
    }

    @Test("alerts of a rule that is gone are over")
    func gone() {
        var fleet = Fleet(
            racks: 2,
            policy: policy(
                AlertRule(name: "X", level: .site, subject: .gpus(.silent), comparison: .above, threshold: 0))
        )
        #expect(fleet.pass(1, silent: [3: 5]).fired.count == 1)
        #expect(fleet.engine.replace(AlertPolicy(), nowMs: 5).resolved.map(\.rule) == ["X"])
    }

    @Test(
        "comparisons",
        arguments: [
            (">", 1, 1, false), (">=", 1, 1, true), ("<", 1, 2, true), ("<=", 2, 1, false),
            ("==", 3, 3, true),
            ("!=", 3, 3, false),
        ])
    func comparisons(sign: String, value: Double, threshold: Double, holds: Bool) {
        #expect(AlertRule.Comparison(rawValue: sign)?.holds(value, threshold) == holds)
    }
}
