import Aggregation
import Exchange
import Telemetry

/// Takes closings like the store does, and keeps them. Can hold back its acknowledgements.
final class CollectingSink: SummarySink {
    private struct State {
        var closes: [WindowClose] = []
        var held: [@Sendable () -> Void] = []
        var holds = false
        var waiting: [(count: Int, resume: @Sendable () -> Void)] = []
    }

    private let state = TestLock(State())

    var closes: [WindowClose] { state.withLock { $0.closes } }
    var windows: [WindowSummary] { closes.flatMap(\.windows) }

    func windows(_ resolutionMs: Int64) -> [WindowSummary] {
        windows.filter { $0.resolutionMs == resolutionMs }
    }

    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        let (isHeld, reached) = state.withLock { state in
            state.closes.append(close)
            if state.holds { state.held.append(done) }
            let reached = state.waiting.filter { $0.count <= state.closes.count }
            state.waiting.removeAll { $0.count <= state.closes.count }
            return (state.holds, reached)
        }
        for waiter in reached { waiter.resume() }
        if !isHeld { done() }
    }

    /// Comes back when so many closings have come in.
    func wait(forCloses count: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.closes.count < count { state.waiting.append((count, { continuation.resume() })) }
                return state.closes.count >= count
            }
            if isThere { continuation.resume() }
        }
    }

    func hold() { state.withLock { $0.holds = true } }

    func release() {
        let held = state.withLock { state in
            state.holds = false
            defer { state.held = [] }
            return state.held
        }
        for done in held { done() }
    }
}

/// A sample as a test sees it: before anything is routed.
struct TestSample: Hashable {
    var node: Int
    var gpu: Int
    var field: FieldIndex
    var timeMs: Int64
    var value: Double
}

/// A core with a small fleet, a virtual clock and one measured stream.
final class CoreHarness: Sendable {
    static let fields: [FieldIndex] = [.powerUsage, .gpuUtil, .gpuTemp, .xidErrors]
    static let startMs: Int64 = 1_700_000_000_000 / 3_600_000 * 3_600_000

    private struct Series: Hashable {
        var node: Int
        var gpu: Int
        var field: FieldIndex
        var source: Int
        var spelling: Int
    }

    private struct State {
        var slots: [Series: UInt32] = [:]
        var nextSlot: [Int: UInt32] = [:]
        /// Slots of each shard that were given back.
        var free: [Int: [UInt32]] = [:]
        var detected: [Event] = []
        var nowMs = CoreHarness.startMs
    }

    let streams = Streams()
    let sink = CollectingSink()
    let metrics = Metrics()
    let core: AggregationCore
    let stream: StreamIndex
    let topology: Topology
    let spec: StreamSpec
    private let state: TestLock<State>
    private let box: ClockBox
    private let detectedBox: DetectedBox

    private final class ClockBox: Sendable {
        let nowMs = TestLock(CoreHarness.startMs)
    }

    private final class DetectedBox: Sendable {
        let events = TestLock<[Event]>([])
    }

    /// - Parameter nodeCount: 2 nodes a rack, 2 racks an array, 2 arrays a hall.
    init(
        shards: Int = 2, nodeCount: Int = 10, gpusPerNode: Int = 4,
        spec: StreamSpec = StreamSpec(id: .measured, site: "test"),
        limits: AggregationLimits = AggregationLimits()
    ) {
        let box = ClockBox()
        let detectedBox = DetectedBox()
        self.box = box
        self.detectedBox = detectedBox
        self.spec = spec
        core = AggregationCore(
            shardCount: shards, streams: streams, bus: EmbeddedBus(), sink: sink,
            clock: WallClock { box.nowMs.withLock { $0 } }, metrics: metrics, limits: limits
        ) { events in detectedBox.events.withLock { $0 += events } }
        state = TestLock(State())
        stream = streams.open(spec.id, site: spec.site)
        topology = streams.topology(stream)
        for node in 0..<nodeCount {
            topology.node(
                "n\(node)",
                at: Placement(
                    rack: "r\(node / 2)", array: "a\(node / 4)", hall: "h\(node / 8)", model: "H100"),
                gpuCount: gpusPerNode)
        }
        core.openStream(spec)
    }

    var detected: [Event] { detectedBox.events.withLock { $0 } }
    var nowMs: Int64 { box.nowMs.withLock { $0 } }
    func setNow(_ ms: Int64) { box.nowMs.withLock { $0 = ms } }

