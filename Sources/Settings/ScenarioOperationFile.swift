import Simulation

/// The sections `failures` and `job` of a scenario file.
enum ScenarioOperationFile {
    static func failures(_ m: YAMLMapping) -> Scenario.Failures {
        let none = Scenario.Failures.none
        return Scenario.Failures(
            perGPUDay: m.required("per_gpu_day", .double(in: 0...24), placeholder: 0),
            causes: m.required("causes", .list(of: .record(cause), min: 1, max: 100), placeholder: []),
            drainMinutes: m.optional("drain_min", .double(in: 0...10_000), default: none.drainMinutes),
            repair: m.optional("repair", .record(repair), default: none.repair),
            spreadSigma: m.optional("spread_sigma", .double(in: 0...3), default: 0),
            lemons: m.optional("lemons", .record(lemons), default: .init()),
            infancy: m.optional("infancy", .record(infancy), default: .init()),
            collapseExponent: m.optional("collapse_exponent", .double(in: 0.1...10), default: 1),
            collapseReferenceGPUs: m.optional(
                "collapse_reference_gpus", .int(in: 8...4_000_000), default: none.collapseReferenceGPUs))
    }

    private static func lemons(_ m: YAMLMapping) -> Scenario.Lemons {
        Scenario.Lemons(
            share: m.required("share", .double(in: 0...0.5), placeholder: 0),
            factor: m.required("factor", .double(in: 1...1_000), placeholder: 1))
    }

    private static func infancy(_ m: YAMLMapping) -> Scenario.Infancy {
        Scenario.Infancy(
            factor: m.required("factor", .double(in: 1...1_000), placeholder: 1),
            days: m.required("days", .double(in: 0.1...3_650), placeholder: 30))
    }

    private static func cause(_ m: YAMLMapping) -> Scenario.Cause {
        let seconds = YAMLType<Double>.double(in: 0...1_000_000)
        let weight = m.optional("weight", .double(in: 0...1e9))
        let perJobDay = m.optional("per_job_day", .double(in: 0...10_000))
        if (weight == nil) == (perJobDay == nil) {
            m.fail(
                weight == nil ? "name" : "weight", "how often the cause strikes is not clear",
                expected: "either `weight` or `per_job_day`")
        }
        return Scenario.Cause(
            name: m.required("name", .text(max: 64), placeholder: ""), weight: weight ?? 0,
            effect: m.required("effect", .oneOf(Scenario.Cause.Effect.self), placeholder: .node),
            xid: m.optional("xid", .int(in: 0...255), default: 0),
            blast: m.optional("blast", .oneOf(Scenario.Cause.Blast.self), default: .node),
            perJobDay: perJobDay ?? 0, detectionSeconds: m.optional("detection_s", seconds),
            hiddenHours: m.optional("hidden_h", .double(in: 0...87_600), default: 0),
            slowdown: m.optional("slowdown", .double(in: 0...0.999), default: 0),
            stallSeconds: m.optional("stall_s", seconds, default: 0),
            rollbackSeconds: m.optional("rollback_s", seconds, default: 0),
            repair: m.optional("repair", .record(repair)))
    }

    private static func repair(_ m: YAMLMapping) -> Scenario.Repair {
        let hours = YAMLType<Double>.double(in: 0...87_600)
        return Scenario.Repair(
            medianHours: m.required("median_h", hours, placeholder: 1),
            sigma: m.optional("sigma", .double(in: 0...10), default: 0),
            minHours: m.optional("min_h", hours, default: 0),
            maxHours: m.optional("max_h", hours, default: 87_600))
    }

    static func job(_ m: YAMLMapping) -> Scenario.TrainingJob {
        let seconds = YAMLType<Double>.double(in: 0...1_000_000)
        let gpus = YAMLType<Int>.int(in: 8...4_000_000)
        let policy = m.optional(
            "checkpoint_policy", .oneOf(Scenario.CheckpointPolicy.self), default: .fixed)
        let interval = YAMLType<Double>.double(in: 1...1_000_000)
        return Scenario.TrainingJob(
            name: m.required("name", .text(max: 64), placeholder: ""),
            startMs: m.required("start", .endOfDate, placeholder: 0),
            minimumGPUs: m.optional("minimum_gpus", gpus, default: 8),
            checkpointSeconds: policy == .fixed
                ? m.required("checkpoint_s", interval, placeholder: 1)
                : m.optional("checkpoint_s", interval, default: 600),
            checkpointWriteSeconds: m.optional("checkpoint_write_s", seconds, default: 0),
            detectionSeconds: m.optional("detection_s", seconds, default: 0),
            restartSeconds: m.required("restart_s", seconds, placeholder: 0),
            resizeHours: m.optional("resize_h", .double(in: 0.01...8_760), default: 6),
            resizeShare: m.optional("resize_share", .double(in: 0...1), default: 0.01),
            maximumGPUs: m.optional("maximum_gpus", gpus, default: .max),
            spareNodes: m.optional("spare_nodes", .int(in: 0...500_000), default: 0),
            checkpointPolicy: policy,
            restartSecondsPerDoubling: m.optional("restart_s_per_doubling", seconds, default: 0),
            restartReferenceGPUs: m.optional("restart_reference_gpus", gpus, default: 2_048),
            mfu: m.optional("mfu", .list(of: .record(mfu), max: 32), default: []),
            targetFLOP: m.optional("target_flop", .double(in: 0...1e35), default: 0),
            isPacedBySlowestKind: m.optional("paced_by_slowest", .bool, default: true),
            workload: m.optional("workload", .list(of: .record(workload), max: 100), default: []))
    }

    private static func mfu(_ m: YAMLMapping) -> Scenario.MFUPoint {
        Scenario.MFUPoint(
            gpus: m.required("gpus", .int(in: 8...4_000_000), placeholder: 8),
            mfu: m.required("mfu", .double(in: 0.001...1), placeholder: 1))
    }

    private static func workload(_ m: YAMLMapping) -> Scenario.Workload {
        let share = YAMLType<Double>.double(in: 0...1)
        return Scenario.Workload(
            timeMs: m.required("at", .endOfDate, placeholder: 0),
            training: m.required("training", share, placeholder: 1),
            reinforcement: m.optional("reinforcement", share, default: 0),
            inference: m.optional("inference", share, default: 0))
    }
}
