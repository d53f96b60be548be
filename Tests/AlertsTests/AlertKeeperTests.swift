import Telemetry
import Testing

@testable import Alerts

@Suite("The keeper of alerts")
struct AlertKeeperTests {
    /// Takes closings and alerts, and fails when it is told to.
    private final class Sink: SummarySink, AlertStore {
        struct Failure: Error {}
        struct State: Sendable {
            var closes: [WindowClose] = []
            var saved: [(events: [Event], alerts: AlertChanges)] = []
            var fails = false
            /// Closings are kept only when it is told so.
            var isSlow = false
            var waiting: [@Sendable () -> Void] = []
        }

        let state = Locked(State())

        func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
            let isSlow = state.withLock { state in
                state.closes.append(close)
                if state.isSlow { state.waiting.append(done) }
                return state.isSlow
            }
            if !isSlow { done() }
        }

        /// The disk is back.
        func keepAll() {
            let waiting = state.withLock { state in
                defer { (state.isSlow, state.waiting) = (false, []) }
                return state.waiting
            }
            for done in waiting { done() }
        }

        /// What the alerts are, by id, once everything that came was kept in the order in which it was.
        func saved(_ isDone: ([Alert.State]) -> Bool) async throws -> [Alert.State] {
            for _ in 0..<500 {
                let found = state.withLock { $0.saved }.flatMap { $0.alerts.saved.map(\.state) }
                if isDone(found) { return found }
                try await Task.sleep(for: .milliseconds(10))
            }
            return state.withLock { $0.saved }.flatMap { $0.alerts.saved.map(\.state) }
        }

