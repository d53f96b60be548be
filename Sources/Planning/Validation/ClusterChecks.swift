import Simulation

/// MegaScale, NSDI 2024, arXiv:2402.15627: 12,288 A100.
enum MegaScaleChecks {
    static func all(_ runs: Int) -> [ValidationCheck] {
        // More than 100 restarts in several weeks: in 3 weeks 3.1 per 1,000 node-days, the highest rate it can mean.
        var cluster = ReferenceCluster(gpus: 12_288, days: 35, per1000NodeDays: 3.1)
        // Detected and diagnosed in 10 minutes; caught up in 15, half of an interval of 30.
        (cluster.detection, cluster.restart, cluster.checkpoint) = (600, 60, 1_800)
        let ettr = cluster.run(min(runs, 200)).mean(\.ettr)
        // 0.5% of the machines are slow, from the first day on.
        var slow = ReferenceCluster(gpus: 12_288, days: 30, per1000NodeDays: 5)
        slow.causes = [
            .init(name: "slow", weight: 1, effect: .slow, xid: 0, hiddenHours: 1e5, slowdown: 0.1)
        ]
        let share = slow.run(20).mean {
            Double($0.gpuTime.straggling) / Double($0.gpuTime.straggling + $0.gpuTime.productive)
        }
        return [
            ValidationCheck(
                "megascale", "ETTR", .prediction, published: "> 0.90", simulated: ettr, in: 0.9...1),
            ValidationCheck(
                "megascale", "pace lost to 0.5% of machines 10% slow", .prediction, published: "about 0.10",
                simulated: share, in: 0.07...0.11),
        ]
    }
}

/// ByteRobust, SOSP 2025, arXiv:2509.16293.
enum ByteRobustChecks {
    static let explicit = [19_968.0, 6_095, 5_567, 2_755, 1_599, 1_176, 1_104, 781, 203, 188, 128, 76, 47]
    static let implicit = [5_506.0, 442, 148]
    static let manual = [9_582.0]

    static func all(_ runs: Int) -> [ValidationCheck] { mix() + detection() + requeue() + standby(runs) }

    private static func mix() -> [ValidationCheck] {
        let weights = explicit + implicit + manual
        let total = weights.reduce(0, +)
        var cluster = ReferenceCluster(gpus: 200_000, days: 90, per1000NodeDays: total / 25_000 / 90 * 1_000)
        cluster.causes = weights.map { .init(name: "any", weight: $0, effect: .software, xid: 0) }
        let results = cluster.run(3)
        let (first, last) = (explicit.count, explicit.count + implicit.count)
        let shares = [
            results.share { $0 < first }, results.share { $0 >= first && $0 < last },
            results.share { $0 >= last },
        ]
        let published = [0.7168, 0.1101, 0.1731]
        return [
            ValidationCheck(
                "byterobust_table1", "incidents in 90 days", .calibration, published: "55365",
                simulated: results.mean { Double($0.failures) }, in: 54_700...56_000)
        ]
            + zip(["explicit", "implicit", "manual"], zip(shares, published)).map { name, pair in
                ValidationCheck(
                    "byterobust_table1", "share of \(name) incidents", .calibration, published: "\(pair.1)",
                    simulated: pair.0, in: (pair.1 - 0.02)...(pair.1 + 0.02))
            } + [
                ValidationCheck(
                    "byterobust_table1", "silent share of failures", .calibration, published: "0.1331",
                    simulated: shares[1] / (shares[0] + shares[1]), in: 0.1281...0.1383)
            ]
    }

    /// Time in which a job with a failure stands until it is noticed, by kind of failure, s.
    private static func detection() -> [ValidationCheck] {
        let kinds: [(String, Double)] = [
            ("NIC crash", 30), ("port flapping", 30), ("switch down", 60), ("GPU driver hang", 10),
            ("GPU lost", 10), ("OS kernel fault", 2),
        ]
        return kinds.map { name, seconds in
            var cluster = ReferenceCluster(gpus: 8_192, days: 20, per1000NodeDays: 5)
            cluster.causes = [
                .init(name: name, weight: 1, effect: .software, xid: 0, detectionSeconds: seconds)
            ]
            let results = cluster.run(5)
            let found =
                results.sum { Double($0.gpuTime.detection) } / 1_024 / 1_000
                / results.sum { Double($0.interruptions) }
            return ValidationCheck(
                "byterobust_table3", "detection of \(name), s", .calibration,
                published: ScenarioSummary.short(seconds), simulated: found,
                in: (seconds - 1)...(seconds + 1))
        }
    }

