import NIOHTTP1
import Synchronization
import Telemetry

/// Who may send, as it is at the moment: tokens change while connections are open.
final class IngestAccess: Sendable {
    private let check: Mutex<BearerCheck>
    private let changes = Atomic<Int>(0)

    init(_ check: BearerCheck) { self.check = Mutex(check) }

    /// Another number after each change: what was judged before has to be judged again.
    var generation: Int { changes.load(ordering: .acquiring) }

    func replace(_ new: BearerCheck) {
        check.withLock { $0 = new }
        changes.add(1, ordering: .releasing)
    }

    /// The name of the token that a request has; `nil` where nobody is asked.
    func identity(_ head: HTTPRequestHead, _ route: IngestRoute?) throws(Answer) -> String? {
        let current = check.withLock { $0 }
        guard !current.isOpen else { return nil }
        switch current.judge(head.headers["authorization"]) {
        case .open: return nil
        case .known(let name, let mayTellEvents):
            guard route != .events || mayTellEvents else {
                throw .refused(
                    .forbidden, "identity",
                    "The token \(name) may send samples, but no events: say `events: true` at the token.")
            }
            return name
        case .refused(let refusal):
            throw .refused(
                .unauthorized, "unauthorized", refusal.sentence,
                headers: [("WWW-Authenticate", BearerCheck.challenge)])
        }
    }
}
