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
/// shards, for all requests of a `DeliveryRound`; then wait for the log, and only then answer. So a body that cannot be decoded never gets into the log, and
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

    init(_ logging: IngestLogging) {
        self.logging = logging
        let from = max(logging.first, logging.mark?.keepFrom ?? .start)
        let end = logging.journal.end
        progress = Mutex(ReplayProgress(from: from, position: from, end: end))
        isReplaying = Atomic(true)
    }

    /// Whoever is told `logging` has to ask the log when it is safe.
    func deliver(_ round: inout [DeliveryRound.Entry], _ stream: StreamIndex) -> [IngestCore.Delivered] {
        let heads = round.map { Self.head($0) }
        if logging.keepsNew || !isDirect {
            for place in round.indices { check(&round[place], heads[place]) }
        }
        if !isDirect, let outcomes = appendOnly(round, heads, stream) { return outcomes }
        let requests = round.map { entry in
            LoggedRequest(
                stream: stream, sender: entry.delivery.sender, batches: entry.delivery.batches,
                rejected: entry.delivery.rejected, oldestMs: entry.delivery.oldestMs,
                newestMs: entry.delivery.newestMs, arrivalMs: entry.delivery.arrivalMs)
        }
        let admissions = logging.sink.take(requests) { place in
            logging.keepsNew ? append(round[place], heads[place]) : logging.journal.end
        }
        return admissions.map { admission in
            switch admission {
            case .accepted: logging.keepsNew ? .logging : .done
            case .full: .full
            case .noRoom: .noRoom
            case .refused: .refused
            }
        }
    }

    /// While the log is repeated; `nil` when it just came to its end.
    private func appendOnly(
        _ round: [DeliveryRound.Entry], _ heads: [JournalHead], _ stream: StreamIndex
    ) -> [IngestCore.Delivered]? {
        let haveRoom = round.map { entry in
            let delivery = entry.delivery
            guard let newestMs = delivery.newestMs else { return true }
            return logging.sink.hasRoom(
                stream: stream, sender: delivery.sender, oldestMs: delivery.oldestMs ?? newestMs,
                newestMs: newestMs, arrivalMs: delivery.arrivalMs)
        }
        return gate.withLock { _ -> [IngestCore.Delivered]? in
            guard isReplaying.load(ordering: .relaxed) else { return nil }
            return round.indices.map { place in
                guard haveRoom[place] else { return .noRoom }
                return append(round[place], heads[place]) == nil ? .refused : .logging
            }
        }
    }

    private static func head(_ entry: DeliveryRound.Entry) -> JournalHead {
        let delivery = entry.delivery
        // Events are kept by the store within seconds, but no window says when: as if they were samples of now.
        let newestMs = delivery.events.isEmpty ? delivery.newestMs ?? .min : delivery.arrivalMs
        return JournalHead(
            format: delivery.format, timeMs: delivery.arrivalMs, newestMs: newestMs, sender: entry.sender)
    }

    private func append(_ entry: DeliveryRound.Entry, _ head: JournalHead) -> LogPosition? {
        guard let check = entry.delivery.check else { return nil }
        return logging.journal.append(head, body: entry.body.readableBytesSpan, check: check)
    }

    /// Worked out before any lock, so that lanes do it side by side, and once, however often it is tried.
    private func check(_ entry: inout DeliveryRound.Entry, _ head: JournalHead) {
        guard entry.delivery.check == nil else { return }
        entry.delivery.check = logging.journal.check(head, body: entry.body.readableBytesSpan)
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
