import Exchange
import Telemetry

/// A bus of one stream that tells what the test says, when the test says so, and notes what is opened and closed.
final class ScriptedBus: Bus {
    /// One opening, and what is to happen within the call that opens.
    final class Opened: BusCursor {
        let start: BusStart
        let deliver: @Sendable (BusDelivery) -> Void
        private let closings = Locked(0)
        var closed: Int { closings.withLock { $0 } }

        init(_ start: BusStart, _ deliver: @escaping @Sendable (BusDelivery) -> Void) {
            self.start = start
            self.deliver = deliver
        }

        func close() { closings.withLock { $0 += 1 } }
    }

    private struct State {
        var opened: [Opened] = []
        var whileOpening: (@Sendable (Opened) -> Void)?
    }

    private let state = Locked(State())

    var opened: [Opened] { state.withLock { $0.opened } }
    var starts: [BusStart] { opened.map(\.start) }
    var closed: [Int] { opened.map(\.closed) }

    /// Happens within the next call that opens, and only then.
    func whileOpening(_ body: @escaping @Sendable (Opened) -> Void) {
        state.withLock { $0.whileOpening = body }
    }

    func open(
        _ stream: BusStream, _ filter: Subject, from start: BusStart,
        deliver: @escaping @Sendable (BusDelivery) -> Void
    ) -> any BusCursor {
        let opened = Opened(start, deliver)
        let body = state.withLock { state in
            state.opened.append(opened)
            defer { state.whileOpening = nil }
            return state.whileOpening
        }
        body?(opened)
        return opened
    }

    func publish(
        _ message: BusMessage, expecting: Expectation,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) { done(.failure(.unavailable)) }

    func trim(
        _ stream: BusStream, _ filter: Subject, before sequence: UInt64,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) { done(.failure(.unavailable)) }

    func last(
        _ stream: BusStream, _ subject: Subject,
        done: @escaping @Sendable (Result<StoredMessage?, BusError>) -> Void
    ) { done(.failure(.unavailable)) }

    func request(
        _ subject: Subject, _ bytes: [UInt8], timeoutMs: Int64,
        done: @escaping @Sendable (Result<[UInt8], BusError>) -> Void
    ) { done(.failure(.unavailable)) }

    func respond(
        _ subject: Subject, group: String?, answer: @escaping @Sendable ([UInt8]) -> [UInt8]
    ) -> any BusCursor { Opened(.lastOfEachSubject) { _ in } }
}
