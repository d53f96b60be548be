import Aggregation
import Exchange
import Playback
import QueueIsolation
import Simulation
import Telemetry

/// A worker's simulation of the shared fleet.
///
/// Every worker plays what happens to the fleet, which is little work, and works out the telemetry of the slices that it
/// holds. A member that comes later plays from the beginning until it has caught up.
final class SharedRun: Sendable {
    let windows: DividedFleet
    let run: ScenarioRun

    private static let ticksBytesMax = 512 << 20

    /// What happens is told by whoever reports.
    private struct Nothing: SummarySink, EventSink {
        func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) { done() }
        func emit(_ events: [Event]) {}
    }

    /// - Parameter startedMs: when the run began, Unix milliseconds.
    init(
        _ fleet: SharedFleet, shardCount: Int, levels: Set<Level>, windowsMax: Int, startedMs: Int64,
        clock: WallClock
    ) {
        let streams = Streams()
        let index = streams.open(fleet.stream, site: fleet.plan.scenario.site)
        fleet.plan.makeTopology(into: streams.topology(index))
        var spec = StreamSpec(id: fleet.stream, site: fleet.plan.scenario.site)
        // Who reports makes longer windows of these.
        spec.plan = WindowPlan(finestMs: fleet.resolution.finestWindowMs, rollupsMs: [])
        spec.levels = levels
        spec.tellsDetected = false
        spec.tickMs = fleet.resolution.tickMs
        spec.sketchEvery = SimulationRuns.sketchEvery(
            fleet.resolution, fleet.pace, gpuCount: fleet.plan.gpuCount)
        spec.timeline = { _, _ in nil }
        let template = spec
        windows = DividedFleet(
            fleet.map, windowsMax: windowsMax, bytesMax: Self.ticksBytesMax
        ) { slices in
            let windows = ClosedWindows(
                fleet: fleet.map, slices: fleet.slices, topology: fleet.topology, shardCount: shardCount)
            let core = AggregationCore(
                shardCount: shardCount, streams: streams, bus: windows, sink: Nothing(), clock: clock,
                metrics: Metrics())
            var spec = template
            spec.racks = { slices.contains(fleet.slices.slice(ofRack: $0)) }
            core.openStream(spec)
            return SlicePlayer(windows, core: core, stream: index) {
                core.closeStream(index) { withExtendedLifetime(core) {} }
            }
        }
        let sinceMs = min(max(0, clock.nowMs() - startedMs), UTC.dayMs * 3_650)
        run = ScenarioRun(
            plan: fleet.plan, stream: fleet.stream, index: index, pace: fleet.pace,
            startedNs: SystemPlaybackClock().nowNs() - sinceMs * 1_000_000,
            sink: windows, events: Nothing())
        // Not before it is known what was asked of it.
        run.follow([], [], throughMs: fleet.plan.scenario.startMs - 1, missed: { _ in })
    }

    var monitoredQueues: [MonitoredQueue] {
        windows.players.flatMap { ($0.core as? AggregationCore)?.monitoredQueues ?? [] } + run.monitoredQueues
    }

    /// How far others may take it that the run is played.
    var progressMs: Int64? { run.status().positionMs.map(windows.progressMs) }

    func start() { run.start() }

    func stop() {
        run.stop()
        windows.stop()
    }
}
