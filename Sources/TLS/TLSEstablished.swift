import Synchronization
import Telemetry

/// Told to the handlers behind a `TLSHandler` when its handshake is over, before the first byte.
public struct TLSEstablished: Sendable {
    /// `TLSv1.3`.
    public var version: String
    /// The names in the peer's certificate, the foremost first; `nil` where it has shown none. Good as far as the
    /// authority, the time and the purpose went at the handshake.
    public var peerNames: [String]?
    /// Why the peer's certificate is not good any more, in a sentence for whoever sent the request; `nil` while it is, and
    /// where none was shown. Ask it at each request: nothing is to be taken by what has lapsed.
    public var lapse: @Sendable () -> String?

    public init(version: String, peerNames: [String]?, lapse: @escaping @Sendable () -> String? = { nil }) {
        self.version = version
        self.peerNames = peerNames
        self.lapse = lapse
    }
}

/// How often the authorities of a listener's clients have changed.
final class TLSEpoch: Sendable {
    private let changes = Atomic<Int>(0)
    var current: Int { changes.load(ordering: .acquiring) }
    func advance() { changes.add(1, ordering: .releasing) }
}

/// By which the certificates that are shown to a connection stay good.
struct TLSTrust: Sendable {
    let listener: TLSEpoch
    /// That of the authorities that the connection's context holds.
    let epoch: Int
    let clock: WallClock

    init(_ listener: TLSEpoch, clock: WallClock) {
        self.listener = listener
        self.clock = clock
        epoch = listener.current
    }

    func lapse(validUntilSeconds: Int64) -> @Sendable () -> String? {
        {
            if clock.nowMs() / 1_000 > validUntilSeconds {
                return "The client certificate has run out: connect again with a newer one."
            }
            guard epoch == listener.current else {
                return "The authorities of client certificates have changed: connect again."
            }
            return nil
        }
    }
}
