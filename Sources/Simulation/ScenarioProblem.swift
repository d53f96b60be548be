/// Why a scenario cannot be simulated although each of its values alone is fine.
public struct ScenarioProblem: Error, Equatable, CustomStringConvertible {
    /// Path of the key in a scenario file, for example `phases[1].groups[0].gpus`.
    public var key: String
    public var found: String
    public var expected: String

    public var description: String { "\(key): \(found), expected \(expected)" }
}

extension Scenario {
    /// Ten years: that milliseconds of it are a whole number need not be asked each time.
    static let repairHoursMax = 87_600.0
    /// A century: what is kept for each hour of it stays small, and sums of time do not overflow.
    static let daysMax = 36_525

    /// Says the first thing that makes the parts of the scenario not fit together; nothing when they do.
    public func check() throws(ScenarioProblem) {
        try expect((1...8).contains(layout.nodesPerRack), "layout.nodes_per_rack", "1 to 8 nodes")
        try expect(layout.racksPerArray >= 1, "layout.racks_per_array", "at least 1 rack")
        try expect(layout.gpusPerHall >= 1, "layout.gpus_per_hall", "at least 1 GPU")
        try expect((1...255).contains(gpuModels.count), "gpu_models", "1 to 255 models")
        try checkPhases()
        try checkPower()
        try expect(failures.perGPUDay >= 0, "failures.per_gpu_day", "0 or more")
        try checkFailures()
        try checkJob()
        try checkWatts()
        try expect(telemetry.thermalSeconds > 0, "telemetry.thermal_s", "more than 0 seconds")
    }

