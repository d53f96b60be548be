/// Where a listener's certificate and key are, and what it asks of those who connect.
public struct TLSFiles: Sendable, Hashable {
    public enum ClientCertificate: String, Sendable, CaseIterable {
        /// Whoever has none is not let in.
        case required
        /// One that is shown must be good.
        case optional
    }

    /// PEM: the listener's certificate, then those between it and its authority.
    public var certificate: String
    /// PEM, without a password.
    public var key: String
    /// PEM: the authorities whose certificates of clients are taken; `nil` asks nobody for one.
    public var clientCA: String?
    public var clientCertificate = ClientCertificate.required
    /// PEM: the lists of revoked certificates of those authorities, one of each at least, of which the newest counts; `nil`: none is revoked.
    public var clientCRL: String?
    /// TLS 1.3, and not 1.2.
    public var isTLS13 = false

    public init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }

    /// That of the lists is the last one.
    var paths: [String] { [certificate, key] + [clientCA, clientCRL].compactMap(\.self) }
}

/// Why files cannot be used, in words for whoever wrote the configuration.
public struct TLSFileError: Error, Sendable, Hashable, CustomStringConvertible {
    public var file: String
    public var reason: String
    /// It was not what is in the file, and may be otherwise at another time: no right to read it, no descriptor left.
    var isPassing = false

    public var description: String { "\(file): \(reason)" }
}

/// What the listener's peers can cost.
public struct TLSLimits: Sendable {
    /// From the connection to the end of the handshake.
    public var handshake = Duration.seconds(10)
    /// How long a peer whose handshake failed may take to read why.
    public var farewell = Duration.seconds(1)
    /// What a peer may send before the handshake is over, after it failed, and later without a byte of plaintext in it.
    /// Certificates are the most of it; a record is of 16 KiB.
    public var handshakeBytes = 256 << 10
    /// What is decrypted or encrypted at a time; bounds what OpenSSL keeps for a connection.
    public var pieceBytes = 64 << 10

    public init() {}
}

/// What ended a connection, or kept it from coming about.
struct TLSFailure: Error, Sendable, Equatable {
    /// A label of `colossus_tls_failures_total`.
    enum Reason: String, Sendable, CaseIterable {
        /// HTTP without TLS.
        case plainHTTP = "plain_http"
        case noCertificate = "no_certificate"
        /// Expired, of another authority, for another purpose …
        case badCertificate = "bad_certificate"
        /// A list of its authority names it, or an authority between it and the first one.
        case revoked
        /// The list of its authority has run out: nobody knows what was revoked since.
        case crlExpired = "crl_expired"
        /// The list of its authority begins later: one of two clocks is wrong.
        case crlNotYetValid = "crl_not_yet_valid"
        /// There is no list of its authority, or none that is for such certificates.
        case noCRL = "no_crl"
        case version
        case cipher
        /// The peer wants to speak something else than HTTP/1.1.
        case alpn
        /// The peer has ended it, and says why: often because it does not trust our certificate.
        case alert
        case timeout
        /// The peer has gone in the middle of the handshake.
        case closed
        /// Too much came before the handshake was over, or since then with nothing in it.
        case tooMuch = "too_much"
        /// Bytes that are no TLS, or no good TLS.
        case `protocol`
    }

    var reason: Reason
    /// OpenSSL's, where it has any.
    var words: String
}
