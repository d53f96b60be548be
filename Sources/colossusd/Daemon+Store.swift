import ControlAPI
import Logging
import Store
import SystemdSupport
import Telemetry

/// Long work on the history, under way or done.
struct StoreJob: Sendable {
    var reply: StoreJobReply
    var startedMs: Int64
    /// Written on the store's own queue, read by whoever asks.
    let progress = Locked(StoreProgress(stage: "", done: 0, total: 0))
}

// Backups and verification of the history while it is in use.
extension Daemon {
    func startBackup(_ request: StoreBackupRequest) async throws -> StoreJobReply {
        let store = try running().store
        guard request.file.hasPrefix("/"), request.file.utf8.count < 4_096 else {
            throw ControlError(
                .badRequest, "\(request.file) is no absolute path.", hint: "Name the whole path of the file.")
        }
        let job = try begin(.backup, request.file)
        let progress = job.progress
        // Not waited for: a copy takes as long as the disk takes.
        Task {
            do {
                let bytes = try await store.backup(to: request.file) { step in progress.withLock { $0 = step }
                }
                finish { $0.bytes = bytes }
            } catch {
                finish(failed: "\(error)")
            }
        }
        return job.reply
    }

    func startVerification() async throws -> StoreJobReply {
        let store = try running().store
        let job = try begin(.verify, places.stateDirectory + "/history.sqlite")
        let progress = job.progress
        Task {
            do {
                let found = try await store.verify { step in progress.withLock { $0 = step } }
                finish { $0.take(found) }
            } catch {
                finish(failed: "\(error)")
            }
        }
        return job.reply
    }

    func storeJob() async throws -> StoreJobReply {
        _ = try running()
        guard let job = storeJob else {
            throw ControlError(
                .notFound, "No backup was made since the service began.",
                hint: "`colossusctl store backup FILE` makes one.")
        }
        guard job.reply.state == .running else { return job.reply }
        var reply = job.reply
        let step = job.progress.withLock { $0 }
        reply.stage = step.stage.isEmpty ? nil : step.stage
        (reply.done, reply.total) = (step.done, step.total)
        reply.seconds = Double(clock.nowMs() - job.startedMs) / 1_000
        return reply
    }

    private func begin(_ kind: StoreJobReply.Kind, _ file: String) throws -> StoreJob {
        if let job = storeJob, job.reply.state == .running {
            throw ControlError(
                .conflict, "The \(job.reply.kind.rawValue) of \(job.reply.file) is under way.",
                hint: "Wait until it is over.")
        }
        let job = StoreJob(
            reply: StoreJobReply(kind: kind, state: .running, file: file), startedMs: clock.nowMs())
        storeJob = job
        return job
    }

    private func finish(_ change: (inout StoreJobReply) -> Void) {
        guard let job = storeJob else { return }
        var reply = over(job, .done)
        change(&reply)
        storeJob?.reply = reply
        guard reply.kind == .backup else { return }
        logger.notice(
            "a backup of the history is complete",
            metadata: JournalMessage.backupDone.metadata([
                "file": "\(reply.file)", "bytes": "\(reply.bytes ?? 0)",
            ]))
    }

    private func finish(failed problem: String) {
        guard let job = storeJob else { return }
        var reply = over(job, .failed)
        reply.problems = [problem]
        storeJob?.reply = reply
        // The history itself is as it was: whoever asked has to choose another file, or another disk.
        logger.warning(
            "work on the history failed",
            metadata: JournalMessage.storeJobFailed.metadata([
                "kind": "\(reply.kind.rawValue)", "file": "\(reply.file)", "error": "\(problem)",
            ]))
    }

    private func over(_ job: StoreJob, _ state: StoreJobReply.State) -> StoreJobReply {
        var reply = job.reply
        let step = job.progress.withLock { $0 }
        (reply.done, reply.total) = (step.done, step.total)
        reply.seconds = Double(clock.nowMs() - job.startedMs) / 1_000
        reply.state = state
        return reply
    }
}

extension StoreJobReply {
    mutating func take(_ found: StoreVerification) {
        bytes = found.bytes
        schemaVersion = found.schemaVersion
        streams = found.streams
        windows = found.windows
        events = found.events
        endpoints = found.endpoints
        problems = found.problems
    }
}
