import Simulation
import Telemetry

/// XIDs: Delta (SC 2025, arXiv:2503.11901), Fire-Flyer (SC 2024, arXiv:2408.14158), Acme (NSDI 2024).
enum XIDChecks {
    static func all(_ runs: Int) -> [ValidationCheck] { delta(runs) + fireFlyer() + acme() }

    /// Failures of one component per GPU-hour, as 1,000 node-days see them.
    private static func per1000(_ gpuHours: Double) -> Double { 8 * 24 / gpuHours * 1_000 }

    private static func delta(_ runs: Int) -> [ValidationCheck] {
        // 608 H100 for 146 days, 448 A100 for 895; hours to an uncorrectable memory error of a GPU.
        let h100 = ReferenceCluster(gpus: 608, days: 146, per1000NodeDays: per1000(88_768))
        let a100 = ReferenceCluster(gpus: 448, days: 895, per1000NodeDays: per1000(283_271))
        let (new, old) = (h100.run(min(runs, 2_000)), a100.run(min(runs, 1_000)))
        func hours(_ results: [Trajectory]) -> Double {
            results.sum { Double($0.exposedNodeMs) } * 8 / 3_600_000 / results.sum { Double($0.failures) }
        }
        let large = ReferenceCluster(gpus: 100_000, days: 10, per1000NodeDays: per1000(88_768))
        let llama = ReferenceCluster(gpus: 16_384, days: 54, per1000NodeDays: per1000(88_768))
        let memory = llama.run(100).mean { Double($0.failures) }
        return [
            ValidationCheck(
                "delta_xid", "uncorrectable memory errors of 608 H100 in 146 days", .calibration,
                published: 24,
                among: new.map { Double($0.failures) }, central: 0.95),
            ValidationCheck(
                "delta_xid", "A100 over H100, hours between them", .calibration, published: "3.19",
                simulated: hours(old) / hours(new), in: 3.0...3.4),
            ValidationCheck(
                "delta_xid", "uncorrectable memory errors a day of 100,000 H100", .prediction,
                published: "27.0", simulated: large.run(40).mean { Double($0.failures) } / 10, in: 25.6...28.4
            ),
            ValidationCheck(
                "llama3_table5", "HBM3 failures of Llama 3, at Delta's rate (factor 4)", .prediction,
                published: "72", simulated: memory, in: (72 / 4)...(72 * 4)),
        ]
            + share("delta_xid", "XID 31 among critical XIDs, A100", [8_863, 14_821 - 8_863], [0], 0.598)
            + share("delta_xid", "XID 31 among critical XIDs, H100", [1_737, 1_821 - 1_737], [0], 0.954)
    }

    static let fireFlyerCounts: [(xid: Int, count: Double)] = [
        (74, 5_521), (43, 4_342), (31, 2_487), (13, 45), (45, 240), (63, 245), (64, 2), (94, 13), (95, 17),
        (44, 1), (48, 2), (61, 13), (62, 3), (69, 1), (79, 37), (119, 1),
    ]

    private static func fireFlyer() -> [ValidationCheck] {
        let counts = fireFlyerCounts.map(\.count)
        let results = mix(counts, gpus: 10_000, days: 365, runs: 10)
        func positions(_ xids: [Int]) -> Set<Int> {
            Set(fireFlyerCounts.indices.filter { xids.contains(fireFlyerCounts[$0].xid) })
        }
        let bus = positions([79])
        let lost = results.mean { run in bus.reduce(0.0) { $0 + Double(run.failuresByCause[$1]) } }
        return [
            ValidationCheck(
                "fireflyer_xid", "XID events of 10,000 GPUs in a year", .calibration, published: "12970",
                simulated: results.mean { Double($0.failures) }, in: 12_700...13_240),
            ValidationCheck(
                "fireflyer_xid", "XID 79 per GPU-year", .calibration, published: "0.0037",
                simulated: lost / 10_000, in: 0.00261...0.0051),
        ]
            + share("fireflyer_xid", "XID 74 among all", counts, positions([74]), 0.4257)
            + share(
                "fireflyer_xid", "XIDs of applications among all (13, 31, 43, 45)", counts,
                positions([13, 31, 43, 45]), 0.5485)
    }

