import Dispatch
public import Logging
public import QueueIsolation
public import Telemetry

/// The ingest log: what was received, as it was received, until the windows in which it counts are committed.
///
/// Appending copies the record once, into a buffer; the queue `colossus.ingestlog` writes all that has come together in
/// one go (and, where wanted, syncs once for all), so that many records share one write. Where the kernel only has to take
/// the bytes, whoever asks first writes for all, on that queue but in his own thread: two wakes less for each request. Room is reserved a segment
/// ahead: a full disk or the limit shows before anything is taken, not after. What cannot be written although it was
/// taken (an I/O error) stays in memory and is tried again, and nothing is taken until that succeeds; so what the core
/// has and what the log has never differ.
///
/// Reading the records of an old segment to its end tells how new its samples are, and only then can it go: the log is
/// read once after each start, by whoever repeats it.
public final class IngestLog: IngestJournal {
    private let state: Locked<IngestLogState>
    private let writer: IngestLogWriter
    private let reader: IngestLogReader
    private let metrics: IngestLogMetrics

    /// - Parameters:
    ///   - directory: the state directory; the log is in its folder `ingest`.
    ///   - after: no record of this log gets a place before this one, even if the folder was emptied.
    /// - Throws: `StoreError` when the folder cannot be made or read.
    public init(
        directory: String, after: LogPosition = .start, durability: IngestDurability = .process,
        limits: IngestLogLimits = IngestLogLimits(), files: IngestLogFiles = .system, metrics: Metrics,
        logger: Logger
    ) throws {
        let folder = IngestLogFolder(path: directory + "/ingest")
        try folder.prepare()
        reader = IngestLogReader(folder: folder, bodyMax: limits.bodyBytesMax)
        self.metrics = IngestLogMetrics(metrics)
        var segments = try folder.segments()
        let torn = try Self.cutTail(&segments, reader, logger)
        self.metrics.torn.add(torn)
        let end = max(after.rawValue, segments.last.map { $0.start + $0.count } ?? 0)
        let state = Locked(IngestLogState(segments: segments, end: end, limits: limits))
        self.state = state
        writer = IngestLogWriter(
            state: state, folder: folder, durability: durability, limits: limits, files: files,
            metrics: self.metrics, logger: logger)
        metrics.computed("colossus_ingest_log_bytes", "Size of the ingest log, in bytes.") {
            Double(state.withLock { $0.bytes })
        }
        writer.start()
    }

    /// Cuts off what the last process did not write to its end. Segments before the last were written whole.
    private static func cutTail(
        _ segments: inout [IngestLogFolder.Segment], _ reader: IngestLogReader, _ logger: Logger
    ) throws(StoreError) -> Int64 {
        guard let last = segments.last else { return 0 }
        let good = try reader.goodEnd(last)
        let torn = last.start + last.count - good
        guard torn > 0 else { return 0 }
        try reader.folder.truncate(last.start, count: good - last.start)
        segments[segments.count - 1].count = good - last.start
        logger.notice(
            "the end of the ingest log was not written whole and was cut off; it was not acknowledged",
            metadata: ["bytes": "\(torn)", "file": "\(reader.folder.file(last.start))"])
        return torn
    }

    public var monitoredQueues: [MonitoredQueue] {
        [MonitoredQueue(label: writer.queue.label, queue: writer.queue)]
    }

    /// The first place that can be read.
    public var first: LogPosition {
        LogPosition(rawValue: state.withLock { state in state.segments.first?.start ?? state.end })
    }

    public var end: LogPosition { LogPosition(rawValue: state.withLock { $0.end }) }

    public var bytes: Int64 { state.withLock { $0.bytes } }

    /// Why nothing is taken at the moment, or `nil`.
    public var obstacle: String? { writer.obstacle.withLock { $0 } }

    // MARK: Writing

    public func check(_ head: JournalHead, body: RawSpan) -> JournalCheck {
        // What is too large is refused, whatever its check.
        guard body.byteCount <= reader.bodyMax else { return JournalCheck(rawValue: 0) }
        return body.withUnsafeBytes { IngestLogCodec.Prepared.check(head, body: $0) }
    }

    public func append(_ head: JournalHead, body: RawSpan, check: JournalCheck) -> LogPosition? {
        let end = body.withUnsafeBytes { append(head, $0, check, isNote: false) }
        if end == nil { writer.noteRefusal() }
        return end
    }

