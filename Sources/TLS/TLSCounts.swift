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
        guard let context else { return gauge.set(0) }
        gauge.set(Double(context.validUntilSeconds))
    }

    /// How far the end of a certificate is.
    enum End: Int, Comparable {
        case far, soon, past
        static func < (left: End, right: End) -> Bool { left.rawValue < right.rawValue }
    }

    func end(_ context: TLSContext) -> End {
        let leftSeconds = context.validUntilSeconds - clock.nowMs() / 1_000
        // Certificates of a day are renewed in time by whoever makes them so short.
        let soonSeconds = min(Self.soonSecondsMax, (context.validUntilSeconds - context.validFromSeconds) / 4)
        return leftSeconds < 0 ? .past : leftSeconds < soonSeconds ? .soon : .far
    }

    private static let soonSecondsMax: Int64 = 7 * 86_400

    func tell(_ end: End, _ files: TLSFiles) {
        guard end != .far else { return }
        logger.warning(
            end == .past
                ? "the certificate of a listener has expired: peers will refuse it"
                : "the certificate of a listener expires soon",
            metadata: [
                "event": end == .past ? "certificate_expired" : "certificate_expiring",
                "listener": "\(listener)", "file": "\(files.certificate)",
            ])
    }

    func renewed(_ files: TLSFiles) {
        read("ok")
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
            "a changed certificate cannot be used; the old one stays in force",
            metadata: [
                "event": "certificate_kept", "listener": "\(listener)", "file": "\(error.file)",
                "error": "\(error.reason)",
            ])
    }

    private func read(_ result: String) {
        metrics.counter(
            "colossus_tls_certificate_reads_total", "Certificates that changed and were read again.",
            ["listener": listener, "result": result]
        ).add()
    }
}
