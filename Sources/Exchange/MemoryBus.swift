public import Telemetry

/// A broker within the process: sequence counters, compare-and-set and readers, as a real one has them.
public final class MemoryBus: Bus {
    /// Messages that a stream keeps; older ones go.
    public struct Limits: Sendable {
        public var messagesMax: [BusStream: Int] = [.partials: 1 << 20, .finals: 1 << 20]
        public init() {}
    }

    private final class Log {
        var messages: [StoredMessage] = []
        var lastOf: [Subject: StoredMessage] = [:]
        var sequence: UInt64 = 0
        /// More than so many bytes are refused.
        var bytesMax: Int?
        /// Only of these subjects; `nil`: of all.
        var limited: Subject?
        var bytes: Int { messages.reduce(0) { $0 + $1.bytes.count } }
        var readers: [Int: Reader] = [:]

        /// Of a subject whose last message goes, all before it go too.
        func remove(_ isGone: (StoredMessage) -> Bool) {
            messages.removeAll(where: isGone)
            lastOf = lastOf.filter { !isGone($0.value) }
        }
    }

    /// Delivers in order whoever comes first: messages are taken out under the bus's lock, and handed over by one
    /// thread at a time.
    private final class Reader: BusCursor {
        struct State {
            var waiting: [StoredMessage] = []
            var isDelivering = false
            var isClosed = false
        }
        let filter: Subject
        let state = Locked(State())
        let deliver: @Sendable (BusDelivery) -> Void

        init(filter: Subject, deliver: @escaping @Sendable (BusDelivery) -> Void) {
            self.filter = filter
            self.deliver = deliver
        }

        func close() { state.withLock { $0.isClosed = true } }

        func add(_ messages: [StoredMessage]) {
            state.withLock { $0.waiting += messages }
        }

        func drain() {
            while true {
                let batch: [StoredMessage]? = state.withLock { state in
                    guard !state.isDelivering, !state.isClosed, !state.waiting.isEmpty else { return nil }
                    state.isDelivering = true
                    defer { state.waiting = [] }
                    return state.waiting
                }
                guard let batch else { return }
                deliver(.messages(batch))
                state.withLock { $0.isDelivering = false }
            }
        }
    }

    private final class Responder: BusCursor {
        let isClosed = Locked(false)
        let subject: Subject
        let answer: @Sendable ([UInt8]) -> [UInt8]
        init(subject: Subject, answer: @escaping @Sendable ([UInt8]) -> [UInt8]) {
            self.subject = subject
            self.answer = answer
        }
        func close() { isClosed.withLock { $0 = true } }
    }

    private struct State {
        var logs: [BusStream: Log] = [:]
        var readers = 0
        var responders: [Responder] = []
    }

    private let state = Locked(State())
    private let limits: Limits
    private let clock: WallClock

    /// - Parameter clock: stamps the messages.
    public init(clock: WallClock, limits: Limits = Limits()) {
        self.clock = clock
        self.limits = limits
    }

    public func publish(
        _ message: BusMessage, expecting: Expectation,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        let (result, readers) = state.withLock { state -> (Result<UInt64, BusError>, [Reader]) in
            let log = Self.log(message.stream, &state)
            if case .lastSequence(let expected) = expecting,
                expected != log.lastOf[message.subject]?.sequence ?? 0
            {
                return (.failure(.conflict), [])
            }
            if let most = log.bytesMax, log.bytes + message.bytes.count > most,
                log.limited?.matches(message.subject) ?? true
            {
                return (.failure(.full), [])
            }
            log.sequence += 1
            let stored = StoredMessage(
                subject: message.subject, bytes: message.bytes, sequence: log.sequence,
                timestampMs: clock.nowMs())
            log.lastOf[message.subject] = stored
            if let most = limits.messagesMax[message.stream] {
                log.messages.append(stored)
                if log.messages.count > most { log.messages.removeFirst(most / 4 + 1) }
            }
            log.readers = log.readers.filter { !$0.value.state.withLock { $0.isClosed } }
            // In the order of their opening: a schedule of faults must repeat itself.
            let readers = log.readers.sorted { $0.key < $1.key }.map(\.value)
                .filter { $0.filter.matches(message.subject) }
            for reader in readers { reader.add([stored]) }
            return (.success(log.sequence), readers)
        }
        done(result)
        for reader in readers { reader.drain() }
    }

    public func last(
        _ stream: BusStream, _ subject: Subject,
        done: @escaping @Sendable (Result<StoredMessage?, BusError>) -> Void
    ) {
        done(.success(state.withLock { Self.log(stream, &$0).lastOf[subject] }))
    }

    public func trim(
        _ stream: BusStream, _ filter: Subject, before sequence: UInt64,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        let count = state.withLock { state in
            let log = Self.log(stream, &state)
            let before = log.messages.count
            log.remove { $0.sequence < sequence && filter.matches($0.subject) }
            return before - log.messages.count
        }
        done(.success(UInt64(count)))
    }

    /// From now on there is room for so many bytes more than there are; `nil`: for all.
    public func limit(_ stream: BusStream, toBytes more: Int?, only filter: Subject? = nil) {
        state.withLock { state in
            let log = Self.log(stream, &state)
            log.bytesMax = more.map { log.bytes + $0 }
            log.limited = filter
        }
    }

    /// What is older goes, as on a broker that keeps a stream for a while only.
    public func expire(_ stream: BusStream, beforeMs: Int64) {
        state.withLock { state in
            Self.log(stream, &state).remove { $0.timestampMs < beforeMs }
        }
    }

    public func open(
        _ stream: BusStream, _ filter: Subject, from start: BusStart,
        deliver: @escaping @Sendable (BusDelivery) -> Void
    ) -> any BusCursor {
        let reader = Reader(filter: filter, deliver: deliver)
        state.withLock { state in
            let log = Self.log(stream, &state)
            switch start {
            case .sequence(let first):
                reader.add(log.messages.filter { $0.sequence >= first && filter.matches($0.subject) })
            case .lastOfEachSubject:
                let last = log.lastOf.values.filter { filter.matches($0.subject) }
                reader.add(last.sorted { $0.sequence < $1.sequence })
            }
            log.readers[state.readers] = reader
            state.readers += 1
        }
        reader.drain()
        return reader
    }

    public func request(
        _ subject: Subject, _ bytes: [UInt8], timeoutMs: Int64,
        done: @escaping @Sendable (Result<[UInt8], BusError>) -> Void
    ) {
        let responder = state.withLock { state in
            state.responders.removeAll { $0.isClosed.withLock { $0 } }
            return state.responders.first { $0.subject.matches(subject) }
        }
        guard let responder else { return done(.failure(.unavailable)) }
        done(.success(responder.answer(bytes)))
    }

    public func respond(
        _ subject: Subject, group: String?, answer: @escaping @Sendable ([UInt8]) -> [UInt8]
    ) -> any BusCursor {
        let responder = Responder(subject: subject, answer: answer)
        state.withLock { $0.responders.append(responder) }
        return responder
    }

    /// All that a stream keeps, in order: for tests and for whoever wants to look.
    public func messages(_ stream: BusStream) -> [StoredMessage] {
        state.withLock { Self.log(stream, &$0).messages }
    }

    private static func log(_ stream: BusStream, _ state: inout State) -> Log {
        if let log = state.logs[stream] { return log }
        let log = Log()
        state.logs[stream] = log
        return log
    }
}