    public func whenSafe(_ tell: @escaping @Sendable (_ isSafe: Bool) -> Void) {
        let (isFailing, wakes, isQuick) = state.withLock { state in
            if !state.isFailing { state.callbacks.append(tell) }
            return (state.isFailing, state.wakesWriter(), state.isQuickToWrite)
        }
        if wakes { isQuick ? writer.writeNow() : writer.wake() }
        if isFailing { tell(false) }
    }

    public func noteClosing(throughMs: Int64) -> LogPosition {
        let head = JournalHead(kind: .closing, timeMs: throughMs)
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        let check = IngestLogCodec.Prepared.check(head, body: none)
        let place = append(head, none, check, isNote: true) ?? end
        if state.withLock({ $0.wakesWriter() }) { writer.wake() }
        return place
    }

    private func append(
        _ head: JournalHead, _ body: UnsafeRawBufferPointer, _ check: JournalCheck, isNote: Bool
    ) -> LogPosition? {
        guard body.count <= reader.bodyMax else { return nil }
        let record = IngestLogCodec.Prepared(head, body: body, check: check)
        let end = state.withLock { $0.append(record, body, newestMs: head.newestMs, isNote: isNote) }
        guard let end else { return nil }
        metrics.records.add()
        metrics.bytes.add(Int64(record.count))
        return LogPosition(rawValue: end)
    }

    // MARK: Reading and letting go

    public func read(from: LogPosition, bytesMax: Int) throws -> JournalChunk {
        let (segment, written) = state.withLock { ($0.segment(at: from.rawValue), $0.writtenEnd) }
        guard let segment, segment.start < written else { return JournalChunk(records: [], next: from) }
        let end = min(segment.end, written)
        var chunk = try reader.read(segment.start, from: from.rawValue, end: end, bytesMax: bytesMax)
        metrics.damaged.add(Int64(chunk.damaged))
        let newestMs = chunk.records.map(\.head.newestMs).max() ?? .min
        let isWhole = chunk.next.rawValue >= segment.end
        // A part that was damaged may have held anything: such a segment is kept as long as its newest is not known.
        state.withLock { $0.saw(segment.start, newestMs: newestMs, isWhole: isWhole) }
        if chunk.next.rawValue < segment.start { chunk.next = LogPosition(rawValue: segment.start) }
        return chunk
    }

    public func repeated() { writer.repeated() }

    public func retire() { state.withLock { $0.retire() } }

    /// Whether an earlier process left a log there.
    public static func holdsRecords(directory: String) throws -> Bool {
        let folder = IngestLogFolder(path: directory + "/ingest")
        return folder.exists ? try !folder.segments().isEmpty : false
    }

    public func keepFrom(newestMs: Int64, cut: LogPosition) -> LogPosition {
        LogPosition(rawValue: state.withLock { $0.keepFrom(newestMs: newestMs, cut: cut.rawValue) })
    }

    public func release(_ mark: LogMark) {
        let (gone, isLast) = state.withLock { ($0.release(before: mark.keepFrom.rawValue), $0.isGone) }
        if !gone.isEmpty { writer.remove(gone, isLast: isLast) }
    }

    /// Writes what waits, syncs and closes. Nothing may be appended any more.
    public func close() async {
        await withCheckedContinuation { continuation in writer.finish { continuation.resume() } }
    }
}

/// What the log counts about itself.
struct IngestLogMetrics: Sendable {
    let records: Counter
    let bytes: Counter
    let writes: Counter
    let refused: Counter
    let failures: Counter
    let torn: Counter
    let damaged: Counter

    init(_ metrics: Metrics) {
        records = metrics.counter("colossus_ingest_log_records_total", "Records of the ingest log.")
        bytes = metrics.counter(
            "colossus_ingest_log_appended_bytes_total", "Bytes of records of the ingest log.")
        writes = metrics.counter(
            "colossus_ingest_log_writes_total", "Writes that brought records into files: fewer than records.")
        refused = metrics.counter(
            "colossus_ingest_log_refused_total",
            "Requests that were refused because the ingest log was full or failing.")
        failures = metrics.counter(
            "colossus_ingest_log_failures_total", "Writes and reservations that failed.")
        torn = metrics.counter(
            "colossus_ingest_log_torn_bytes_total", "Bytes at the log's end that were not written whole.")
        damaged = metrics.counter(
            "colossus_ingest_log_damaged_total", "Places of the log where records could not be read.")
    }
}
