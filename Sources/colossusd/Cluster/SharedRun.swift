import Aggregation
import Exchange
import Playback
import QueueIsolation
import Simulation
import Telemetry

/// A worker's simulation of the shared fleet, in a core of its own.
///
/// It plays the whole fleet and gives away the shares of the slices that the worker holds: the kernel makes some ten
/// million GPU-ticks a second, and whoever takes a slice over has its windows already, with all that counters and
/// sticky gauges said before. A member that comes later plays from the beginning until it has caught up.
final class SharedRun: Sendable {
    let windows: ClosedWindows
    let run: ScenarioRun
    private let core: AggregationCore
    private let index: StreamIndex

    private struct Nothing: SummarySink {
        func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) { done() }
    }

    /// - Parameter startedMs: when the run began, Unix milliseconds.
    init(
        _ fleet: SharedFleet, shardCount: Int, levels: Set<Level>, windowsMax: Int, startedMs: Int64,
        clock: WallClock
    ) {
        let streams = Streams()
        index = streams.open(fleet.stream, site: fleet.plan.scenario.site)
        fleet.plan.makeTopology(into: streams.topology(index))
        windows = ClosedWindows(
            fleet: fleet.map, slices: fleet.slices, topology: fleet.topology, shardCount: shardCount,
            windowsMax: windowsMax)
        core = AggregationCore(
            shardCount: shardCount, streams: streams, bus: windows, sink: Nothing(), clock: clock,
            metrics: Metrics())
        let sinceMs = min(max(0, clock.nowMs() - startedMs), UTC.dayMs * 3_650)
        run = ScenarioRun(
            plan: fleet.plan, stream: fleet.stream, index: index, pace: fleet.pace,
            startedNs: SystemPlaybackClock().nowNs() - sinceMs * 1_000_000,
            sink: AdmittedTicks(core, windows), events: core)
        var spec = StreamSpec(id: fleet.stream, site: fleet.plan.scenario.site)
        spec.plan = WindowPlan(
            finestMs: fleet.resolution.finestWindowMs, rollupsMs: fleet.resolution.rollupsMs)
        spec.levels = levels
        spec.tellsDetected = false
        spec.tickMs = fleet.resolution.tickMs
        spec.sketchEvery = SimulationRuns.sketchEvery(run)
        spec.timeline = { _, _ in nil }
        core.openStream(spec)
        // Not before it is known what was asked of it.
        run.follow([], [], throughMs: fleet.plan.scenario.startMs - 1, missed: { _ in })
    }

    var monitoredQueues: [MonitoredQueue] { core.monitoredQueues + run.monitoredQueues }

    func start() { run.start() }

    func stop() {
        run.stop()
        // Whoever waits for room must not wait for ever.
        windows.settle(through: .max)
        core.closeStream(index)
    }
}
