import Simulation

/// The section `telemetry` of a scenario file.
enum ScenarioTelemetryFile {
    static func telemetry(_ m: YAMLMapping) -> Scenario.GPUTelemetry {
        let watts = YAMLType<Float>.float(in: 0...10_000)
        let celsius = YAMLType<Float>.float(in: -50...150)
        let spread = YAMLType<Float>.float(in: 0...100)
        let share = YAMLType<Float>.float(in: 0...1)
        let rate = YAMLType<Float>.float(in: 0...100_000)
        let idle = load(power: 0)
        var loads = Loads(idle: idle, burnIn: idle, training: idle, other: idle)
        m.section("loads") { loads = Loads($0, or: loads) }
        if !m.keys.contains("loads") { m.fail("loads", "`loads` is missing", expected: "a mapping of loads") }
        return Scenario.GPUTelemetry(
            // No number is more than this: what is wrong with one of them is no reason to find fault with the other.
            idleWatts: m.required("idle_w", watts, placeholder: .nan),
            trainingWatts: m.required("training_w", watts, placeholder: .nan),
            idleSpreadWatts: m.optional("idle_spread_w", spread, default: 0),
            idleCelsius: m.required("idle_c", celsius, placeholder: 0),
            trainingCelsius: m.required("training_c", celsius, placeholder: 0),
            spreadCelsius: m.optional("spread_c", spread, default: 0),
            memoryIdleAboveCelsius: m.optional("memory_idle_above_c", spread, default: 0),
            memoryTrainingAboveCelsius: m.optional("memory_training_above_c", spread, default: 0),
            diurnalCelsius: m.optional("diurnal_c", spread, default: 0),
            warmestHour: m.optional("warmest_hour", .float(in: 0...24), default: 15),
            thermalSeconds: m.optional("thermal_s", .double(in: 0.1...100_000), default: 30),
            throttleCelsius: m.optional("throttle_c", celsius, default: 87),
            flakyLinkShare: m.optional("flaky_link_share", share, default: 0),
            replaysPerDay: m.optional("replays_per_day", rate, default: 0),
            remapShare: m.optional("remap_share", share, default: 0),
            remapsPerYear: m.optional("remaps_per_year", rate, default: 0),
            driverVersion: m.optional("driver_version", .text(max: 64), default: "565.57.01"),
            idle: loads.idle, burnIn: loads.burnIn, training: loads.training,
            checkpointing: loads.checkpointing, hung: loads.hung, restarting: loads.restarting,
            powerSeconds: m.optional("power_s", .double(in: 0.01...1_000), default: 1),
            stepSeconds: m.optional("step_s", .double(in: 0...600), default: 5.779),
            diurnalShare: m.optional("diurnal_share", .float(in: 0...0.5), default: 0),
            sbeShare: m.optional("sbe_share", share, default: 0),
            sbesPerDay: m.optional("sbes_per_day", rate, default: 0),
            noisyLinkShare: m.optional("noisy_link_share", share, default: 0),
            linkErrorsPerDay: m.optional("link_errors_per_day", rate, default: 0),
            fields: m.optional("fields", .oneOf(Scenario.Fields.self), default: .all))
    }

    private struct Loads {
        var idle: Scenario.Load
        var burnIn: Scenario.Load
        var training: Scenario.Load
        var checkpointing: Scenario.Load
        var hung: Scenario.Load
        var restarting: Scenario.Load

        init(idle: Scenario.Load, burnIn: Scenario.Load, training: Scenario.Load, other: Scenario.Load) {
            self.idle = idle
            self.burnIn = burnIn
            self.training = training
            checkpointing = other
            hung = other
            restarting = other
        }

        /// Without a load of its own, burn-in is like training, and a job that does not train is like idle.
        init(_ m: YAMLMapping, or other: Loads) {
            let read = YAMLType<Scenario.Load>.record(ScenarioTelemetryFile.load)
            let resting = m.optional("idle", read, default: other.idle)
            let busy = m.required("training", read, placeholder: other.training)
            if resting.powerPermille != 0 {
                m.fail("idle", "the power at rest is above idle", expected: "power: 0")
            }
            idle = resting
            training = busy
            burnIn = m.optional("burn_in", read, default: busy)
            checkpointing = m.optional("checkpointing", read, default: resting)
            hung = m.optional("hung", read, default: resting)
            restarting = m.optional("restarting", read, default: resting)
        }
    }

    private static func load(_ m: YAMLMapping) -> Scenario.Load {
        let share = YAMLType<Float>.float(in: 0...1)
        return Scenario.Load(
            engine: m.required("engine", share, placeholder: 0),
            tensor: m.required("tensor", share, placeholder: 0),
            dram: m.required("dram", share, placeholder: 0),
            nvlinkMBps: m.required("nvlink_mbps", .float(in: 0...4_000_000), placeholder: 0),
            pcieBps: m.required("pcie_bps", .float(in: 0...1e12), placeholder: 0),
            memory: m.required("memory", share, placeholder: 0),
            powerPermille: m.required("power", .int(in: 0...2_000), placeholder: 0))
    }

    private static func load(power: Int) -> Scenario.Load {
        Scenario.Load(
            engine: 0, tensor: 0, dram: 0, nvlinkMBps: 0, pcieBps: 0, memory: 0, powerPermille: power)
    }
}
