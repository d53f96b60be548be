import Exchange
import Telemetry

/// A bus that does not let anything be taken away while it says so.
final class KeepsAll: Bus {
    let refusal = Locked<BusError?>(nil)
    let asked = Locked(0)
    private let inner: any Bus

    init(_ inner: any Bus) { self.inner = inner }

    func trim(
        _ stream: BusStream, _ filter: Subject, before sequence: UInt64,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        asked.withLock { $0 += 1 }
        if let error = refusal.withLock({ $0 }) { return done(.failure(error)) }
        inner.trim(stream, filter, before: sequence, done: done)
    }

    func publish(
        _ message: BusMessage, expecting: Expectation,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) { inner.publish(message, expecting: expecting, done: done) }

    func last(
        _ stream: BusStream, _ subject: Subject,
        done: @escaping @Sendable (Result<StoredMessage?, BusError>) -> Void
    ) { inner.last(stream, subject, done: done) }

    func open(
        _ stream: BusStream, _ filter: Subject, from start: BusStart,
        deliver: @escaping @Sendable (BusDelivery) -> Void
    ) -> any BusCursor { inner.open(stream, filter, from: start, deliver: deliver) }

    func request(
        _ subject: Subject, _ bytes: [UInt8], timeoutMs: Int64,
        done: @escaping @Sendable (Result<[UInt8], BusError>) -> Void
    ) { inner.request(subject, bytes, timeoutMs: timeoutMs, done: done) }

    func respond(
        _ subject: Subject, group: String?, answer: @escaping @Sendable ([UInt8]) -> [UInt8]
    ) -> any BusCursor { inner.respond(subject, group: group, answer: answer) }
}