    /// Requeueing grows with the logarithm of the size: 454 s at 2,048 GPUs, 104.7 s more for each doubling.
    private static func requeue() -> [ValidationCheck] {
        [(2_048, 454.0), (4_096, 545), (8_192, 635), (16_384, 768)].map { gpus, seconds in
            // Seldom enough that hardly any restart is interrupted by the next failure.
            var cluster = ReferenceCluster(gpus: gpus, days: 60, per1000NodeDays: 0.2)
            cluster.restart = 454
            let results = cluster.run(200) { $0.job.restartSecondsPerDoubling = 104.7 }
            let found =
                results.sum { Double($0.gpuTime.restart) } / Double(gpus / 8) / 1_000
                / results.sum { Double($0.interruptions) }
            return ValidationCheck(
                "byterobust_table7_8", "requeueing on \(gpus) GPUs, s", .calibration,
                published: ScenarioSummary.short(seconds), simulated: found,
                in: (seconds * 0.94)...(seconds * 1.06))
        }
    }

    /// Standby machines that cover 99% of the days, at the daily rate of 0.81 to 1.24 per 1,000 machines that the rule implies.
    private static func standby(_ runs: Int) -> [ValidationCheck] {
        let cluster = ReferenceCluster(gpus: 8_192, days: 1, per1000NodeDays: 1.02)
        let failures = cluster.run(max(4_000, runs)).map { Double($0.failures) }.sorted()
        return [
            ValidationCheck(
                "byterobust_table7_8", "P99 of failures a day among 1,024 machines", .calibration,
                published: "4", simulated: quantile(failures, 0.99), in: 4...4),
            ValidationCheck(
                "byterobust_table7_8", "the spare rule for 1,024 machines", .arithmetic, published: "4",
                simulated: Double(CheckpointTheory.spares(nodes: 1_024, failuresPerNodeDay: 1.02e-3)),
                in: 4...4),
        ]
    }
}

/// Young 1974, Daly 2006, and the exact optimum for exponential failures; all in minutes.
enum CheckpointChecks {
    static let vectors: [(mttf: Double, write: Double, restart: Double, tau: Double, efficiency: Double)] = [
        (185.6, 0.33, 10, 10.849, 0.8922), (185.6, 1, 10, 18.606, 0.8526), (60, 0.5, 5, 7.416, 0.8063),
        (18, 0.05, 10, 1.309, 0.532), (1_440, 0.666667, 60, 43.375, 0.9303),
    ]

    static func all(_ runs: Int) -> [ValidationCheck] {
        vectors.flatMap { vector in
            let what = "MTTF \(vector.mttf), write \(vector.write), restart \(vector.restart) min"
            let tau = CheckpointTheory.exact(write: vector.write, mttf: vector.mttf)
            // 1,024 nodes that fail as often as the MTTF says, with the exact policy.
            var cluster = ReferenceCluster(
                gpus: 8_192, days: 60, per1000NodeDays: 1_440 / vector.mttf / 1_024 * 1_000)
            (cluster.write, cluster.restart) = (vector.write * 60, vector.restart * 60)
            let ettr = cluster.run(min(runs, 400)) { $0.job.checkpointPolicy = .exact }.mean(\.ettr)
            return [
                ValidationCheck(
                    "checkpoint_theory", "best interval, " + what, .arithmetic,
                    published: "\(vector.tau)", simulated: tau,
                    in: (vector.tau * 0.995)...(vector.tau * 1.005)),
                ValidationCheck(
                    "checkpoint_theory", "ETTR with it, " + what, .prediction,
                    published: "\(vector.efficiency)", simulated: ettr,
                    in: (vector.efficiency - 0.006)...(vector.efficiency + 0.006)),
            ]
        }
    }
}

/// Logbooks: OPT-175B, BLOOM-176B, PaLM, and 504 B200.
enum LogbookChecks {
    static func all(_ runs: Int) -> [ValidationCheck] { opt(runs) + bloom() + palm(runs) + b200(runs) }

