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

    /// What nodes are like at a tick takes so much a rack, where something has changed since the tick before.
    private static let bytesPerRack = 1_024
    private static let ticksBytesMax = 256 << 20

    /// What happens is told by whoever reports.
    private struct Nothing: SummarySink, EventSink {
        func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) { done() }
        func emit(_ events: [Event]) {}
    }

    /// Works out some slices.
    private struct Player: SlicePlayer {
        let windows: ClosedWindows
        let core: AggregationCore
        let index: StreamIndex

        func offer(_ tick: any FleetTick, done: @escaping @Sendable () -> Void) {
            core.offer(tick, stream: index, done: done)
        }

        func stop() { core.closeStream(index) { [core] in withExtendedLifetime(core) {} } }
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
        spec.plan = WindowPlan(
            finestMs: fleet.resolution.finestWindowMs, rollupsMs: fleet.resolution.rollupsMs)
        spec.levels = levels
        spec.tellsDetected = false
        spec.tickMs = fleet.resolution.tickMs
        spec.sketchEvery = SimulationRuns.sketchEvery(
            fleet.resolution, fleet.pace, gpuCount: fleet.plan.gpuCount)
        spec.timeline = { _, _ in nil }
        let template = spec
        windows = DividedFleet(
            fleet.map, windowsMax: windowsMax,
            ticksMax: Self.ticksBytesMax / (max(1, fleet.plan.rackCount) * Self.bytesPerRack)
        ) { slices in
            let windows = ClosedWindows(
                fleet: fleet.map, slices: fleet.slices, topology: fleet.topology, shardCount: shardCount)
            let core = AggregationCore(
                shardCount: shardCount, streams: streams, bus: windows, sink: Nothing(), clock: clock,
                metrics: Metrics())
            var spec = template
            spec.racks = { slices.contains(fleet.slices.slice(ofRack: $0)) }
            core.openStream(spec)
            return Player(windows: windows, core: core, index: index)
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
        windows.players.flatMap { ($0 as? Player)?.core.monitoredQueues ?? [] } + run.monitoredQueues
    }

    func start() { run.start() }

    func stop() {
        run.stop()
        windows.stop()
    }
}
