import Dispatch
import Glibc
import Logging
import QueueIsolation
import Telemetry

/// Brings the log into its files, on a queue with a thread of its own, for it may block.
actor IngestLogWriter {
    private nonisolated let executor = QueueExecutor(label: "colossus.ingestlog", target: nil)
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    nonisolated var queue: DispatchQueue { executor.queue }
    /// Why nothing is taken.
    nonisolated let obstacle = Locked<String?>(nil)

    private nonisolated let state: Locked<IngestLogState>
    private let folder: IngestLogFolder
    private nonisolated let durability: IngestDurability
    private let limits: IngestLogLimits
    private let files: IngestLogFiles
    private nonisolated let metrics: IngestLogMetrics
    private let logger: Logger

    private var file: CInt = -1
    /// Where the segment of `file` begins, and how far the file is written.
    private var fileStart: Int64 = 0
    private var fileEnd: Int64 = 0
    private var spare: CInt = -1
    private nonisolated let pages: IngestLogPages
    /// Its segment was removed while it was written: there was no other.
    private var isFileRemoved = false
    /// What could not be written yet.
    private var left: [IngestLogState.Part] = []
    private var callbacks: [IngestLogState.Callback] = []
    private var isRetryPlanned = false
    private var isSpareRetryPlanned = false
    private var isFolderChanged = false
    /// Something was written since the last sync.
    private var isUnsynced = false
    private var isClosed = false

    init(
        state: Locked<IngestLogState>, folder: IngestLogFolder, durability: IngestDurability,
        limits: IngestLogLimits, files: IngestLogFiles, metrics: IngestLogMetrics, logger: Logger
    ) {
        self.state = state
        self.folder = folder
        self.durability = durability
        self.limits = limits
        self.files = files
        self.metrics = metrics
        self.logger = logger
        pages = IngestLogPages(files, durability: durability, segmentBytes: limits.segmentBytes)
    }

    private nonisolated func later(_ body: @escaping @Sendable (isolated IngestLogWriter) -> Void) {
        executor.queue.async { @Sendable in self.assumeIsolated { body($0) } }
    }

    private nonisolated func later(inMs: Int, _ body: @escaping @Sendable (isolated IngestLogWriter) -> Void)
    {
        executor.queue.asyncAfter(deadline: .now() + .milliseconds(inMs)) { @Sendable [weak self] in
            self?.assumeIsolated { body($0) }
        }
    }

    /// Reserves room before the first record comes.
    nonisolated func start() { later { $0.makeSpare() } }

    /// Nothing that an earlier process left is read any more.
    nonisolated func repeated() { pages.repeated() }

    /// Something waits.
    nonisolated func wake() { later { $0.work() } }

    /// The same, in the caller's thread: the kernel only has to take the bytes. What others append meanwhile he leaves to the queue.
    nonisolated func writeNow() {
        guard durability == .process else { return wake() }
        executor.queue.sync { self.assumeIsolated { $0.workOnce() } }
    }

    nonisolated func noteRefusal() {
        metrics.refused.add()
        later { $0.checkObstacle() }
    }

    /// - Parameter isLast: nothing will be written any more.
    nonisolated func remove(_ segments: [Int64], isLast: Bool = false) {
        state.withLock { $0.removals += 1 }
        later { writer in
            for start in segments where unlink(writer.folder.file(start)) != 0 && errno != ENOENT {
                writer.metrics.failures.add()
            }
            writer.pages.forget(segments)
            if writer.file >= 0, segments.contains(writer.fileStart) { writer.isFileRemoved = true }
            if isLast { writer.closeFiles() }
            writer.checkObstacle()
            writer.state.withLock { $0.removals -= 1 }
        }
    }

    nonisolated func finish(_ done: @escaping @Sendable () -> Void) {
        later { writer in
            writer.work()
            if writer.file >= 0 { _ = writer.files.sync(writer.file) }
            writer.closeFiles()
            done()
        }
    }

    private func closeFiles() {
        isClosed = true
        pages.closeAll(file >= 0 ? file : nil)
        if spare >= 0 {
            close(spare)
            unlink(folder.spare)
        }
        file = -1
        spare = -1
    }

    // MARK: Writing

    /// Writes until nothing waits.
    private func work() {
        while writeWaiting() { makeSpareInTime() }
    }

    /// Writes what waits, and not what comes meanwhile.
    private func workOnce() {
        guard writeWaiting(), state.withLock({ $0.wantsSpare || !$0.letsWriterSleep() }) else { return }
        later { writer in
            writer.makeSpareInTime()
            writer.work()
        }
    }

    /// - Returns: whether something waited, and is written; if not, the writer sleeps.
    private func writeWaiting() -> Bool {
        guard !isClosed, left.isEmpty else { return false }
        let waiting = state.withLock { state in
            _ = state.letsWriterSleep()
            return state.takeWaiting()
        }
        // Callbacks alone: what they wait for was written with others.
        guard !waiting.parts.isEmpty || !waiting.callbacks.isEmpty else { return false }
        left = waiting.parts
        callbacks = waiting.callbacks
        return writeLeft()
    }

    private func makeSpareInTime() {
        if state.withLock({ $0.wantsSpare }) { makeSpare() }
    }

    /// - Returns: whether everything is written and told.
    private func writeLeft() -> Bool {
        let hasParts = !left.isEmpty
        while let part = left.first {
            isUnsynced = true
            let failure = write(part)
            guard failure == 0 else {
                failed(failure)
                return false
            }
            var done = left.removeFirst()
            state.withLock { $0.wrote(&done) }
            metrics.writes.add()
        }
        if durability == .disk, isUnsynced {
            let failure = sync()
            guard failure == 0 else {
                failed(failure)
                return false
            }
            isUnsynced = false
        }
        tell(isSafe: true)
        if hasParts { pages.wrote(file, through: fileEnd) }
        return true
    }

    private func tell(isSafe: Bool) {
        let told = callbacks
        callbacks = []
        for callback in told { callback(isSafe) }
    }

    private func write(_ part: IngestLogState.Part) -> CInt {
        if part.isNew {
            let failure = openSegment(part.segment)
            if failure != 0 { return failure }
        }
        var failure: CInt = 0
        part.bytes.withUnsafeBytes { bytes in
            var written = 0
            while written < bytes.count {
                // From the start again after a failure: the same bytes at the same place.
                let count = files.write(
                    file, UnsafeRawBufferPointer(rebasing: bytes[written...]), part.offset + Int64(written))
                if count == -Int(EINTR) { continue }
                guard count > 0 else {
                    failure = count == 0 ? EIO : CInt(-count)
                    return
                }
                written += count
            }
        }
        fileEnd = part.offset + Int64(part.bytes.count)
        return failure
    }

    /// The segment's file: the spare under its name, or a new one where there was no time to make a spare.
    private func openSegment(_ start: Int64) -> CInt {
        if file >= 0 {
            let failure = durability == .disk ? files.sync(file) : 0
            guard failure == 0 else { return failure }
            isFileRemoved ? pages.drop(file) : pages.finish(file, segment: fileStart)
            file = -1
            isFileRemoved = false
        }
        if spare < 0 {
            let failure = reserve()
            if failure != 0 { return failure }
        }
        guard rename(folder.spare, folder.file(start)) == 0 else { return errno }
        file = spare
        fileStart = start
        spare = -1
        isFolderChanged = true
        // It may have been let go of before it had a file: nobody comes to remove that again.
        if !state.withLock({ $0.holds(start) }) {
            unlink(folder.file(start))
            isFileRemoved = true
        }
        return 0
    }

    private func sync() -> CInt {
        if file >= 0 {
            let failure = files.sync(file)
            if failure != 0 { return failure }
        }
        if isFolderChanged {
            let descriptor = open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard descriptor >= 0 else { return errno }
            defer { close(descriptor) }
            guard fsync(descriptor) == 0 else { return errno }
            isFolderChanged = false
        }
        return 0
    }

    private func failed(_ code: CInt) {
        metrics.failures.add()
        // It stays here and is written later; whoever waits must not wait for that.
        callbacks += state.withLock { state in
            state.isFailing = true
            return state.takeCallbacks()
        }
        tell(isSafe: false)
        checkObstacle(IngestLogFolder.reason(code))
        guard !isRetryPlanned else { return }
        isRetryPlanned = true
        later(inMs: limits.retryMs) { writer in
            writer.isRetryPlanned = false
            guard !writer.isClosed, writer.writeLeft() else { return }
            writer.state.withLock { $0.isFailing = false }
            writer.checkObstacle()
            writer.work()
        }
    }

    // MARK: Room

    /// Makes the file of the next segment, with room for all of it.
    private func reserve() -> CInt {
        guard files.freeBytes(folder.path) >= limits.segmentBytes + limits.freeBytesMin else { return ENOSPC }
        let descriptor = open(folder.spare, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { return errno }
        let failure = files.allocate(descriptor, limits.segmentBytes)
        guard failure == 0 else {
            close(descriptor)
            unlink(folder.spare)
            return failure
        }
        spare = descriptor
        return 0
    }

    private func makeSpare() {
        guard !isClosed else { return }
        let failure = spare >= 0 ? 0 : reserve()
        state.withLock { $0.spare = failure == 0 ? .ready : .missing }
        checkObstacle(failure == 0 ? nil : IngestLogFolder.reason(failure))
        guard failure != 0 else { return }
        metrics.failures.add()
        guard !isSpareRetryPlanned else { return }
        isSpareRetryPlanned = true
        later(inMs: limits.retryMs) { writer in
            writer.isSpareRetryPlanned = false
            writer.makeSpare()
        }
    }

    // MARK: What operators are told

    /// Tells when the log begins or ends to refuse, and no more often.
    private func checkObstacle(_ failure: String? = nil) {
        let now = state.withLock { state -> String? in
            if state.isFailing || state.spare == .missing && state.wantsSpare {
                return failure ?? obstacle.withLock { $0 } ?? "the disk is full"
            }
            return state.isAtLimit ? "limits.ingest_log_bytes is reached" : nil
        }
        let before = obstacle.withLock { obstacle in
            defer { obstacle = now }
            return obstacle
        }
        if let now, before == nil {
            logger.error(
                "the ingest log cannot take more; requests are refused with 503 until it can",
                metadata: ["event": "ingest_log_full", "reason": "\(now)", "path": "\(folder.path)"])
        } else if now == nil, before != nil {
            logger.notice("the ingest log takes requests again", metadata: ["event": "ingest_log_back"])
        }
    }
}
