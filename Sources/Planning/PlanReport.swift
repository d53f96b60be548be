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
        public var modelled: Band
        public var source: String
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
            guard let claim = milestone.claim,
                let index = sampleMs.lastIndex(where: { $0 <= milestone.timeMs + 43_200_000 })
            else { return nil }
            let point = points[index]
            func fixed(_ count: Int) -> Band {
                Band(low: Double(count), median: Double(count), high: Double(count))
            }
            let modelled =
                switch claim.count {
                case .announced, .installed: fixed(point.installed)
                case .powered: fixed(point.powered)
                case .inTraining: point.inTraining
                }
            return Claim(
                at: UTC.timestamp(milestone.timeMs), what: milestone.text, count: claim.count.rawValue,
                claimed: claim.gpus, modelled: modelled, source: milestone.source)
        }
    }

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
