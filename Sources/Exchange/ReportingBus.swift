public import Telemetry

/// The bus of a core that reports a cluster's stream beside its own ones: the shares of that stream come out of finals
/// instead of the shards, and everything behind the bus is as in a single process.
public final class ReportingBus: PartialBus {
    private struct State {
        var reported: Set<StreamIndex> = []
        var waiting: [WindowPartial] = []
        var shared: (stream: StreamIndex, ingest: SharedIngest)?
    }

    private let roller = EmbeddedBus()
    private let state = Locked(State())

    public init() {}

    public func subscribe(_ handler: @escaping @Sendable (WindowPartial) -> Void) {
        roller.subscribe(handler)
    }

    /// What the shards say of this stream counts no more; to be called before it is opened.
    public func report(_ stream: StreamIndex) {
        state.withLock { _ = $0.reported.insert(stream) }
    }

    /// What the shards say of this stream counts again; to be called once it is closed. A number outlives its stream: a run
    /// of this process alone may have the name next.
    public func unreport(_ stream: StreamIndex) {
        state.withLock { state in
            state.reported.remove(stream)
            state.waiting.removeAll { $0.stream == stream }
        }
    }

    /// What the shards say of this stream is shared.
    public func share(_ stream: StreamIndex, _ ingest: SharedIngest) {
        state.withLock { $0.shared = (stream, ingest) }
    }

    /// Shares of windows that the core is asked to close next.
    public func add(_ partials: [WindowPartial]) {
        state.withLock { state in
            // Who adds may just have been stopped.
            state.waiting += partials.filter { state.reported.contains($0.stream) }
        }
    }

    public func publish(_ partial: WindowPartial) {
        let known = state.withLock { $0.shared }
        if let known, known.stream == partial.stream { return roller.publish(known.ingest.take(partial)) }
        let (isReported, due) = state.withLock { state -> (Bool, [WindowPartial]) in
            guard state.reported.contains(partial.stream) else { return (false, []) }
            guard partial.isLast else { return (true, []) }
            let endMs = partial.startMs + partial.resolutionMs
            let due = state.waiting.filter { $0.stream == partial.stream && $0.startMs < endMs }
            state.waiting.removeAll { $0.stream == partial.stream && $0.startMs < endMs }
            return (true, due)
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

/// Says in the summaries of a cluster's streams how much of the fleet is in them, on their way to another sink; closings
/// of a stream that is shared wait until it is.
public final class CoverageSink: SummarySink {
    private struct Reported {
        /// By the start of the finest windows, of those that lack something.
        var lacking: [Int64: Double] = [:]
        var finestMs: Int64
        var onCommit: @Sendable (Int64) -> Void
    }

    private struct State {
        var reported: [StreamID: Reported] = [:]
        var shared: SharedIngest?
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
        state.withLock { $0.reported[stream] = Reported(finestMs: finestMs, onCommit: onCommit) }
    }

    /// Its closings say of themselves again how much is in them, and nobody is told of them; to be called once it is closed.
    public func forget(_ stream: StreamID) { state.withLock { $0.reported[stream] = nil } }

    /// Closings of `ingested` go this way.
    public func share(_ ingest: SharedIngest) { state.withLock { $0.shared = ingest } }

    /// How much is in a finest window, 0...1; also once more, when it is revised.
    public func note(_ stream: StreamID, startMs: Int64, coverage: Double) {
        state.withLock { state in
            guard coverage < 1 else {
                state.reported[stream]?.lacking[startMs] = nil
                return
            }
            if let lacking = state.reported[stream]?.lacking, lacking.count >= Self.lackingMax,
                let oldest = lacking.keys.min()
            {
                state.reported[stream]?.lacking[oldest] = nil
            }
            state.reported[stream]?.lacking[startMs] = coverage
        }
    }

    public func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        let (reported, shared) = state.withLock { ($0.reported[close.stream], $0.shared) }
        if close.stream == .ingested, let shared { return shared.commit(close, done: done) }
        guard let reported else { return sink.commit(close, done: done) }
        var covered = close
        for index in covered.windows.indices {
            let window = covered.windows[index]
            let lacking = reported.lacking.filter { $0.key >= window.startMs && $0.key < window.endMs }
            let missing = lacking.values.reduce(0) { $0 + 1 - $1 }
            let parts = Double(max(1, window.resolutionMs / max(1, reported.finestMs)))
            covered.windows[index].coverage = min(window.coverage, max(0, 1 - missing / parts))
        }
        let throughMs = close.closedThroughMs
        sink.commit(covered) {
            done()
            reported.onCommit(throughMs)
        }
    }
}
