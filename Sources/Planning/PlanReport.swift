public import Simulation
import Telemetry

/// What a plan says: numbers with bands, dates, curves. `colossusctl plan` shows it.
public struct PlanReport: Sendable, Codable, Hashable {
    public struct Quantity: Sendable, Codable, Hashable {
        public var name: String
        public var unit: String
        public var band: Band
    }

    /// A size of the job, or the training target, and when it is reached.
    public struct Date: Sendable, Codable, Hashable {
        public var what: String
        /// Share of the runs in which it is reached, 0...1; the times are of those.
        public var share: Double
        public var low: String?
        public var median: String?
        public var high: String?
    }

    /// What was said, beside what the model has at that time.
    public struct Claim: Sendable, Codable, Hashable {
        public var at: String
        public var what: String
        public var count: String
        public var claimed: Int
        /// Absent where the model has none: `note` says why.
        public var modelled: Band?
        /// What must be known to compare the two.
        public var note: String?
        public var source: String
    }

    /// Model FLOP utilisation of a job of that size: what the scenario says, the same in all runs.
    public struct Utilisation: Sendable, Codable, Hashable {
        public var gpus: Int
        public var mfu: Double
    }

    /// What the nodes that are ready are for from then on; shares, 0...1.
    public struct Workload: Sendable, Codable, Hashable {
        public var at: String
        public var training: Double
        public var reinforcement: Double
        public var inference: Double
    }

    public struct Cause: Sendable, Codable, Hashable {
        public var name: String
        /// Interruptions of the job in a run.
        public var interruptions: Band
    }

    public struct Share: Sendable, Codable, Hashable {
        public var name: String
        /// Of all GPU time from installation on, mean of the runs, 0...1. All shares add up to 1.
        public var share: Double
    }

    public struct Point: Sendable, Codable, Hashable {
        public var at: String
        public var announced: Int
        public var installed: Int
        public var powered: Int
        public var inTraining: Band
        public var megawatts: Band
        public var flop: Band
    }

    public var schema = "colossus.plan/v1"
    public var scenario: String
    public var runs: Int
    public var start: String
    public var end: String
    public var gpus: Int
    public var targetFLOP: Double?
    public var mfu: [Utilisation]
    public var workload: [Workload]
    /// What must be known to read the numbers, in words.
    public var notes: [String]
    public var quantities: [Quantity]
    public var dates: [Date]
    public var claims: [Claim]
    public var causes: [Cause]
    public var gpuTime: [Share]
    public var curve: [Point]
    public var sensitivity: [Sensitivity]
    /// Runs behind each value of `sensitivity`.
    public var sensitivityRuns: Int?
    /// Standard deviation of ln(failure rate) between the runs; 0 when all are the same cluster.
    public var spreadSigma: Double
    /// Parameters that were changed on the command line, as `key=value`.
    public var changes: [String] = []

    public init(_ ensemble: Ensemble, sensitivity: [Sensitivity] = []) {
        let scenario = ensemble.plan.scenario
        self.scenario = scenario.name
        runs = ensemble.runs.count
        start = UTC.timestamp(scenario.startMs)
        end = UTC.timestamp(scenario.horizonMs)
        gpus = scenario.gpuCount
        targetFLOP = scenario.job.targetFLOP > 0 ? scenario.job.targetFLOP : nil
        mfu = Self.utilisations(scenario)
        workload = scenario.job.workload.map { entry in
            Workload(
                at: UTC.timestamp(entry.timeMs), training: entry.training, reinforcement: entry.reinforcement,
                inference: entry.inference)
        }
        notes = Self.notes(scenario)
        quantities = Self.quantities(ensemble)
        dates = Self.dates(ensemble)
        causes = Self.causes(ensemble)
        gpuTime = Self.gpuTime(ensemble)
        let points = Self.points(ensemble)
        curve = points
        claims = Self.claims(scenario, ensemble.sampleMs, points)
        self.sensitivity = sensitivity
        spreadSigma = scenario.failures.spreadSigma
    }

    private static func quantities(_ ensemble: Ensemble) -> [Quantity] {
        let all: [(String, String, (Trajectory) -> Double?)] = [
            ("ETTR", "", { $0.jobStartMs == nil ? nil : $0.ettr }),
            ("goodput of the job's GPU time", "", { $0.gpuTime.job > 0 ? $0.goodput : nil }),
            ("interruptions", "", { Double($0.interruptions) }),
            ("planned stops", "", { Double($0.plannedStops) }),
            ("failures", "", { Double($0.failures) }),
            ("MTTF of the job", "h", { $0.mttfHours }),
            (
                "failures per 1,000 node-days", "",
                { run in
                    run.exposedNodeMs > 0
                        ? Double(run.failures) / (Double(run.exposedNodeMs) / 86_400_000) * 1_000 : nil
                }
            ),
            ("energy", "GWh", { $0.energyMWh / 1_000 }),
            ("highest power", "MW", { $0.peakMegawatts }),
            ("useful training", "FLOP", { $0.flop > 0 ? $0.flop : nil }),
        ]
        return all.compactMap { name, unit, value in
            ensemble.band(value).map { Quantity(name: name, unit: unit, band: $0) }
        }
    }