        func save(_ events: [Event], alerts: AlertChanges, nowMs: Int64) async throws {
            let fails = state.withLock { state in
                if !state.fails { state.saved.append((events, alerts)) }
                return state.fails
            }
            if fails { throw Failure() }
        }
    }

    private func close(_ fleet: inout Fleet, silent: [Int: UInt32] = [:]) -> WindowClose {
        let window = fleet.window(silent: silent)
        fleet.nowMs += 10_000
        return WindowClose(
            stream: .measured, closedThroughMs: fleet.nowMs, windows: [window], topology: fleet.topology,
            ledger: Ledger())
    }

    private func commit(_ close: WindowClose, _ keeper: AlertKeeper) async {
        await withCheckedContinuation { continuation in keeper.commit(close) { continuation.resume() } }
    }

    @Test(
        "closings go on in their order, with the alerts that they show; who listens hears of them, and metrics count"
    )
    func closings() async throws {
        let sink = Sink()
        let metrics = Metrics()
        var fleet = Fleet(racks: 2)
        let keeper = AlertKeeper(
            engine: AlertEngine(AlertPolicy()), sink: sink, store: sink, clock: WallClock { 5 },
            metrics: metrics)
        let told = Locked<[[String]]>([])
        await keeper.tell { alerts, _ in told.withLock { $0.append(alerts.map(\.entity)) } }
        for _ in 0..<8 { await commit(close(&fleet, silent: Fleet.racks([1])), keeper) }
        let closes = sink.state.withLock { $0.closes }
        #expect(closes.map(\.closedThroughMs) == closes.map(\.closedThroughMs).sorted())
        #expect(
            closes.map { $0.alerts.saved.map(\.state) } == [[.pending], [], [], [], [], [], [.firing], []])
        #expect(closes[6].events.map(\.kind) == [.alertFiring])
        #expect(await keeper.alerts.map(\.entity) == ["r1"])
        // What is told comes on the keeper's queue, and so before this.
        #expect(told.withLock { $0 }.last == ["r1"])
        #expect(metrics.exposition().contains("colossus_alerts_fired_total{rule=\"GPUSilent\"} 1\n"))
        #expect(metrics.exposition().contains("colossus_alerts_open{state=\"firing\"} 1\n"))
    }

    @Test("what could not be kept is kept with the next closing")
    func failure() async throws {
        let sink = Sink()
        var fleet = Fleet(racks: 2)
        let keeper = AlertKeeper(
            engine: AlertEngine(AlertPolicy()), sink: sink, store: sink, clock: WallClock { 5 },
            metrics: Metrics())
        await commit(close(&fleet), keeper)
        sink.state.withLock { $0.fails = true }
        await #expect(throws: Sink.Failure.self) { try await keeper.keep([fleet.event(.nodeDown, "r0-n1")]) }
        await commit(close(&fleet), keeper)
        let last = try #require(sink.state.withLock { $0.closes.last })
        #expect(last.alerts.saved.map(\.rule) == ["NodeDown"] && last.events.map(\.kind) == [.alertFiring])
        sink.state.withLock { $0.fails = false }
        try await keeper.keep([fleet.event(.nodeUp, "r0-n1")])
        let saved = sink.state.withLock { $0.saved }
        #expect(saved.count == 1 && saved[0].events.map(\.kind) == [.nodeUp, .alertResolved])
        #expect(saved[0].alerts.saved.map(\.state) == [.resolved])
    }

    @Test("what is kept between closings does not overtake one that waits for the disk")
    func order() async throws {
        let sink = Sink()
        var fleet = Fleet(racks: 2)
        let keeper = AlertKeeper(
            engine: AlertEngine(AlertPolicy()), sink: sink, store: sink, clock: WallClock { 5 },
            metrics: Metrics())
        await commit(close(&fleet), keeper)
        sink.state.withLock { $0.isSlow = true }
        var closing = close(&fleet)
        closing.events = [fleet.event(.nodeDown, "r0-n1")]
        let isKept = Locked(false)
        keeper.commit(closing) { isKept.withLock { $0 = true } }
        // It ends while the closing that says that it fires is not kept yet. The event itself is.
        try await keeper.keep([fleet.event(.nodeUp, "r0-n1")])
        let between = sink.state.withLock { $0.saved }
        #expect(between.map { $0.events.map(\.kind) } == [[.nodeUp]])
        #expect(between.allSatisfy { $0.alerts.isEmpty } && !isKept.withLock { $0 })
        #expect(sink.state.withLock { $0.closes.last?.alerts.saved.map(\.state) } == [.firing])
        sink.keepAll()
        #expect(try await sink.saved { !$0.isEmpty } == [.resolved])
        #expect(isKept.withLock { $0 })
    }

    @Test("what could not be kept is kept as it is by then")
    func refreshed() async throws {
        let sink = Sink()
        var fleet = Fleet(racks: 2)
        let keeper = AlertKeeper(
            engine: AlertEngine(AlertPolicy()), sink: sink, store: sink, clock: WallClock { 5 },
            metrics: Metrics())
        await commit(close(&fleet), keeper)
        sink.state.withLock { $0.fails = true }
        await #expect(throws: Sink.Failure.self) { try await keeper.keep([fleet.event(.nodeDown, "r0-n1")]) }
        await #expect(throws: Sink.Failure.self) { try await keeper.keep([fleet.event(.nodeUp, "r0-n1")]) }
        sink.state.withLock { $0.fails = false }
        await commit(close(&fleet), keeper)
        let last = try #require(sink.state.withLock { $0.closes.last })
        #expect(last.alerts.saved.map(\.state) == [.resolved])
        #expect(last.events.map(\.kind) == [.alertFiring, .alertResolved])
    }

    @Test("alerts of simulated runs that do not go on are over; those of others stay")
    func overRuns() async throws {
        let sink = Sink()
        let streams = try ["a", "b"].map { try #require(StreamID.simulated(run: $0)) } + [.measured]
        let alerts = streams.map { stream in
            var alert = Alert(
                id: "NodeDown|\(stream.name)|node=n1", rule: "NodeDown", stream: stream.name, entity: "n1",
                severity: .warning, labels: ["node": "n1"], annotations: [:], value: 1, sinceMs: 1)
            alert.state = .firing
            return alert
        }
        var policy = AlertPolicy()
        policy.streams = .all
        let keeper = AlertKeeper(
            engine: AlertEngine(policy, restoring: alerts), sink: sink, store: sink, clock: WallClock { 5 },
            metrics: Metrics())
        try await keeper.forgetRuns(except: [streams[1]])
        let open = await keeper.alerts.filter { $0.state == .firing }.map(\.stream)
        #expect(open.sorted() == ["measured", "sim/b"])
        #expect(sink.state.withLock { $0.saved }.map { $0.events.map(\.kind) } == [[.alertResolved]])
        try await keeper.forget(streams[1])
        #expect(await keeper.alerts.filter { $0.state == .firing }.map(\.stream) == ["measured"])
    }
}
