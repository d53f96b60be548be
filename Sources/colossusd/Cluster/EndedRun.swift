import ControlAPI
import Exchange
import Foundation
import Glibc
import Logging
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

    /// A scenario of 1 MiB, of which JSON may make six, and all that can be asked of a run.
    private static let bytesMax = 8 << 20

    enum Kept {
        case nothing
        case run(EndedRun)
        /// Nobody will ever read that.
        case useless(String)
        /// It could not be read just now.
        case unknown(String)
    }

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

    static func read(_ file: String) -> Kept {
        let data: Data
        do {
            data = try Data(contentsOf: URL(filePath: file))
        } catch let error as CocoaError
            where error.code == .fileReadNoSuchFile || error.code == .fileNoSuchFile
        {
            return .nothing
        } catch {
            return .unknown("\(error)")
        }
        guard data.count <= bytesMax else { return .useless("it has \(data.count) bytes") }
        do {
            return .run(try JSONDecoder().decode(EndedRun.self, from: data))
        } catch {
            return .useless("\(error)")
        }
    }

    /// Whether it is there now, also after a power failure.
    func write(to file: String) -> Bool {
        guard let data = try? JSONEncoder().encode(self), data.count <= Self.bytesMax else { return false }
        let partial = file + ".partial"
        let descriptor = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return false }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        guard (try? handle.write(contentsOf: data)) != nil, fsync(descriptor) == 0, rename(partial, file) == 0
        else {
            unlink(partial)
            return false
        }
        let folder = URL(filePath: file).deletingLastPathComponent().path(percentEncoded: false)
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { return false }
        defer { close(directory) }
        return fsync(directory) == 0
    }

    static func remove(_ file: String) { try? FileManager.default.removeItem(atPath: file) }

    func save(in store: HistoryStore, nowMs: Int64) async throws {
        // It may have been tried before, and have come to a part of them.
        var known = try await store.injections(run: name)
        for fault in faults {
            let injection = StoredInjection(
                timeMs: fault.timeMs, kind: fault.kind, entity: fault.entity, forMs: fault.forMs)
            if let place = known.firstIndex(of: injection) {
                known.remove(at: place)
                continue
            }
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
        let ended: EndedRun
        switch EndedRun.read(endedFile) {
        case .nothing: return
        case .run(let kept): ended = kept
        case .unknown(let reason): return tellKept("cannot be read; it is tried again", reason)
        case .useless(let reason):
            tellKept("is of no use and removed", reason)
            return EndedRun.remove(endedFile)
        }
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

    private nonisolated func tellKept(_ what: String, _ reason: String) {
        logger.warning(
            "what was kept of a run that is over \(what)",
            metadata: ["file": "\(endedFile)", "reason": "\(reason)"])
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
