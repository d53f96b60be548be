import Dispatch
import FoundationEssentials
import GRDB
import Glibc

// Long work on the whole history, beside everything else. It runs on `colossus.store.backup`, which the watchdog does not
// ask: it is busy for as long as the file is large.
extension HistoryStore {
    /// Pages that are copied between two looks at whether to go on: 8 MiB.
    private static let pagesPerStep: CInt = 1_024

    /// Copies the history as it is now into a new file, while closings go on. They are not in the copy, and SQLite's log
    /// grows by them until it is made.
    ///
    /// The file appears under its name when it is complete and on the disk; until then it is `PATH.partial`.
    ///
    /// - Parameters:
    ///   - path: absolute. What is there already is not overwritten.
    ///   - progress: called on the queue of this work.
    /// - Returns: bytes of the file.
    /// - Throws: `StoreError`: `exists`, `stateDirectory` when the file cannot be made, `database` when it cannot be
    ///   filled, `closed` when the store was closed meanwhile.
    public func backup(
        to path: String, progress: @escaping @Sendable (StoreProgress) -> Void = { _ in }
    ) async throws -> Int64 {
        try await onBackup { [pool, stop] in
            let partial = try Self.begin(path)
            do {
                try Self.copy(pool, to: partial, stop: stop, progress)
                return try Self.publish(partial, as: path)
            } catch {
                for suffix in ["", "-journal"] { unlink(partial + suffix) }
                throw error
            }
        }
    }

    /// Looks at the whole history while it is in use: `StoreFile.verify`.
    public func verify(
        progress: @escaping @Sendable (StoreProgress) -> Void = { _ in }
    ) async throws -> StoreVerification {
        let path = writer.path + "/" + StateDirectory.fileName
        return try await onBackup { [stop] in try StoreFile.verify(path, stop: stop, progress: progress) }
    }

    private func onBackup<Value: Sendable>(
        _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            backupQueue.async { @Sendable in continuation.resume(with: Result { try work() }) }
        }
    }

    /// Makes the empty file that the copy is written into.
    private static func begin(_ path: String) throws(StoreError) -> String {
        guard path.hasPrefix("/") else {
            throw StoreError(.stateDirectory, "\(path) is no absolute path", advice: "name the whole path")
        }
        guard access(path, F_OK) != 0 else { throw exists(path) }
        let partial = path + ".partial"
        let file = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o640)
        guard file >= 0 else {
            if errno == EEXIST {
                throw StoreError(
                    .exists, "\(partial) is there: a backup is under way, or one was cut off",
                    advice: "remove it if no backup runs")
            }
            throw StoreError(
                .stateDirectory, "\(path) cannot be made: \(String(cString: strerror(errno)))",
                advice:
                    "name a file where the service may write: in its state directory, or in a folder that a drop-in opens with ReadWritePaths="
            )
        }
        // Whatever the umask is.
        fchmod(file, 0o640)
        Glibc.close(file)
        return partial
    }

    private static func exists(_ path: String) -> StoreError {
        StoreError(.exists, "\(path) is there already", advice: "choose another name, or move it away")
    }

    private static func copy(
        _ pool: DatabasePool, to partial: String, stop: StoreStop,
        _ progress: @escaping @Sendable (StoreProgress) -> Void
    ) throws(StoreError) {
        do {
            let target = try DatabaseQueue(path: partial)
            try pool.read { source in
                // Begins the snapshot: without it each step would see another state, and begin anew.
                _ = try Int.fetchOne(source, sql: "SELECT count(*) FROM sqlite_master")
                try target.writeWithoutTransaction { copy in
                    try source.backup(to: copy, pagesPerStep: pagesPerStep) { step in
                        progress(
                            StoreProgress(
                                stage: "copying", done: Int64(step.completedPageCount),
                                total: Int64(step.totalPageCount)))
                        if stop.isStopped { throw StoreStop.stopped }
                    }
                    // A copy is one file: it can be read from a folder where nobody may write.
                    try copy.execute(sql: "PRAGMA journal_mode = DELETE")
                }
            }
            try target.close()
        } catch let error as StoreError {
            throw error
        } catch {
            throw StoreError(
                .database, "the backup could not be written: \(StoreFile.sentence(error))",
                advice: "look at the free space where it goes")
        }
    }

    /// Gives the complete file its name, unless somebody else has it by now.
    private static func publish(_ partial: String, as path: String) throws(StoreError) -> Int64 {
        var about = stat()
        guard stat(partial, &about) == 0 else {
            throw StoreError(.database, "\(partial) is gone: \(String(cString: strerror(errno)))")
        }
        guard link(partial, path) == 0 else {
            if errno == EEXIST { throw exists(path) }
            throw StoreError(.database, "\(path) cannot be named: \(String(cString: strerror(errno)))")
        }
        unlink(partial)
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "/"
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if directory >= 0 {
            fsync(directory)
            Glibc.close(directory)
        }
        return Int64(about.st_size)
    }
}
