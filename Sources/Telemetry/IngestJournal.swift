/// A place in the ingest log: bytes since the log was begun. Never used twice.
public struct LogPosition: Hashable, Comparable, Sendable {
    public let rawValue: Int64
    public init(rawValue: Int64) { self.rawValue = rawValue }
    public static let start = LogPosition(rawValue: 0)
    public static func < (left: LogPosition, right: LogPosition) -> Bool { left.rawValue < right.rawValue }
}

/// What a closing keeps of the log. Both go into its transaction.
public struct LogMark: Hashable, Sendable {
    /// What stands before this place is in the ledger of the closing: what was dropped of it is counted, and what
    /// was taken is in its windows or in flight.
    public var cut: LogPosition
    /// What stands before this place holds nothing of windows that are still open: a restart begins to read here.
    public var keepFrom: LogPosition

    public init(cut: LogPosition, keepFrom: LogPosition) {
        self.cut = cut
        self.keepFrom = keepFrom
    }
}

/// What the log says of a record besides its body.
public struct JournalHead: Hashable, Sendable {
    public enum Kind: UInt8, Sendable {
        /// The body of a request, as it was received.
        case request = 1
        /// Here the windows up to `timeMs` were closed; no body.
        case closing = 2
    }

    public var kind: Kind
    /// How the body is to be read: the receivers' own number.
    public var format: UInt16
    /// Wall clock at arrival, or the end of the windows that were closed. Unix milliseconds.
    public var timeMs: Int64
    /// Event time of the newest sample in the body; `Int64.min` if there is none. Unix milliseconds.
    public var newestMs: Int64
    /// Name of who delivered it: 255 bytes at most, the rest is cut off.
    public var sender: String

    public init(
        kind: Kind = .request, format: UInt16 = 0, timeMs: Int64, newestMs: Int64 = .min, sender: String = ""
    ) {
        self.kind = kind
        self.format = format
        self.timeMs = timeMs
        self.newestMs = newestMs
        self.sender = sender
    }
}

/// What a log works out of a record to see later whether it was damaged.
public struct JournalCheck: Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// A record as it is read again.
public struct JournalRecord: Sendable {
    public var head: JournalHead
    /// Where the next one begins: records are counted by their end.
    public var end: LogPosition
    public var body: [UInt8]

    public init(head: JournalHead, end: LogPosition, body: [UInt8]) {
        self.head = head
        self.end = end
        self.body = body
    }
}

/// Some records in the order in which they were written.
public struct JournalChunk: Sendable {
    public var records: [JournalRecord]
    /// Where to read on. The chunk is the last for now when this is the log's end.
    public var next: LogPosition
    /// Places where bytes were not what was written, and were passed over.
    public var damaged: Int

    public init(records: [JournalRecord], next: LogPosition, damaged: Int = 0) {
        self.records = records
        self.next = next
        self.damaged = damaged
    }
}

/// Where closings are noted in the order of what is received, so that they can be repeated at the same place.
public protocol ClosingJournal: Sendable {
    /// Notes that the windows up to a time were closed. Never refused, never waits.
    ///
    /// - Returns: the place after the note.
    func noteClosing(throughMs: Int64) -> LogPosition

    /// The first place before `cut` from which on there may be samples of that event time or newer.
    func keepFrom(newestMs: Int64, cut: LogPosition) -> LogPosition

    /// A closing with this mark is committed: what stands before `keepFrom` may go.
    func release(_ mark: LogMark)
}

/// The log of what was received. Callers never wait for a disk, unless the kernel has no memory left for what is written.
public protocol IngestJournal: ClosingJournal {
    /// What `append` wants to know of a record: it reads all of it, and so it is asked for before anything is locked.
    func check(_ head: JournalHead, body: RawSpan) -> JournalCheck

