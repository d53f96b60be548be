public import Simulation
import Telemetry

/// A scenario in numbers that need no run: `colossusctl scenario show`.
public struct ScenarioSummary: Sendable, Codable, Hashable {
    public struct Row: Sendable, Codable, Hashable {
        public var name: String
        public var value: String
    }

    public var schema = "colossus.scenario/v1"
    public var scenario: String
    public var rows: [Row] = []

    public init(_ plan: FleetPlan) {
        let scenario = plan.scenario
        self.scenario = scenario.name
        add("site", scenario.site)
        add("seed", String(scenario.seed))
        add(
            "days",
            "\(UTC.date(scenario.startMs)) + \(scenario.days) d; plans go on to \(PlanReport.moment(scenario.horizonMs))"
        )
        let kinds = scenario.gpuModels.compactMap { model -> String? in
            let count = scenario.phases.flatMap(\.groups).filter { $0.model == model.key }
                .reduce(0) { $0 + $1.gpus }
            return count > 0 ? "\(PlanReport.grouped(count)) \(model.key)" : nil
        }
        add("GPUs", kinds.joined(separator: ", "))
        add("nodes, racks", "\(PlanReport.grouped(plan.nodeCount)), \(PlanReport.grouped(plan.rackCount))")
        addBuild(scenario)
        addFailures(scenario)
        addJob(scenario)
        for note in PlanReport.notes(scenario) { add("note", note) }
    }

    /// More than any site has.
    private static let noLimitMegawatts = 10_000.0

    private mutating func add(_ name: String, _ value: String) { rows.append(Row(name: name, value: value)) }

    private mutating func addBuild(_ scenario: Scenario) {
        for phase in scenario.phases {
            add(phase.name, "\(PlanReport.grouped(phase.gpuCount)) GPUs in \(phase.days) days")
        }
        let highest = scenario.power.curve.map(\.megawatts).max() ?? 0
        let needed =
            Double(scenario.gpuCount) * scenario.power.kilowattsPerGPU / 1_000 + scenario.power.baseMegawatts
        // Where power was no limit, or where none is known, scenarios have one that nothing reaches.
        let unreached = max(10 * needed, Self.noLimitMegawatts)
        let isNoLimit = scenario.power.curve.allSatisfy { $0.megawatts >= unreached }
        add(
            "site power",
            (isNoLimit ? "no limit" : "\(Self.short(highest)) MW at most")
                + "; \(Self.short(needed)) MW are needed for all GPUs")
    }

    private mutating func addFailures(_ scenario: Scenario) {
        let failures = scenario.failures
        let perNodeDay = failures.perGPUDay * 8
        add(
            "failures",
            "\(Self.short(perNodeDay * 1_000)) per 1,000 node-days, \(failures.causes.count) causes")
        let gpus = min(scenario.gpuCount, scenario.job.maximumGPUs)
        let nodes = gpus / 8
        guard perNodeDay > 0, nodes > 0 else { return }
        let mttfHours = 24 / (perNodeDay * Double(nodes))
        add("MTTF of a job on \(PlanReport.grouped(gpus)) GPUs", "\(Self.short(mttfHours)) h")
        let repairDays =
            (failures.drainMinutes / 60 + failures.repair.medianHours) / 24
        add(
            "spare nodes by the P99 rule",
            "\(CheckpointTheory.spares(nodes: nodes, failuresPerNodeDay: perNodeDay)) for a day, "
                + "\(CheckpointTheory.spares(nodes: nodes, failuresPerNodeDay: perNodeDay * repairDays)) for the median repair"
        )
        let job = scenario.job
        let write = job.checkpointWriteSeconds
        guard write > 0 else { return }
        let mttf = mttfHours * 3_600
        let best = CheckpointTheory.exact(write: write, mttf: mttf)
        add(
            "best checkpoint interval",
            "\(Self.short(best)) s; the policy is \(job.checkpointPolicy.rawValue)")
        let restart = job.restartSeconds + job.detectionSeconds
        let used = job.checkpointPolicy == .fixed ? job.checkpointSeconds : best
        let efficiency = CheckpointTheory.efficiency(tau: used, write: write, mttf: mttf, restart: restart)
        add("expected ETTR at full size", Self.short(efficiency))
    }

    private mutating func addJob(_ scenario: Scenario) {
        let job = scenario.job
        add("job", "\(job.name) from \(PlanReport.instant(job.startMs))")
        if job.targetFLOP > 0 { add("target", "\(job.targetFLOP) FLOP") }
        for point in job.mfu { add("MFU on \(PlanReport.grouped(point.gpus)) GPUs", Self.short(point.mfu)) }
        for size in PlanReport.utilisations(scenario)
        where !job.mfu.contains(where: { $0.gpus == size.gpus }) {
            add("MFU on \(PlanReport.grouped(size.gpus)) GPUs, from these", Self.short(size.mfu))
        }
    }

    /// Four figures.
    static func short(_ value: Double) -> String {
        guard value != 0, value.isFinite else { return value == 0 ? "0" : "-" }
        var scale = 1.0
        while abs(value) * scale < 1_000, scale < 1e9 { scale *= 10 }
        let rounded = (value * scale).rounded() / scale
        return rounded == rounded.rounded() && abs(rounded) < 1e15
            ? PlanReport.grouped(Int(rounded)) : "\(rounded)"
    }
}