    private static func acme() -> [ValidationCheck] {
        share(
            "acme_failures", "infrastructure among failures", [281, 404, 1_890], [0], 0.1091, within: 0.0118)
    }

    private static func mix(_ counts: [Double], gpus: Int, days: Int, runs: Int) -> [Trajectory] {
        let nodes = Double(gpus / 8)
        var cluster = ReferenceCluster(
            gpus: gpus, days: days, per1000NodeDays: counts.reduce(0, +) / nodes / Double(days) * 1_000)
        cluster.causes = counts.map { .init(name: "any", weight: $0, effect: .software, xid: 0) }
        return cluster.run(runs)
    }

    private static func share(
        _ table: String, _ check: String, _ counts: [Double], _ counted: Set<Int>, _ published: Double,
        within: Double = 0.02
    ) -> [ValidationCheck] {
        let results = mix(counts, gpus: 8_192, days: 100, runs: 40)
        return [
            ValidationCheck(
                table, check, .calibration, published: "\(published)",
                simulated: results.share { counted.contains($0) },
                in: (published - within)...(published + within))
        ]
    }
}

/// Links: Alibaba HPN, SIGCOMM 2024; and Blue Waters' outages of the whole system, DSN 2014.
enum NetworkChecks {
    static func all(_ runs: Int) -> [ValidationCheck] {
        // 0.057% of the links between NIC and switch fail in a month; a GPU has one.
        let perGPUDay = 0.00057 / 30
        let job = ReferenceCluster(gpus: 3_000, days: 30, per1000NodeDays: perGPUDay * 8_000)
        let fleet = ReferenceCluster(gpus: 100_000, days: 30, per1000NodeDays: perGPUDay * 8_000)
        var outages = ReferenceCluster(gpus: 4_224, days: 261, per1000NodeDays: 39 / 261 / 528 * 1_000)
        outages.causes = [.init(name: "system", weight: 1, effect: .node, xid: 0, blast: .site)]
        outages.repair = .init(medianHours: 2, sigma: 0, minHours: 0, maxHours: 24)
        return [
            ValidationCheck(
                "hpn", "crashes a month of a job on 3,000 GPUs", .prediction, published: "1 to 2",
                simulated: job.run(min(runs, 2_000)).mean { Double($0.interruptions) }, in: 1...2),
            ValidationCheck(
                "hpn", "links failing a day of 100,000", .calibration, published: "1.9",
                simulated: fleet.run(100).mean { Double($0.failures) } / 30, in: 1.8...2),
            ValidationCheck(
                "bluewaters", "outages of the whole system in 261 days", .calibration, published: 39,
                among: outages.run(min(runs, 1_000)).map { Double($0.failures) }, central: 0.95),
        ]
    }
}

/// Repair and bring-up: SuperBench (ATC 2024), LANL (Schroeder and Gibson).
enum RepairChecks {
    static func all(_ runs: Int) -> [ValidationCheck] {
        let long = durations(.init(medianHours: 10.5, sigma: 2.74, minHours: 0, maxHours: 87_600))
        let lanl = durations(.init(medianHours: 0.9, sigma: 1.94, minHours: 0, maxHours: 87_600))
        func share(above hours: Double) -> Double {
            Double(long.filter { $0 > hours }.count) / Double(long.count)
        }
        return [
            ValidationCheck(
                "superbench", "repairs of more than a day", .calibration, published: "0.381",
                simulated: share(above: 24), in: 0.361...0.401),
            ValidationCheck(
                "superbench", "repairs of more than two weeks", .calibration, published: "0.103",
                simulated: share(above: 336), in: 0.083...0.123),
            ValidationCheck(
                "superbench", "new nodes that burn-in rejects", .calibration, published: "0.1036",
                simulated: rejected(), in: 0.093...0.1151),
            ValidationCheck(
                "repair_lanl", "mean repair with a median of 54 min, min", .calibration, published: "355",
                simulated: lanl.reduce(0, +) / Double(lanl.count) * 60, in: 300...420),
            exactSum(runs),
        ]
    }