    /// Appends a record after all that were appended before. Nobody writes it before `whenSafe` is called: so many can be
    /// appended first.
    ///
    /// - Parameter check: what `check` says of the same head and body.
    /// - Returns: the place after it, or `nil` when the log is full or cannot be written; then nothing was taken.
    func append(_ head: JournalHead, body: RawSpan, check: JournalCheck) -> LogPosition?

    /// Has all that was appended before written.
    ///
    /// - Parameter tell: called once, on some queue or at once, when all of it is as safe as the log makes it (true), or when that
    ///   cannot be said for now (false): it then stays in memory and is written as soon as that is possible.
    func whenSafe(_ tell: @escaping @Sendable (_ isSafe: Bool) -> Void)

    /// The place at which the next record goes.
    var end: LogPosition { get }

    /// Reads records that were written. Blocks; for one reader at a time.
    func read(from: LogPosition, bytesMax: Int) throws -> JournalChunk

    /// All that was there is read, and nothing will be read any more.
    func repeated()

    /// Nothing is appended any more; when all that is there is released, the log removes itself.
    func retire()
}

extension IngestJournal {
    public func repeated() {}

    /// The same for whoever holds no lock and has one record.
    public func append(
        _ head: JournalHead, body: RawSpan, written: @escaping @Sendable (_ isSafe: Bool) -> Void
    ) -> LogPosition? {
        let place = append(head, body: body, check: check(head, body: body))
        if place != nil { whenSafe(written) }
        return place
    }
}

/// One request on its way into a sink that keeps its place in the log.
public struct LoggedRequest: Sendable {
    public var stream: StreamIndex
    public var sender: SenderID
    public var batches: [SampleBatch]
    /// Of the samples that became no batch.
    public var rejected: Ledger
    /// Event times of the samples; `nil` where there are none.
    public var oldestMs: Int64?
    public var newestMs: Int64?
    public var arrivalMs: Int64
    /// It is read from the log again, and its drops are in the ledger: only what is still open counts.
    public var isCounted: Bool

    public init(
        stream: StreamIndex, sender: SenderID, batches: [SampleBatch], rejected: Ledger,
        oldestMs: Int64? = nil, newestMs: Int64?, arrivalMs: Int64, isCounted: Bool = false
    ) {
        self.stream = stream
        self.sender = sender
        self.batches = batches
        self.rejected = rejected
        self.oldestMs = oldestMs
        self.newestMs = newestMs
        self.arrivalMs = arrivalMs
        self.isCounted = isCounted
    }
}

/// A sink that takes requests in the order of their places in the log.
///
/// That one order is what makes a restart exact: a closing cuts it at one place for all shards, so that everything
/// before the cut is in the ledger that is stored and nothing after it, and reading the log again repeats what
/// happened: the same samples before the same closings.
public protocol JournaledSink: BatchSink {
    /// Takes some requests of one stream, one after another, each as a whole or not at all. `place` is called with the
    /// number of a request when nothing else can refuse it any more, under the lock that also orders closings: it appends the
    /// request to the log and returns its place there.
    ///
    /// - Returns: what became of each.
    func take(_ requests: [LoggedRequest], place: (Int) -> LogPosition?) -> [JournaledAdmission]

    /// From now on the log is read again: the stream's clock stands still, and closings come from the log.
    func beginReplay(_ stream: StreamIndex)

    /// Closes windows as the log says. False: an earlier closing is on its way; try again.
    func replayClosing(throughMs: Int64, stream: StreamIndex) -> Bool

    /// The log is read; the clock drives the stream again.
    func endReplay(_ stream: StreamIndex)
}

extension JournaledSink {
    public func take(_ request: LoggedRequest, place: () -> LogPosition?) -> JournaledAdmission {
        take([request]) { _ in place() }[0]
    }
}

public enum JournaledAdmission: Sendable, Equatable {
    case accepted
    /// Out of credit: try again later.
    case full
    /// Too many windows are open that have to close first: try again later.
    case noRoom
    /// `place` refused it.
    case refused
}
