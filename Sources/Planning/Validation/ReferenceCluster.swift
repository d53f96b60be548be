import Simulation
import Telemetry

/// Clusters of published tables: everything stands and has power from the first second on.
struct ReferenceCluster {
    static let startMs: Int64 = 1_704_067_200_000
    static let day = 86_400.0

    var gpus: Int
    var days: Int
    /// Failures per 1,000 node-days, all causes by node.
    var per1000NodeDays: Double
    var causes: [Scenario.Cause] = [Scenario.Cause(name: "any", weight: 1, effect: .software, xid: 0)]
    var repair = Scenario.Repair(medianHours: 0.01, sigma: 0, minHours: 0, maxHours: 1)
    /// Seconds.
    var checkpoint = 600.0
    var write = 0.0
    var detection = 0.0
    var restart = 1.0

    /// The scenario, with whatever else a check needs.
    func scenario(_ change: (inout Scenario) -> Void = { _ in }) -> Scenario {
        let gpus = gpus / 8 * 8
        var scenario = Scenario(
            name: "reference", site: "reference", seed: 1, startMs: Self.startMs,
            layout: .init(nodesPerRack: 8, racksPerArray: 8, gpusPerHall: 25_000),
            gpuModels: [
                .init(
                    key: "GPU", name: "GPU", tdpWatts: 700, memoryMiB: 81_559, reservedMiB: 454,
                    idleClockMHz: 345, maxClockMHz: 1_980, memoryClockMHz: 2_619, peakTFLOPs: 989.4)
            ],
            phases: [
                .init(name: "all", days: days, groups: [.init(model: "GPU", gpus: gpus)], curve: .immediate)
            ],
            power: .init(
                curve: [.init(timeMs: Self.startMs, megawatts: 1e6)], kilowattsPerGPU: 1.43, baseMegawatts: 0,
                hostWattsPerGPU: 319, networkShare: 0.1, pue: 1.12),
            bringUp: .init(energiseHours: 0, checkHours: 0, burnInHours: 0, rejectedShare: 0),
            failures: .init(
                perGPUDay: per1000NodeDays / 8_000, causes: causes, drainMinutes: 0, repair: repair),
            job: .init(
                name: "job", startMs: Self.startMs, minimumGPUs: 8, checkpointSeconds: checkpoint,
                checkpointWriteSeconds: write, detectionSeconds: detection, restartSeconds: restart,
                resizeHours: 6, resizeShare: 1),
            telemetry: Self.telemetry, milestones: [])
        change(&scenario)
        return scenario
    }

    /// Runs it. Reference clusters are literals, so that nothing can be wrong with them but in development.
    func run(_ runs: Int, _ change: (inout Scenario) -> Void = { _ in }) -> [Trajectory] {
        let scenario = scenario(change)
        guard let plan = try? FleetPlan(scenario) else {
            preconditionFailure("a reference cluster does not fit together")
        }
        return Ensemble(plan: plan, runs: max(1, runs), sampleMs: []).runs.map(\.trajectory)
    }

    /// Loads as in `Config/scenarios/colossus.yaml`, where the sources stand.
    private static var telemetry: Scenario.GPUTelemetry {
        func load(_ engine: Float, _ tensor: Float, _ memory: Float, _ power: Int) -> Scenario.Load {
            .init(
                engine: engine, tensor: tensor, dram: tensor * 0.8, nvlinkMBps: 0, pcieBps: 0, memory: memory,
                powerPermille: power)
        }
        return .init(
            idleWatts: 85, trainingWatts: 650, idleSpreadWatts: 5, idleCelsius: 29.5, trainingCelsius: 45.5,
            spreadCelsius: 3, memoryIdleAboveCelsius: 4, memoryTrainingAboveCelsius: 12, diurnalCelsius: 0,
            warmestHour: 20, thermalSeconds: 30, throttleCelsius: 87, flakyLinkShare: 0, replaysPerDay: 0,
            remapShare: 0, remapsPerYear: 0, driverVersion: "0", idle: load(0, 0, 0, 0),
            burnIn: load(0.99, 0.7, 0.9, 1_050), training: load(0.97, 0.52, 0.88, 1_000),
            checkpointing: load(0.1, 0, 0.88, 150), hung: load(1, 0, 0.88, 300),
            restarting: load(0.05, 0, 0.45, 80))
    }
}

extension [Trajectory] {
    func mean(_ value: (Trajectory) -> Double) -> Double {
        isEmpty ? 0 : reduce(0) { $0 + value($1) } / Double(count)
    }

    func sum(_ value: (Trajectory) -> Double) -> Double { reduce(0) { $0 + value($1) } }

    /// Failures of a cause over those of all causes.
    func share(_ isCounted: (Int) -> Bool) -> Double {
        let all = sum { Double($0.failuresByCause.reduce(0, +)) }
        let some = sum { run in
            run.failuresByCause.enumerated().reduce(0.0) {
                $0 + (isCounted($1.offset) ? Double($1.element) : 0)
            }
        }
        return all > 0 ? some / all : 0
    }
}