    private static func dates(_ ensemble: Ensemble) -> [Date] {
        var dates = ensemble.thresholds.enumerated().map { index, gpus in
            date("\(grouped(gpus)) GPUs in training", ensemble) {
                index < $0.reachedMs.count ? $0.reachedMs[index] : nil
            }
        }
        if ensemble.plan.scenario.job.targetFLOP > 0 {
            let target = ensemble.plan.scenario.job.targetFLOP
            dates.append(date("target of \(target) FLOP", ensemble) { $0.targetMs })
        }
        return dates
    }

    private static func date(
        _ what: String, _ ensemble: Ensemble, _ value: (Trajectory) -> Int64?
    ) -> Date {
        let times = ensemble.runs.compactMap { value($0.trajectory) }.map { Double($0) }
        let band = Band(times)
        func text(_ ms: Double?) -> String? { ms.map { UTC.timestamp(Int64($0 / 1_000) * 1_000) } }
        return Date(
            what: what, share: Double(times.count) / Double(max(1, ensemble.runs.count)),
            low: text(band?.low), median: text(band?.median), high: text(band?.high))
    }

    private static func causes(_ ensemble: Ensemble) -> [Cause] {
        let causes = ensemble.plan.scenario.failures.causes
        return causes.indices.compactMap { index in
            ensemble.band { Double($0.interruptionsByCause[index]) }
                .map { Cause(name: causes[index].name, interruptions: $0) }
        }
        .sorted { $0.interruptions.median > $1.interruptions.median }
    }

    private static func gpuTime(_ ensemble: Ensemble) -> [Share] {
        GPUTime.Kind.allCases.compactMap { kind in
            let shares = ensemble.runs.map { run in
                let time = run.trajectory.gpuTime
                return time.total > 0 ? Double(time[kind]) / Double(time.total) : 0
            }
            let mean = shares.reduce(0, +) / Double(max(1, shares.count))
            return mean > 0 ? Share(name: kind.name, share: mean) : nil
        }
    }

    private static func points(_ ensemble: Ensemble) -> [Point] {
        let scenario = ensemble.plan.scenario
        let training = ensemble.bands(\.inTraining)
        let power = ensemble.bands(\.megawatts)
        let flop = ensemble.bands(\.flop)
        return ensemble.sampleMs.indices.map { index in
            let timeMs = ensemble.sampleMs[index]
            let announced = scenario.milestones.last {
                $0.timeMs <= timeMs && $0.claim?.count == .announced
            }
            return Point(
                at: UTC.timestamp(timeMs), announced: announced?.claim?.gpus ?? 0,
                installed: ensemble.installed[index], powered: ensemble.powered[index],
                inTraining: training[index], megawatts: power[index], flop: flop[index])
        }
    }

    private static func claims(_ scenario: Scenario, _ sampleMs: [Int64], _ points: [Point]) -> [Claim] {
        scenario.milestones.compactMap { milestone in
            guard let claim = milestone.claim else { return nil }
            let index = sampleMs.lastIndex { $0 <= milestone.timeMs + 43_200_000 }
            func band() -> Band? {
                guard let index, milestone.timeMs <= scenario.horizonMs else { return nil }
                return modelled(claim.count, points[index])
            }
            func modelled(_ count: Scenario.Milestone.Count, _ point: Point) -> Band? {
                switch count {
                case .announced: nil
                case .installed: fixed(point.installed)
                case .powered: fixed(point.powered)
                case .inTraining: point.inTraining
                }
            }
            func fixed(_ count: Int) -> Band {
                Band(low: Double(count), median: Double(count), high: Double(count))
            }
            return Claim(
                at: UTC.timestamp(milestone.timeMs), what: milestone.text, count: claim.count.rawValue,
                claimed: claim.gpus, modelled: band(),
                note: note(scenario, milestone, claim.count, isSampled: index != nil),
                source: milestone.source)
        }
    }

    private static func note(
        _ scenario: Scenario, _ milestone: Scenario.Milestone, _ count: Scenario.Milestone.Count,
        isSampled: Bool
    ) -> String? {
        if milestone.timeMs > scenario.horizonMs { return "after the plan's end" }
        if count == .announced { return "not modelled" }
        if !isSampled { return "before the first day's end" }
        guard count == .inTraining,
            let then = scenario.job.workload.last(where: { $0.timeMs <= milestone.timeMs })
        else { return nil }
        var besides: [String] = []
        if then.reinforcement > 0 {
            besides.append("\(percent(then.reinforcement)) of the nodes in reinforcement learning")
        }
        if then.inference > 0 { besides.append("\(percent(then.inference)) in inference") }
        return besides.isEmpty ? nil : "besides, " + besides.joined(separator: " and ")
    }

