public import Telemetry

/// The bus of a core that reports a cluster's stream beside its own ones: the shares of that stream come out of finals
/// instead of the shards, and everything behind the bus is as in a single process.
public final class ReportingBus: PartialBus {
    private struct State {
        var stream: StreamIndex?
        var waiting: [WindowPartial] = []
    }

    private let roller = EmbeddedBus()
    private let state = Locked(State())

    public init() {}

    public func subscribe(_ handler: @escaping @Sendable (WindowPartial) -> Void) {
        roller.subscribe(handler)
    }

    /// What the shards say of this stream counts no more; to be called before it is opened.
    public func report(_ stream: StreamIndex) { state.withLock { $0.stream = stream } }

    /// Shares of windows that the core is asked to close next.
    public func add(_ partials: [WindowPartial]) { state.withLock { $0.waiting += partials } }

    public func publish(_ partial: WindowPartial) {
        let (isReported, due) = state.withLock { state -> (Bool, [WindowPartial]) in
            guard partial.stream == state.stream else { return (false, []) }
            guard partial.isLast else { return (true, []) }
            let endMs = partial.startMs + partial.resolutionMs
            defer { state.waiting.removeAll { $0.startMs < endMs } }
            return (true, state.waiting.filter { $0.startMs < endMs })
        }
        if isReported, !partial.isLast { return }
        // Before the word of the first shard that there are no more.
        for share in due { roller.publish(share) }
        roller.publish(partial)
    }
}

/// A tick of a fleet that is played elsewhere: it moves the stream's clock, and nothing else.
public struct ClockTick: FleetTick {
    public let timeMs: Int64
    public var fields: [FieldIndex] { [] }
    public var jobs: [String] { [] }
    public var rackCount: Int { 0 }

    public init(timeMs: Int64) { self.timeMs = timeMs }

    public func fill(rack: Int, into values: inout MutableSpan<Double>) -> RackTick { RackTick() }
}

/// Says in the summaries of a cluster's stream how much of the fleet is in them, on their way to another sink.
public final class CoverageSink: SummarySink {
    private struct State {
        var stream: StreamID?
        /// By the start of the finest windows, of those that lack slices.
        var lacking: [Int64: Double] = [:]
        var finestMs: Int64 = 0
        var onCommit: (@Sendable (Int64) -> Void)?
    }

    /// Finest windows that lack something and are remembered for longer windows.
    private static let lackingMax = 16_384
    private let sink: any SummarySink
    private let state = Locked(State())

    public init(_ sink: any SummarySink) { self.sink = sink }

    /// - Parameter onCommit: told through which time the stream is stored.
    public func report(
        _ stream: StreamID, finestMs: Int64, onCommit: @escaping @Sendable (Int64) -> Void
    ) {
        state.withLock { $0 = State(stream: stream, finestMs: finestMs, onCommit: onCommit) }
    }

    public func note(_ window: ReportedWindow) {
        guard window.coverage < 1 else { return }
        state.withLock { state in
            if state.lacking.count >= Self.lackingMax, let oldest = state.lacking.keys.min() {
                state.lacking[oldest] = nil
            }
            state.lacking[window.startMs] = window.coverage
        }
    }

    public func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        let known = state.withLock { $0 }
        guard close.stream == known.stream else { return sink.commit(close, done: done) }
        var covered = close
        for index in covered.windows.indices {
            let window = covered.windows[index]
            let lacking = known.lacking.filter { $0.key >= window.startMs && $0.key < window.endMs }
            let missing = lacking.values.reduce(0) { $0 + 1 - $1 }
            let parts = Double(max(1, window.resolutionMs / max(1, known.finestMs)))
            covered.windows[index].coverage = min(window.coverage, max(0, 1 - missing / parts))
        }
        let throughMs = close.closedThroughMs
        sink.commit(covered) {
            done()
            known.onCommit?(throughMs)
        }
    }
}
