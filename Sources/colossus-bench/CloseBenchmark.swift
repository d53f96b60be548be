import Aggregation
import Settings
import Simulation
import Telemetry

/// A whole fleet through the core: ticks of all its GPUs into the shards, and windows closed with all their levels.
enum CloseBenchmark {
    private static let ticksPerWindow = 10
    private static let windows = 3

    static func run(scenario path: String) throws -> [Benchmark.Result] {
        let plan = try FleetPlan(loadScenario(path: path))
        let bench = BenchCore()
        guard let id = StreamID.simulated(run: "bench") else { return [] }
        let stream = bench.streams.open(id, site: plan.scenario.site)
        plan.makeTopology(into: bench.streams.topology(stream))
        var spec = StreamSpec(id: id, site: plan.scenario.site)
        spec.plan = WindowPlan(finestMs: 10_000, rollupsMs: [60_000])
        bench.core.openStream(spec)
        var model = FleetModel(plan: plan)
        let start = (plan.scenario.endMs - UTC.dayMs) / 10_000 * 10_000
        model.advance(to: start)

        var feedNs: Int64 = 0
        var closeNs: [Int64] = []
        var gpuTicks = 0
        for window in 0..<windows {
            let began = Stopwatch.nowNs()
            for step in 0..<ticksPerWindow {
                // The first tick of a window closes the one before: it is timed as the closing.
                let isClosing = step == 0 && window > 0
                let from = Stopwatch.nowNs()
                offer(model.tick(at: start + Int64((window * ticksPerWindow + step) * 1_000)), bench, stream)
                if isClosing { bench.drain() }
                if isClosing { closeNs.append(Stopwatch.nowNs() - from) }
                gpuTicks += model.trainingGPUs
            }
            feedNs += Stopwatch.nowNs() - began
        }
        let tickNs = (feedNs - closeNs.reduce(0, +)) / Int64(windows * ticksPerWindow - closeNs.count)
        let closing = closeNs.map { Double($0 - tickNs) / 1e6 }
        return [
            .init(
                name: "fleet into the core with sketches, 2 shards",
                value: Double(plan.gpuCount) / (Double(tickNs) / 1e9) / 1e6, unit: "M GPU-ticks/s"),
            .init(
                name:
                    "close of a window, \(plan.gpuCount) GPUs x \(FieldCatalog.defaults.count) fields, all levels",
                value: Series.median(closing), unit: "ms"),
        ]
    }

    private static func offer(_ tick: SimulatedTick, _ bench: BenchCore, _ stream: StreamIndex) {
        let done = Signal()
        bench.core.offer(tick, stream: stream) { done.raise() }
        done.wait()
    }
}
