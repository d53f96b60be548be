import NIOCore
import Synchronization
public import Telemetry

/// What receivers need to keep what they take in a log.
public struct IngestLogging: Sendable {
    public var journal: any IngestJournal
    public var sink: any JournaledSink
    /// Where the log begins.
    public var first: LogPosition
    /// What the last committed closing says of the log; `nil` when there was none: then all of the log is repeated.
    public var mark: LogMark?
    /// False: the log is only repeated, and goes when its records are not needed any more.
    public var keepsNew: Bool

    public init(
        journal: any IngestJournal, sink: any JournaledSink, first: LogPosition, mark: LogMark?,
        keepsNew: Bool = true
    ) {
        self.journal = journal
        self.sink = sink
        self.first = first
        self.mark = mark
        self.keepsNew = keepsNew
    }
}

/// How far the log is repeated after a start.
public struct ReplayProgress: Sendable, Equatable {
    public var from: LogPosition
    public var position: LogPosition
    public var end: LogPosition
    public var records: Int64 = 0
    /// Records that could not be decoded, and places where the log was damaged.
    public var unreadable: Int64 = 0
    public var isDone = false

    /// 0 ... 1.
    public var share: Double {
        let all = end.rawValue - from.rawValue
        return isDone || all <= 0 ? 1 : Double(position.rawValue - from.rawValue) / Double(all)
    }
}

/// The way of a request through the log.
///
/// The order of things: decode; then, at one moment under the lock of the stream, take credit, append, hand to the
/// shards; then wait for the log, and only then answer. So a body that cannot be decoded never gets into the log, and
/// one that the log refuses never gets into the core; the log has the requests in the order in which every shard gets
/// them, and repeating it does what was done. Decoding does not wait for the disk; the answer does.
///
/// While the log is repeated after a start, what arrives is decoded (to answer what is wrong with it) and only
/// appended: the repetition comes to it in its turn. So no series' samples overtake older ones, and the service takes
/// data at once.
final class LoggedPath: Sendable {
    let logging: IngestLogging
    private let isReplaying: Atomic<Bool>
    /// Guards the moment at which the repetition has come to the end of the log.
    private let gate = Mutex<Void>(())
    let progress: Mutex<ReplayProgress>

    enum Outcome {
        /// In the core; nothing is to be waited for.
        case done
        case logging
        case full
        case noRoom
        case refused
    }

    init(_ logging: IngestLogging) {
        self.logging = logging
        let from = max(logging.first, logging.mark?.keepFrom ?? .start)
        let end = logging.journal.end
        progress = Mutex(ReplayProgress(from: from, position: from, end: end))
        isReplaying = Atomic(true)
    }

    func deliver(
        _ delivery: inout Delivery, _ stream: StreamIndex, sender: String, body: ByteBuffer,
        written: @escaping @Sendable (Bool) -> Void
    ) -> Outcome {
        // Events are kept by the store within seconds, but no window says when: as if they were samples of now.
        let newestMs = delivery.events.isEmpty ? delivery.newestMs ?? .min : delivery.arrivalMs
        let head = JournalHead(
            format: delivery.format, timeMs: delivery.arrivalMs, newestMs: newestMs, sender: sender)
        if isReplaying.load(ordering: .acquiring) {
            if let newestMs = delivery.newestMs {
                let hasRoom = logging.sink.hasRoom(
                    stream: stream, sender: delivery.sender, oldestMs: delivery.oldestMs ?? newestMs,
                    newestMs: newestMs, arrivalMs: delivery.arrivalMs)
                guard hasRoom else { return .noRoom }
            }
            let check = check(&delivery, head, body)
            let outcome = gate.withLock { _ -> Outcome? in
                guard isReplaying.load(ordering: .relaxed) else { return nil }
                let place = logging.journal.append(
                    head, body: body.readableBytesSpan, check: check, written: written)
                return place == nil ? .refused : .logging
            }
            if let outcome { return outcome }
        }
        let request = LoggedRequest(
            stream: stream, sender: delivery.sender, batches: delivery.batches, rejected: delivery.rejected,
            oldestMs: delivery.oldestMs, newestMs: delivery.newestMs, arrivalMs: delivery.arrivalMs)
        let check = logging.keepsNew ? check(&delivery, head, body) : nil
        let admission = logging.sink.take(request) {
            guard let check else { return logging.journal.end }
            return logging.journal.append(
                head, body: body.readableBytesSpan, check: check, written: written)
        }
        switch admission {
        case .accepted: return logging.keepsNew ? .logging : .done
        case .full: return .full
        case .noRoom: return .noRoom
        case .refused: return .refused
        }
    }

    /// Worked out before any lock, so that lanes do it side by side, and once, however often it is tried.
    private func check(_ delivery: inout Delivery, _ head: JournalHead, _ body: ByteBuffer) -> JournalCheck {
        let check = delivery.check ?? logging.journal.check(head, body: body.readableBytesSpan)
        delivery.check = check
        return check
    }

    var isDirect: Bool { !isReplaying.load(ordering: .acquiring) }

    /// From now on requests go into the core, if the repetition has come to the end.
    func endReplay(at position: LogPosition, stream: StreamIndex) -> Bool {
        gate.withLock { _ in
            guard logging.journal.end <= position else { return false }
            logging.sink.endReplay(stream)
            isReplaying.store(false, ordering: .releasing)
            logging.journal.repeated()
            if !logging.keepsNew { logging.journal.retire() }
            return true
        }
    }
}

extension IngestPlan {
    /// The number under which a log keeps it. These numbers are on disks: they never change their meaning.
    var format: UInt16 {
        let route: UInt16 =
            switch self.route {
            case .write: isVersion2 ? 2 : 1
            case .import: 3
            case .events: 4
            }
        let encoding: UInt16 =
            switch self.encoding {
            case .snappy: 1
            case .gzip: 2
            case .zstd: 3
            case .identity: 4
            }
        return encoding << 8 | route
    }

    init?(format: UInt16) {
        let routes: [UInt16: (IngestRoute, Bool)] = [
            1: (.write, false), 2: (.write, true), 3: (.import, false), 4: (.events, false),
        ]
        let encodings: [UInt16: BodyEncoding] = [1: .snappy, 2: .gzip, 3: .zstd, 4: .identity]
        guard let (route, isVersion2) = routes[format & 0xFF], let encoding = encodings[format >> 8] else {
            return nil
        }
        self.init(route: route, encoding: encoding, isVersion2: isVersion2)
    }
}
