import Telemetry

/// A bus on which everything goes wrong that may go wrong, each schedule of faults from one seed: lost requests, lost
/// acknowledgements, delays and with them reordering, copies, answers from old copies, and a broker that stands still.
///
/// What it delivers to readers stays in the order of the log, as a broker's does.
public final class ChaosBus: Bus {
    /// How often, 0...1, and how long.
    public struct Faults: Sendable {
        /// A request never arrives.
        public var lostRequest = 0.03
        /// It is stored, and nobody says so.
        public var lostAcknowledgement = 0.03
        /// It is stored twice, the second time later.
        public var copy = 0.05
        /// A reading tells what an earlier one told.
        public var staleRead = 0.1
        /// A reader's stream ends by itself, for each batch.
        public var endedReader = 0.01
        /// Most milliseconds that a request or an answer takes.
        public var delayMsMax: Int64 = 40
        /// A request takes this long in one of twenty cases.
        public var longDelayMsMax: Int64 = 900
        /// After so long a lost request or acknowledgement is given up.
        public var timeoutMs: Int64 = 700
        public init() {}
    }

    private struct State {
        var random: any RandomNumberGenerator & Sendable
        var pausedUntilMs: Int64 = 0
        var answers: [Subject: [StoredMessage?]] = [:]
    }

    private let inner: any Bus
    private let scheduler: any Scheduler
    private let faults: Faults
    private let state: Locked<State>

    /// - Parameter random: seeded; all faults come from it.
    public init(
        _ inner: any Bus, scheduler: any Scheduler, random: any RandomNumberGenerator & Sendable,
        faults: Faults = Faults()
    ) {
        self.inner = inner
        self.scheduler = scheduler
        self.faults = faults
        state = Locked(State(random: random))
    }

    /// The broker stands still for so long: requests wait, and arrive then.
    public func pause(forMs: Int64) {
        let until = scheduler.nowMs + forMs
        state.withLock { $0.pausedUntilMs = max($0.pausedUntilMs, until) }
    }

    private func chance(_ probability: Double) -> Bool {
        state.withLock { Double.random(in: 0..<1, using: &$0.random) < probability }
    }

    private func delay() -> Int64 {
        let now = scheduler.nowMs
        return state.withLock { state in
            let isLong = Int.random(in: 0..<20, using: &state.random) == 0
            let most = isLong ? faults.longDelayMsMax : faults.delayMsMax
            return Int64.random(in: 0...most, using: &state.random) + max(0, state.pausedUntilMs - now)
        }
    }

    public func publish(
        _ message: BusMessage, expecting: Expectation,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        let answered = Once(done)
        if chance(faults.lostRequest) {
            return scheduler.after(faults.timeoutMs) { answered(.failure(.ambiguous)) }
        }
        let isLost = chance(faults.lostAcknowledgement)
        scheduler.after(delay()) { [self] in
            inner.publish(message, expecting: expecting) { [self] result in
                guard !isLost else { return }
                scheduler.after(delay()) { answered(result) }
            }
        }
        // Also when it only takes long: then it is stored after the sender gave up.
        scheduler.after(faults.timeoutMs) { answered(.failure(.ambiguous)) }
        if chance(faults.copy) {
            scheduler.after(delay() + faults.delayMsMax) { [self] in
                inner.publish(message, expecting: expecting) { _ in }
            }
        }
    }

    public func last(
        _ stream: BusStream, _ subject: Subject,
        done: @escaping @Sendable (Result<StoredMessage?, BusError>) -> Void
    ) {
        let answered = Once(done)
        scheduler.after(faults.timeoutMs) { answered(.failure(.ambiguous)) }
        if chance(faults.lostRequest) { return }
        let isStale = chance(faults.staleRead)
        scheduler.after(delay()) { [self] in
            inner.last(stream, subject) { [self] result in
                guard case .success(let message) = result else { return answered(result) }
                let told = state.withLock { state in
                    state.answers[subject, default: []].append(message)
                    let known = state.answers[subject] ?? []
                    return isStale ? known.randomElement(using: &state.random) ?? message : message
                }
                scheduler.after(delay()) { answered(.success(told)) }
            }
        }
    }

