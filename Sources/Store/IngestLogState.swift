import Telemetry

/// What the log is allowed, and how it is cut.
public struct IngestLogLimits: Sendable, Hashable {
    /// All segments together. When it is reached, nothing is taken until closings let segments go.
    public var bytesMax: Int64 = 10_000_000_000
    /// A segment goes when nothing in it is needed any more: smaller ones go sooner.
    public var segmentBytes: Int64 = 64 << 20
    /// Longest body of a record.
    public var bodyBytesMax = 64 << 20
    /// Free bytes of the file system that the log leaves to others: the store has to commit to let segments go.
    public var freeBytesMin: Int64 = 64 << 20
    /// How long after a failure it is tried again.
    public var retryMs = 500

    public init() {}
}

/// When the log calls a record safe.
public enum IngestDurability: String, Sendable, Hashable {
    /// In the kernel's hands: survives the end of the process in any way.
    case process
    /// On the disk: survives a power cut too.
    case disk
}

/// Which bytes are where, and what waits to be written. A pure value: no file is touched here.
struct IngestLogState {
    struct Segment {
        var start: Int64
        var end: Int64
        /// Event time of the newest sample in it; `.max` while that is not known.
        var newestMs: Int64
        /// So far, while an old segment is read.
        var seenMs: Int64 = .min
    }

    /// Whether the next segment has a file with room.
    enum Spare { case unknown, ready, missing }

    /// Bytes of one segment that wait.
    struct Part {
        var segment: Int64
        var offset: Int64
        var bytes: [UInt8]
        var isNew: Bool
    }

    typealias Callback = @Sendable (Bool) -> Void

    /// Ascending and without gaps; the last takes new records unless it is closed.
    private(set) var segments: [Segment]
    private(set) var end: Int64
    private(set) var parts: [Part] = []
    /// Who waits for all that was appended.
    var callbacks: [Callback] = []
    var spare = Spare.unknown
    /// Writing fails at the moment.
    var isFailing = false
    var isWriterAwake = false
    /// Segments are being removed, which takes the writer's time.
    var removals = 0
    /// Everything before is in the files.
    private(set) var writtenEnd: Int64
    private var hasOpenSegment = false
    /// Nothing but notes comes any more; when what stands before is released, all goes.
    private var retiredAt: Int64?
    private(set) var isGone = false
    private var buffers: [[UInt8]] = []
    private static let bufferKeptMax = 8 << 20
    let limits: IngestLogLimits

    /// - Parameter end: where new records go: behind everything that was ever written.
    init(segments: [IngestLogFolder.Segment], end: Int64, limits: IngestLogLimits) {
        self.segments = segments.map { Segment(start: $0.start, end: $0.start + $0.count, newestMs: .max) }
        self.end = end
        self.limits = limits
        writtenEnd = end
    }

    var bytes: Int64 { segments.reduce(0) { $0 + $1.end - $1.start } }

    /// `nil`: there is no room.
    mutating func append(
        _ record: IngestLogCodec.Prepared, _ body: UnsafeRawBufferPointer, newestMs: Int64, isNote: Bool
    ) -> Int64? {
        if !isNote, isFailing || retiredAt != nil { return nil }
        if isGone { return end }
        let count = Int64(record.count)
        let used = segments.last.map { $0.end - $0.start } ?? 0
        if !hasOpenSegment || (used + count > limits.segmentBytes && !isNote) {
            guard isNote || mayRoll(count) else { return nil }
            roll()
        }
        let last = segments.count - 1
        if parts.isEmpty || parts[parts.count - 1].segment != segments[last].start {
            parts.append(
                Part(
                    segment: segments[last].start, offset: end - segments[last].start, bytes: buffer(),
                    isNew: false))
        }
        record.write(body, at: end, to: &parts[parts.count - 1].bytes)
        end += count
        segments[last].end = end
        segments[last].newestMs = max(segments[last].newestMs, newestMs)
        return end
    }

    /// Whether the writer sleeps and has something to do; from now on it counts as awake.
    mutating func wakesWriter() -> Bool {
        guard !isWriterAwake, !parts.isEmpty || !callbacks.isEmpty else { return false }
        isWriterAwake = true
        return true
    }

