public import Telemetry

/// Something that happened in the model, in the smallest form; `FleetModel.describe` makes an `Event` of it.
public struct ModelEvent: Sendable, Equatable {
    enum Reason: Sendable, Equatable {
        case none
        /// Position in `Failures.causes`.
        case cause(Int)
        /// Did not pass the tests after installation.
        case rejected
        /// The job stopped by itself, to take in new nodes.
        case planned
        /// Position in the scenario's milestones, phases or power points.
        case entry(Int)
    }

    /// Unix milliseconds.
    public var timeMs: Int64
    public var kind: EventKind
    var node: Int32 = -1
    var gpu: Int8 = -1
    var reason = Reason.none
    /// As in `Event`: an XID, GPUs, megawatts, seconds lost or until the repair.
    public var value: Double?
}

/// A date of the scenario that has nothing to do with chance.
struct Mark: Sendable {
    var timeMs: Int64
    var kind: EventKind
    var entry: Int

    /// All marks of a scenario in order; at the same time a phase ends before the next one begins.
    static func all(_ scenario: Scenario, phaseBounds: [Int64]) -> [Mark] {
        var marks: [(order: Int, mark: Mark)] = []
        for index in scenario.phases.indices {
            marks.append((0, Mark(timeMs: phaseBounds[index + 1], kind: .phaseEnd, entry: index)))
            marks.append((1, Mark(timeMs: phaseBounds[index], kind: .phaseStart, entry: index)))
        }
        for (index, point) in scenario.power.curve.enumerated() {
            marks.append((2, Mark(timeMs: point.timeMs, kind: .powerChange, entry: index)))
        }
        for (index, milestone) in scenario.milestones.enumerated() {
            marks.append((3, Mark(timeMs: milestone.timeMs, kind: .milestone, entry: index)))
        }
        return
            marks
            .filter { (scenario.startMs...scenario.endMs).contains($0.mark.timeMs) }
            .sorted {
                ($0.mark.timeMs, $0.order, $0.mark.entry) < ($1.mark.timeMs, $1.order, $1.mark.entry)
            }
            .map(\.mark)
    }
}

extension FleetModel {
    /// The event in the form that the rest of the service knows, with names and a sentence.
    public func describe(_ event: ModelEvent, stream: StreamID) -> Event {
        Event(
            stream: stream, timeMs: event.timeMs, kind: event.kind,
            entity: event.node < 0 ? "" : plan.nodeName(Int(event.node)),
            gpu: event.gpu < 0 ? nil : Int(event.gpu), job: job(of: event.kind), value: event.value,
            message: message(event), source: .simulation)
    }

    private func job(of kind: EventKind) -> String {
        switch kind {
        case .jobStart, .jobEnd, .jobInterrupted, .jobRestarted, .checkpoint: plan.scenario.job.name
        default: ""
        }
    }

    private func message(_ event: ModelEvent) -> String {
        let number = Self.grouped(Int(event.value ?? 0))
        switch event.kind {
        case .xid: return XID.text(Int(event.value ?? 0)) ?? "unknown XID"
        case .nodeDown: return "\(reason(event)); back after \(Self.hours(event.value ?? 0))"
        case .nodeUp: return "repaired"
        case .jobStart: return "started on \(number) GPUs"
        case .jobEnd: return "ended"
        case .jobInterrupted:
            return "stopped (\(reason(event))); \(number) s of training are lost"
        case .jobRestarted:
            return "goes on with \(number) GPUs" + (event.reason == .planned ? " (planned)" : "")
        case .checkpoint: return "checkpoint \(number) written"
        case .maintenanceStart, .maintenanceEnd, .alertFiring, .alertResolved: return ""
        case .milestone, .phaseStart, .phaseEnd, .powerChange: return message(ofMark: event, number)
        }
    }

    private func message(ofMark event: ModelEvent, _ number: String) -> String {
        guard case .entry(let entry) = event.reason else { return "" }
        let scenario = plan.scenario
        switch event.kind {
        case .milestone:
            let milestone = scenario.milestones[entry]
            return "\(milestone.text) (\(milestone.source))"
        case .phaseStart:
            let phase = scenario.phases[entry]
            return "\(phase.name) begins: \(Self.grouped(phase.gpuCount)) GPUs in \(phase.days) days"
        case .phaseEnd: return "\(scenario.phases[entry].name) ends with \(number) GPUs installed"
        default: return "the site can draw \(number) MW"
        }
    }

    private func reason(_ event: ModelEvent) -> String {
        switch event.reason {
        case .cause(let cause): plan.causes[cause].name
        case .rejected: "did not pass burn-in"
        case .planned: "planned"
        case .none, .entry: "unknown"
        }
    }

    private static func hours(_ seconds: Double) -> String {
        let minutes = Int((seconds / 60).rounded())
        return minutes < 120 ? "\(minutes) min" : "\(minutes / 60) h"
    }

    private static func grouped(_ number: Int) -> String {
        var digits = String(number)
        var at = digits.count - 3
        while at > 0 {
            digits.insert(",", at: digits.index(digits.startIndex, offsetBy: at))
            at -= 3
        }
        return digits
    }
}
