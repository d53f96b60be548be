import Aggregation
import Glibc
import Settings
import Simulation
import Telemetry

/// A day of the whole fleet at one tick a second, with its failures, repairs and jobs, to summaries of a minute at all
/// levels that the daemon keeps of a simulated stream (racks and above): counts, sums and extremes of each tick, sketches
/// of each tenth. As fast as it goes.
enum DayBenchmark {
    private static let sketchEvery = 10
    private static let windowMs: Int64 = 60_000

    static func run(scenario path: String, hours: Int) throws -> [Benchmark.Result] {
        let plan = try FleetPlan(loadScenario(path: path))
        guard let id = StreamID.simulated(run: "day") else { return [] }
        let bench = BenchCore()
        let stream = bench.streams.open(id, site: plan.scenario.site)
        plan.makeTopology(into: bench.streams.topology(stream))
        var spec = StreamSpec(id: id, site: plan.scenario.site)
        spec.plan = WindowPlan(finestMs: windowMs, rollupsMs: [3_600_000])
        spec.levels.remove(.node)
        spec.sketchEvery = sketchEvery
        spec.tickMs = 1_000
        bench.core.openStream(spec)
        var model = FleetModel(plan: plan)
        // The last day: all stand, as many as the scenario has.
        let start = (plan.scenario.endMs - UTC.dayMs) / 3_600_000 * 3_600_000
        model.advance(to: start)

        let (wall, cpu) = (Stopwatch.nowNs(), Stopwatch.processNs())
        let ticks = hours * 3_600
        var before: Signal?
        for tick in 0..<ticks {
            // The next one is on its way while this one is added.
            let done = Signal()
            bench.core.offer(model.tick(at: start + Int64(tick) * 1_000), stream: stream) { done.raise() }
            before?.wait()
            before = done
            if (tick + 1) % 900 == 0 { progress(tick + 1, of: ticks, sinceNs: wall) }
        }
        let endMs = start + Int64(ticks) * 1_000
        bench.core.observed(
            sender: SenderID(rawValue: 0), stream: stream, oldestMs: endMs, newestMs: endMs, arrivalMs: endMs)
        bench.drain()
        let seconds = Double(Stopwatch.nowNs() - wall) / 1e9
        let name = "\(hours) h of \(plan.gpuCount) GPUs at 1 s, sketches of each \(sketchEvery)th tick"
        return [
            .init(name: name, value: seconds, unit: "s"),
            .init(
                name: "\(name): into summaries", value: Double(ticks * plan.gpuCount) / seconds / 1e6,
                unit: "M GPU-ticks/s"),
            .init(
                name: "\(name): cores", value: Double(Stopwatch.processNs() - cpu) / 1e9 / seconds,
                unit: "cores"),
            .init(name: "\(name): memory", value: ProcessUsage.residentBytes() / 1e6, unit: "MB"),
            .init(name: "\(name): rows of summaries", value: Double(bench.sink.rowCount), unit: "rows"),
        ]
    }

    private static func progress(_ done: Int, of all: Int, sinceNs: Int64) {
        let seconds = Double(Stopwatch.nowNs() - sinceNs) / 1e9
        let left = seconds / Double(done) * Double(all - done)
        let text =
            "\(done / 60) of \(all / 60) simulated minutes, \(Int(seconds)) s so far, \(Int(left)) s to go\n"
        var bytes = Array(text.utf8)
        _ = write(STDERR_FILENO, &bytes, bytes.count)
    }
}
