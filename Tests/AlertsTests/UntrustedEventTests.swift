import Telemetry
import Testing

@testable import Alerts

/// Events come from outside: late, twice, in floods, with names and times that mean nothing.
@Suite("Alerts and events from outside")
struct UntrustedEventTests {
    private func event(_ kind: EventKind, _ fleet: Fleet, atMs: Int64, nodes: [String], value: Double? = nil)
        -> Event
    {
        Event(
            stream: fleet.stream, timeMs: atMs, kind: kind, entity: nodes.count == 1 ? nodes[0] : "",
            nodes: nodes.count == 1 ? [] : nodes, value: value, source: .ingest)
    }

    @Test("a fleet of 25,000 nodes goes down and comes back, an event each")
    func all() {
        var fleet = Fleet(racks: 3_136)
        _ = fleet.pass(1)
        let names = fleet.topology.nodeNames
        let xids = names.prefix(10_000).map { fleet.event(.xid, $0, value: 79) }
        _ = fleet.engine.look(at: xids, nowMs: fleet.nowMs)
        let outcome = fleet.engine.look(at: names.map { fleet.event(.nodeDown, $0) }, nowMs: fleet.nowMs)
        #expect(outcome.fired.map(\.entity) == ["memphis"])
        let up = names.map { event(.nodeUp, fleet, atMs: fleet.nowMs + 1, nodes: [$0]) }
        _ = fleet.engine.look(at: up, nowMs: fleet.nowMs + 1)
        #expect(fleet.engine.open.isEmpty && fleet.engine.refusedTotal == 0)
    }

    @Test("names that nobody knows are remembered up to a number, opened up to another, and counted beyond")
    func strangers() {
        var fleet = Fleet(racks: 2)
        _ = fleet.pass(1)
        let names = (0..<12_000).map { "stranger-\($0)" }
        let flood = event(.nodeDown, fleet, atMs: fleet.nowMs, nodes: names)
        _ = fleet.engine.look(at: [flood], nowMs: fleet.nowMs)
        #expect(fleet.engine.refusedTotal == 2_000)
        #expect(fleet.engine.open.count { $0.rule == "NodeDown" } == 100)
        #expect(fleet.engine.suppressed == 9_900)
        let before = fleet.engine.open.map(\.id)
        // Those of the fleet have room, and what is open stays open when a smaller name comes.
        let later = ["a-first", "r0-n0"].map { fleet.event(.nodeDown, $0) }
        #expect(fleet.engine.look(at: later, nowMs: fleet.nowMs).resolved.isEmpty)
        #expect(fleet.engine.refusedTotal == 2_001)
        #expect(Set(fleet.engine.open.map(\.id)).isSuperset(of: before))
        let up = event(.nodeUp, fleet, atMs: fleet.nowMs, nodes: names + ["r0-n0"])
        _ = fleet.engine.look(at: [up], nowMs: fleet.nowMs)
        #expect(fleet.engine.open.isEmpty && fleet.engine.suppressed == 0)
        // There is room again.
        let again = event(.nodeDown, fleet, atMs: fleet.nowMs + 1, nodes: ["stranger-1"])
        #expect(fleet.engine.look(at: [again], nowMs: fleet.nowMs + 1).fired.map(\.entity) == ["stranger-1"])
    }

    @Test("an event that comes late or twice does not undo what happened after it", arguments: [true, false])
    func late(isKnown: Bool) {
        var fleet = Fleet(racks: 2)
        _ = fleet.pass(1)
        let name = isKnown ? "r0-n1" : "stranger"
        func say(_ kind: EventKind, _ ms: Int64) -> AlertOutcome {
            fleet.engine.look(
                at: [event(kind, fleet, atMs: fleet.nowMs + ms, nodes: [name])], nowMs: fleet.nowMs + 9_000)
        }
        #expect(say(.nodeDown, 1_000).fired.count == 1)
        #expect(say(.nodeUp, 500).resolved.isEmpty, "that was before")
        #expect(say(.nodeUp, 2_000).resolved.count == 1)
        #expect(say(.nodeDown, 1_000).fired.isEmpty, "the same once more")
        #expect(say(.nodeDown, 2_000).fired.isEmpty)
        #expect(say(.nodeDown, 2_001).fired.count == 1)
        _ = say(.maintenanceStart, 3_000)
        #expect(fleet.engine.open.isEmpty)
        _ = say(.maintenanceEnd, 2_500)
        #expect(fleet.engine.open.isEmpty)
        _ = say(.maintenanceEnd, 3_000)
        #expect(fleet.engine.open.count == 1)
    }

