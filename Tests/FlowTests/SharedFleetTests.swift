import Aggregation
import Dispatch
import Exchange
import Foundation
import Playback
import Settings
import Simulation
import Synchronization
import Telemetry
import TestSupport
import Testing

/// One simulated fleet, twice: played by one process, and by workers that have shares of it, with a roll-up and a
/// reporter. Both must say the same, bit by bit.
@Suite struct SharedFleetTests {
    static let pace = Pace.times(60)
    static let windowMs: Int64 = 60_000
    static let stream = StreamID.simulated(run: "shared")

    /// 512 GPUs in four arrays, of which some fail within minutes.
    static func plan() throws -> FleetPlan {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        var scenario = try loadScenario(path: root.path + "/Config/scenarios/small-512.yaml")
        scenario.layout.racksPerArray = 2
        scenario.failures.perGPUDay = 2
        return try FleetPlan(scenario)
    }

    @Test("workers that share a fleet report what one process reports", .timeLimit(.minutes(20)), .computing)
    func equal() async throws {
        let plan = try Self.plan()
        let stream = try #require(Self.stream)
        let windows = 48
        let alone = try Alone(plan, stream)
        let cluster = try SharedCluster(plan, stream, workers: ["w1", "w2"])
        try await Self.wait { alone.sink.finest.count >= windows }
        try await Self.wait {
            cluster.tick()
            return cluster.sink.finest.count >= windows / 2
        }
        #expect(cluster.holds("w1") == 2 && cluster.holds("w2") == 2)
        // One is gone without a word; the other takes over what it had.
        cluster.kill("w1")
        try await Self.wait {
            cluster.tick()
            return cluster.sink.finest.count >= windows * 2 / 3
        }
        #expect(Set(cluster.playedBy("w2")) == [0, 1, 2, 3])
        // Another comes, which plays from the beginning, and gets a share; then it is alone.
        try cluster.join("w3", plan, stream)
        try await Self.wait {
            cluster.tick()
            return cluster.holds("w3") == 2
        }
        cluster.kill("w2")
        try await Self.wait {
            cluster.tick()
            return cluster.sink.finest.count >= windows
        }
        let bytes = cluster.finalBytes()
        alone.stop()
        cluster.stop()
        // Four racks a partition here; what a partition may have must fit into a message, sketches included.
        #expect(
            bytes > 1_000 && bytes * FleetSlices.racksPerPartition / 4 < ExchangeLimits().finalBytesMax,
            "\(bytes)")
        let expected = alone.sink.all
        let seen = cluster.sink.all
        #expect(
            cluster.sink.finest.prefix(windows).enumerated().allSatisfy { $1.startMs == cluster.startMs($0) })
        var compared = 0
        for (key, window) in seen {
            guard let same = expected[key] else { continue }
            compared += 1
            #expect(window.levels == same.levels, "\(key)")
            #expect(window.timeline == same.timeline, "\(key)")
            #expect(window.coverage == 1)
        }
        #expect(compared >= windows)
        #expect(seen.keys.contains { $0.resolutionMs == 600_000 }, "longer windows are made of them")
        let events = cluster.sink.events
        #expect(events.count > 5)
        #expect(alone.sink.events.prefix(events.count) == events[...])
        #expect(seen.values.contains { ($0.level(.site)?.gpus.faulted.first ?? 0) > 0 })
    }

    @Test(
        "a run of this process alone that has the name of one that was reported says what it says anywhere",
        .computing)
    func nameAgain() async throws {
        let plan = try Self.plan()
        let stream = try #require(Self.stream)
        let alone = try Alone(plan, stream)
        let cluster = try SharedCluster(plan, stream, workers: [])
        cluster.tick()
        await cluster.endReport(stream)
        let run = cluster.playAlone(plan, stream)
        try await Self.wait { alone.sink.finest.count >= 3 && cluster.sink.finest.count >= 3 }
        alone.stop()
        run.stop()
        cluster.stop()
        for (one, other) in zip(cluster.sink.finest.prefix(3), alone.sink.finest) {
            #expect(!one.levels.isEmpty && one.levels == other.levels)
            #expect(one.coverage == other.coverage)
        }
    }

    static func wait(_ isDone: () -> Bool) async throws {
        for _ in 0..<12_000 {
            if isDone() { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("it takes too long")
        throw CancellationError()
    }
}

struct WindowName: Hashable { var startMs: Int64, resolutionMs: Int64 }

/// Keeps what is committed, up to a number of closings; then it only says yes.
final class KeptSummaries: SummarySink {
    private let state = Mutex<[WindowClose]>([])
    var closes: [WindowClose] { state.withLock { $0 } }
    var finest: [WindowSummary] {
        closes.flatMap(\.windows).filter { $0.resolutionMs == SharedFleetTests.windowMs }
    }
    var all: [WindowName: WindowSummary] {
        Dictionary(
            closes.flatMap(\.windows).map {
                (WindowName(startMs: $0.startMs, resolutionMs: $0.resolutionMs), $0)
            }
        ) { first, _ in first }
    }
    var events: [Event] { closes.flatMap(\.events) }

    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        state.withLock { if $0.count < 400 { $0.append(close) } }
        done()
    }
}

