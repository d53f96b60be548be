import Dispatch
import QueueIsolation
import Synchronization
import Telemetry

/// One tick of a fleet on its way through the shards.
final class TickRun: Sendable {
    let tick: any FleetTick
    let topology: TopologySnapshot
    /// Numbers of the tick's jobs.
    let jobs: [Int32]
    let feedsSketches: Bool
    private let remaining: Atomic<Int>
    private let done: @Sendable () -> Void

    init(
        _ tick: any FleetTick, topology: TopologySnapshot, jobs: [Int32], feedsSketches: Bool,
        shardCount: Int,
        done: @escaping @Sendable () -> Void
    ) {
        self.tick = tick
        self.topology = topology
        self.jobs = jobs
        self.feedsSketches = feedsSketches
        remaining = Atomic(shardCount)
        self.done = done
    }

    /// Called by each shard once.
    func shardFinished() {
        if remaining.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { done() }
    }
}

/// Holds what is not copyable for a dictionary. Only its shard touches it.
final class ShardStreamBox {
    var state: ShardStream
    init(_ state: consuming ShardStream) { self.state = state }
}

/// One serial queue and the series, nodes and racks that it owns. Nothing in it blocks or suspends.
actor Shard {
    private nonisolated let executor: QueueExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    nonisolated var queue: DispatchQueue { executor.queue }

    private let number: Int
    private let shardCount: Int
    private let limits: AggregationLimits
    private let bus: any PartialBus
    private let credits: Credits
    private let counters: CoreCounters
    private var streams: [StreamIndex: ShardStreamBox] = [:]
    /// One closing of a stream at a time.
    private var emissions: [StreamIndex: Emission] = [:]

    init(
        number: Int, shardCount: Int, limits: AggregationLimits, bus: any PartialBus, credits: Credits,
        counters: CoreCounters
    ) {
        executor = QueueExecutor(label: "colossus.shard.\(number)", target: WorkerPool.shared)
        self.number = number
        self.shardCount = shardCount
        self.limits = limits
        self.bus = bus
        self.credits = credits
        self.counters = counters
    }

    /// A block on the shard's queue; after everything that was sent to the shard before.
    private nonisolated func later(_ body: @escaping @Sendable (isolated Shard) -> Void) {
        executor.queue.async { @Sendable in self.assumeIsolated { body($0) } }
    }

    nonisolated func open(_ shared: StreamShared) {
        later { shard in
            shard.streams[shared.index] = ShardStreamBox(
                ShardStream(
                    shared: shared, shard: shard.number, shardCount: shard.shardCount, limits: shard.limits))
        }
    }

    nonisolated func close(_ stream: StreamIndex) {
        later { shard in
            shard.streams[stream] = nil
            shard.emissions[stream] = nil
        }
    }

    nonisolated func register(_ series: [SeriesDescriptor], _ stream: StreamIndex) {
        later { $0.streams[stream]?.state.register(series) }
    }

    /// Forgets series, after every batch that was sent before.
    nonisolated func retire(_ slots: [UInt32], _ stream: StreamIndex) {
        later { shard in
            guard let box = shard.streams[stream] else { return }
            let count = box.state.retire(slots)
            box.state.shared.addSeries(-count)
        }
    }

    /// Has nodes stand in other racks, for what comes after this: their series follow, some at a time.
    nonisolated func move(_ racks: [Int32: Int32], _ stream: StreamIndex) {
        later { shard in
            guard shard.streams[stream]?.state.move(racks) == true else { return }
            shard.moveSeries(stream, from: 0)
        }
    }

    private func moveSeries(_ stream: StreamIndex, from first: Int) {
        let end = first + limits.slotsPerBlock
        guard streams[stream]?.state.moveSeries(in: first..<end) == false else { return }
        later { $0.moveSeries(stream, from: end) }
    }

    /// Tells what is known of some series.
    nonisolated func look(
        at slots: [UInt32], _ stream: StreamIndex, _ completion: @escaping @Sendable ([SeriesState]) -> Void
    ) {
        later { shard in completion(slots.compactMap { shard.streams[stream]?.state.look(at: $0) }) }
    }

    /// Looks for silent series, some at a time, and tells of them.
    nonisolated func nameSilent(_ stream: StreamIndex, nowMs: Int64) {
        later { $0.nameSilent(stream, nowMs: nowMs, from: 0) }
    }

    private func nameSilent(_ stream: StreamIndex, nowMs: Int64, from first: Int) {
        guard let box = streams[stream] else { return }
        let end = first + limits.slotsPerBlock
        let (named, isLast) = box.state.nameSilent(in: first..<end, nowMs: nowMs)
        if !named.isEmpty {
            box.state.shared.silent(SilentSeries(stream: stream, shard: number, slots: named))
        }
        if !isLast { later { $0.nameSilent(stream, nowMs: nowMs, from: end) } }
    }

    /// Batches, in their order.
    nonisolated func submit(_ batches: [SampleBatch]) {
        later { shard in
            for batch in batches {
                if let stream = shard.streams[batch.stream] {
                    shard.counters.add(stream.state.absorb(batch))
                }
                shard.credits.giveBack(batch.records.count, shard: shard.number, stream: batch.stream)
            }
        }
    }

    nonisolated func use(_ jobs: JobSnapshot, _ stream: StreamIndex) {
        later { $0.streams[stream]?.state.use(jobs) }
    }

    /// Samples before that time are late from now on.
    nonisolated func seal(_ stream: StreamIndex, throughMs: Int64) {
        later { $0.streams[stream]?.state.seal(throughMs: throughMs) }
    }

    /// Closed windows that start before that time cannot be revised any more.
    nonisolated func revise(_ stream: StreamIndex, fromMs: Int64?) {
        later { shard in
            guard let box = shard.streams[stream] else { return }
            shard.counters.add(box.state.revise(fromMs: fromMs ?? .max))
        }
    }

    /// Publishes the windows that end by that time; the last slice says so.
    ///
    /// - Parameter maintenance: what is worked on; `nil` when nothing is.
    nonisolated func emit(
        _ stream: StreamIndex, throughMs: Int64, keepsCheckpoint: Bool, maintenance: FaultTable?
    ) {
        later { shard in
            guard let box = shard.streams[stream] else { return }
            let late = box.state.takeLate()
            shard.emissions[stream] = Emission(
                late: late, windows: box.state.take(throughMs: throughMs), throughMs: throughMs,
                context: box.state.sliceContext(maintenance: maintenance),
                ledger: box.state.shared.ledger(shard: shard.number))
            if keepsCheckpoint { shard.emissions[stream]?.checkpoint = CheckpointWriter() }
            shard.publishNext(stream)
        }
    }

    nonisolated func run(_ tick: TickRun, _ stream: StreamIndex) {
        later { shard in
            guard let box = shard.streams[stream] else {
                tick.shardFinished()
                return
            }
            let (context, racks) = box.state.begin(tick)
            shard.walk(tick, stream, context, next: 0, count: racks.count)
        }
    }

    /// Calls `body` on the shard's queue after everything that was sent before.
    nonisolated func barrier(_ body: @escaping @Sendable () -> Void) { executor.queue.async(execute: body) }

    /// Some racks a block, so that live batches come in between.
    private func walk(
        _ tick: TickRun, _ stream: StreamIndex, _ context: TickContext, next: Int, count: Int
    ) {
        guard let box = streams[stream] else {
            tick.shardFinished()
            return
        }
        let end = min(next + limits.racksPerBlock, count)
        counters.add(box.state.add(tick, context, racks: next..<end))
        guard end < count else {
            box.state.finished(context)
            tick.shardFinished()
            return
        }
        later { $0.walk(tick, stream, context, next: end, count: count) }
    }

    /// Publishes the next racks of the windows that the stream is closing, and then the word that there are no more.
    private func publishNext(_ stream: StreamIndex) {
        guard let emission = emissions[stream], let box = streams[stream] else { return }
        if let partial = emission.next() {
            bus.publish(partial)
            if let (window, isLate) = emission.takeFinished() {
                if isLate { box.state.giveBackLate(window) } else { box.state.giveBack(window) }
            }
            later { $0.publishNext(stream) }
            return
        }
        if emission.checkpoint != nil, !emission.isCheckpointed {
            emission.isCheckpointed = box.state.fill(
                &emission.checkpoint, part: emission.nextPart, throughMs: emission.throughMs)
            emission.nextPart += 1
            later { $0.publishNext(stream) }
            return
        }
        emissions[stream] = nil
        var last = WindowPartial(
            stream: stream, shard: number,
            startMs: emission.throughMs - box.state.shared.spec.plan.finestMs,
            resolutionMs: box.state.shared.spec.plan.finestMs)
        last.ledger = emission.ledger
        last.checkpoint = emission.checkpoint?.finish()
        last.isLast = true
        bus.publish(last)
    }
}

