import WireFormats

/// Secrets as they were read, for one request after the other.
struct Secrets: Sendable {
    var headers: [HTTPHeader] = []
    var signingKey: [UInt8]?

    /// What must not be shown when a receiver repeats it: values of headers, and tokens without their scheme.
    var hidden: [[UInt8]] {
        let words = headers.flatMap { header in
            [header.value] + header.value.split(separator: " ").dropFirst().map(String.init)
        }
        return words.map { Array($0.utf8) } + [plainPassword, signingKey].compactMap(\.self)
    }

    /// The same of an endpoint altogether, the longest first. Less than some bytes would tear innocent texts apart, and is no secret.
    static func hidden(_ secrets: Secrets, _ configuration: EndpointConfiguration) -> [[UInt8]] {
        let plain = configuration.headers.values + (DestinationURL(configuration.url)?.hidden ?? [])
        return (secrets.hidden + plain.map { Array($0.utf8) })
            .filter { $0.count >= hiddenBytesMin }
            .sorted { $0.count > $1.count }
    }

    static let hiddenBytesMin = 6
    /// Of basic authentication.
    private var plainPassword: [UInt8]?

    /// Puts together what was read of the files.
    init(_ places: EndpointSecrets, kind: EndpointKind, read: (String) throws(FileAppender.Problem) -> String)
        throws(FileAppender.Problem)
    {
        if let file = places.tokenFile {
            let scheme = kind == .influx ? "Token" : "Bearer"
            headers.append(HTTPHeader("Authorization", "\(scheme) \(try read(file))"))
        }
        if let user = places.basicUser, let file = places.basicPasswordFile {
            let password = try read(file)
            plainPassword = Array(password.utf8)
            let pair = Array("\(user):\(password)".utf8)
            headers.append(HTTPHeader("Authorization", "Basic " + Base64.encode(pair)))
        }
        for (name, file) in places.headerFiles.sorted(by: { $0.key < $1.key }) {
            headers.append(HTTPHeader(name, try read(file)))
        }
        if let file = places.signingKeyFile { signingKey = Self.key(try read(file)) }
    }

    init() {}

    /// `whsec_` and base64, as Standard Webhooks has it, or the text itself.
    private static func key(_ text: String) -> [UInt8] {
        let prefix = "whsec_"
        guard text.hasPrefix(prefix), let key = Base64.decode(String(text.dropFirst(prefix.count))) else {
            return Array(text.utf8)
        }
        return key
    }

    /// The headers of Standard Webhooks 1.0 (www.standardwebhooks.com): HMAC-SHA256 over id, time and body.
    func signature(id: String, body: [UInt8], nowMs: Int64) -> [HTTPHeader] {
        guard let signingKey else { return [] }
        let seconds = String(nowMs / 1_000)
        let signed = Array("\(id).\(seconds).".utf8) + body
        return [
            HTTPHeader("webhook-id", id), HTTPHeader("webhook-timestamp", seconds),
            HTTPHeader(
                "webhook-signature", "v1," + Base64.encode(SHA256.authenticationCode(signed, key: signingKey))
            ),
        ]
    }
}