    @Test(
        "a time in the future neither moves the clock of the measured fleet nor outlasts what comes after it")
    func future() {
        var fleet = Fleet(racks: 2)
        _ = fleet.pass(1)
        _ = fleet.close([fleet.window()], events: [fleet.event(.xid, "r1-n0", value: 79)])
        let now = fleet.nowMs
        let far = event(.nodeDown, fleet, atMs: .max, nodes: ["r0-n1"])
        let outcome = fleet.engine.look(at: [far], nowMs: now)
        #expect(outcome.fired.map(\.rule) == ["NodeDown"] && outcome.resolved.isEmpty)
        #expect(outcome.fired.first?.sinceMs == now)
        let up = event(.nodeUp, fleet, atMs: now + 1, nodes: ["r0-n1"])
        #expect(fleet.engine.look(at: [up], nowMs: now + 1).resolved.map(\.rule) == ["NodeDown"])
        // One of the past does not turn it back.
        let old = event(.nodeDown, fleet, atMs: 5, nodes: ["r0-n2"])
        #expect(fleet.engine.look(at: [old], nowMs: now + 2).fired.first?.sinceMs == now + 1)
    }

    @Test("an XID of long ago is none now")
    func oldXID() {
        var fleet = Fleet(racks: 2)
        _ = fleet.pass(1)
        let hold = AlertPolicy().xidHoldMs
        let old = event(.xid, fleet, atMs: fleet.nowMs - hold, nodes: ["r0-n0"], value: 79)
        #expect(fleet.engine.look(at: [old], nowMs: fleet.nowMs).fired.isEmpty)
        let late = event(.xid, fleet, atMs: fleet.nowMs - hold + 5, nodes: ["r0-n0"], value: 79)
        #expect(fleet.engine.look(at: [late], nowMs: fleet.nowMs).fired.count == 1)
    }

    @Test("events of a stream that is not watched are known when it is")
    func watchedLater() {
        var policy = AlertPolicy()
        policy.streams = .none
        var fleet = Fleet(racks: 2, policy: policy)
        #expect(fleet.close([fleet.window()], events: [fleet.event(.nodeDown, "r0-n1")]).isEmpty)
        _ = fleet.engine.replace(AlertPolicy(), nowMs: 0)
        #expect(fleet.pass(1).fired.map(\.entity) == ["r0-n1"])
    }

    @Test("a fleet that is silent from a restart on is said to be, and a far time does not overflow")
    func silentAfterRestart() {
        var fleet = Fleet(racks: 2)
        fleet.engine = AlertEngine(
            AlertPolicy(),
            resumed: [.init(stream: .measured, closedThroughMs: fleet.nowMs, finestMs: 10_000)])
        var outcome = AlertOutcome()
        for _ in 0..<3 {
            fleet.nowMs += 50_000
            outcome = outcome.adding(fleet.close([]))
        }
        #expect(outcome.fired.map(\.rule).sorted() == ["CoverageLow", "GPUSilent"])
        fleet.engine = AlertEngine(
            AlertPolicy(), resumed: [.init(stream: .measured, closedThroughMs: .max - 1, finestMs: .max - 1)])
        #expect(fleet.close([]).isEmpty)
    }

    @Test("an endpoint that has not answered since a restart is neither failing anew nor over, for a while")
    func endpoints() {
        var fleet = Fleet(racks: 1)
        _ = fleet.engine.look(atFailing: ["v": "503"], nowMs: 1_000)
        #expect(fleet.engine.look(atFailing: ["v": "503"], nowMs: 301_000).fired.count == 1)
        fleet.engine = AlertEngine(AlertPolicy(), restoring: fleet.engine.open)
        #expect(fleet.engine.look(atFailing: [:], unknown: ["v"], nowMs: 302_000).isEmpty)
        #expect(fleet.engine.look(atFailing: ["v": "503"], nowMs: 304_000).isEmpty)
        #expect(fleet.engine.look(atFailing: [:], unknown: ["w"], nowMs: 306_000).resolved.count == 1)
    }
}
