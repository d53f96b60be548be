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
        /// Files that could not be opened, which was told, and when they are tried again.
        var unopened: (stamps: [FileStamp], retryMs: Int64)?
        /// What was said of the end of the certificate.
        var told = TLSCounts.End.far

        /// Whether files that look so are to be read.
        mutating func isDue(_ now: [FileStamp], nowMs: Int64) -> Bool {
            guard now != judged else {
                (unsettled, unopened) = (nil, nil)
                return false
            }
            if let unopened, unopened.stamps == now {
                // Beyond both ends: the clock may have been set back.
                return !(unopened.retryMs - TLSAcceptor.retryAfterMs..<unopened.retryMs).contains(nowMs)
            }
            defer { unsettled = now }
            return unsettled == now
        }
    }

    private static let retryAfterMs: Int64 = 60_000

    private let state = Locked(State())
    /// Advanced under the lock of `state`, with the context.
    private let epoch = TLSEpoch()
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
            if state.context?.authorities != context?.authorities { epoch.advance() }
            state = State(context: context, judged: context?.stamps ?? [])
        }
        counts.loaded(context)
        lookAtEnd()
    }

    /// Says once that the certificate ends soon, and once that it has ended.
    private func lookAtEnd() {
        let (context, end, isNews) = state.withLock { state in
            let end = state.context.map { counts.end($0) } ?? .far
            defer { state.told = max(state.told, end) }
            return (state.context, end, end > state.told)
        }
        if isNews, let context { counts.tell(end, context.files) }
    }

    /// Whether connections from now on speak TLS.
    public var isOn: Bool { state.withLock { $0.context != nil } }

    /// Reads the files again if they have changed, and then have not from one call to the next: whoever renews a
    /// certificate writes two files. What cannot be used changes nothing, and is told once; what cannot be opened is tried
    /// again each minute. Also looks whether the certificate has ended. Call it every few seconds.
    public func refresh() {
        guard let files = state.withLock({ $0.context?.files }) else { return }
        lookAtEnd()
        let (now, nowMs) = (FileStamp.of(files), counts.clock.nowMs())
        guard state.withLock({ $0.isDue(now, nowMs: nowMs) }) else { return }
        do throws(TLSFileError) {
            replace(try TLSContext(files))
            counts.renewed(files)
        } catch {
            let isNews = state.withLock { state in
                state.unsettled = nil
                let isNews = state.unopened?.stamps != now
                if error.isPassing {
                    state.unopened = (now, nowMs + Self.retryAfterMs)
                } else {
                    (state.judged, state.unopened) = (now, nil)
                }
                return isNews || !error.isPassing
            }
            counts.kept(error, isNews: isNews)
        }
    }

    /// The handler that stands first in the pipeline of a new connection; `nil` where connections are plain.
    ///
    /// - Throws: when there is no memory for it: the connection must be closed.
    public func makeHandler() throws -> TLSHandler? {
        let (found, trust) = state.withLock { ($0.context, TLSTrust(epoch, clock: counts.clock)) }
        guard let context = found else { return nil }
        guard let session = TLSSession(context, pieceBytes: limits.pieceBytes) else { throw OutOfMemory() }
        return TLSHandler(session, trust: trust, limits: limits, counts: counts)
    }

    private struct OutOfMemory: Error {}
}
