import ControlAPI
import Playback
import Simulation
import Store
import Telemetry

extension SimulationStatus {
    /// A run of this process.
    init(_ record: SimulationRun, _ run: ScenarioRun, closedThroughMs: Int64?) {
        let status = run.status()
        self.init(
            record, run.plan.scenario, run.timeline, state: State(status.state), resolution: run.resolution,
            closedThroughMs: closedThroughMs)
        pace = status.actualPace
        tickSeconds = Double(status.resolution.tickMs) / 1_000
        lagSeconds = status.lagSeconds
        // It is over when its last window is stored.
        let isStored = (closedThroughMs ?? .min) >= run.plan.scenario.endMs
        if self.state == .finished, !isStored { self.state = .running }
    }

    /// A run of the past.
    init(
        _ record: SimulationRun, _ plan: FleetPlan, _ injections: [FaultInjection], closedThroughMs: Int64?
    ) throws {
        let scenario = plan.scenario
        let pace = try Pace(text: record.speed)
        self.init(
            record, scenario, TimelineSource(plan: plan, injections: injections),
            state: State(rawValue: record.state) ?? .failed,
            resolution: Resolution(pace: pace, tickMs: record.tickMs), closedThroughMs: closedThroughMs)
    }

    /// A run as it is kept; also one that a cluster shares, of which no store has a record.
    init(
        _ record: SimulationRun, _ scenario: Scenario, _ timeline: TimelineSource, state: State,
        resolution: Resolution, closedThroughMs: Int64?
    ) {
        let position = min(max(closedThroughMs ?? scenario.startMs, scenario.startMs), scenario.endMs)
        self.init(
            run: record.name, scenario: scenario.name, seed: record.seed, state: state, speed: record.speed,
            start: UTCTime(ms: scenario.startMs), end: UTCTime(ms: scenario.endMs),
            now: TimelineRow(timeline.look(at: position, overMs: resolution.finestWindowMs)))
        windowSeconds = Double(resolution.finestWindowMs) / 1_000
        tickSeconds = Double(resolution.tickMs) / 1_000
        days = scenario.days
        progress = Double(position - scenario.startMs) / Double(max(1, scenario.endMs - scenario.startMs))
        milestones = timeline.milestones().map { MilestoneRow($0, isReached: $0.point.timeMs <= position) }
    }
}

extension SimulationStatus.State {
    init(_ state: RunStatus.State) {
        switch state {
        case .running: self = .running
        case .paused: self = .paused
        case .finished: self = .finished
        case .stopped: self = .stopped
        }
    }
}

extension MilestoneRow {
    init(_ result: MilestoneResult, isReached: Bool) {
        let milestone = result.milestone
        self.init(
            time: UTCTime(ms: milestone.timeMs), what: milestone.text, claimed: milestone.claim?.gpus,
            claims: milestone.claim?.count.rawValue)
        guard isReached else { return }
        installed = result.point.installed
        powered = result.point.powered
        inTraining = result.point.inTraining
    }
}
