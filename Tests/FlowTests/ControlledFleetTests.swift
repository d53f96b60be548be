import Aggregation
import Exchange
import Playback
import Simulation
import Telemetry
import TestSupport
import Testing

/// A run whose speed changes and that faults strike on purpose, twice: by one that knows all of it from the beginning, as
/// who comes late, and by one that is told piece by piece, as who is there.
@Suite struct ControlledFleetTests {
    final class Player {
        let sink = KeptSummaries()
        let run: ScenarioRun
        private let core: AggregationCore
        let missed = Locked(0)

        init(_ plan: FleetPlan, _ stream: StreamID) {
            let streams = Streams()
            core = AggregationCore(
                shardCount: 2, streams: streams, bus: EmbeddedBus(), sink: sink, clock: WallClock { 0 },
                metrics: Metrics())
            let index = streams.open(stream, site: plan.scenario.site)
            plan.makeTopology(into: streams.topology(index))
            run = ScenarioRun(
                plan: plan, stream: stream, index: index, pace: SharedFleetTests.pace, startedNs: -1 << 60,
                sink: core, events: core)
            core.openStream(SharedCluster.spec(stream, plan, run.resolution) { _, _ in nil })
        }

        func follow(_ turns: [PlaybackTurn], _ injections: [FaultInjection], throughMs: Int64) {
            run.follow(turns, injections, throughMs: throughMs) { [missed] count in
                missed.withLock { $0 += count }
            }
        }
    }

    /// Turns and faults by the time after which they count, all due at once.
    struct Script {
        let startMs: Int64
        let turns: [PlaybackTurn]
        let injections: [FaultInjection]

        init(_ plan: FleetPlan) throws {
            let startMs = plan.scenario.startMs
            self.startMs = startMs
            func turn(_ seconds: Int64, _ pace: Double, stands: Bool = false, stops: Bool = false)
                -> PlaybackTurn
            {
                PlaybackTurn(
                    atMs: startMs + seconds * 1_000, pace: .times(pace), stands: stands, stops: stops,
                    anchorNs: -1 << 60)
            }
            // At 600 there is a tick a minute, at 60 one in ten seconds.
            turns = [
                turn(125, 120), turn(333, 600), turn(700, 600, stands: true), turn(700, 600), turn(901, 60),
                turn(1_500, 60, stops: true),
            ]
            injections = [
                try plan.injection("node_down", at: "r0001-n2", timeMs: startMs + 200_001, forMs: 300_000),
                try plan.injection("hot", at: "r0002-n1/3", timeMs: startMs + 200_001, forMs: nil),
                try plan.injection("node_down", at: "a002", timeMs: startMs + 930_001, forMs: nil),
            ]
        }

        /// What counts after a time and up to another.
        func between(_ fromMs: Int64, _ throughMs: Int64) -> ([PlaybackTurn], [FaultInjection]) {
            (
                turns.filter { $0.atMs >= fromMs && $0.atMs < throughMs },
                injections.filter { $0.timeMs > fromMs && $0.timeMs <= throughMs }
            )
        }
    }

    @Test(
        "who is told piece by piece plays what one plays that knows it all", .timeLimit(.minutes(10)),
        .computing)
    func piecemeal() async throws {
        let plan = try SharedFleetTests.plan()
        let stream = try #require(SharedFleetTests.stream)
        let script = try Script(plan)
        let (late, early) = (Player(plan, stream), Player(plan, stream))
        late.follow(script.turns, script.injections, throughMs: .max)
        late.run.start()
        early.follow([], [], throughMs: script.startMs - 1)
        early.run.start()
        var knownMs = script.startMs
        for seconds in stride(from: Int64(0), through: 1_600, by: 47) {
            let throughMs = script.startMs + seconds * 1_000
            // What counts up to there is told with it, and what follows is not known.
            let (turns, injections) = script.between(knownMs, throughMs)
            early.follow(turns, injections, throughMs: throughMs)
            knownMs = throughMs
            // Until it stands: it never goes on by itself.
            var before: Int64?
            repeat {
                before = early.run.status().positionMs
                try await Task.sleep(for: .milliseconds(80))
            } while early.run.status().positionMs != before
            #expect((before ?? 0) <= throughMs)
        }
        try await SharedFleetTests.wait {
            early.run.status().state == .stopped && late.run.status().state == .stopped
                && early.sink.finest.count == 25 && late.sink.finest.count == 25
        }
        #expect(early.missed.withLock { $0 } == 0 && early.run.status().missedTurns == 0)
        #expect(early.run.status().ticks == late.run.status().ticks)
        #expect(early.run.status().positionMs == script.startMs + 1_500_000)
        let (seen, expected) = (early.sink.all, late.sink.all)
        #expect(seen.count == expected.count)
        for (name, window) in expected {
            #expect(seen[name]?.levels == window.levels, "\(name)")
        }
        #expect(early.sink.events == late.sink.events)
        // Ticks were further apart for a while, and the faults are seen.
        let samples = late.sink.finest.map { $0.level(.site)?.gpus.reporting.first ?? 0 }
        #expect(late.run.status().ticks < 151 && late.run.status().ticks > 80)
        #expect((samples.min() ?? 0) < (samples.max() ?? 0))
        // Whoever only tells the events says the same.
        var replay = EventReplay(plan: plan, stream: stream, pace: SharedFleetTests.pace)
        #expect(replay.follow(script.injections, script.turns) == 0)
        let told = replay.events(before: script.startMs + 1_500_000).filter { $0.kind != .checkpoint }
        let played = late.sink.events.filter {
            $0.kind != .checkpoint && $0.timeMs < script.startMs + 1_500_000
        }
        #expect(told == played && told.contains { $0.entity == "r0001-n2" && $0.kind == .nodeDown })
    }

    @Test("what is known only after its time is counted", .timeLimit(.minutes(5)), .computing)
    func tooLate() async throws {
        let plan = try SharedFleetTests.plan()
        let stream = try #require(SharedFleetTests.stream)
        let script = try Script(plan)
        let player = Player(plan, stream)
        player.follow([], [], throughMs: script.startMs + 400_000)
        player.run.start()
        try await SharedFleetTests.wait { player.run.status().positionMs == script.startMs + 400_000 }
        player.follow(script.turns, script.injections, throughMs: script.startMs + 600_000)
        try await SharedFleetTests.wait { player.run.status().positionMs == script.startMs + 600_000 }
        #expect(player.missed.withLock { $0 } == 2)
        #expect(player.run.status().missedTurns == 2)
        player.run.stop()
    }
}
