import Dispatch
import Playback
import QueueIsolation
import Simulation
import Telemetry
import Testing

@Suite struct ScenarioRunTests {
    static let startMs = Scenario.fixtureStartMs
    static let hourMs: Int64 = 3_600_000

    /// A run on a clock that is turned by hand.
    struct Stage {
        let clock = VirtualClock()
        let sink: RecordingSink
        let run: ScenarioRun

        init(
            _ scenario: Scenario = .fixture(), pace: Pace, tickMs: Int64? = nil, windowMs: Int64? = nil,
            startAfterMs: Int64? = nil, holds: Bool = false
        ) throws {
            let stream = try #require(StreamID.simulated(run: "test"))
            let sink = RecordingSink(holds: holds)
            self.sink = sink
            run = ScenarioRun(
                plan: try FleetPlan(scenario), stream: stream, index: StreamIndex(rawValue: 1), pace: pace,
                tickMs: tickMs, windowMs: windowMs, startAfterMs: startAfterMs, sink: sink, events: sink,
                clock: clock, onEnd: { sink.ended($0) })
        }

        /// Waits until the queue has nothing left to do: what it does only ever comes from itself, the clock and us.
        func drain() {
            var before: [Int] = []
            var quiet = 0
            while quiet < 3 {
                for monitored in run.monitoredQueues { monitored.queue.sync {} }
                let now = [sink.ticks.count, sink.events.count, sink.endings.count, run.status().ticks]
                quiet = now == before ? quiet + 1 : 0
                before = now
            }
        }

        func turn(_ seconds: Double) {
            // What was asked for before happens before.
            drain()
            clock.turn(seconds: seconds)
            drain()
        }
    }