struct DropsSummaries: SummarySink, EventSink {
    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) { done() }
    func emit(_ events: [Event]) {}
}

/// One process.
final class Alone {
    let sink = KeptSummaries()
    let core: AggregationCore
    let run: ScenarioRun

    init(_ plan: FleetPlan, _ stream: StreamID) throws {
        let streams = Streams()
        core = AggregationCore(
            shardCount: 3, streams: streams, bus: EmbeddedBus(), sink: sink, clock: WallClock { 0 },
            metrics: Metrics())
        let index = streams.open(stream, site: plan.scenario.site)
        plan.makeTopology(into: streams.topology(index))
        run = ScenarioRun(
            plan: plan, stream: stream, index: index, pace: SharedFleetTests.pace, startedNs: -1 << 60,
            sink: core, events: core)
        let timeline = run.timeline
        core.openStream(
            SharedCluster.spec(stream, plan, run.resolution) { timeline.point(at: $1, overMs: 60_000) })
        run.start()
    }

    func stop() { run.stop() }
}

/// Workers, a roll-up and a reporter in one process, over a broker in memory.
final class SharedCluster {
    let sink = KeptSummaries()
    let bus = MemoryBus(clock: WallClock { 0 })
    let fleet: FleetMap
    /// Slices that each worker has begun to work out.
    let played = Locked<[String: [Int]]>([:])
    private var workers:
        [String: (
            shell: NodeShell<WorkerMachine>, run: ScenarioRun, windows: DividedFleet
        )] = [:]
    private let rollup: NodeShell<RollupMachine>
    private let reporter: FleetReporter
    private let core: AggregationCore
    private let shares: ReportingBus
    private let coverage: CoverageSink
    private let index: StreamIndex

    static func clock() -> Int64 { Int64(DispatchTime.now().uptimeNanoseconds / 1_000_000) }

    static func spec(
        _ stream: StreamID, _ plan: FleetPlan, _ resolution: Resolution,
        _ timeline: @escaping @Sendable (StreamID, Int64) -> TimelinePoint?
    ) -> StreamSpec {
        var spec = StreamSpec(id: stream, site: plan.scenario.site)
        spec.plan = WindowPlan(finestMs: resolution.finestWindowMs, rollupsMs: resolution.rollupsMs)
        spec.levels = [.rack, .array, .hall, .site, .job]
        spec.tellsDetected = false
        spec.tickMs = resolution.tickMs
        spec.timeline = timeline
        return spec
    }

    init(_ plan: FleetPlan, _ stream: StreamID, workers names: [String]) throws {
        let streams = Streams()
        index = streams.open(stream, site: plan.scenario.site)
        plan.makeTopology(into: streams.topology(index))
        let topology = streams.topology(index).snapshot()
        let slices = FleetSlices(topology, slicesMax: 64)
        #expect(slices.count == 4)
        let startMs = plan.scenario.startMs / 60_000 * 60_000
        guard
            let fleet = FleetMap(
                cluster: "test", stream: stream.name, slices: slices.count, partitions: 2, windowMs: 60_000,
                startMs: startMs)
        else { throw CancellationError() }
        self.fleet = fleet
        let resolution = Resolution(pace: SharedFleetTests.pace)
        rollup = NodeShell(
            RollupMachine(name: "u1", incarnation: 99, fleet: fleet, leaseMs: 1_000, graceMs: 1 << 40),
            bus: bus, clock: Self.clock)
        shares = ReportingBus()
        coverage = CoverageSink(sink)
        core = AggregationCore(
            shardCount: 2, streams: streams, bus: shares, sink: coverage, clock: WallClock { 0 },
            metrics: Metrics())
        shares.report(index)
        let timeline = TimelineSource(plan: plan)
        core.openStream(Self.spec(stream, plan, resolution) { timeline.point(at: $1, overMs: 60_000) })
        let replay = Locked(EventReplay(plan: plan, stream: stream, pace: SharedFleetTests.pace))
        reporter = FleetReporter(
            fleet: fleet, topology: topology, stream: index, next: 0, from: 1, bus: bus, shares: shares,
            coverage: coverage, core: core, clock: WallClock { 0 },
            account: { [core] in core.account($0, stream: $1) },
            events: { endMs in replay.withLock { $0.events(before: endMs) } })
        coverage.report(stream, finestMs: 60_000) { [reporter] in reporter.committed(throughMs: $0) }
        for (number, name) in names.enumerated() { try start(name, plan, stream, slices, UInt64(number + 1)) }
    }

