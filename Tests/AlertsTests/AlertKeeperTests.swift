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
        }

        let state = Locked(State())

        func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
            state.withLock { $0.closes.append(close) }
            done()
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
}
