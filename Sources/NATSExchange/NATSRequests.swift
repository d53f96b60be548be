import Exchange
import Telemetry

/// Requests that wait for their answers, by the last token of their reply subjects.
final class NATSRequests: Sendable {
    private struct Waiting {
        var subject: String
        var deadlineMs: Int64
        var done: @Sendable (Result<NATSMessage, BusError>) -> Void
    }

    private struct State {
        var last: UInt64 = 0
        var waiting: [String: Waiting] = [:]
    }

    private let state = Locked(State())

    func add(
        _ subject: String, deadlineMs: Int64,
        done: @escaping @Sendable (Result<NATSMessage, BusError>) -> Void
    ) -> String {
        state.withLock { state in
            state.last += 1
            let token = String(state.last, radix: 36)
            state.waiting[token] = Waiting(subject: subject, deadlineMs: deadlineMs, done: done)
            return token
        }
    }

    func answer(_ token: String, _ result: Result<NATSMessage, BusError>) {
        state.withLock { $0.waiting.removeValue(forKey: token) }?.done(result)
    }

    /// Gives up what has waited too long: whether it arrived is open.
    func expire(nowMs: Int64) {
        finish(.ambiguous) { $0.deadlineMs <= nowMs }
    }

    /// Those to a subject that the broker refuses.
    func refuse(subject: String, _ text: String) {
        finish(.denied(text)) { $0.subject == subject }
    }

    func endAll(_ error: BusError) { finish(error) { _ in true } }

    private func finish(_ error: BusError, _ matches: (Waiting) -> Bool) {
        let ended = state.withLock { state in
            let ended = state.waiting.filter { matches($0.value) }
            for token in ended.keys { state.waiting[token] = nil }
            return ended.values.map(\.done)
        }
        for done in ended { done(.failure(error)) }
    }
}
