import Dispatch
import QueueIsolation
import Telemetry

/// Merges the shares of the shards into summaries, and hands them to the sink one closing after the other.
actor Roller {
    /// One stream on its way upwards.
    private final class RollerStream {
        let shared: StreamShared
        let ladder: RollupLadder
        let book: RevisionBook
        var step: CloseStep?
        /// All shares of the step are in, and its closings are made: only the sink is waited for. An earlier closing
        /// that is committed while shares still come must not end the step.
        var isAssembled = false
        var partials: [WindowPartial] = []
        var sharesDone = 0
        var ledger = Ledger()
        var checkpoints: [[UInt8]] = []
        /// The work on the shares of the step.
        var run: ClosingRun?
        /// Samples in the windows that were made since the stream was opened.
        var aggregated: Int64 = 0
        var outbox: [(close: WindowClose, samples: Int64)] = []
        var inFlight = 0
        /// The last `closedThroughMs` that was handed over.
        var handedOverMs: Int64?
        /// Silence is worth a summary only after the first sample.
        var hasHeard: Bool

        init(_ shared: StreamShared, revisionBytesMax: Int) {
            self.shared = shared
            book = RevisionBook(shared.spec.plan, bytesMax: revisionBytesMax)
            ladder = RollupLadder(shared.spec)
            handedOverMs = shared.spec.closedThroughMs
            hasHeard = shared.spec.closedThroughMs != nil
        }

        var isQuiet: Bool { step == nil && outbox.isEmpty && inFlight == 0 }
    }

    private struct Waiter {
        var streams: [StreamIndex]
        var isReady: @Sendable () -> Bool
        var completion: @Sendable () -> Void
    }

    private nonisolated let executor = QueueExecutor(label: "colossus.roller", target: WorkerPool.shared)
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    nonisolated var queue: DispatchQueue { executor.queue }

    private let shardCount: Int
    private let closingsInFlightMax: Int
    private let revisionBytesMax: Int
    private let sink: any SummarySink
    private let counters: CoreCounters
    private var streams: [StreamIndex: RollerStream] = [:]
    private var waiters: [Waiter] = []
    /// Called when a step is done and the next may come.
    ///
    /// Its second argument is from where on windows can be revised.
    private var stepDone: @Sendable (StreamIndex, Int64?) -> Void = { _, _ in }

    init(shardCount: Int, limits: AggregationLimits, sink: any SummarySink, counters: CoreCounters) {
        self.shardCount = shardCount
        closingsInFlightMax = limits.closingsInFlightMax
        revisionBytesMax = limits.revisionBytesMax
        self.sink = sink
        self.counters = counters
    }

    private nonisolated func later(_ body: @escaping @Sendable (isolated Roller) -> Void) {
        executor.queue.async { @Sendable in self.assumeIsolated { body($0) } }
    }

    nonisolated func onStepDone(_ body: @escaping @Sendable (StreamIndex, Int64?) -> Void) {
        later { $0.stepDone = body }
    }

    nonisolated func open(_ shared: StreamShared) {
        later { $0.streams[shared.index] = RollerStream(shared, revisionBytesMax: $0.revisionBytesMax) }
    }

    nonisolated func close(_ stream: StreamIndex, _ completion: @escaping @Sendable () -> Void) {
        later { roller in
            roller.streams[stream] = nil
            roller.checkWaiters()
            completion()
        }
    }

    /// The shares of the shards for this step follow.
    nonisolated func begin(_ step: CloseStep, _ stream: StreamIndex) {
        later { $0.streams[stream]?.step = step }
    }

    nonisolated func receive(_ partial: WindowPartial) {
        later { $0.take(partial) }
    }

    /// Calls `completion` as soon as nothing of these streams is on its way and `isReady` says so too.
    nonisolated func whenIdle(
        _ streams: [StreamIndex], _ isReady: @escaping @Sendable () -> Bool,
        _ completion: @escaping @Sendable () -> Void
    ) {
        later { roller in
            roller.waiters.append(Waiter(streams: streams, isReady: isReady, completion: completion))
            roller.checkWaiters()
        }
    }

    /// Something outside may have become idle.
    nonisolated func poke() { later { $0.checkWaiters() } }

    private func checkWaiters() {
        guard !waiters.isEmpty else { return }
        let all = waiters
        waiters = []
        for waiter in all {
            let isQuiet = waiter.streams.allSatisfy { streams[$0]?.isQuiet ?? true }
            if isQuiet, waiter.isReady() { waiter.completion() } else { waiters.append(waiter) }
        }
    }

    private func take(_ partial: WindowPartial) {
        guard let stream = streams[partial.stream], let step = stream.step else { return }
        guard partial.isLast else {
            stream.partials.append(partial)
            return
        }
        stream.ledger.add(partial.ledger)
        if let checkpoint = partial.checkpoint { stream.checkpoints.append(checkpoint) }
        stream.sharesDone += 1
        guard stream.sharesDone == shardCount else { return }
        let shares = Dictionary(grouping: stream.partials.filter { !$0.isLate }, by: \.startMs)
        let late = Dictionary(grouping: stream.partials.filter(\.isLate), by: \.startMs)
        // Nobody else holds them then, and they can be let go of bit by bit.
        stream.partials = []
        stream.run = ClosingRun(
            stream.shared.spec, ladder: stream.ladder, step: step,
            topology: stream.shared.topology.snapshot(), shares: shares, late: late,
            starts: starts(stream, step, shares), book: stream.book)
        work(partial.stream)
    }

    /// A little at a time, so that the shards' blocks come in between.
    private func work(_ index: StreamIndex) {
        guard let stream = streams[index], let run = stream.run, let step = stream.step else { return }
        guard run.advance() else {
            later { $0.work(index) }
            return
        }
        stream.run = nil
        stream.book.prune(closedThroughMs: step.throughMs)
        if run.tooLate > 0 { stream.shared.addLate(run.tooLate) }
        var ledger = stream.shared.startLedger
        ledger.add(stream.ledger)
        ledger.add(step.accounted)
        ledger[.late] += stream.shared.lateAfterwards
        var closes = run.closes(
            ledger: ledger, aggregated: ledger.aggregated + stream.aggregated,
            handedOverMs: stream.handedOverMs, tellsAnyway: isWorthTelling(stream, step))
        if !closes.isEmpty {
            stream.handedOverMs = step.throughMs
            closes[closes.count - 1].close.checkpoints = stream.checkpoints
        }
        stream.checkpoints = []
        if let cut = step.cut { mark(&closes, cut, stream.shared.spec) }
        stream.aggregated += closes.reduce(0) { $0 + $1.samples }
        stream.outbox += closes
        stream.isAssembled = true
        stream.sharesDone = 0
        stream.ledger = Ledger()
        counters.closeSeconds.set(Double(DispatchTime.now().uptimeNanoseconds - step.decidedAtNs) / 1e9)
        handOver(stream)
    }

    /// Says with each closing what of the log is in it. What was received a while before its end is kept, too: from
    /// it a restart learns again what counters and sticky gauges said last.
    private func mark(
        _ closes: inout [(close: WindowClose, samples: Int64)], _ cut: LogPosition, _ spec: StreamSpec
    ) {
        guard let journal = spec.journal else { return }
        for index in closes.indices {
            let newestMs = closes[index].close.closedThroughMs - AggregationLimits.relearnMs
            closes[index].close.log = LogMark(
                cut: cut, keepFrom: journal.keepFrom(newestMs: newestMs, cut: cut))
        }
    }

    /// Hands over as many closings as may be on their way; the step is done when all of its own are.
    private func handOver(_ stream: RollerStream) {
        let index = stream.shared.index
        while stream.inFlight < closingsInFlightMax, !stream.outbox.isEmpty {
            let (close, samples) = stream.outbox.removeFirst()
            stream.inFlight += 1
            counters.windowsClosed.add(Int64(close.windows.count))
            let (shared, counters) = (stream.shared, counters)
            let mark = close.log
            sink.commit(close) { [weak self] in
                shared.committed(samples)
                counters.aggregated(samples)
                if let mark { shared.spec.journal?.release(mark) }
                self?.later { $0.committed(index) }
            }
        }
        if stream.isAssembled, stream.outbox.isEmpty, stream.inFlight < closingsInFlightMax {
            stream.step = nil
            stream.isAssembled = false
            stepDone(index, stream.book.fromMs)
        }
        checkWaiters()
    }

    private func committed(_ index: StreamIndex) {
        guard let stream = streams[index] else { return }
        stream.inFlight -= 1
        handOver(stream)
    }

    /// The windows of a step: those with shares, those with a tick, and silent ones where they are wanted.
    private func starts(
        _ stream: RollerStream, _ step: CloseStep, _ shares: [Int64: [WindowPartial]]
    ) -> [Int64] {
        var starts = Set(shares.keys).union(step.tickedMs)
        let finestMs = stream.shared.spec.plan.finestMs
        if let fromMs = step.emptyFromMs {
            var startMs = fromMs
            if !stream.hasHeard { startMs = max(fromMs, starts.min() ?? step.throughMs) }
            while startMs < step.throughMs {
                starts.insert(startMs)
                startMs += finestMs
            }
        }
        stream.hasHeard = stream.hasHeard || !shares.isEmpty
        return starts.sorted()
    }

    /// A stretch without windows is told of with its events, and else once in the shortest rollup.
    private func isWorthTelling(_ stream: RollerStream, _ step: CloseStep) -> Bool {
        guard let handedOverMs = stream.handedOverMs, step.events.isEmpty,
            let everyMs = stream.shared.spec.plan.rollupsMs.first
        else { return true }
        return floorMultiple(step.throughMs, everyMs) > floorMultiple(handedOverMs, everyMs)
    }
}
