import Logging
import Telemetry

/// What the connections of a listener came to, in metrics and in the log.
struct TLSCounts: Sendable {
    let listener: String
    let clock: WallClock
    let metrics: Metrics
    let logger: Logger

    func established(version: String) {
        metrics.counter(
            "colossus_tls_handshakes_total", "TLS handshakes that came about, by version.",
            ["listener": listener, "version": version]
        ).add()
    }

    /// - Parameter isWorthALine: a connection that came and went without a byte is how ports are watched.
    func failed(_ failure: TLSFailure, peer: String, isWorthALine: Bool = true) {
        metrics.counter(
            "colossus_tls_failures_total", "Connections that ended because of TLS, by reason.",
            ["listener": listener, "reason": failure.reason.rawValue]
        ).add()
        guard isWorthALine else { return }
        logger.notice(
            "a TLS connection was refused",
            metadata: [
                "event": "tls_refused", "listener": "\(listener)", "peer": "\(peer)",
                "reason": "\(failure.reason.rawValue)", "error": "\(failure.words)",
            ])
    }

    func loaded(_ context: TLSContext?) {
        let name = "colossus_tls_certificate_expiry_timestamp_seconds"
        let gauge = metrics.gauge(
            name, "When the listener's certificate ends, in Unix seconds; 0 without one.",
            ["listener": listener])
        gauge.set(Double(context?.validUntilSeconds ?? 0))
        let end = context?.lists?.validUntilSeconds ?? .max
        metrics.gauge(
            "colossus_tls_crl_expiry_timestamp_seconds",
            "When the first of the lists of revoked client certificates ends, in Unix seconds; 0 without one.",
            ["listener": listener]
        ).set(end == .max ? 0 : Double(end))
    }

    /// What comes to an end.
    enum Ending: Hashable {
        case certificate
        case list(RevocationLists.Term)

        /// The certificate is told of first.
        static func isBefore(_ left: Ending, _ right: Ending) -> Bool {
            switch (left, right) {
            case (.certificate, .list): true
            case (.list(let left), .list(let right)): left.until < right.until
            default: false
            }
        }
    }

    /// From when until when it is good, in Unix seconds, and how long before the end that is told.
    struct Term: Equatable {
        var from: Int64
        var until: Int64
        var soonSeconds: Int64
    }

    func terms(_ context: TLSContext) -> [Ending: Term] {
        // Certificates of a day are renewed in time by whoever makes them so short.
        let (from, until) = (context.validFromSeconds, context.validUntilSeconds)
        var terms = [
            Ending.certificate: Term(
                from: from, until: until, soonSeconds: min(7 * Self.day, (until - from) / 4))
        ]
        // One end after the other, and not the first one alone: each is that of another authority.
        for list in context.lists?.nearest(toSeconds: clock.nowMs() / 1_000) ?? [] {
            // Authorities make the next list shortly before the end of the last one.
            terms[.list(list)] = Term(
                from: list.from, until: list.until,
                soonSeconds: min(Self.day, max(0, list.until - list.from) / 20))
        }
        return terms
    }

    /// How far an end is.
    enum End: Int, Comparable {
        case far, soon, past
        static func < (left: End, right: End) -> Bool { left.rawValue < right.rawValue }
    }

    func ends(_ context: TLSContext) -> [Ending: End] {
        let now = clock.nowMs() / 1_000
        return terms(context).mapValues { term in
            term.until < now ? .past : term.until - term.soonSeconds < now ? .soon : .far
        }
    }

    private static let day: Int64 = 86_400

    func tell(_ ending: Ending, _ end: End, _ files: TLSFiles) {
        guard end != .far else { return }
        guard ending == .certificate else {
            return logger.warning(
                end == .past
                    ? "a list of revoked client certificates has expired: clients of its authority are refused"
                    : "a list of revoked client certificates expires soon",
                metadata: [
                    "event": end == .past ? "crl_expired" : "crl_expiring", "listener": "\(listener)",
                    "file": "\(files.clientCRL ?? "")",
                ])
        }
        logger.warning(
            end == .past
                ? "the certificate of a listener has expired: peers will refuse it"
                : "the certificate of a listener expires soon",
            metadata: [
                "event": end == .past ? "certificate_expired" : "certificate_expiring",
                "listener": "\(listener)", "file": "\(files.certificate)",
            ])
    }

    /// - Parameter isListAlone: nothing but the lists of revoked certificates has changed.
    func renewed(_ files: TLSFiles, isListAlone: Bool) {
        read("ok")
        guard !isListAlone else {
            return logger.notice(
                "the lists of revoked client certificates of a listener were read again",
                metadata: [
                    "event": "crl_renewed", "listener": "\(listener)", "file": "\(files.clientCRL ?? "")",
                ])
        }
        logger.notice(
            "the certificate of a listener was read again",
            metadata: [
                "event": "certificate_renewed", "listener": "\(listener)", "file": "\(files.certificate)",
            ])
    }

    /// - Parameter isNews: a file that could still not be opened is counted and not told.
    func kept(_ error: TLSFileError, isNews: Bool) {
        read("failed")
        guard isNews else { return }
        logger.warning(
            "a changed file of a listener's TLS cannot be used; what was in force stays so",
            metadata: [
                "event": "certificate_kept", "listener": "\(listener)", "file": "\(error.file)",
                "error": "\(error.reason)",
            ])
    }

    private func read(_ result: String) {
        metrics.counter(
            "colossus_tls_certificate_reads_total",
            "Certificates, keys and lists that changed and were read again.",
            ["listener": listener, "result": result]
        ).add()
    }
}
