import ArgumentParser
import Settings
import Simulation
import Telemetry

/// Values for every field of every GPU of a built-out fleet, on one core: the kernel of the simulator.
enum SimulateBenchmark {
    static let seconds = 2.0

    static func run(scenario path: String) throws -> [Benchmark.Result] {
        let plan = try FleetPlan(loadScenario(path: path))
        var model = FleetModel(plan: plan)
        let began = Stopwatch.nowNs()
        model.advance(to: plan.scenario.endMs)
        let liveMs = Double(Stopwatch.nowNs() - began) / 1e6
        let tick = model.tick()
        var values = [Double](repeating: 0, count: tick.fields.count * 64)
        var gpuTicks = 0
        let start = Stopwatch.nowNs()
        repeat {
            for rack in 0..<tick.rackCount {
                var span = values.mutableSpan
                gpuTicks += tick.fill(rack: rack, into: &span).reporting.nonzeroBitCount
            }
        } while Double(Stopwatch.nowNs() - start) / 1e9 < seconds
        let elapsed = Double(Stopwatch.nowNs() - start) / 1e9
        return [
            .init(
                name: "simulated telemetry, \(tick.fields.count) fields, 1 core",
                value: Double(gpuTicks) / elapsed / 1e6, unit: "M GPU-ticks/s"),
            .init(name: "live model through \(plan.scenario.days) days, no ticks", value: liveMs, unit: "ms"),
            trajectories(plan),
        ]
    }

    /// Whole runs without telemetry, to the end of the last phase.
    private static func trajectories(_ plan: FleetPlan) -> Benchmark.Result {
        var scenario = plan.scenario
        scenario.planUntilMs = nil
        var runner = TrajectoryRunner(plan: (try? FleetPlan(scenario)) ?? plan)
        var seed: UInt64 = 0
        let start = Stopwatch.nowNs()
        repeat {
            seed += 1
            _ = runner.run(seed: seed)
        } while Double(Stopwatch.nowNs() - start) / 1e9 < seconds
        let elapsed = Double(Stopwatch.nowNs() - start) / 1e9
        return .init(
            name: "trajectories of \(scenario.days) days, \(plan.gpuCount) GPUs, 1 core",
            value: Double(seed) / elapsed, unit: "/s")
    }
}
