import ControlAPI
import Exchange
import Foundation
import Playback
import Settings
import Simulation
import Store
import Telemetry

/// A run of the cluster that is over and stored here as far as it went, as the store is to know it once the next one has its
/// place. Kept in a file until then: the process may end before, and find the next run when it is back.
struct EndedRun: Codable {
    private struct Fault: Codable {
        var timeMs: Int64
        var kind: String
        var entity: String
        var forMs: Int64?
    }

    private static let bytesMax = 2 * SharedStart.bytesMax

    let name: String
    private var scenario: String
    private var path: String
    private var seed: UInt64
    private var speed: String
    private var state: String
    private var startedMs: Int64
    private var faults: [Fault] = []

    /// - Parameter log: what was asked of it.
    init(_ control: SharedControl, _ log: ControlLog) {
        let fleet = control.fleet
        name = fleet.run
        scenario = fleet.text
        path = fleet.path
        seed = fleet.plan.scenario.seed
        speed = Pace.times(ControlCourse(control.base, log).speed).description
        state = log.isStopped ? "stopped" : "finished"
        startedMs = control.base.startedMs
        // What was injected is part of the run.
        for entry in log.entries {
            guard case .inject(let kind, let entity, let forMs) = entry.deed,
                (try? fleet.plan.injection(kind, at: entity, timeMs: entry.strikesMs, forMs: forMs)) != nil
            else { continue }
            faults.append(Fault(timeMs: entry.strikesMs, kind: kind, entity: entity, forMs: forMs))
        }
    }

    /// `nil` where there is none.
    init?(at file: String) {
        guard let data = FileManager.default.contents(atPath: file), data.count <= Self.bytesMax,
            let kept = try? JSONDecoder().decode(EndedRun.self, from: data)
        else { return nil }
        self = kept
    }

    /// Whether it is there now.
    func write(to file: String) -> Bool {
        guard let data = try? JSONEncoder().encode(self) else { return false }
        return (try? data.write(to: URL(filePath: file), options: .atomic)) != nil
    }

    static func remove(_ file: String) { try? FileManager.default.removeItem(atPath: file) }

    func save(in store: HistoryStore, nowMs: Int64) async throws {
        for fault in faults {
            let injection = StoredInjection(
                timeMs: fault.timeMs, kind: fault.kind, entity: fault.entity, forMs: fault.forMs)
            try await store.save(injection, run: name)
        }
        let record = SimulationRun(
            name: name, scenario: scenario, path: path, seed: seed, speed: speed, state: state,
            startedMs: startedMs)
        try await store.save(record, nowMs: nowMs)
    }
}

extension ClusterNode {
    private nonisolated var endedFile: String { around.stateDirectory + "/cluster.ended" }

    /// Keeps in mind what is to be written down of a run that is over, once all of it is stored here.
    ///
    /// - Returns: whether that is done.
    nonisolated func keepEnded(_ member: ClusterMember) -> Bool {
        guard member.parts.reporter != nil, member.isOver, member.untold == 0,
            let control = member.parts.control, let log = control.status.log
        else { return false }
        return EndedRun(control, log).write(to: endedFile)
    }

    /// Writes down a run that was over when this process ended, or ended before it was written down.
    ///
    /// - Parameter run: the one that is played now; its own end is to come.
    func saveEnded(before run: String) async {
        guard let ended = EndedRun(at: endedFile) else { return EndedRun.remove(endedFile) }
        guard ended.name != run else { return }
        do {
            // Somebody may have removed the history.
            if let stream = StreamID.simulated(run: ended.name),
                try await around.store.closedThrough(stream) != nil
            {
                try await ended.save(in: around.store, nowMs: around.clock.nowMs())
            }
            EndedRun.remove(endedFile)
        } catch {
            // A store that fails says so; the next time.
        }
    }

    /// The same of one that this member has reported up to now.
    func save(_ ended: EndedRun) async {
        _ = ended.write(to: endedFile)
        do {
            try await ended.save(in: around.store, nowMs: around.clock.nowMs())
            EndedRun.remove(endedFile)
        } catch {
            // A store that fails says so; it is tried again before the next run.
        }
    }
}
