import Logging
import NIOCore
import NIOPosix
import Synchronization
import Telemetry

/// Repeats the log after a start: the same records, with their own arrival times and senders, in the same order, and
/// the closings between them. Lives on an event loop of its own, which may block.
final class IngestReplay {
    private let core: IngestCore
    private let path: LoggedPath
    private let lane: DecodeLane
    private let loop: any EventLoop
    private let cut: LogPosition
    private let done: @Sendable () -> Void

    private var chunk = JournalChunk(records: [], next: .start)
    private var index = 0
    private var position: LogPosition
    /// Decoded, and out of credit.
    private var waiting: LoggedRequest?
    private var places: [SenderID: LearnedPlace] = [:]
    private var failures = 0

    private static let chunkBytes = 4 << 20
    private static let retryEvery = TimeAmount.milliseconds(2)
    /// A log that cannot be read is given up after so many attempts.
    private static let failuresMax = 5

    init(_ core: IngestCore, _ path: LoggedPath, on loop: any EventLoop, done: @escaping @Sendable () -> Void)
    {
        self.core = core
        self.path = path
        self.loop = loop
        self.done = done
        // A table of its own: its samples arrived at another time.
        lane = DecodeLane(core: core, table: SeriesTable(limit: core.limits.identities, laneCount: 1))
        position = path.progress.withLock { $0.from }
        cut = path.logging.mark?.cut ?? .start
    }

    /// Starts the repetition, and returns when it is under way. `done` is called when it has come to the end.
    static func start(
        _ core: IngestCore, _ path: LoggedPath, group: any EventLoopGroup,
        done: @escaping @Sendable () -> Void
    ) {
        path.logging.sink.beginReplay(core.stream)
        let loop = group.any()
        loop.execute { IngestReplay(core, path, on: loop, done: done).work() }
    }

    private func work(after pause: TimeAmount) {
        let own = NIOLoopBound(self, eventLoop: loop)
        loop.scheduleTask(in: pause) { own.value.work() }
    }

    private func work() {
        while true {
            guard index < chunk.records.count else {
                guard readOn() else { return }
                continue
            }
            let record = chunk.records[index]
            guard apply(record) else { return work(after: Self.retryEvery) }
            index += 1
            position = record.end
        }
    }

    /// - Returns: whether to go on at once.
    private func readOn() -> Bool {
        position = max(position, chunk.next)
        note(damaged: chunk.damaged)
        do {
            chunk = try path.logging.journal.read(from: position, bytesMax: Self.chunkBytes)
            index = 0
            failures = 0
            // As of the first: what the others bring is still to come.
            if let first = chunk.records.first { lane.forgetIdle(nowMs: first.head.timeMs) }
        } catch {
            chunk = JournalChunk(records: [], next: position)
            failures += 1
            core.logger.error("the ingest log cannot be read", metadata: ["error": "\(error)"])
            guard failures >= Self.failuresMax else {
                work(after: .seconds(1))
                return false
            }
            position = path.logging.journal.end
        }
        if !chunk.records.isEmpty || chunk.next > position { return true }
        guard path.endReplay(at: position, stream: core.stream) else {
            // The rest is on its way into the file.
            work(after: Self.retryEvery)
            return false
        }
        finish()
        return false
    }

    private func finish() {
        let end = path.progress.withLock { progress in
            progress.position = position
            progress.isDone = true
            return progress
        }
        if end.records > 0 {
            core.logger.notice(
                "the ingest log is repeated",
                metadata: [
                    "event": "ingest_log_replayed", "records": "\(end.records)",
                    "bytes": "\(end.position.rawValue - end.from.rawValue)",
                    "unreadable": "\(end.unreadable)",
                ])
        }
        done()
    }

    private func note(damaged: Int) {
        let end = path.logging.journal.end
        path.progress.withLock { progress in
            progress.position = position
            progress.end = max(end, position)
            progress.unreadable += Int64(damaged)
        }
    }

    /// - Returns: false if it has to wait.
    private func apply(_ record: JournalRecord) -> Bool {
        switch record.head.kind {
        case .closing:
            // Those before the cut are committed.
            guard record.end > cut else { return true }
            return path.logging.sink.replayClosing(throughMs: record.head.timeMs, stream: core.stream)
        case .request:
            if waiting == nil { waiting = decode(record) }
            guard let request = waiting else { return true }
            guard path.logging.sink.take(request, place: { record.end }) == .accepted else { return false }
            waiting = nil
            path.progress.withLock { $0.records += 1 }
            return true
        }
    }

    private func decode(_ record: JournalRecord) -> LoggedRequest? {
        guard let plan = IngestPlan(format: record.head.format),
            let sender = core.senders.number(name: record.head.sender)
        else {
            note(damaged: 1)
            return nil
        }
        do {
            let delivery = try lane.decode(
                plan, ByteBuffer(bytes: record.body), sender: sender, arrivalMs: record.head.timeMs,
                after: &places[sender, default: LearnedPlace()])
            // The store knows those that it has.
            if !delivery.events.isEmpty { core.events.emit(delivery.events) }
            return LoggedRequest(
                stream: core.stream, sender: sender, batches: delivery.batches, rejected: delivery.rejected,
                oldestMs: delivery.oldestMs, newestMs: delivery.newestMs, arrivalMs: delivery.arrivalMs,
                isCounted: record.end <= cut)
        } catch {
            note(damaged: 1)
            return nil
        }
    }
}