    private func start(
        _ name: String, _ plan: FleetPlan, _ stream: StreamID, _ slices: FleetSlices, _ incarnation: UInt64
    ) throws {
        let streams = Streams()
        let index = streams.open(stream, site: plan.scenario.site)
        plan.makeTopology(into: streams.topology(index))
        let shards = Int(incarnation) + 1
        let topology = streams.topology(index).snapshot()
        let resolution = Resolution(pace: SharedFleetTests.pace)
        let windows = DividedFleet(fleet, windowsMax: 8) { [fleet, played] mine in
            played.withLock { $0[name, default: []] += mine }
            let windows = ClosedWindows(
                fleet: fleet, slices: slices, topology: topology, shardCount: shards)
            let core = AggregationCore(
                shardCount: shards, streams: streams, bus: windows, sink: DropsSummaries(),
                clock: WallClock { 0 }, metrics: Metrics())
            var spec = Self.spec(stream, plan, resolution) { _, _ in nil }
            spec.plan = WindowPlan(finestMs: resolution.finestWindowMs, rollupsMs: [])
            spec.racks = { mine.contains(slices.slice(ofRack: $0)) }
            core.openStream(spec)
            return SlicePlayer(windows, core: core, stream: index) {
                core.closeStream(index) { withExtendedLifetime(core) {} }
            }
        }
        let run = ScenarioRun(
            plan: plan, stream: stream, index: index, pace: SharedFleetTests.pace, startedNs: -1 << 60,
            sink: windows, events: DropsSummaries())
        run.start()
        let machine = WorkerMachine(
            name: name, incarnation: incarnation, fleet: fleet, leaseMs: 1_000, source: windows)
        workers[name] = (NodeShell(machine, bus: bus, clock: Self.clock), run, windows)
    }

    /// Of the last final of the first partition.
    func finalBytes() -> Int {
        let found = Locked(0)
        bus.last(.finals, fleet.finalSubject(0)) { result in
            if case .success(let message?) = result { found.withLock { $0 = message.bytes.count } }
        }
        return found.withLock { $0 }
    }

    func startMs(_ window: Int) -> Int64 { fleet.windowStartMs(Int64(window)) }

    func tick() {
        let closed = rollup.withMachine { $0.status(nowMs: Self.clock()).partitions.map(\.closed) }
        for worker in workers.values {
            if closed.count == fleet.partitions, let least = closed.min() {
                worker.windows.settle(through: least)
            }
            worker.shell.tick()
        }
        rollup.tick()
        reporter.tick()
    }

    func playedBy(_ name: String) -> [Int] { played.withLock { $0[name] ?? [] }.sorted() }

    func holds(_ name: String) -> Int {
        workers[name]?.shell.withMachine { $0.status(nowMs: Self.clock()).slices.count } ?? 0
    }

    func join(_ name: String, _ plan: FleetPlan, _ stream: StreamID) throws {
        let streams = Streams()
        plan.makeTopology(into: streams.topology(streams.open(stream, site: plan.scenario.site)))
        let slices = FleetSlices(streams.topology(index).snapshot(), slicesMax: 64)
        try start(name, plan, stream, slices, 3)
    }

    func kill(_ name: String) {
        guard let worker = workers.removeValue(forKey: name) else { return }
        worker.shell.stop()
        worker.run.stop()
    }

    /// As when the run is over.
    func endReport(_ stream: StreamID) async {
        reporter.stop()
        await withCheckedContinuation { continuation in core.closeStream(index) { continuation.resume() } }
        shares.unreport(index)
        coverage.forget(stream)
    }

    func playAlone(_ plan: FleetPlan, _ stream: StreamID) -> ScenarioRun {
        let run = ScenarioRun(
            plan: plan, stream: stream, index: index, pace: SharedFleetTests.pace, startedNs: -1 << 60,
            sink: core, events: core)
        let timeline = run.timeline
        core.openStream(Self.spec(stream, plan, run.resolution) { timeline.point(at: $1, overMs: 60_000) })
        run.start()
        return run
    }

    func stop() {
        for name in workers.keys.sorted() { kill(name) }
        rollup.stop()
        reporter.stop()
    }
}
