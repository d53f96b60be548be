import Logging
import Settings
import SystemdSupport
import TLS

/// Reads the certificates of listeners.
enum ListenerTLS {
    /// `nil` where the listener speaks plain HTTP.
    ///
    /// - Parameter acceptor: of the listener, where something is in force that may be better than what is in the files.
    /// - Throws: which file is wrong, and why.
    static func load(
        _ listener: String, _ tls: DaemonSettings.ListenerTLS?, over acceptor: TLSAcceptor? = nil
    ) throws(StartError) -> TLSContext? {
        guard let tls else { return nil }
        let owner = "\(listener).tls"
        var files = TLSFiles(
            certificate: try Credentials.path(tls.certificate, of: owner),
            key: try Credentials.path(tls.key, of: owner))
        if let authorities = tls.clientCA {
            files.clientCA = try Credentials.path(authorities, of: owner)
        }
        if let lists = tls.clientCRL { files.clientCRL = try Credentials.path(lists, of: owner) }
        // Who has to show one and has not is told so at his request: AccessTokens.
        let isRequired = tls.clientCertificate == .required && !tls.healthWithoutCertificate
        files.clientCertificate = isRequired ? .required : .optional
        files.isTLS13 = tls.isTLS13
        do throws(TLSFileError) {
            let new = try TLSContext(files)
            try acceptor?.check(new)
            return new
        } catch {
            throw StartError(
                "The file \(error.file) of \(owner) cannot be used: it \(error.reason).",
                hint: "`colossusd --check-config` looks at it again.", status: 78)
        }
    }

    /// What is wrong with the files of a configuration. Credentials of systemd are not there outside of the service.
    static func problems(in settings: DaemonSettings) -> [String] {
        [("ingest", settings.ingest.tls), ("web", settings.web.tls)].compactMap { listener, tls in
            let files = [tls?.certificate, tls?.key, tls?.clientCA, tls?.clientCRL].compactMap(\.self)
            if Credentials.folder == nil, files.contains(where: { Credentials.isOne($0) }) { return nil }
            do throws(StartError) {
                _ = try load(listener, tls)
                return nil
            } catch {
                return error.message
            }
        }
    }
}

extension Daemon {
    /// Says once a listener that tokens cross the network in clear text.
    func warnOfTokensInClear(_ parts: DaemonParts) {
        for (name, listen, tokens, tls) in [
            ("ingest", parts.ingestBound, settings.ingest.tokens, settings.ingest.tls),
            ("web", parts.webBound, settings.web.tokens, settings.web.tls),
        ] where !listen.isLoopback && tls == nil && tokens.contains(where: { $0.file != nil }) {
            guard warnedInClear.insert(name).inserted else { continue }
            logger.warning(
                "tokens cross the network in clear text: give the listener a certificate",
                metadata: JournalMessage.tokensInClear.metadata([
                    "listener": "\(name)", "listen": "\(listen)",
                ]))
        }
    }
}