    /// About two machines a day of 124; a stop lasted hours, until people were awake.
    private static func opt(_ runs: Int) -> [ValidationCheck] {
        var cluster = ReferenceCluster(gpus: 992, days: 56, per1000NodeDays: 16.1)
        (cluster.checkpoint, cluster.restart) = (3_600, 4.8 * 3_600)
        let results = cluster.run(min(runs, 500))
        return [
            ValidationCheck(
                "opt175b", "wall-clock goodput", .calibration, published: "0.59",
                simulated: results.mean(\.ettr), in: 0.55...0.65),
            ValidationCheck(
                "opt175b", "restarts in 56 days", .prediction, published: "about 90",
                simulated: results.mean { Double($0.interruptions) }, in: 72.37...110.63),
            ValidationCheck(
                "opt175b", "machine failures per 1,000 node-days", .calibration, published: "16.1",
                simulated: results.sum { Double($0.failures) }
                    / (results.sum { Double($0.exposedNodeMs) } / 86_400_000) * 1_000, in: 11...22),
            ValidationCheck(
                "opt175b", "model TFLOP/s per GPU when ideal", .arithmetic, published: "147.3",
                simulated: 4.3e23 / (33 * 86_400 * 1_024) / 1e12, in: 146.5...148.1),
        ]
    }

    private static func bloom() -> [ValidationCheck] {
        var cluster = ReferenceCluster(gpus: 384, days: 109, per1000NodeDays: 2.98)
        (cluster.checkpoint, cluster.restart) = (3 * 3_600, 600)
        let results = cluster.run(200)
        return [
            ValidationCheck(
                "bloom176b", "failures per 1,000 node-days", .calibration, published: "2.98",
                simulated: results.sum { Double($0.failures) }
                    / (results.sum { Double($0.exposedNodeMs) } / 86_400_000) * 1_000, in: 1.9...4.6),
            ValidationCheck(
                "bloom176b", "hours lost to a failure", .prediction, published: "1.5",
                simulated: results.sum { Double($0.gpuTime.lost) } / 48 / 3_600_000
                    / results.sum { Double($0.interruptions) }, in: 1.4...1.6),
        ]
    }

    /// 255,000 steps, about 20 loss spikes, each back 100 steps. A step of 15 s, as 238,300 tokens/s and batches of up to 4 M make it.
    private static func palm(_ runs: Int) -> [ValidationCheck] {
        let days = 255_000 * 15 / ReferenceCluster.day
        var cluster = ReferenceCluster(gpus: 6_144, days: Int(days), per1000NodeDays: 0)
        cluster.checkpoint = 15
        cluster.causes = [
            .init(
                name: "spike", weight: 0, effect: .software, xid: 0, perJobDay: 20 / days,
                rollbackSeconds: 1_500)
        ]
        let results = cluster.run(min(runs, 1_000))
        return [
            ValidationCheck(
                "palm", "loss spikes", .calibration, published: "roughly 20",
                simulated: results.mean { Double($0.interruptions) }, in: 12.22...30.89),
            ValidationCheck(
                "palm", "steps lost to rollbacks", .prediction, published: "0.0078",
                simulated: results.mean {
                    Double($0.gpuTime.lost) / Double($0.gpuTime.lost + $0.gpuTime.productive)
                }, in: 0.0068...0.0088),
        ]
    }

    /// The rate of Llama 3, on a cluster that it was not taken from.
    private static func b200(_ runs: Int) -> [ValidationCheck] {
        let cluster = ReferenceCluster(gpus: 504, days: 55, per1000NodeDays: 3.79)
        let results = cluster.run(min(runs, 2_000))
        let rate =
            results.sum { Double($0.failures) } / (results.sum { Double($0.exposedNodeMs) } / 86_400_000)
            * 1_000
        return [
            ValidationCheck(
                "b200_504", "failures per 1,000 node-days, at the rate of Llama 3", .prediction,
                published: "4.6 to 6.1", simulated: rate, in: 2.83...9.26)
        ]
    }
}

/// How clusters differ.
enum SpreadChecks {
    /// Job-stopping failures per 1,000 node-days: RSC-2, BLOOM, Llama 3, B200-504, RSC-1, OPT-175B.
    static let published: [(String, Double)] = [
        ("meta_rsc", 2.34), ("bloom176b", 2.98), ("llama3_table5", 3.79), ("b200_504", 5.35),
        ("meta_rsc", 6.5),
        ("opt175b", 16.1),
    ]

    static func all(_ runs: Int) -> [ValidationCheck] {
        let cluster = ReferenceCluster(gpus: 16_384, days: 20, per1000NodeDays: 3.9)
        let rates = cluster.run(min(runs, 3_000)) { $0.failures.spreadSigma = 0.85 }.map { run in
            Double(run.failures) / (Double(run.exposedNodeMs) / 86_400_000) * 1_000
        }
        return published.map { table, rate in
            ValidationCheck(
                table, "failures per 1,000 node-days, among clusters (median 3.9, sd of ln 0.85)",
                .calibration,
                published: rate, among: rates, central: 0.95)
        }
    }
}