    /// Lets the writer sleep if nothing waits.
    mutating func letsWriterSleep() -> Bool {
        guard parts.isEmpty, callbacks.isEmpty else { return false }
        isWriterAwake = false
        return true
    }

    private func mayRoll(_ count: Int64) -> Bool {
        let segment = max(limits.segmentBytes, count + Int64(IngestLogCodec.segmentHeadBytes))
        return spare != .missing && bytes + segment <= limits.bytesMax
    }

    private mutating func roll() {
        let head = IngestLogCodec.segmentHead(end)
        var bytes = buffer()
        bytes += head
        parts.append(Part(segment: end, offset: 0, bytes: bytes, isNew: true))
        segments.append(Segment(start: end, end: end + Int64(head.count), newestMs: .min))
        end += Int64(head.count)
        hasOpenSegment = true
        spare = .unknown
    }

    private mutating func buffer() -> [UInt8] { buffers.popLast() ?? [] }

    /// Takes out what waits.
    mutating func takeWaiting() -> (parts: [Part], callbacks: [Callback]) {
        defer { parts = [] }
        return (parts, takeCallbacks())
    }

    mutating func takeCallbacks() -> [Callback] {
        defer { callbacks = [] }
        return callbacks
    }

    /// A part is in its file. Its buffer is used again: it must be nobody else's, or it would be copied for that.
    mutating func wrote(_ part: inout Part) {
        writtenEnd = max(writtenEnd, part.segment + part.offset + Int64(part.bytes.count))
        guard buffers.count < 2, part.bytes.capacity <= Self.bufferKeptMax else { return }
        part.bytes.removeAll(keepingCapacity: true)
        buffers.append([])
        swap(&buffers[buffers.count - 1], &part.bytes)
    }

    /// What is kept only to learn from again takes three quarters of the log at most, and nothing of one that goes away.
    func keepFrom(newestMs: Int64, cut: Int64) -> Int64 {
        guard retiredAt == nil else { return cut }
        for segment in segments
        where segment.newestMs >= newestMs && end - segment.start <= limits.bytesMax / 4 * 3 {
            return min(segment.start, cut)
        }
        return cut
    }

    /// Lets go of the segments before a position; not of the one that is written.
    mutating func release(before position: Int64) -> [Int64] {
        var gone: [Int64] = []
        if let retiredAt, position >= retiredAt {
            gone = segments.map(\.start)
            segments = []
            parts = []
            hasOpenSegment = false
            isGone = true
            return gone
        }
        while segments.count > 1 || !hasOpenSegment, let first = segments.first, first.end <= position {
            gone.append(first.start)
            segments.removeFirst()
        }
        return gone
    }

    /// Whether the segment that begins there is still wanted.
    func holds(_ start: Int64) -> Bool { segments.contains { $0.start == start } }

    mutating func retire() { retiredAt = retiredAt ?? end }

    /// The segment that holds a position, or the next one after it.
    func segment(at position: Int64) -> Segment? { segments.first { $0.end > position } }

    mutating func saw(_ start: Int64, newestMs: Int64, isWhole: Bool) {
        guard let place = segments.firstIndex(where: { $0.start == start }), segments[place].newestMs == .max
        else { return }
        segments[place].seenMs = max(segments[place].seenMs, newestMs)
        if isWhole { segments[place].newestMs = segments[place].seenMs }
    }

    /// No further segment may be begun.
    var isAtLimit: Bool {
        let isFull = segments.last.map { ($0.end - $0.start) * 2 > limits.segmentBytes } ?? true
        return isFull && bytes + limits.segmentBytes > limits.bytesMax
    }

    /// What waits goes into a file that is open, and the writer has nothing to do that may take longer.
    var isQuickToWrite: Bool { removals == 0 && !wantsSpare && !parts.contains(where: \.isNew) }

    /// The segment that is written is more than half full, or there is none.
    var wantsSpare: Bool {
        guard !isGone, spare != .ready else { return false }
        guard hasOpenSegment, let last = segments.last else { return true }
        return (last.end - last.start) * 2 > limits.segmentBytes
    }
}