    /// Hours that nodes were away, from the events of the live model.
    private static func durations(_ repair: Scenario.Repair) -> [Double] {
        var cluster = ReferenceCluster(gpus: 200_000, days: 40, per1000NodeDays: 20)
        cluster.causes = [.init(name: "node", weight: 1, effect: .node, xid: 0)]
        cluster.repair = repair
        guard let plan = try? FleetPlan(cluster.scenario()) else {
            preconditionFailure("a reference cluster does not fit together")
        }
        var model = FleetModel(plan: plan)
        var events: [ModelEvent] = []
        model.advance(to: .max, into: &events)
        return events.filter { $0.kind == .nodeDown }.compactMap { $0.value.map { $0 / 3_600 } }
    }

    private static func rejected() -> Double {
        let cluster = ReferenceCluster(gpus: 24_000, days: 1, per1000NodeDays: 0)
        let scenario = cluster.scenario {
            $0.bringUp.rejectedShare = 0.1036
            $0.failures.repair = .init(medianHours: 1_000, sigma: 0, minHours: 1_000, maxHours: 1_000)
        }
        guard let plan = try? FleetPlan(scenario) else {
            preconditionFailure("a reference cluster does not fit together")
        }
        let runs = Ensemble(plan: plan, runs: 50, sampleMs: []).runs
        let away = runs.reduce(0) { $0 + $1.trajectory.gpuTime.repair }
        return Double(away) / Double(runs.reduce(0) { $0 + $1.trajectory.gpuTime.total })
    }

    /// Goodput and all kinds of badput together are the whole, in every run (AI-Hypercomputer/ml-goodput-measurement).
    private static func exactSum(_ runs: Int) -> ValidationCheck {
        var cluster = Llama3Checks.cluster()
        cluster.causes += [
            .init(name: "slow", weight: 20, effect: .slow, xid: 0, hiddenHours: 12, slowdown: 0.1),
            .init(name: "node", weight: 100, effect: .node, xid: 0, blast: .rack),
        ]
        cluster.repair = .init(medianHours: 10.5, sigma: 2.7, minHours: 0.25, maxHours: 336)
        let results = cluster.run(min(runs, 200))
        let wrong = results.filter { $0.gpuTime.total != $0.installedNodeMs }.count
        return ValidationCheck(
            "goodput_defs", "runs in which goodput and badput do not add up to the millisecond", .arithmetic,
            published: "0", simulated: Double(wrong), in: 0...0)
    }
}

/// Model FLOP utilisation.
enum MFUChecks {
    static func all(_ runs: Int) -> [ValidationCheck] {
        // PaLM 540B: tokens/s x (6 N + 12 L H Q T) over chips x peak; arXiv:2204.02311, table 3.
        let chips = 6_144.0 * 275e12
        let dense = 238_300.0 * 6 * 540e9 / chips
        let attention = 238_300.0 * (6 * 540e9 + 12 * 118 * 48 * 256 * 2_048) / chips
        var cluster = ReferenceCluster(gpus: 100_000, days: 20, per1000NodeDays: 3.79)
        (cluster.checkpoint, cluster.restart) = (300, 120)
        let results = cluster.run(20) {
            // Llama 3: 0.43 on 8,192 and 0.41 on 16,384; going on like that.
            $0.job.mfu = [.init(gpus: 8_192, mfu: 0.43), .init(gpus: 16_384, mfu: 0.41)]
        }
        let mfu = results.mean { run in
            run.flop / (Double(run.gpuTime.productive) * 8 / 1_000 * 989.4e12)
        }
        return [
            ValidationCheck(
                "palm", "MFU of PaLM without attention", .arithmetic, published: "0.457", simulated: dense,
                in: 0.4565...0.4575),
            ValidationCheck(
                "palm", "MFU of PaLM", .arithmetic, published: "0.462", simulated: attention,
                in: 0.4615...0.4625),
            ValidationCheck(
                "mfu_runs", "MFU of 100,000 GPUs, from the trend of Llama 3", .prediction,
                published: "0.35 to 0.45", simulated: mfu, in: 0.35...0.45),
        ]
    }
}
