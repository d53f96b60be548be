public import Simulation
import Synchronization
public import Telemetry

/// Answers where a scenario stands at a time, whatever a run is doing: a second trajectory of the same events, without
/// telemetry. Asking in the order of time is cheap; going back starts anew (some milliseconds).
public final class TimelineSource: Sendable {
    private let plan: FleetPlan
    private let model: Mutex<FleetModel>
    private let asked = Mutex<FleetModel?>(nil)
    private let results = Mutex<[MilestoneResult]?>(nil)
    private let injections: Mutex<[FaultInjection]>

    public init(plan: FleetPlan, injections: [FaultInjection] = []) {
        self.plan = plan
        self.injections = Mutex(injections)
        model = Mutex(FleetModel(plan: plan, injections: injections))
    }

    /// A fault that the run has from now on; what was worked out of the time after it is worked out again.
    public func inject(_ injection: FaultInjection) {
        injections.withLock { $0.append(injection) }
        model.withLock { model in
            if !model.inject(injection) { model = fresh() }
        }
        asked.withLock { $0 = nil }
        results.withLock { $0 = nil }
    }

    private func fresh() -> FleetModel { FleetModel(plan: plan, injections: injections.withLock { $0 }) }

    /// - Parameters:
    ///   - timeMs: the end of a window; times outside the scenario count as its beginning and end.
    ///   - windowMs: length of the window that utilisation and megawatts are means of, from an hour to a day.
    public func point(at timeMs: Int64, overMs windowMs: Int64) -> TimelinePoint {
        model.withLock { point(at: timeMs, overMs: windowMs, &$0) }
    }

    /// The same for somebody who looks on: whoever closes windows with `point` neither waits nor starts anew for it.
    public func look(at timeMs: Int64, overMs windowMs: Int64) -> TimelinePoint {
        asked.withLock { asked in
            var model = asked.take() ?? fresh()
            defer { asked = model }
            return point(at: timeMs, overMs: windowMs, &model)
        }
    }

    private func point(
        at timeMs: Int64, overMs windowMs: Int64, _ model: inout FleetModel
    ) -> TimelinePoint {
        let wanted = min(max(timeMs, plan.scenario.startMs), plan.scenario.endMs)
        if wanted < model.nowMs { model = fresh() }
        model.advance(to: wanted)
        return model.timelinePoint(overMs: windowMs)
    }

    /// What was claimed of each date, and what the model has on it, by date: the milestones, and the end of each phase
    /// with the GPUs that were to be installed by then. Worked out once.
    public func milestones() -> [MilestoneResult] {
        results.withLock { results in
            if let results { return results }
            let new = Self.results(plan, fresh())
            results = new
            return new
        }
    }

    private static func results(_ plan: FleetPlan, _ fresh: FleetModel) -> [MilestoneResult] {
        let scenario = plan.scenario
        var dates = scenario.milestones
        var endMs = scenario.startMs
        var gpus = 0
        for phase in scenario.phases {
            endMs += Int64(phase.days) * UTC.dayMs
            gpus += phase.gpuCount
            dates.append(
                Scenario.Milestone(
                    timeMs: endMs, text: "\(phase.name) ends: day \(phase.days)",
                    claim: .init(.installed, gpus: gpus), source: "scenario"))
        }
        var model = fresh
        return dates.enumerated()
            .sorted { ($0.element.timeMs, $0.offset) < ($1.element.timeMs, $1.offset) }
            .filter { (scenario.startMs...scenario.endMs).contains($0.element.timeMs) }
            .map { _, milestone in
                model.advance(to: milestone.timeMs)
                return MilestoneResult(milestone: milestone, point: model.timelinePoint(overMs: UTC.dayMs))
            }
    }
}

/// A claim beside what the model has on the same date.
public struct MilestoneResult: Sendable, Equatable {
    public var milestone: Scenario.Milestone
    public var point: TimelinePoint
}