    /// What must be known to read what a scenario comes to.
    static func notes(_ scenario: Scenario) -> [String] {
        var notes: [String] = []
        if let until = scenario.planUntilMs, until < scenario.endMs {
            notes.append(
                "plan_until (\(moment(until))) is before the end of the last phase: plans end with that phase, "
                    + moment(scenario.endMs))
        }
        if scenario.job.startMs >= scenario.horizonMs {
            notes.append(
                "the job never starts: job.start (\(moment(scenario.job.startMs))) is not before the plan's end, "
                    + moment(scenario.horizonMs))
        }
        var isAllTraining = true
        let workload = scenario.job.workload
        // What is over before the plan begins says nothing about it.
        let first = workload.lastIndex { $0.timeMs <= scenario.startMs } ?? 0
        for entry in workload.dropFirst(first) where entry.timeMs < scenario.horizonMs {
            // That everything trains need only be said where it did not before.
            let wasAllTraining = isAllTraining
            isAllTraining = entry.training >= 1
            if wasAllTraining, isAllTraining { continue }
            notes.append(
                "from \(instant(max(entry.timeMs, scenario.startMs))): of the nodes that are ready "
                    + "\(percent(entry.training)) train, "
                    + "\(percent(entry.reinforcement)) do reinforcement learning, "
                    + "\(percent(entry.inference)) inference\(rest(entry)); "
                    + "in training counts only those that train")
        }
        return notes
    }

    private static func rest(_ entry: Scenario.Workload) -> String {
        entry.training + entry.reinforcement + entry.inference < 1 - 1e-9 ? ", the rest idle" : ""
    }

    private static func percent(_ share: Double) -> String {
        ScenarioSummary.short((share * 1_000).rounded() / 10) + "%"
    }

    /// At the sizes that the fleet has at the end of each phase, as far as the job goes.
    static func utilisations(_ scenario: Scenario) -> [Utilisation] {
        guard !scenario.job.mfu.isEmpty else { return [] }
        var sizes: Set<Int> = []
        var endMs = scenario.startMs
        for (position, phase) in scenario.phases.enumerated() {
            endMs += Int64(phase.days) * UTC.dayMs
            // What has been taken away by then trains no more.
            let gpus = scenario.phases[...position].filter { ($0.retireMs ?? .max) > endMs }
                .reduce(0) { $0 + $1.gpuCount }
            if gpus > 0 { sizes.insert(min(gpus, scenario.job.maximumGPUs)) }
        }
        return sizes.sorted().map { Utilisation(gpus: $0, mfu: scenario.job.mfu(gpus: $0)) }
    }

    /// What a scenario says, and samples of each day, for people, in UTC: `2024-09-02` for the end of that day, as scenarios
    /// have it, else `2024-09-02 14:30`.
    public static func moment(_ ms: Int64) -> String {
        if ms % UTC.dayMs == 0 { return UTC.date(ms - 1) }
        return instant(ms)
    }

    /// What the model computes, and beginnings, for people, in UTC: `2024-09-02 14:30`. Midnight is the day's beginning.
    public static func instant(_ ms: Int64) -> String {
        let text = UTC.timestamp(ms)
        return "\(text.prefix(10)) \(text.dropFirst(11).prefix(5))"
    }

    /// The same of a time as it stands in a report.
    public static func moment(_ text: String) -> String { UTC.parse(text).map { moment($0) } ?? text }

    /// The same of a time as it stands in a report.
    public static func instant(_ text: String) -> String { UTC.parse(text).map { instant($0) } ?? text }

    /// MFU in words; `nil` when the scenario has none.
    public var mfuText: String? {
        guard !mfu.isEmpty else { return nil }
        let sizes = mfu.map { "\(ScenarioSummary.short($0.mfu)) on \(Self.grouped($0.gpus)) GPUs" }
        return "MFU, as the scenario says: " + sizes.joined(separator: ", ")
    }

    /// When the target is reached; `nil` without a target.
    public var target: Date? { targetFLOP == nil ? nil : dates.last }

    static func grouped(_ number: Int) -> String {
        var digits = String(number)
        var at = digits.count - 3
        while at > 0 {
            digits.insert(",", at: digits.index(digits.startIndex, offsetBy: at))
            at -= 3
        }
        return digits
    }

    /// Round sizes of a job that a plan gives dates for.
    public static func thresholds(_ scenario: Scenario) -> [Int] {
        let most = min(scenario.gpuCount, scenario.job.maximumGPUs)
        let claimed = scenario.milestones.compactMap { $0.claim?.count == .inTraining ? $0.claim?.gpus : nil }
        let shares = [0.25, 0.5, 0.75, 0.9, 0.95].map { Int($0 * Double(most)) / 8 * 8 }
        return Set(shares + claimed).filter { $0 > 0 }.sorted()
    }
}
