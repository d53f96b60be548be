import Simulation

extension Scenario {
    /// 2024-05-03T00:00:00Z.
    static let fixtureStartMs: Int64 = 1_714_694_400_000

    /// Small and quick to break: 64 nodes at once, or a fleet that is built over two phases.
    static func fixture(seed: UInt64 = 1, change: (inout Scenario) -> Void = { _ in }) -> Scenario {
        var scenario = Scenario(
            name: "fixture", site: "lab", seed: seed, startMs: fixtureStartMs,
            layout: Layout(nodesPerRack: 8, racksPerArray: 2, gpusPerHall: 256),
            gpuModels: [
                GPUModel(
                    key: "H100", name: "NVIDIA H100 80GB HBM3", tdpWatts: 700, memoryMiB: 81_559,
                    reservedMiB: 454, idleClockMHz: 345, maxClockMHz: 1_980, memoryClockMHz: 2_619),
                GPUModel(
                    key: "H200", name: "NVIDIA H200", tdpWatts: 700, memoryMiB: 143_771, reservedMiB: 454,
                    idleClockMHz: 345, maxClockMHz: 1_980, memoryClockMHz: 3_201),
            ],
            phases: [
                Phase(
                    name: "day", days: 1, groups: [Phase.Group(model: "H100", gpus: 512)], curve: .immediate)
            ],
            power: SitePower(
                curve: [SitePower.Point(timeMs: fixtureStartMs, megawatts: 10)], kilowattsPerGPU: 1.43,
                baseMegawatts: 0, hostWattsPerGPU: 319, networkShare: 0.1, pue: 1.12),
            bringUp: BringUp(energiseHours: 0, checkHours: 0, burnInHours: 0, rejectedShare: 0),
            failures: fixtureFailures,
            job: TrainingJob(
                name: "pretrain", startMs: fixtureStartMs, minimumGPUs: 64, checkpointSeconds: 600,
                checkpointWriteSeconds: 20, detectionSeconds: 60, restartSeconds: 240, resizeHours: 1,
                resizeShare: 0.01),
            telemetry: fixtureTelemetry,
            milestones: [
                Milestone(
                    timeMs: fixtureStartMs, text: "512 announced", claim: .init(.announced, gpus: 512),
                    source: "nobody"),
                Milestone(
                    timeMs: fixtureStartMs + 43_200_000, text: "512 said to train",
                    claim: .init(.inTraining, gpus: 512), source: "nobody"),
            ])
        change(&scenario)
        return scenario
    }

    /// 1,000 GPUs in ten days, then 200 of each model in five: partial racks, and power for 1,300 only.
    static func growing(seed: UInt64 = 1, change: (inout Scenario) -> Void = { _ in }) -> Scenario {
        fixture(seed: seed) { scenario in
            scenario.phases = [
                Phase(
                    name: "first", days: 10, groups: [Phase.Group(model: "H100", gpus: 1_000)],
                    curve: .logistic(
                        perDay: 1.5, midpointDay: 5, waves: Waves(periodDays: 2, strength: 0.5))),
                Phase(
                    name: "second", days: 5,
                    groups: [
                        Phase.Group(model: "H100", gpus: 200), Phase.Group(model: "H200", gpus: 200),
                    ],
                    curve: .logistic(perDay: 1, midpointDay: 2.5, waves: nil)),
            ]
            scenario.power.curve = [
                SitePower.Point(timeMs: fixtureStartMs, megawatts: 0.4),
                SitePower.Point(timeMs: fixtureStartMs + 8 * 86_400_000, megawatts: 1.3 * 1.43),
            ]
            scenario.bringUp = BringUp(
                energiseHours: 3, checkHours: 2, burnInHours: 12, rejectedShare: 0.1)
            scenario.failures.perGPUDay = 0.01
            change(&scenario)
        }
    }

    static let fixtureFailures = Failures(
        perGPUDay: 0.02,
        causes: [
            Cause(name: "Faulty GPU", weight: 148, effect: .gpu, xid: 79),
            Cause(name: "GPU HBM3 memory", weight: 72, effect: .gpu, xid: 94),
            Cause(name: "Software bug", weight: 54, effect: .software, xid: 31),
            Cause(name: "Host maintenance", weight: 32, effect: .node, xid: 0),
        ],
        drainMinutes: 15, repair: Repair(medianHours: 1, sigma: 1, minHours: 0.25, maxHours: 12))

    static let fixtureTelemetry: GPUTelemetry = {
        func load(
            _ engine: Float, _ tensor: Float, _ dram: Float, _ nvlink: Float, _ pcie: Float, _ memory: Float,
            _ power: Int
        ) -> Load {
            Load(
                engine: engine, tensor: tensor, dram: dram, nvlinkMBps: nvlink, pcieBps: pcie, memory: memory,
                powerPermille: power)
        }
        return GPUTelemetry(
            idleWatts: 85, trainingWatts: 650, idleSpreadWatts: 5, idleCelsius: 29.5, trainingCelsius: 45.5,
            spreadCelsius: 3, memoryIdleAboveCelsius: 4, memoryTrainingAboveCelsius: 12, diurnalCelsius: 0.8,
            warmestHour: 20, thermalSeconds: 30, throttleCelsius: 87, flakyLinkShare: 0.1, replaysPerDay: 20,
            remapShare: 0.1, remapsPerYear: 400, driverVersion: "565.57.01",
            idle: load(0, 0, 0, 0, 250_000, 0.0001, 0),
            burnIn: load(0.99, 0.7, 0.35, 200_000, 500_000_000, 0.9, 1_050),
            training: load(0.97, 0.52, 0.42, 320_000, 1_800_000_000, 0.88, 1_000),
            checkpointing: load(0.1, 0, 0.05, 1_000, 8_000_000_000, 0.88, 150),
            hung: load(1, 0, 0.01, 10, 2_000_000, 0.88, 300),
            restarting: load(0.05, 0, 0.04, 500, 4_000_000_000, 0.45, 80), diurnalShare: 0.015,
            sbeShare: 0.05,
            sbesPerDay: 200, noisyLinkShare: 0.05, linkErrorsPerDay: 1_000)
    }()
}
