import Exchange
import Telemetry

/// Pulls a stream through an ephemeral consumer without acknowledgements.
///
/// A message that is lost on its way to us is not sent again by such a consumer. So each is counted by the consumer's
/// own sequence, and on a gap, or when the broker is silent where it owes a heartbeat, reading begins anew behind the
/// last message that came, with another consumer.
final class NATSReader: BusCursor {
    static let batch = 500
    static let expiresMs: Int64 = 4_000
    static let silenceMs: Int64 = 3_500

    private enum Phase {
        case closed
        /// Until a time.
        case waiting(Int64)
        case creating
        case pulling
    }

    private struct State {
        var phase = Phase.waiting(0)
        var generation: UInt64 = 0
        var subscription: NATSConnection.Subscription?
        var consumer = ""
        /// Messages of the present pull that are still to come.
        var owed = 0
        var consumerSequence: UInt64 = 0
        var streamSequence: UInt64 = 0
        var heardMs: Int64 = 0
    }

    private let state: Locked<State>
    private weak let bus: NATSBus?
    private let stream: String
    private let filter: String
    private let start: BusStart
    private let inbox: String
    private let deliver: @Sendable (BusDelivery) -> Void

    init(
        bus: NATSBus, stream: String, filter: String, start: BusStart,
        deliver: @escaping @Sendable (BusDelivery) -> Void
    ) {
        self.bus = bus
        self.stream = stream
        self.filter = filter
        self.start = start
        self.deliver = deliver
        var random = SystemRandomNumberGenerator()
        inbox = "_INBOX." + String(random.next(), radix: 36) + String(random.next(), radix: 36)
        state = Locked(State())
    }

    func close() {
        let subscription = state.withLock { state in
            state.phase = .closed
            state.generation += 1
            defer { state.subscription = nil }
            return state.subscription
        }
        // Released outside of the lock: that takes libnats' own.
        withExtendedLifetime(subscription) {}
    }

    deinit { close() }

    func tick(nowMs: Int64) {
        enum Step { case none, create, again }
        let step = state.withLock { state -> Step in
            switch state.phase {
            case .waiting(let untilMs) where untilMs <= nowMs:
                state.phase = .creating
                state.generation += 1
                return .create
            case .pulling where nowMs - state.heardMs > Self.silenceMs: return .again
            case .closed, .waiting, .creating, .pulling: return .none
            }
        }
        switch step {
        case .none: break
        case .create: create()
        case .again: restart(afterMs: 0, state.withLock { $0.generation })
        }
    }

    private func restart(afterMs: Int64, _ generation: UInt64) {
        let old = state.withLock { state -> NATSConnection.Subscription? in
            guard state.generation == generation else { return nil }
            if case .closed = state.phase { return nil }
            state.phase = .waiting(NATSBus.nowMs() + afterMs)
            state.generation += 1
            defer { state.subscription = nil }
            return state.subscription
        }
        withExtendedLifetime(old) {}
    }

    private func create() {
        guard let bus else { return }
        let (generation, seen) = state.withLock { ($0.generation, $0.streamSequence) }
        var configuration = JetStream.ConsumerRequest.Configuration(
            deliver_policy: "by_start_sequence", filter_subject: filter)
        if seen > 0 {
            configuration.opt_start_seq = seen + 1
        } else {
            switch start {
            case .sequence(let first): configuration.opt_start_seq = max(1, first)
            case .lastOfEachSubject: configuration.deliver_policy = "last_per_subject"
            }
        }
        let request = JetStream.ConsumerRequest(stream_name: stream, config: configuration)
        bus.ask("$JS.API.CONSUMER.CREATE.\(stream)", JetStream.encode(request)) { [weak self] answer in
            self?.created(answer.flatMap { JetStream.decode(JetStream.Created.self, $0.bytes) }, generation)
        }
    }

    private func created(_ answer: Result<JetStream.Created, BusError>, _ generation: UInt64) {
        guard let bus, case .success(let created) = answer, created.error == nil, let name = created.name
        else { return restart(afterMs: 200, generation) }
        let subscription = try? bus.connection.subscribe("\(inbox).\(generation)") { [weak self] message in
            self?.received(message, generation)
        }
        let isCurrent = state.withLock { state in
            guard state.generation == generation, subscription != nil else { return false }
            state.phase = .pulling
            state.subscription = subscription
            state.consumer = name
            state.consumerSequence = 0
            return true
        }
        if isCurrent { pull(generation) } else { restart(afterMs: 200, generation) }
    }

    private func pull(_ generation: UInt64) {
        let consumer = state.withLock { state in
            state.owed = Self.batch
            state.heardMs = NATSBus.nowMs()
            return state.consumer
        }
        let request = JetStream.Pull(
            batch: Self.batch, expires: Self.expiresMs * 1_000_000, idle_heartbeat: 1_000_000_000,
            max_bytes: nil)
        let sent = bus?.connection.publish(
            "$JS.API.CONSUMER.MSG.NEXT.\(stream).\(consumer)", reply: "\(inbox).\(generation)",
            JetStream.encode(request))
        if sent != true { restart(afterMs: 200, generation) }
    }

    private func received(_ message: NATSMessage, _ generation: UInt64) {
        guard state.withLock({ $0.generation == generation }) else { return }
        if !message.status.isEmpty { return told(message, generation) }
        guard let place = JetStream.place(message.reply) else { return }
        enum Step { case deliver, pull, gap }
        let step = state.withLock { state -> Step in
            state.heardMs = NATSBus.nowMs()
            guard place.consumerSequence == state.consumerSequence + 1 else { return .gap }
            state.consumerSequence = place.consumerSequence
            state.streamSequence = place.streamSequence
            state.owed -= 1
            return state.owed <= 0 ? .pull : .deliver
        }
        if step == .gap { return restart(afterMs: 0, generation) }
        deliver(
            .messages([
                StoredMessage(
                    subject: Subject(message.subject), bytes: message.bytes,
                    sequence: place.streamSequence, timestampMs: place.timestampMs)
            ]))
        if step == .pull { pull(generation) }
    }

    /// A pull that is over, a heartbeat, or a consumer that is no more.
    private func told(_ message: NATSMessage, _ generation: UInt64) {
        switch message.status {
        case "100": state.withLock { $0.heardMs = NATSBus.nowMs() }
        case "404", "408": pull(generation)
        default: restart(afterMs: 200, generation)
        }
    }
}
