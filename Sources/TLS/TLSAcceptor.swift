public import Logging
public import Telemetry

/// What a listener speaks TLS with: makes the handler of each connection from the certificate that is in force.
///
/// Files that change are read again by `refresh`; connections that are open go on with what they began with, but for their
/// clients' certificates, which are held against newer authorities and lists of revoked ones (`TLSTrust`).
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
        /// What was said of the ends of the certificate and of the lists of revoked ones.
        var told: [TLSCounts.Ending: TLSCounts.End] = [:]

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
    /// Changed under the lock of `state`, with the context.
    private let inForce = TLSInForce()
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
            inForce.replace(context)
            // What is as it was is not told again.
            let (old, new) = (state.context.map { counts.terms($0) }, context.map { counts.terms($0) })
            let told = state.told.filter { old?[$0.key] == new?[$0.key] }
            state = State(context: context, judged: context?.stamps ?? [])
            state.told = told
        }
        counts.loaded(context)
        lookAtEnds()
    }

    /// Says once that the certificate, or a list of revoked ones, ends soon, and once that it has ended.
    private func lookAtEnds() {
        let (context, news) = state.withLock { state in
            let ends = state.context.map { counts.ends($0) } ?? [:]
            let news = ends.filter { $0.value > state.told[$0.key] ?? .far }
            state.told.merge(news) { $1 }
            return (state.context, news)
        }
        guard let context else { return }
        for (ending, end) in news.sorted(by: { TLSCounts.Ending.isBefore($0.key, $1.key) }) {
            counts.tell(ending, end, context.files)
        }
    }

    /// Whether connections from now on speak TLS.
    public var isOn: Bool { state.withLock { $0.context != nil } }

    /// Reads the files again if they have changed, and then have not from one call to the next: whoever renews a
    /// certificate writes two files. What cannot be used changes nothing, and is told once; what cannot be opened is tried
    /// again each minute. Also looks whether the certificate, or a list of revoked ones, has ended. Call it every few
    /// seconds.
    public func refresh() {
        guard let old = state.withLock({ $0.context }) else { return }
        let files = old.files
        lookAtEnds()
        let (now, nowMs) = (FileStamp.of(files), counts.clock.nowMs())
        guard state.withLock({ $0.isDue(now, nowMs: nowMs) }) else { return }
        do throws(TLSFileError) {
            let new = try TLSContext(files)
            try check(new)
            replace(new)
            counts.renewed(files, isListAlone: new.lists != nil && old.stamps.dropLast() == now.dropLast())
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

    /// Whether files that can be used may take the place of those in force: lists of revoked certificates that have run
    /// out, are not valid yet or are older do not replace good ones. Call it before `replace`, while nothing has changed.
    ///
    /// - Throws: which file may not, and why.
    public func check(_ new: TLSContext?) throws(TLSFileError) {
        guard let lists = new?.lists else { return }
        let old = state.withLock { $0.context?.lists }
        try lists.check(over: old, nowSeconds: counts.clock.nowMs() / 1_000)
    }

    /// The handler that stands first in the pipeline of a new connection; `nil` where connections are plain.
    ///
    /// - Throws: when there is no memory for it: the connection must be closed.
    public func makeHandler() throws -> TLSHandler? {
        let (found, trust) = state.withLock { ($0.context, TLSTrust(inForce, $0.context, counts: counts)) }
        guard let context = found else { return nil }
        guard let session = TLSSession(context, pieceBytes: limits.pieceBytes) else { throw OutOfMemory() }
        return TLSHandler(session, trust: trust, limits: limits, counts: counts)
    }

    private struct OutOfMemory: Error {}
}
