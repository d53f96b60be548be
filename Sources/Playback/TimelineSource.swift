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

    public init(plan: FleetPlan) {
        self.plan = plan
        model = Mutex(FleetModel(plan: plan))
    }

    /// - Parameters:
    ///   - timeMs: the end of a window; times outside the scenario count as its beginning and end.
    ///   - windowMs: length of the window that utilisation and megawatts are means of, from an hour to a day.
    public func point(at timeMs: Int64, overMs windowMs: Int64) -> TimelinePoint {
        model.withLock { Self.point(at: timeMs, overMs: windowMs, plan, &$0) }
    }

    /// The same for somebody who looks on: whoever closes windows with `point` neither waits nor starts anew for it.
    public func look(at timeMs: Int64, overMs windowMs: Int64) -> TimelinePoint {
        asked.withLock { asked in
            var model = asked.take() ?? FleetModel(plan: plan)
            defer { asked = model }
            return Self.point(at: timeMs, overMs: windowMs, plan, &model)
        }
    }

    private static func point(
        at timeMs: Int64, overMs windowMs: Int64, _ plan: FleetPlan, _ model: inout FleetModel
    ) -> TimelinePoint {
        let wanted = min(max(timeMs, plan.scenario.startMs), plan.scenario.endMs)
        if wanted < model.nowMs { model = FleetModel(plan: plan) }
        model.advance(to: wanted)
        return model.timelinePoint(overMs: windowMs)
    }

    /// What was claimed of each date, and what the model has on it, by date: the milestones, and the end of each phase
    /// with the GPUs that were to be installed by then. Worked out once.
    public func milestones() -> [MilestoneResult] {
        results.withLock { results in
            if let results { return results }
            let new = Self.results(plan)
            results = new
            return new
        }
    }

    private static func results(_ plan: FleetPlan) -> [MilestoneResult] {
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
        var model = FleetModel(plan: plan)
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