/// The windows that a shard is publishing, slice by slice, so that nothing waits behind them.
private final class Emission {
    /// Shares of windows that are closed already, with what was known of them, come first.
    private var late: [(window: WindowBox, known: HeardGPUs)]
    private var windows: [WindowBox]
    private let context: SliceContext
    let throughMs: Int64
    /// As it was when the closing was ordered: the same moment in the order of requests for all shards.
    let ledger: Ledger
    private var nextRack = 0
    /// What the shard remembers, while it is written down.
    var checkpoint: CheckpointWriter?
    var nextPart = 0
    var isCheckpointed = false

    init(
        late: [(window: WindowBox, known: HeardGPUs)], windows: [WindowBox], throughMs: Int64,
        context: SliceContext, ledger: Ledger
    ) {
        self.late = late
        self.windows = windows
        self.throughMs = throughMs
        self.context = context
        self.ledger = ledger
    }

    /// The share of the next racks, or `nil` when all windows are out.
    func next() -> WindowPartial? {
        guard let window = late.first?.window ?? windows.first else { return nil }
        let rackCount = window.state.firstGroups.count
        let first = nextRack
        var nodeCount = 0
        while nextRack < rackCount, nextRack - first < context.limits.racksPerBlock,
            nodeCount < context.limits.nodesPerBlock
        {
            nodeCount += context.directory.nodesOfRack[nextRack].count
            nextRack += 1
        }
        var partial = window.state.partial(racks: first..<nextRack, context, known: late.first?.known)
        partial.isLate = !late.isEmpty
        if first == 0 { partial.sampleCount = window.state.sampleCount }
        return partial
    }

    /// The window whose last slice was made, for the next one to use its memory.
    func takeFinished() -> (window: WindowBox, isLate: Bool)? {
        guard let window = late.first?.window ?? windows.first,
            nextRack >= window.state.firstGroups.count
        else { return nil }
        nextRack = 0
        return late.isEmpty ? (windows.removeFirst(), false) : (late.removeFirst().window, true)
    }
}