    /// Registers what is new, and makes the batches of one request.
    func batches(
        _ samples: [TestSample], sender: UInt32 = 1, arrivalMs: Int64? = nil, source: Int = 0,
        spelling: Int = 0
    ) -> [SampleBatch] {
        let baseMs = samples.first?.timeMs ?? 0
        var made: [Int: SampleBatch] = [:]
        for sample in samples {
            let rack = topology.rackOfNode(Int32(sample.node))
            let shard = shard(sample.node)
            let slot = self.slot(sample, rack, shard, source, spelling)
            made[
                shard,
                default: SampleBatch(
                    stream: stream, shard: shard, sender: SenderID(rawValue: sender),
                    arrivalMs: arrivalMs ?? nowMs, baseMs: baseMs)
            ].records.append(
                SampleRecord(slot: slot, offsetMs: Int32(sample.timeMs - baseMs), value: sample.value))
        }
        return made.sorted { $0.key < $1.key }.map(\.value)
    }

    /// Delivers a request, and tells of its newest time.
    @discardableResult
    func deliver(
        _ samples: [TestSample], sender: UInt32 = 1, arrivalMs: Int64? = nil, source: Int = 0,
        spelling: Int = 0
    ) -> Admission {
        let oldest = samples.map(\.timeMs).min()
        let newest = samples.map(\.timeMs).max()
        if let oldest, let newest {
            let hasRoom = core.hasRoom(
                stream: stream, sender: SenderID(rawValue: sender), oldestMs: oldest, newestMs: newest,
                arrivalMs: arrivalMs ?? nowMs)
            guard hasRoom else { return .full }
        }
        let admission = core.offer(
            batches(samples, sender: sender, arrivalMs: arrivalMs, source: source, spelling: spelling))
        if admission == .accepted, let newest {
            observe(sender: sender, oldestMs: oldest, newestMs: newest, arrivalMs: arrivalMs)
        }
        return admission
    }

    func observe(sender: UInt32 = 1, oldestMs: Int64? = nil, newestMs: Int64, arrivalMs: Int64? = nil) {
        core.observed(
            sender: SenderID(rawValue: sender), stream: stream, oldestMs: oldestMs ?? newestMs,
            newestMs: newestMs,
            arrivalMs: arrivalMs ?? nowMs)
    }

    /// Moves the clock, lets the core look at it, and waits until all is quiet.
    func advance(toMs: Int64) async {
        setNow(toMs)
        core.tick()
        await settle()
    }

    func settle() async {
        await withCheckedContinuation { continuation in core.drain { continuation.resume() } }
    }

    func finish() async {
        await withCheckedContinuation { continuation in core.finish(stream) { continuation.resume() } }
    }

    /// Uses slots again, as a registry does.
    func givesSlotsBack() {
        core.onSilent { [weak self] silent in
            guard let self else { return }
            let slots = Set(silent.slots)
            state.withLock { state in
                state.slots = state.slots.filter { series, slot in
                    self.shard(series.node) != silent.shard || !slots.contains(slot)
                }
            }
            core.retire(silent.slots, stream: stream, shard: silent.shard)
            state.withLock { $0.free[silent.shard, default: []] += silent.slots }
        }
    }

    /// The most slots that a shard has.
    var slotsMax: UInt32 { state.withLock { $0.nextSlot.values.max() ?? 0 } }

    /// That of the rack in which it was at first.
    private func shard(_ node: Int) -> Int {
        core.shard(stream: stream, rack: Int32(node / 2), node: Int32(node))
    }

    private func slot(
        _ sample: TestSample, _ rack: Int32, _ shard: Int, _ source: Int, _ spelling: Int
    ) -> UInt32 {
        let gpu = topology.gpu(node: Int32(sample.node), ordinal: UInt8(sample.gpu))
        return state.withLock { state in
            let series = Series(
                node: sample.node, gpu: sample.gpu, field: sample.field, source: source, spelling: spelling)
            if let known = state.slots[series] { return known }
            // Any other source of the same GPU and field.
            var first: UInt32?
            for other in 0..<max(source, 1) where first == nil {
                var sibling = series
                sibling.source = other
                first = state.slots[sibling]
            }
            let slot: UInt32
            if let free = state.free[shard]?.popLast() {
                slot = free
            } else {
                slot = state.nextSlot[shard, default: 0]
                state.nextSlot[shard] = slot + 1
            }
            state.slots[series] = slot
            core.register(
                [
                    SeriesDescriptor(
                        slot: slot, gpu: gpu, node: Int32(sample.node), rack: rack, field: sample.field,
                        sender: SenderID(rawValue: 1), redundantTo: source == 0 ? nil : first)
                ], stream: stream, shard: shard)
            return slot
        }
    }
}

extension WindowSummary {
    func column(_ level: Level, _ field: FieldIndex) -> FieldColumn? {
        self.level(level)?.columns.first { $0.field == field }
    }
}
