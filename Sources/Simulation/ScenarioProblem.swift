/// Why a scenario cannot be simulated although each of its values alone is fine.
public struct ScenarioProblem: Error, Equatable, CustomStringConvertible {
    /// Path of the key in a scenario file, for example `phases[1].groups[0].gpus`.
    public var key: String
    public var found: String
    public var expected: String

    public var description: String { "\(key): \(found), expected \(expected)" }
}

extension Scenario {
    /// Says the first thing that makes the parts of the scenario not fit together; nothing when they do.
    public func check() throws(ScenarioProblem) {
        try expect((1...8).contains(layout.nodesPerRack), "layout.nodes_per_rack", "1 to 8 nodes")
        try expect(layout.racksPerArray >= 1, "layout.racks_per_array", "at least 1 rack")
        try expect(layout.gpusPerHall >= 1, "layout.gpus_per_hall", "at least 1 GPU")
        try expect((1...255).contains(gpuModels.count), "gpu_models", "1 to 255 models")
        try checkPhases()
        try checkPower()
        try expect(failures.perGPUDay >= 0, "failures.per_gpu_day", "0 or more")
        try expect(
            failures.perGPUDay == 0 || failures.causes.reduce(0) { $0 + $1.weight } > 0, "failures.causes",
            "at least one cause with a weight above 0")
        for (position, cause) in failures.causes.enumerated() {
            try expect(
                (0...255).contains(cause.xid), "failures.causes[\(position)].xid", "an XID of 0 to 255")
        }
        try expect(failures.repair.minHours <= failures.repair.maxHours, "failures.repair", "min <= max")
        try expect(job.checkpointSeconds > 0, "job.checkpoint_s", "more than 0 seconds")
        try expect(job.resizeHours > 0, "job.resize_h", "more than 0 hours")
        try expect(telemetry.trainingWatts >= telemetry.idleWatts, "telemetry.training_w", "idle_w or more")
        try expect(telemetry.thermalSeconds > 0, "telemetry.thermal_s", "more than 0 seconds")
    }

    private func checkPhases() throws(ScenarioProblem) {
        try expect(!phases.isEmpty, "phases", "at least one phase")
        for (position, phase) in phases.enumerated() {
            try expect((1...36_500).contains(phase.days), "phases[\(position)].days", "1 to 36500 days")
            try expect(phase.gpuCount > 0, "phases[\(position)].groups", "at least 8 GPUs")
            for (number, group) in phase.groups.enumerated() {
                let key = "phases[\(position)].groups[\(number)]"
                try expect(
                    group.gpus > 0 && group.gpus % Layout.gpusPerNode == 0, key + ".gpus",
                    "a multiple of 8 GPUs")
                try expect(
                    gpuModels.contains { $0.key == group.model }, key + ".model", "a key of gpu_models")
            }
        }
        try expect(gpuCount <= 4_000_000, "phases", "4,000,000 GPUs in all at most")
    }

    private func checkPower() throws(ScenarioProblem) {
        try expect(!power.curve.isEmpty, "power.curve", "at least one point")
        for (position, pair) in zip(power.curve, power.curve.dropFirst()).enumerated() {
            let key = "power.curve[\(position + 1)]"
            try expect(pair.0.timeMs < pair.1.timeMs, key + ".at", "a time after the point before")
            try expect(
                pair.0.megawatts <= pair.1.megawatts, key + ".mw",
                "at least the megawatts of the point before")
        }
        try expect(power.kilowattsPerGPU > 0, "power.kw_per_gpu", "more than 0 kW")
    }

    private func expect(_ holds: Bool, _ key: String, _ expected: String) throws(ScenarioProblem) {
        if !holds { throw ScenarioProblem(key: key, found: "does not fit", expected: expected) }
    }
}
