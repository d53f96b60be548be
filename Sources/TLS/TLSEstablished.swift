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
