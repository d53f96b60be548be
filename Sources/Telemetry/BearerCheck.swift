/// Judges requests by their `Authorization` headers (RFC 6750) and by the certificate of who sent them, against those
/// that a listener takes.
///
/// A pure value: whoever serves HTTP asks it, and answers a refusal with 401 and `challenge`.
public struct BearerCheck: Sendable, Equatable {
    /// One who may come in, by any of some secrets (an old and a new one while they change), or with a certificate in
    /// which one of some names stands.
    public struct Identity: Sendable, Hashable {
        /// In names of senders and in the log; never the secret.
        public var name: String
        public var secrets: [[UInt8]]
        public var certificates: [String]
        /// May say what happened, and not only what was measured.
        public var mayTellEvents: Bool

        public init(
            name: String, secrets: [[UInt8]] = [], certificates: [String] = [], mayTellEvents: Bool = false
        ) {
            self.name = name
            self.secrets = secrets
            self.certificates = certificates
            self.mayTellEvents = mayTellEvents
        }
    }

    public enum Verdict: Sendable, Hashable {
        /// There are no tokens: nobody is asked.
        case open
        case known(name: String, mayTellEvents: Bool)
        /// No identity of ours, but of a certificate that its authority vouches for; the name is that in it.
        case vouched(name: String, mayTellEvents: Bool)
        case refused(Refusal)
    }

    public enum Refusal: String, Sendable, Hashable {
        /// No token was sent, and no certificate shown.
        case missing
        /// It is not one of ours, or not written as a bearer token.
        case unknown
        /// The certificate has none of the names that are listed here, or no name at all.
        case stranger
        /// No certificate was shown, and a token alone is not enough.
        case noCertificate

        /// A sentence for whoever sent the request.
        public var sentence: String {
            switch self {
            case .missing: "A bearer token is wanted: `Authorization: Bearer TOKEN`."
            case .unknown: "The token in the Authorization header is not known here."
            case .stranger: "The client certificate has none of the names that are known here."
            case .noCertificate: "A client certificate is wanted here, and none was shown."
            }
        }
    }

    /// What `WWW-Authenticate` says beside a 401.
    public static let challenge = "Bearer realm=\"colossusd\""
    /// A secret has at least so many bytes.
    public static let secretBytesMin = 16
    public static let secretBytesMax = 4_096

    private let identities: [Identity]
    /// Whoever comes has to show a certificate, even with a token.
    private let wantsCertificate: Bool
    private let hasSecrets: Bool
    /// Then no others are taken.
    private let hasCertificates: Bool

    public init(_ identities: [Identity] = [], wantsCertificate: Bool = false) {
        self.identities = identities
        self.wantsCertificate = wantsCertificate
        hasSecrets = identities.contains { !$0.secrets.isEmpty }
        hasCertificates = identities.contains { !$0.certificates.isEmpty }
    }

    /// Nobody is asked who he is.
    public var isOpen: Bool { identities.isEmpty && !wantsCertificate }

    /// - Parameters:
    ///   - authorization: the values of all `Authorization` headers of a request.
    ///   - names: those in the certificate that was shown and found good, the foremost first; `nil` without one.
    public func judge(_ authorization: [String], certificate names: [String]? = nil) -> Verdict {
        // At most, a connection from before the handshake required one has none, and one that was let in for its health.
        if wantsCertificate, names == nil { return .refused(.noCertificate) }
        if hasSecrets, !authorization.isEmpty { return judge(token: authorization) }
        if let names { return judge(certificate: names) }
        return isOpen ? .open : .refused(.missing)
    }

    private func judge(token authorization: [String]) -> Verdict {
        guard authorization.count == 1, let given = Self.token(authorization[0]) else {
            return .refused(.unknown)
        }
        // All are compared, in a time that tells nothing of which one was near.
        var found: Int?
        for (index, identity) in identities.enumerated() {
            for secret in identity.secrets where Self.isSame(given, secret) { found = found ?? index }
        }
        guard let found else { return .refused(.unknown) }
        return .known(name: identities[found].name, mayTellEvents: identities[found].mayTellEvents)
    }

    private func judge(certificate names: [String]) -> Verdict {
        let listed = identities.first { identity in identity.certificates.contains { names.contains($0) } }
        if let listed { return .known(name: listed.name, mayTellEvents: listed.mayTellEvents) }
        guard !hasCertificates, let name = names.first else {
            return isOpen ? .open : .refused(.stranger)
        }
        // Whoever says who he is has no less than somebody unknown would have.
        return .vouched(name: name, mayTellEvents: isOpen)
    }

    /// `Bearer`, in any case, one blank or more, and the token.
    private static func token(_ value: String) -> [UInt8]? {
        let bytes = Array(value.utf8)
        let scheme = Array("bearer".utf8)
        guard bytes.count > scheme.count + 1, bytes.count <= secretBytesMax + 16, bytes[scheme.count] == 0x20,
            zip(bytes, scheme).allSatisfy({ $0 | 0x20 == $1 })
        else { return nil }
        var token = bytes[(scheme.count + 1)...]
        while token.first == 0x20 { token.removeFirst() }
        while let last = token.last, last == 0x20 || last == 0x09 { token.removeLast() }
        return token.isEmpty ? nil : Array(token)
    }

    /// Takes as long for what differs in the first byte as for what differs in the last one; its time tells the length of
    /// what was given, which the caller knows.
    static func isSame(_ given: [UInt8], _ secret: [UInt8]) -> Bool {
        guard !secret.isEmpty else { return false }
        var difference: UInt8 = given.count == secret.count ? 0 : 1
        for (index, byte) in given.enumerated() { difference |= byte ^ secret[index % secret.count] }
        return difference == 0
    }

    /// The secrets of a file: a line each, without blanks around it; empty lines and those with `#` say nothing.
    ///
    /// - Returns: `nil` when there is none, or one is too short, too long or not printable ASCII.
    public static func secrets(_ text: [UInt8]) -> [[UInt8]]? {
        var found: [[UInt8]] = []
        for line in text.split(separator: 0x0A) {
            let start = line.drop { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
            let bare = Array(start.reversed().drop { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }.reversed())
            if bare.isEmpty || bare.first == UInt8(ascii: "#") { continue }
            guard (secretBytesMin...secretBytesMax).contains(bare.count),
                bare.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
            else { return nil }
            found.append(bare)
        }
        return found.isEmpty ? nil : found
    }
}
