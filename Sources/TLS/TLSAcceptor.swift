public import Logging
public import Telemetry

/// What a listener speaks TLS with: makes the handler of each connection from the certificate that is in force.
///
/// Files that change are read again by `refresh`; connections that are open go on with what they began with.
public final class TLSAcceptor: Sendable {
    private struct State {
        /// `nil`: connections are plain.
        var context: TLSContext?
        /// The files as they were when they were last read, whatever came of it.
        var judged: [FileStamp] = []
        /// Changed since then, at the last look: they are read when they have stayed so until the next.
        var unsettled: [FileStamp]?
    }

    private let state = Locked(State())
    let counts: TLSCounts
    private let limits: TLSLimits

    /// - Parameter listener: its name in metrics and in the log.
    public init(
        listener: String, clock: WallClock, metrics: Metrics, logger: Logger, limits: TLSLimits = TLSLimits()
    ) {
        counts = TLSCounts(listener: listener, clock: clock, metrics: metrics, logger: logger)
        self.limits = limits
    }

    /// For connections from now on; `nil`: they are plain.
    public func replace(_ context: TLSContext?) {
        state.withLock { state in
            state.context = context
            state.judged = context?.stamps ?? []
            state.unsettled = nil
        }
        counts.loaded(context)
    }

    /// Whether connections from now on speak TLS.
    public var isOn: Bool { state.withLock { $0.context != nil } }

    /// Reads the files again if they have changed, and then have not from one call to the next: whoever renews a
    /// certificate writes two files. What cannot be used changes nothing, and is told once. Call it every few seconds.
    public func refresh() {
        guard let files = state.withLock({ $0.context?.files }) else { return }
        let now = FileStamp.of(files)
        let isDue = state.withLock { state in
            guard now != state.judged else {
                state.unsettled = nil
                return false
            }
            defer { state.unsettled = now }
            return state.unsettled == now
        }
        guard isDue else { return }
        do throws(TLSFileError) {
            replace(try TLSContext(files))
            counts.renewed(files)
        } catch {
            state.withLock { state in
                state.judged = now
                state.unsettled = nil
            }
            counts.kept(error)
        }
    }

    /// The handler that stands first in the pipeline of a new connection; `nil` where connections are plain.
    ///
    /// - Throws: when there is no memory for it: the connection must be closed.
    public func makeHandler() throws -> TLSHandler? {
        guard let context = state.withLock({ $0.context }) else { return nil }
        guard let session = TLSSession(context, pieceBytes: limits.pieceBytes) else { throw OutOfMemory() }
        return TLSHandler(session, limits: limits, counts: counts)
    }

    private struct OutOfMemory: Error {}
}

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
        guard context.validUntilSeconds * 1_000 < clock.nowMs() else { return }
        logger.warning(
            "the certificate of a listener has expired: peers will refuse it",
            metadata: [
                "event": "certificate_expired", "listener": "\(listener)",
                "file": "\(context.files.certificate)",
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

    func kept(_ error: TLSFileError) {
        read("failed")
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
