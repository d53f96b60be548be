public import Simulation

/// How far one parameter moves the answers, when it alone is changed.
public struct Sensitivity: Sendable, Codable, Hashable {
    /// Medians with the parameter at one value.
    public struct Outcome: Sendable, Codable, Hashable {
        public var label: String
        public var ettr: Double
        public var flop: Double
        public var inTraining: Double
        /// Days from the start to the target; `nil` when it is not reached.
        public var targetDays: Double?

        /// The number that a plan is for: days to the target, else useful FLOP, else ETTR.
        func answer(_ kind: Kind) -> Double? {
            switch kind {
            case .targetDays: targetDays
            case .flop: flop
            case .ettr: ettr
            }
        }
    }

    public enum Kind: String, Sendable, Codable, Hashable {
        case targetDays = "target_days"
        case flop, ettr
    }

    public var parameter: String
    public var kind: Kind
    public var low: Outcome
    public var base: Outcome
    public var high: Outcome

    /// Between the two ends, in the unit of `kind`.
    public var swing: Double? {
        guard let low = low.answer(kind), let high = high.answer(kind) else { return nil }
        return abs(high - low)
    }

    /// A parameter, and two values to try.
    struct Lever {
        var name: String
        var low: (label: String, change: (inout Scenario) -> Void)
        var high: (label: String, change: (inout Scenario) -> Void)
    }

    /// What can be moved, and how far: failure rates by the factor between published clusters (1.7, their standard
    /// deviation of 0.85 on the logarithm being 2.3), the others by what a plan may get wrong.
    static var levers: [Lever] {
        [
            scaled("failures.per_gpu_day", 1.7) { $0.failures.perGPUDay *= $1 },
            // No longer than a scenario may have.
            scaled("failures.repair.median_h", 2) {
                $0.failures.repair.medianHours = min(87_600, $0.failures.repair.medianHours * $1)
            },
            scaled("job.restart_s", 2) { $0.job.restartSeconds *= $1 },
            scaled("job.detection_s", 2) { scenario, factor in
                scenario.job.detectionSeconds *= factor
                for index in scenario.failures.causes.indices {
                    scenario.failures.causes[index].detectionSeconds? *= factor
                }
            },
            scaled("job.checkpoint_s", 2) { $0.job.checkpointSeconds *= $1 },
            scaled("job.checkpoint_write_s", 2) { $0.job.checkpointWriteSeconds *= $1 },
            scaled("job.mfu", 1.1) { scenario, factor in
                for index in scenario.job.mfu.indices {
                    scenario.job.mfu[index].mfu = min(1, scenario.job.mfu[index].mfu * factor)
                }
            },
            scaled("power.kw_per_gpu", 1.1) { $0.power.kilowattsPerGPU *= $1 },
            scaled("power.curve", 1.1) { scenario, factor in
                for index in scenario.power.curve.indices { scenario.power.curve[index].megawatts *= factor }
            },
            scaled("bring_up.burn_in_h", 2) { $0.bringUp.burnInHours *= $1 },
        ]
    }

    private static func scaled(
        _ name: String, _ factor: Double, _ change: @escaping (inout Scenario, Double) -> Void
    ) -> Lever {
        Lever(
            name: name, low: ("÷ \(factor)", { change(&$0, 1 / factor) }),
            high: ("× \(factor)", { change(&$0, factor) }))
    }

    /// Moves each parameter down and up, alone; those that moved the answer most come first.
    ///
    /// - Parameter runs: of each of the scenarios, with the same seeds.
    public static func all(
        _ scenario: Scenario, runs: Int, progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) -> [Sensitivity] {
        func outcome(_ label: String, _ change: (inout Scenario) -> Void) -> Outcome? {
            var changed = scenario
            change(&changed)
            guard let plan = try? FleetPlan(changed) else { return nil }
            let ensemble = Ensemble(plan: plan, runs: runs, sampleMs: [])
            func median(_ value: (Trajectory) -> Double?) -> Double? { ensemble.band(value)?.median }
            let reached = ensemble.runs.filter { $0.trajectory.targetMs != nil }.count
            let days = median { $0.targetMs.map { Double($0 - scenario.startMs) / 86_400_000 } }
            return Outcome(
                label: label, ettr: median(\.ettr) ?? 0, flop: median(\.flop) ?? 0,
                inTraining: median { $0.samples.last.map { Double($0.inTraining) } } ?? 0,
                targetDays: reached * 2 > runs ? days : nil)
        }
        guard let base = outcome("as it is", { _ in }) else { return [] }
        let kind: Kind = base.targetDays != nil ? .targetDays : base.flop > 0 ? .flop : .ettr
        var results: [Sensitivity] = []
        for (index, lever) in levers.enumerated() {
            progress(index * 2 * runs)
            guard let low = outcome(lever.low.label, lever.low.change),
                let high = outcome(lever.high.label, lever.high.change)
            else { continue }
            results.append(
                Sensitivity(parameter: lever.name, kind: kind, low: low, base: base, high: high))
        }
        return results.sorted { ($0.swing ?? .infinity) > ($1.swing ?? .infinity) }
    }
}