    public func trim(
        _ stream: BusStream, _ filter: Subject, before sequence: UInt64,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        let answered = Once(done)
        scheduler.after(faults.timeoutMs) { answered(.failure(.ambiguous)) }
        if chance(faults.lostRequest) { return }
        scheduler.after(delay()) { [self] in
            inner.trim(stream, filter, before: sequence) { [self] result in
                scheduler.after(delay()) { answered(result) }
            }
        }
    }

    public func open(
        _ stream: BusStream, _ filter: Subject, from start: BusStart,
        deliver: @escaping @Sendable (BusDelivery) -> Void
    ) -> any BusCursor {
        let line = Line(scheduler: scheduler, deliver: deliver)
        let opened = Opened(line: line)
        scheduler.after(delay()) { [weak self, weak opened] in
            guard let self, let opened else { return }
            let inner = self.inner.open(stream, filter, from: start) { [weak self] delivery in
                guard let self else { return }
                if chance(faults.endedReader) {
                    line.send(.ended(.unavailable), afterMs: delay())
                } else {
                    line.send(delivery, afterMs: delay())
                }
            }
            opened.hold(inner)
        }
        return opened
    }

    public func request(
        _ subject: Subject, _ bytes: [UInt8], timeoutMs: Int64,
        done: @escaping @Sendable (Result<[UInt8], BusError>) -> Void
    ) {
        if chance(faults.lostRequest) {
            return scheduler.after(timeoutMs) { done(.failure(.ambiguous)) }
        }
        scheduler.after(delay()) { [self] in
            inner.request(subject, bytes, timeoutMs: timeoutMs, done: done)
        }
    }

    public func respond(
        _ subject: Subject, group: String?, answer: @escaping @Sendable ([UInt8]) -> [UInt8]
    ) -> any BusCursor {
        inner.respond(subject, group: group, answer: answer)
    }
}

extension ChaosBus {
    /// Hands on the first of several outcomes.
    private final class Once<Value: Sendable>: Sendable {
        private let body: Locked<(@Sendable (Value) -> Void)?>
        init(_ body: @escaping @Sendable (Value) -> Void) { self.body = Locked(body) }
        func callAsFunction(_ value: Value) {
            let body = self.body.withLock { body in
                defer { body = nil }
                return body
            }
            body?(value)
        }
    }

    /// Deliveries to one reader: late, but one behind the other, and none after the end.
    private final class Line: Sendable {
        private struct State {
            var waiting: [BusDelivery] = []
            var lastMs: Int64 = 0
            var isOver = false
        }
        private let state = Locked(State())
        private let scheduler: any Scheduler
        private let deliver: @Sendable (BusDelivery) -> Void

        init(scheduler: any Scheduler, deliver: @escaping @Sendable (BusDelivery) -> Void) {
            self.scheduler = scheduler
            self.deliver = deliver
        }

        func send(_ delivery: BusDelivery, afterMs: Int64) {
            let now = scheduler.nowMs
            let wait: Int64? = state.withLock { state in
                guard !state.isOver else { return nil }
                if case .ended = delivery { state.isOver = true }
                state.waiting.append(delivery)
                state.lastMs = max(state.lastMs, now + afterMs)
                return state.lastMs - now
            }
            guard let wait else { return }
            scheduler.after(wait) { [self] in
                let next = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
                if let next { deliver(next) }
            }
        }

        func end() { state.withLock { $0 = State(isOver: true) } }
    }

    private final class Opened: BusCursor {
        private let inner = Locked<(any BusCursor)?>(nil)
        private let isClosed = Locked(false)
        private let line: Line
        init(line: Line) { self.line = line }
        func hold(_ cursor: any BusCursor) {
            if isClosed.withLock({ $0 }) { return cursor.close() }
            inner.withLock { $0 = cursor }
        }
        func close() {
            isClosed.withLock { $0 = true }
            line.end()
            inner.withLock { $0 }?.close()
        }
    }
}