    private func checkPhases() throws(ScenarioProblem) {
        try expect(!phases.isEmpty, "phases", "at least one phase")
        for (position, phase) in phases.enumerated() {
            try expect((1...36_500).contains(phase.days), "phases[\(position)].days", "1 to 36500 days")
            try expect(phase.gpuCount > 0, "phases[\(position)].groups", "at least 8 GPUs")
            if case .steps(let steps) = phase.curve { try check(steps, "phases[\(position)].curve.steps") }
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
        try expect(days <= Self.daysMax, "phases", "\(Self.daysMax) days in all at most")
        try expect((planUntilMs ?? .max) > startMs, "plan_until", "a time after the start")
        try expect(
            horizonMs - startMs <= Int64(Self.daysMax) * 86_400_000, "plan_until",
            "\(Self.daysMax) days after the start at most")
    }

    private func check(_ steps: [Step], _ key: String) throws(ScenarioProblem) {
        try expect(abs((steps.last?.share ?? 0) - 1) < 1e-9, key, "a last share of 1")
        for (position, pair) in zip(steps, steps.dropFirst()).enumerated() {
            let rises = pair.0.day <= pair.1.day && pair.0.share <= pair.1.share
            try expect(rises, key + "[\(position + 1)]", "days and shares that do not fall")
        }
    }

    private func checkFailures() throws(ScenarioProblem) {
        let byNode = failures.causes.filter { $0.perJobDay == 0 }
        try expect(
            failures.perGPUDay == 0 || byNode.reduce(0) { $0 + $1.weight } > 0, "failures.causes",
            "at least one cause with a weight above 0")
        try expect(failures.causes.count <= 100, "failures.causes", "100 causes at most")
        for (position, cause) in failures.causes.enumerated() {
            let key = "failures.causes[\(position)]"
            try expect((0...255).contains(cause.xid), key + ".xid", "an XID of 0 to 255")
            try expect(cause.weight >= 0 && cause.perJobDay >= 0, key, "no weight or rate below 0")
            try expect(
                cause.perJobDay == 0 || [.software, .stall, .planned].contains(cause.effect), key + ".effect",
                "software, stall or planned for a cause with per_job_day")
            try expect((0..<1).contains(cause.slowdown), key + ".slowdown", "0 to less than 1")
            try check(cause.repair, key + ".repair")
        }
        try check(failures.repair, "failures.repair")
        try expect(failures.spreadSigma >= 0, "failures.spread_sigma", "0 or more")
        try expect(failures.lemons.factor >= 1, "failures.lemons.factor", "1 or more")
        try expect((0...0.5).contains(failures.lemons.share), "failures.lemons.share", "0 to 0.5")
        try expect(failures.infancy.factor >= 1, "failures.infancy.factor", "1 or more")
        try expect(failures.infancy.days > 0, "failures.infancy.days", "more than 0 days")
        try expect(failures.collapseReferenceGPUs > 0, "failures.collapse_reference_gpus", "8 GPUs or more")
    }

    private func check(_ repair: Repair?, _ key: String) throws(ScenarioProblem) {
        guard let repair else { return }
        let hours = [repair.medianHours, repair.minHours, repair.maxHours]
        let areHours = hours.allSatisfy { (0...Self.repairHoursMax).contains($0) }
        try expect(areHours, key, "hours of 0 to \(Int(Self.repairHoursMax))")
        try expect((0...10).contains(repair.sigma), key, "a sigma of 0 to 10")
        try expect(repair.minHours <= repair.maxHours, key, "min <= max")
    }

    private func checkJob() throws(ScenarioProblem) {
        try expect(job.checkpointSeconds > 0, "job.checkpoint_s", "more than 0 seconds")
        try expect(job.resizeHours > 0, "job.resize_h", "more than 0 hours")
        let most = gpuCount - job.spareNodes * Layout.gpusPerNode
        try expect(
            job.minimumGPUs <= most, "job.minimum_gpus",
            "\(max(0, most)) at most: all GPUs less the spare nodes")
        try expect(job.maximumGPUs >= job.minimumGPUs, "job.maximum_gpus", "minimum_gpus or more")
        try expect(
            job.checkpointPolicy == .fixed || job.checkpointWriteSeconds > 0, "job.checkpoint_write_s",
            "more than 0 seconds for this checkpoint policy")
        for (position, pair) in zip(job.mfu, job.mfu.dropFirst()).enumerated() {
            try expect(pair.0.gpus < pair.1.gpus, "job.mfu[\(position + 1)].gpus", "more than before")
        }
        try expect(
            job.targetFLOP == 0 || (!job.mfu.isEmpty && gpuModels.allSatisfy { $0.peakTFLOPs > 0 }),
            "job.target_flop", "an mfu, and peak_tflops of all GPU models")
        for (position, entry) in job.workload.enumerated() {
            let shares = entry.training + entry.reinforcement + entry.inference
            try expect(shares <= 1 + 1e-9, "job.workload[\(position)]", "shares of 1 together at most")
            try expect(
                position == 0 || job.workload[position - 1].timeMs < entry.timeMs,
                "job.workload[\(position)].at", "a time after the entry before")
        }
    }

    /// A GPU that asks for a little more than it may draw is held back, but not one that asks for more at rest, or all of them.
    private func checkWatts() throws(ScenarioProblem) {
        func text(_ watts: Float) -> String {
            watts == watts.rounded() ? "\(Int(watts)) W" : "\(watts) W"
        }
        let (idle, training) = (telemetry.idleWatts, telemetry.trainingWatts)
        let installed = phases.flatMap(\.groups).map(\.model)
        for model in gpuModels where installed.contains(model.key) {
            for (key, watts) in [("telemetry.idle_w", idle), ("telemetry.training_w", training)]
            where watts > model.tdpWatts {
                throw ScenarioProblem(
                    key: key, found: "is \(text(watts)), more than \(model.key) may draw",
                    expected: "\(text(model.tdpWatts)) at most, the tdp_w of \(model.key)")
            }
        }
        if idle > training {
            throw ScenarioProblem(
                key: "telemetry.idle_w", found: "is \(text(idle)), more than in training",
                expected: "\(text(training)) at most, the training_w")
        }
    }

    private func checkPower() throws(ScenarioProblem) {
        try expect(!power.curve.isEmpty, "power.curve", "at least one point")
        for (position, pair) in zip(power.curve, power.curve.dropFirst()).enumerated() {
            let key = "power.curve[\(position + 1)]"
            try expect(pair.0.timeMs < pair.1.timeMs, key + ".at", "a time after the point before")
        }
        try expect(power.kilowattsPerGPU > 0, "power.kw_per_gpu", "more than 0 kW")
    }

    private func expect(_ holds: Bool, _ key: String, _ expected: String) throws(ScenarioProblem) {
        if !holds { throw ScenarioProblem(key: key, found: "does not fit", expected: expected) }
    }
}
