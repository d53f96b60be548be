import Glibc
import NIOCore
import Telemetry

/// What the connections of one event loop have decoded in one round through its sockets. It goes to the log and the
/// shards together: with one lock, one wake of the log and one of a shard for many small requests, and one way back.
///
/// Each request is judged for itself, in the order in which they came. Belongs to an event loop, as its lane does.
final class DeliveryRound {
    private let core: IngestCore
    private let loop: any EventLoop
    private var entries: [Entry] = []
    private var connections: [IngestConnection] = []
    private var samples = 0
    private var gathering = Gathering()
    private var isEndPlanned = false

    /// A request that is decoded.
    struct Entry {
        var delivery: Delivery
        /// The name of who sent it.
        let sender: String
        var body: ByteBuffer
    }

    /// Enough that the wakes are few for each; beyond, the shards would only wait.
    private static let samplesMax = 16_384

    init(core: IngestCore, loop: any EventLoop) {
        self.core = core
        self.loop = loop
    }

    /// The connection is told what becomes of it, with `delivered`: at once, or at the end of the round.
    func add(_ entry: Entry, of connection: IngestConnection) {
        entries.append(entry)
        connections.append(connection)
        samples += entry.delivery.sampleCount
        if !isEndPlanned {
            isEndPlanned = true
            gathering.begin(nowNs: Self.nowNs)
            // The loop runs it when it has been through all sockets that had something.
            let own = NIOLoopBound(self, eventLoop: loop)
            loop.execute { own.value.end() }
        }
        if let round = connection.answeredRound { gathering.came(answered: round) }
        if samples >= Self.samplesMax { handOn() }
    }

    /// Rounds of this loop that have begun.
    var number: UInt64 { gathering.rounds }

    private func end() {
        // With its answer a connection's next request may come in at once: that is another round.
        isEndPlanned = false
        handOn()
        let own = NIOLoopBound(self, eventLoop: loop)
        // Behind the answers of those whose records the log has written already.
        loop.execute { own.value.rest() }
    }

    /// What comes meanwhile waits in the sockets. No timer can do that: the loop would go on through its sockets.
    private func rest() {
        guard entries.isEmpty else { return }
        let restNs = gathering.end()
        if restNs > 0 { usleep(UInt32(restNs / 1_000)) }
        gathering.rested(nowNs: Self.nowNs)
    }

    private static var nowNs: Int64 { Int64(clamping: NIODeadline.now().uptimeNanoseconds) }

    private func handOn() {
        guard !entries.isEmpty else { return }
        var round = entries
        let senders = connections
        entries.removeAll(keepingCapacity: true)
        connections.removeAll(keepingCapacity: true)
        samples = 0
        let outcomes = core.deliver(&round)
        if outcomes.contains(.logging) { answerWhenSafe(senders, outcomes) }
        for place in senders.indices {
            // Its buffer has to be nobody else's when the connection uses it again.
            round[place].body = ByteBuffer()
            senders[place].delivered(round[place].delivery, outcomes[place])
        }
    }

    /// One way back for all, when the log has said whether they are safe.
    private func answerWhenSafe(_ senders: [IngestConnection], _ outcomes: [IngestCore.Delivered]) {
        let waiting = senders.indices.compactMap { outcomes[$0] == .logging ? senders[$0] : nil }
        let own = NIOLoopBound(waiting, eventLoop: loop)
        let loop = loop
        core.logged?.logging.journal.whenSafe { isSafe in
            loop.execute {
                for connection in own.value { connection.logged(isSafe: isSafe) }
            }
        }
    }
}

extension IngestCore {
    enum Delivered {
        case done
        /// Out of credit.
        case full
        /// Too many windows are open that have to close first.
        case noRoom
        /// In the core; the answer waits for the log.
        case logging
        case refused
    }

    /// Hands requests on one after another, through the log if there is one: see `LoggedPath`.
    func deliver(_ round: inout [DeliveryRound.Entry]) -> [Delivered] {
        guard let logged else {
            return round.indices.map { place in
                guard hasRoom(round[place].delivery) else { return .noRoom }
                return deliver(&round[place].delivery) ? .done : .full
            }
        }
        let outcomes = logged.deliver(&round, stream)
        for (entry, outcome) in zip(round, outcomes) where outcome == .done || outcome == .logging {
            // While the log is repeated, the repetition tells of them.
            if !entry.delivery.events.isEmpty, logged.isDirect { events.emit(entry.delivery.events) }
            metrics.samples.add(Int64(entry.delivery.sampleCount))
        }
        return outcomes
    }

    private func hasRoom(_ delivery: Delivery) -> Bool {
        guard delivery.taken == 0, let newestMs = delivery.newestMs else { return true }
        return sink.hasRoom(
            stream: stream, sender: delivery.sender, oldestMs: delivery.oldestMs ?? newestMs,
            newestMs: newestMs, arrivalMs: delivery.arrivalMs)
    }
}
