/// Who may come in at a listener, judged when all files have been read. What the files hold is the daemon's to judge: it
/// has OpenSSL.
struct SettingsAccess {
    private let name: String
    private let listen: DaemonSettings.Listen
    private let tokens: [DaemonSettings.Token]
    private let isInsecure: Bool
    private let tls: DaemonSettings.ListenerTLS?
    private let places: [String: YAMLPlace]
    private let whole: YAMLPlace

    init(_ ingest: DaemonSettings.Ingest, _ places: [String: YAMLPlace], _ whole: YAMLPlace) {
        (name, listen, tokens, isInsecure, tls) = (
            "ingest", ingest.listen, ingest.tokens, ingest.insecure, ingest.tls
        )
        (self.places, self.whole) = (places, whole)
    }

    init(_ web: DaemonSettings.Web, _ places: [String: YAMLPlace], _ whole: YAMLPlace) {
        (name, listen, tokens, isInsecure, tls) = ("web", web.listen, web.tokens, web.insecure, web.tls)
        (self.places, self.whole) = (places, whole)
    }

    var errors: [SettingsError] { reach + secrets + certificates + files }

    private func place(_ key: String) -> YAMLPlace { places[key] ?? whole }

    /// What other machines reach asks who they are, or somebody says that it need not.
    private var reach: [SettingsError] {
        guard !listen.isLoopback, tokens.isEmpty, !isInsecure, tls?.wantsCertificate != true else {
            return []
        }
        return [
            place("\(name).listen").error(
                "`\(listen)` can be reached from other machines, and nobody is asked who he is",
                expected:
                    "\(name).tokens, \(name).tls with client certificates that are required, a loopback address, or \(name).insecure: true in a network that you trust"
            )
        ]
    }

    private var secrets: [SettingsError] {
        tokens.compactMap { token in
            guard let file = token.file, let problem = Self.problem(file) else { return nil }
            return place("\(name).tokens.\(token.name)").error(
                "\(file) cannot be read: \(problem)", expected: "a file with a secret a line")
        }
    }

    private var certificates: [SettingsError] {
        guard tls?.clientCA == nil else { return health }
        let without = ["client_certificate", "client_crl"].compactMap { places["\(name).tls.\($0)"] }.map {
            $0.error("nobody is asked for a certificate", expected: "\(name).tls.client_ca, too")
        }
        return health + without
            + tokens.filter { $0.certificate != nil }.map { token in
                place("\(name).tokens.\(token.name).certificate").error(
                    "nobody is asked for a certificate", expected: "\(name).tls.client_ca, too")
            }
    }

    private var health: [SettingsError] {
        guard let tls, tls.healthWithoutCertificate, !tls.wantsCertificate else { return [] }
        return [
            place("\(name).tls.health_without_certificate").error(
                "no certificate is required for anything",
                expected: "\(name).tls.client_ca, and a client_certificate that is required")
        ]
    }

    private var files: [SettingsError] {
        guard let tls else { return [] }
        var errors: [SettingsError] = []
        for (key, file, what) in [
            ("certificate", tls.certificate, "the listener's certificate in PEM"),
            ("key", tls.key, "the key of the certificate in PEM"),
        ] where file.isEmpty {
            errors.append(place("\(name).tls").error("`\(key)` is missing", expected: what))
        }
        let files = [
            ("certificate", tls.certificate), ("key", tls.key), ("client_ca", tls.clientCA ?? ""),
            ("client_crl", tls.clientCRL ?? ""),
        ]
        for (key, file) in files where !file.isEmpty {
            guard let problem = Self.problem(file) else { continue }
            errors.append(
                place("\(name).tls.\(key)").error(
                    "\(file) cannot be read: \(problem)", expected: "a file in PEM"))
        }
        return errors
    }

    /// Credentials of systemd are not there when a configuration is checked from outside of the service.
    private static func problem(_ file: String) -> String? {
        file.hasPrefix("credential:") ? nil : SettingsFiles.problem(file)
    }
}

extension DaemonSettings {
    /// What is allowed at the listeners and may not be meant, in sentences.
    public var accessWarnings: [String] {
        [
            ("ingest", "send", ingest.tokens, ingest.tls), ("web", "read", web.tokens, web.tls),
        ].compactMap { name, act, tokens, tls in
            guard tls?.clientCA != nil, !tokens.isEmpty, tokens.allSatisfy({ $0.certificate == nil }) else {
                return nil
            }
            return
                "\(name): whoever has a certificate of tls.client_ca may \(act) without a token, because no token names a certificate"
        }
    }
}
