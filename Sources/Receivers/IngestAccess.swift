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

    /// Whom a request comes from, as it stands in the sender's name; `nil` where nobody is asked.
    ///
    /// - Parameter certificate: the names in the certificate that the connection began with.
    func identity(
        _ head: HTTPRequestHead, _ route: IngestRoute?, certificate: [String]?
    ) throws(Answer) -> String? {
        let current = check.withLock { $0 }
        switch current.judge(head.headers["authorization"], certificate: certificate) {
        case .open: return nil
        case .known(let name, let mayTellEvents):
            guard route != .events || mayTellEvents else {
                throw .refused(
                    .forbidden, "identity",
                    "The token \(name) may send samples, but no events: say `events: true` at the token.")
            }
            return "token:" + name
        case .vouched(let name, let mayTellEvents):
            guard route != .events || mayTellEvents else {
                throw .refused(
                    .forbidden, "identity",
                    "The certificate of \(name) is good for samples, but not for events: name it in ingest.tokens, with `events: true`."
                )
            }
            return "certificate:" + name
        case .refused(let refusal) where refusal == .stranger || refusal == .noCertificate:
            throw .refused(.forbidden, "identity", refusal.sentence)
        case .refused(let refusal):
            throw .refused(
                .unauthorized, "unauthorized", refusal.sentence,
                headers: [("WWW-Authenticate", BearerCheck.challenge)])
        }
    }
}
