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
            /// The alerts as they are kept, by id.
            var kept: [String: Alert] = [:]
            var fails = false
            /// Closings, or what comes between them, are kept only when it is told so.
            var (hasSlowClosings, hasSlowSaves) = (false, false)
            var waiting: [@Sendable () -> Void] = []

            mutating func keep(_ changes: AlertChanges) {
                for alert in changes.saved { kept[alert.id] = alert }
                for id in changes.removed { kept[id] = nil }
            }
        }

        let state = Locked(State())

        func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
            let keep: @Sendable () -> Void = { [state] in
                state.withLock { $0.keep(close.alerts) }
                done()
            }
            let isSlow = state.withLock { state in
                state.closes.append(close)
                if state.hasSlowClosings { state.waiting.append(keep) }
                return state.hasSlowClosings
            }
            if !isSlow { keep() }
        }

        func save(_ events: [Event], alerts: AlertChanges, nowMs: Int64) async throws {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let isSlow = state.withLock { state in
                    if state.hasSlowSaves { state.waiting.append { continuation.resume() } }
                    return state.hasSlowSaves
                }
                if !isSlow { continuation.resume() }
            }
            let fails = state.withLock { state in
                if !state.fails {
                    state.saved.append((events, alerts))
                    state.keep(alerts)
                }
                return state.fails
            }
            if fails { throw Failure() }
        }

        /// The disk is back.
        func keepAll() {
            let waiting = state.withLock { state in
                defer { state.waiting = [] }
                (state.hasSlowClosings, state.hasSlowSaves) = (false, false)
                return state.waiting
            }
            for one in waiting { one() }
        }

        func eventually(_ isSo: @Sendable (State) -> Bool) async throws -> Bool {
            for _ in 0..<1_000 {
                if state.withLock({ isSo($0) }) { return true }
                try await Task.sleep(for: .milliseconds(5))
            }
            return false
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

    private func keeper(_ sink: Sink, restoring alerts: [Alert] = []) -> AlertKeeper {
        var policy = AlertPolicy()
        policy.streams = .all
        return AlertKeeper(
            engine: AlertEngine(policy, restoring: alerts), sink: sink, store: sink, clock: WallClock { 5 },
            metrics: Metrics())
    }

    /// What says that an alert fires is held up, and a closing that says that it is over is kept before it.
    private func overtaken(
        _ sink: Sink, _ keeper: AlertKeeper, _ fleet: inout Fleet
    ) async throws -> Task<Void, any Error> {
        await commit(close(&fleet), keeper)
        sink.state.withLock { $0.hasSlowSaves = true }
        let down = fleet.event(.nodeDown, "r0-n1")
        let saving = Task { try await keeper.keep([down]) }
        #expect(try await sink.eventually { !$0.waiting.isEmpty })
        sink.state.withLock { $0.hasSlowSaves = false }
        var closing = close(&fleet)
        closing.events = [fleet.event(.nodeUp, "r0-n1")]
        await commit(closing, keeper)
        return saving
    }

    @Test("a closing that waited for the disk does not have the last word on an alert that has ended since")
    func slowClosing() async throws {
        let sink = Sink()
        var fleet = Fleet(racks: 2)
        let keeper = keeper(sink)
        await commit(close(&fleet), keeper)
        sink.state.withLock { $0.hasSlowClosings = true }
        var closing = close(&fleet)
        closing.events = [fleet.event(.nodeDown, "r0-n1")]
        keeper.commit(closing) {}
        // It ends while the closing that says that it fires is not kept yet; whoever listens is not kept waiting.
        try await keeper.keep([fleet.event(.nodeUp, "r0-n1")])
        let saved = sink.state.withLock { $0.saved }
        #expect(saved.map { $0.events.map(\.kind) } == [[.nodeUp, .alertResolved]])
        #expect(sink.state.withLock { $0.kept.values.map(\.state) } == [.resolved])
        sink.keepAll()
        #expect(
            try await sink.eventually { $0.kept.values.map(\.state) == [.resolved] && $0.saved.count == 2 })
    }

    @Test("nor has one that was kept between closings, and was slow")
    func slowSave() async throws {
        let sink = Sink()
        var fleet = Fleet(racks: 2)
        let keeper = keeper(sink)
        let saving = try await overtaken(sink, keeper, &fleet)
        #expect(sink.state.withLock { $0.kept.values.map(\.state) } == [.resolved])
        sink.keepAll()
        try await saving.value
        #expect(
            try await sink.eventually { $0.kept.values.map(\.state) == [.resolved] && $0.saved.count == 2 })
    }

    @Test("what fails after something newer was kept is kept as it is by then")
    func lateFailure() async throws {
        let sink = Sink()
        var fleet = Fleet(racks: 2)
        let keeper = keeper(sink)
        sink.state.withLock { $0.fails = true }
        let saving = try await overtaken(sink, keeper, &fleet)
        sink.keepAll()
        await #expect(throws: Sink.Failure.self) { try await saving.value }
        let before = sink.state.withLock { state in
            state.fails = false
            return state.closes.count
        }
        // On its own, or with the next closing; where the first try is under way still, and fails, with the one after.
        for _ in 0..<2 { await commit(close(&fleet), keeper) }
        #expect(
            try await sink.eventually { state in
                (state.saved.map(\.alerts) + state.closes.dropFirst(before).map(\.alerts)).contains {
                    $0.saved.map(\.state) == [.resolved]
                }
            })
        #expect(sink.state.withLock { $0.kept.values.map(\.state) } == [.resolved])
    }

    @Test("alerts of a run that does not play end when it had come as far as it did")
    func overRuns() async throws {
        let sink = Sink()
        let streams = try ["a", "b"].map { try #require(StreamID.simulated(run: $0)) } + [.measured]
        let alerts = streams.map { stream in
            Alert(
                id: "NodeDown|\(stream.name)|node=n1", rule: "NodeDown", stream: stream.name, entity: "n1",
                severity: .warning, labels: ["node": "n1"], state: .firing, value: 1, sinceMs: 1)
        }
        let keeper = keeper(sink, restoring: alerts)
        #expect(await keeper.simulatedStreams == Set(streams.prefix(2)))
        try await keeper.forget(streams[0], closedThroughMs: 77)
        let open = await keeper.alerts.filter { $0.state == .firing }.map(\.stream)
        #expect(open.sorted() == ["measured", "sim/b"])
        let events = sink.state.withLock { $0.saved }.flatMap(\.events)
        #expect(events.map(\.kind) == [.alertResolved] && events.map(\.timeMs) == [77])
    }
}