    @Test(
        "a fault on purpose strikes at the next millisecond, shows in the timeline, and comes again after a restart"
    )
    func injection() async throws {
        let scenario = Scenario.fixture { $0.failures.perGPUDay = 0 }
        let stage = try Stage(scenario, pace: .times(3_600))
        stage.run.start()
        stage.turn(1)
        let last = try #require(stage.sink.times.last)
        // Somebody has looked ahead already.
        #expect(stage.run.timeline.look(at: last + Self.hourMs, overMs: Self.hourMs).interruptions == 0)
        let injection = try await stage.run.inject("node_down", at: "r0001-n1", forMs: 1_800_000)
        #expect(injection?.timeMs == last + 1)
        await #expect(throws: ScenarioProblem.self) {
            try await stage.run.inject("node_down", at: "nowhere", forMs: nil)
        }
        stage.turn(1)
        let told = stage.sink.events.filter { $0.kind == .nodeDown }
        #expect(told.map(\.timeMs) == [last + 1] && told.map(\.entity) == ["r0001-n1"])
        #expect(stage.run.timeline.look(at: last + Self.hourMs, overMs: Self.hourMs).interruptions == 1)
        let given = try #require(injection)
        let sink = RecordingSink(holds: false)
        let again = ScenarioRun(
            plan: stage.run.plan, stream: stage.run.stream, index: StreamIndex(rawValue: 1),
            pace: .times(3_600), injections: [given], sink: sink, events: sink, clock: VirtualClock())
        #expect(again.timeline.look(at: last + Self.hourMs, overMs: Self.hourMs).interruptions == 1)
        stage.run.stop()
    }

    @Test("while a fault is being stored the run stands still; one that cannot be stored does not strike")
    func storedFirst() async throws {
        let stage = try Stage(Scenario.fixture { $0.failures.perGPUDay = 0 }, pace: .times(3_600))
        stage.run.start()
        stage.turn(1)
        let last = try #require(stage.sink.times.last)
        struct DiskFull: Error {}
        await #expect(throws: DiskFull.self) {
            try await stage.run.inject("node_down", at: "r0001-n1", forMs: nil) { _ in throw DiskFull() }
        }
        stage.turn(1)
        let next = try #require(stage.sink.times.last)
        #expect(next > last)
        #expect(!stage.sink.events.contains { $0.kind == .nodeDown })
        let injection = try await stage.run.inject("node_down", at: "r0001-n1", forMs: nil) { injection in
            #expect(injection.timeMs == next + 1)
            stage.turn(5)
            #expect(stage.sink.times.last == next)
            #expect(!stage.sink.events.contains { $0.kind == .nodeDown })
        }
        stage.turn(1)
        #expect(stage.sink.events.filter { $0.kind == .nodeDown }.map(\.timeMs) == [injection?.timeMs])
        stage.run.stop()
    }

    @Test("at an hour a second there is a tick of 10 min six times a second")
    func pace() throws {
        let stage = try Stage(pace: .times(3_600))
        #expect(stage.run.resolution.tickMs == 600_000)
        stage.run.start()
        stage.drain()
        #expect(stage.sink.times == [Self.startMs])
        stage.turn(0.1)
        #expect(stage.sink.times.count == 1)
        for _ in 0..<60 { stage.turn(1.0 / 6 + 1e-6) }
        #expect(stage.sink.times == (0...60).map { Self.startMs + Int64($0) * 600_000 })
        #expect(stage.run.status().lagSeconds == 0)
        #expect(abs(stage.run.status().actualPace - 3_600) < 40)
    }

    @Test("a clock that leaps is caught up with, tick by tick")
    func catchingUp() throws {
        let stage = try Stage(pace: .times(3_600))
        stage.run.start()
        stage.turn(10.0001)
        #expect(stage.sink.times == (0...60).map { Self.startMs + Int64($0) * 600_000 })
    }

    @Test("at full speed every tick comes, the last one at the very end, and the run ends once")
    func fullSpeed() throws {
        let stage = try Stage(.growing(), pace: .max)
        stage.run.start()
        stage.drain()
        #expect(stage.sink.times == (0...15).map { Self.startMs + Int64($0) * 24 * Self.hourMs })
        #expect(stage.sink.endings.map(\.state) == [.finished])
        let status = stage.run.status()
        #expect(status.state == .finished && status.progress == 1 && status.ticks == 16)
        #expect(stage.sink.events.contains { $0.kind == .phaseEnd && $0.timeMs == status.endMs })
    }

    @Test("events come before the first tick after them, and those at a tick's own time after it")
    func eventOrder() throws {
        let stage = try Stage(.growing(), pace: .max)
        stage.run.start()
        stage.drain()
        let events = stage.sink.events
        #expect(events.map(\.timeMs) == events.map(\.timeMs).sorted())
        for (timeMs, count) in zip(stage.sink.times, stage.sink.eventsBeforeTick) {
            #expect(events.prefix(count).allSatisfy { $0.timeMs < timeMs })
            #expect(events.dropFirst(count).allSatisfy { $0.timeMs >= timeMs })
        }
    }

    @Test("two ticks are on their way at most, and lag is what waits for the sink")
    func backPressure() throws {
        let stage = try Stage(pace: .times(3_600), holds: true)
        stage.run.start()
        stage.turn(2)
        #expect(stage.sink.heldCount == 2 && stage.run.status().inFlight == 2)
        // The third tick was due after a third of a second.
        #expect(abs(stage.run.status().lagSeconds - 5.0 / 3) < 1e-6)
        stage.sink.release()
        stage.drain()
        #expect(stage.sink.times.count == 3 && stage.run.status().inFlight == 2)
    }

    @Test("a paused run stands; resumed, it goes on from there without a leap")
    func pause() throws {
        let stage = try Stage(pace: .times(3_600))
        stage.run.start()
        stage.turn(1.01)
        let before = stage.sink.times.count
        stage.run.pause()
        stage.turn(100)
        #expect(stage.sink.times.count == before && stage.run.status().state == .paused)
        #expect(stage.run.status().lagSeconds == 0)
        stage.run.resume()
        stage.turn(0.1)
        #expect(stage.sink.times.count == before)
        stage.turn(0.07)
        #expect(stage.sink.times.count == before + 1)
        #expect(stage.run.status().state == .running)
    }

    @Test("a new pace brings other ticks, on the same grid, and forgives what was behind")
    func newPace() throws {
        let stage = try Stage(pace: .times(86_400))
        #expect(stage.run.resolution.tickMs == Self.hourMs)
        stage.run.start()
        stage.turn(0.2)
        let last = try #require(stage.sink.times.last)
        #expect(last == Self.startMs + 4 * Self.hourMs)
        stage.run.setPace(.times(10))
        stage.drain()
        #expect(stage.run.status().resolution.tickMs == 10_000)
        stage.turn(1.001)
        let after = stage.sink.times.filter { $0 > last }
        // 0.2 s at a day a second are 4.8 h: the next tick of the new grid is due at once or soon.
        #expect(after.allSatisfy { ($0 - Self.startMs) % 10_000 == 0 })
        #expect(after.first == last + 10_000)
    }

    @Test("ticks never get longer than the windows that the stream was opened with")
    func windowsStay() throws {
        let stage = try Stage(pace: .times(1))
        #expect(stage.run.resolution.finestWindowMs == 10_000)
        stage.run.start()
        stage.run.setPace(.times(86_400))
        stage.drain()
        #expect(stage.run.status().resolution.tickMs == 10_000)
        #expect(stage.run.status().pace == .times(86_400))
    }

    @Test("stopping ends the run after what is on its way, once")
    func stop() throws {
        let stage = try Stage(pace: .max, holds: true)
        stage.run.start()
        stage.drain()
        stage.run.stop()
        stage.drain()
        #expect(stage.sink.endings.isEmpty && stage.run.status().state == .stopped)
        stage.sink.release()
        stage.sink.release()
        stage.drain()
        #expect(stage.sink.endings.map(\.state) == [.stopped])
        stage.run.resume()
        stage.turn(1)
        #expect(stage.sink.ticks.count == 2 && stage.sink.endings.count == 1)
    }

    @Test("a run that is stopped before it starts ends as well")
    func stopFirst() throws {
        let stage = try Stage(pace: .max)
        stage.run.stop()
        stage.drain()
        #expect(stage.sink.endings.map(\.state) == [.stopped] && stage.sink.ticks.isEmpty)
    }

    @Test(
        "a run that goes on after a restart is the uninterrupted one", arguments: [1, 7, 23, 24] as [Int64])
    func restart(hours: Int64) throws {
        let whole = try Stage(pace: .max, tickMs: Self.hourMs)
        whole.run.start()
        whole.drain()
        let closed = Self.startMs + hours * Self.hourMs
        let rest = try Stage(pace: .max, tickMs: Self.hourMs, startAfterMs: closed)
        rest.run.start()
        rest.drain()
        #expect(rest.sink.ticks == whole.sink.ticks.filter { $0.timeMs >= closed })
        #expect(rest.sink.events == whole.sink.events.filter { $0.timeMs >= closed })
        #expect(!rest.sink.ticks.isEmpty && !rest.sink.events.isEmpty)
    }

    @Test("the same seed plays the same run, however fast; another seed another")
    func reproducible() throws {
        let one = try Stage(pace: .max, tickMs: Self.hourMs)
        let two = try Stage(pace: .times(86_400))
        let other = try Stage(.fixture(seed: 2), pace: .max, tickMs: Self.hourMs)
        for stage in [one, two, other] { stage.run.start() }
        for _ in 0..<30 { two.turn(0.05) }
        for stage in [one, other] { stage.drain() }
        #expect(one.sink.ticks == two.sink.ticks && one.sink.events == two.sink.events)
        #expect(one.sink.ticks.count == 25)
        #expect(one.sink.ticks != other.sink.ticks)
    }

    @Test("the timeline has every time of the scenario, in any order, and the claims beside the counts")
    func timeline() throws {
        let plan = try FleetPlan(.growing())
        let source = TimelineSource(plan: plan)
        let late = source.point(at: Self.startMs + 240 * Self.hourMs, overMs: Self.hourMs)
        let early = source.point(at: Self.startMs + 24 * Self.hourMs, overMs: Self.hourMs)
        #expect(late.installed == 1_000 && early.installed < 100)
        #expect(source.point(at: Self.startMs + 240 * Self.hourMs, overMs: Self.hourMs) == late)
        let results = source.milestones()
        let ends = results.filter { $0.milestone.claim?.count == .installed }
        #expect(ends.map { $0.milestone.claim?.gpus } == [1_000, 1_400])
        #expect(ends.map(\.point.installed) == [1_000, 1_400])
        #expect(results.map(\.milestone.timeMs) == results.map(\.milestone.timeMs).sorted())
        #expect(results.count == 4)
    }
}
