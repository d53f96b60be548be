import Aggregation
import Dispatch
import QueueIsolation
import Settings
import Simulation
import Telemetry

/// A whole fleet through the core: ticks of all its GPUs into the shards, and windows closed with all their levels.
enum CloseBenchmark {
    private static let ticksPerWindow = 10
    /// Six make a minute: the last closing ends a rollup too. The first minute makes memory.
    private static let windows = 12

    /// What one closing cost.
    private struct Closing {
        var wallMs: Double
        var cpuMs: Double
        var waitMs: Double
    }

    static func run(scenario path: String) throws -> [Benchmark.Result] {
        try fleet(scenario: path) + series()
    }

    private static func fleet(scenario path: String) throws -> [Benchmark.Result] {
        let plan = try FleetPlan(loadScenario(path: path))
        let bench = BenchCore()
        guard let id = StreamID.simulated(run: "bench") else { return [] }
        let stream = bench.streams.open(id, site: plan.scenario.site)
        plan.makeTopology(into: bench.streams.topology(stream))
        var spec = StreamSpec(id: id, site: plan.scenario.site)
        spec.plan = WindowPlan(finestMs: 10_000, rollupsMs: [60_000])
        bench.core.openStream(spec)
        var model = FleetModel(plan: plan)
        let start = (plan.scenario.endMs - UTC.dayMs) / 60_000 * 60_000
        model.advance(to: start)

        var feedNs: Int64 = 0
        var closings: [Closing] = []
        for window in 0..<windows {
            let began = Stopwatch.nowNs()
            let startMs = start + Int64(window) * 10_000
            for step in 0..<ticksPerWindow {
                offer(model.tick(at: startMs + Int64(step) * 1_000), bench, stream)
            }
            feedNs += Stopwatch.nowNs() - began
            closings.append(close(bench, stream, atMs: startMs + 10_000))
        }
        let tickNs = feedNs / Int64(windows * ticksPerWindow)
        let what = "\(plan.gpuCount) GPUs x \(FieldCatalog.defaults.count) fields, all levels"
        let plain = closings[6..<11]
        return [
            .init(
                name: "fleet into the core with sketches, 2 shards",
                value: Double(plan.gpuCount) / (Double(tickNs) / 1e9) / 1e6, unit: "M GPU-ticks/s"),
            .init(
                name: "close of a window, \(what)", value: Series.median(plain.map(\.wallMs)), unit: "ms"),
            .init(name: "the same, CPU", value: Series.median(plain.map(\.cpuMs)), unit: "ms"),
            .init(
                name: "longest wait of a shard's queue in it", value: Series.median(plain.map(\.waitMs)),
                unit: "ms"),
            .init(
                name: "close of a window and the minute that ends with it, CPU",
                value: closings.last?.cpuMs ?? 0, unit: "ms"),
        ]
    }

    private static func offer(_ tick: SimulatedTick, _ bench: BenchCore, _ stream: StreamIndex) {
        let done = Signal()
        bench.core.offer(tick, stream: stream) { done.raise() }
        done.wait()
    }

    /// Closes what ends by a time, and looks all the while how long a block on a shard's queue has to wait.
    private static func close(_ bench: BenchCore, _ stream: StreamIndex, atMs timeMs: Int64) -> Closing {
        let queues = bench.core.monitoredQueues.filter { $0.label.contains("shard") }
        let done = Signal()
        let cpu = workNs()
        let began = Stopwatch.nowNs()
        bench.core.observed(
            sender: SenderID(rawValue: 0), stream: stream, oldestMs: timeMs, newestMs: timeMs,
            arrivalMs: timeMs)
        let answered = Answers(queues.count)
        bench.core.drain { done.raise() }
        while !done.isRaised {
            for (number, queue) in queues.enumerated() where answered.take(number) {
                let asked = Stopwatch.nowNs()
                queue.queue.async { @Sendable in answered.give(number, Stopwatch.nowNs() - asked) }
            }
            BenchCore.pause()
        }
        return Closing(
            wallMs: Double(Stopwatch.nowNs() - began) / 1e6,
            cpuMs: Double(workNs() - cpu) / 1e6,
            waitMs: Double(answered.longestNs) / 1e6)
    }

    /// CPU of the process without that of the thread that asks.
    private static func workNs() -> Int64 { Stopwatch.processNs() - Stopwatch.threadNs() }

    /// One question at a time to each queue.
    private final class Answers: Sendable {
        private let state: Locked<(isFree: [Bool], longestNs: Int64)>

        init(_ count: Int) { state = Locked((Array(repeating: true, count: count), 0)) }

        func take(_ number: Int) -> Bool {
            state.withLock { state in
                defer { state.isFree[number] = false }
                return state.isFree[number]
            }
        }

        func give(_ number: Int, _ waitNs: Int64) {
            state.withLock { state in
                state.isFree[number] = true
                state.longestNs = max(state.longestNs, waitNs)
            }
        }

        var longestNs: Int64 { state.withLock { $0.longestNs } }
    }
}
