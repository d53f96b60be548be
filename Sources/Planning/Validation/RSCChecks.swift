import Simulation

/// Kokolis et al., "Revisiting Reliability in Large-Scale Machine Learning Research Clusters", HPCA 2025, arXiv:2410.21680.
/// Its MTTF of 8 and of 1,024 GPUs contradict its failure rate and are left out.
enum RSCChecks {
    static let rsc1 = 6.5
    static let rsc2 = 2.34

    static func all(_ runs: Int) -> [ValidationCheck] { mttf(runs) + ettr(runs) + half(runs) }

    private static func mttf(_ runs: Int) -> [ValidationCheck] {
        func hours(_ gpus: Int, days: Int) -> Double {
            var cluster = ReferenceCluster(gpus: gpus, days: days, per1000NodeDays: rsc1)
            cluster.restart = 0.001
            return Double(days) * 24 / cluster.run(min(runs, 200)).mean { Double($0.interruptions) }
        }
        let small = hours(16_384, days: 64)
        let large = hours(131_072, days: 8)
        return [
            ValidationCheck(
                "meta_rsc", "MTTF of 16,384 GPUs, h", .prediction, published: "1.8", simulated: small,
                in: 1.71...1.89),
            ValidationCheck(
                "meta_rsc", "MTTF of 131,072 GPUs, h", .prediction, published: "0.23", simulated: large,
                in: 0.2185...0.2415),
            ValidationCheck(
                "meta_rsc", "MTTF ratio of the two", .prediction, published: "8", simulated: small / large,
                in: 7.92...8.08),
        ]
    }

    /// The paper gives a first-order formula and says that it agrees with Monte Carlo within 5%.
    private static func ettr(_ runs: Int) -> [ValidationCheck] {
        let settings:
            [(nodes: Int, restart: Double, checkpoint: Double, published: Double, formula: Double)] =
                [(2_000, 5, 60, 0.7, 0.684), (2_000, 5, 5, 0.93, 0.932), (1_000, 6, 30, 0.9, 0.905)]
        return settings.flatMap { setting in
            let what =
                "E[ETTR], \(setting.nodes * 8) GPUs, checkpoint \(Int(setting.checkpoint)) min, restart \(Int(setting.restart)) min"
            var cluster = ReferenceCluster(gpus: setting.nodes * 8, days: 60, per1000NodeDays: rsc1)
            (cluster.restart, cluster.checkpoint) = (setting.restart * 60, setting.checkpoint * 60)
            let formula = CheckpointTheory.kokolis(
                nodes: Double(setting.nodes), failuresPerNodeDay: rsc1 / 1_000,
                restartDays: setting.restart / 1_440, intervalDays: setting.checkpoint / 1_440, writeDays: 0)
            return [
                ValidationCheck(
                    "meta_rsc", what, .prediction, published: "\(setting.published)",
                    simulated: cluster.run(min(runs, 400)).mean(\.ettr),
                    in: (setting.published * 0.95)...(setting.published * 1.05)),
                ValidationCheck(
                    "meta_rsc", what + ", closed form", .arithmetic, published: "\(setting.formula)",
                    simulated: formula, in: (setting.formula - 0.001)...(setting.formula + 0.001)),
            ]
        }
    }

    /// 100,000 GPUs: the interval at which half of the time counts, with a restart as long as the interval.
    private static func half(_ runs: Int) -> [ValidationCheck] {
        let settings: [(name: String, mttf: Double, minutes: Double)] = [
            ("RSC-1-like, 7 min", 15, 6.8), ("RSC-2-like, 21 min", 45.4, 20.7),
        ]
        return settings.map { setting in
            let perNodeDay = 1_440 / setting.mttf / 12_500
            var cluster = ReferenceCluster(gpus: 100_000, days: 20, per1000NodeDays: perNodeDay * 1_000)
            (cluster.restart, cluster.checkpoint) = (setting.minutes * 60, setting.minutes * 60)
            return ValidationCheck(
                "meta_rsc", "ETTR of 100,000 GPUs, " + setting.name, .prediction, published: "0.5",
                simulated: cluster.run(min(runs, 100)).mean(\.ettr), in: 0.475...0.525)
        }
    }
}
