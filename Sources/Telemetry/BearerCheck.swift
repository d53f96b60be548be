/// Judges `Authorization` headers (RFC 6750) against the tokens that a listener takes.
///
/// A pure value: whoever serves HTTP asks it, and answers a refusal with 401 and `challenge`.
public struct BearerCheck: Sendable, Equatable {
    /// One who may come in, by any of some secrets: an old and a new one while they change.
    public struct Identity: Sendable, Hashable {
        /// In names of senders and in the log; never the secret.
        public var name: String
        public var secrets: [[UInt8]]
        /// May say what happened, and not only what was measured.
        public var mayTellEvents: Bool

        public init(name: String, secrets: [[UInt8]], mayTellEvents: Bool = false) {
            self.name = name
            self.secrets = secrets
            self.mayTellEvents = mayTellEvents
        }
    }

    public enum Verdict: Sendable, Hashable {
        /// There are no tokens: nobody is asked.
        case open
        case known(name: String, mayTellEvents: Bool)
        case refused(Refusal)
    }

    public enum Refusal: String, Sendable, Hashable {
        /// No token was sent.
        case missing
        /// It is not one of ours, or not written as a bearer token.
        case unknown

        /// A sentence for whoever sent the request.
        public var sentence: String {
            switch self {
            case .missing: "A bearer token is wanted: `Authorization: Bearer TOKEN`."
            case .unknown: "The token in the Authorization header is not known here."
            }
        }
    }

    /// What `WWW-Authenticate` says beside a 401.
    public static let challenge = "Bearer realm=\"colossusd\""
    /// A secret has at least so many bytes.
    public static let secretBytesMin = 16
    public static let secretBytesMax = 4_096

    private let identities: [Identity]

    public init(_ identities: [Identity] = []) { self.identities = identities }

    public var isOpen: Bool { identities.isEmpty }

    /// - Parameter authorization: the values of all `Authorization` headers of a request.
    public func judge(_ authorization: [String]) -> Verdict {
        guard !isOpen else { return .open }
        guard let value = authorization.first else { return .refused(.missing) }
        guard authorization.count == 1, let given = Self.token(value) else { return .refused(.unknown) }
        // All are compared, in a time that tells nothing of which one was near.
        var found: Int?
        for (index, identity) in identities.enumerated() {
            for secret in identity.secrets where Self.isSame(given, secret) { found = found ?? index }
        }
        guard let found else { return .refused(.unknown) }
        return .known(name: identities[found].name, mayTellEvents: identities[found].mayTellEvents)
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
