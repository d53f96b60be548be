import Synchronization
import Telemetry
import Testing
import WireFormats

@testable import Receivers

/// A sink with one shard that says which series are silent when it is told to.
private final class SilentSink: BatchSink, SeriesRetirement {
    let handler = Mutex<(@Sendable (SilentSeries) -> Void)?>(nil)
    let retired = Mutex<[UInt32]>([])
    let registered = Mutex<[SeriesDescriptor]>([])
    let shardCount = 1

    func shard(stream: StreamIndex, rack: Int32, node: Int32) -> Int { 0 }
    func register(_ series: [SeriesDescriptor], stream: StreamIndex, shard: Int) {
        registered.withLock { $0 += series }
    }
    func offer(_ batches: [SampleBatch]) -> Admission { .accepted }
    func observed(
        sender: SenderID, stream: StreamIndex, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64
    ) {}
    func onSilent(_ handler: @escaping @Sendable (SilentSeries) -> Void) {
        self.handler.withLock { $0 = handler }
    }
    func retire(_ slots: [UInt32], stream: StreamIndex, shard: Int) { retired.withLock { $0 += slots } }

    func silent(_ slots: [UInt32], _ stream: StreamIndex) {
        handler.withLock { $0 }?(SilentSeries(stream: stream, shard: 0, slots: slots))
    }
}

@Suite struct RetirementTests {
    private static let nowMs = Bench.nowMs

    /// The slots to which the samples of some GPUs go.
    private static func slots(
        _ router: inout SampleRouter, _ gpus: [Int], _ sender: UInt32 = 0, afterMs: Int64 = 0
    ) throws -> [UInt32] {
        let bytes = try Snappy.decode(
            Body.write(gpus.map { (Body.gpu($0), [(nowMs, 1)]) }), limit: 1 << 20)
        var request = WriteRequest()
        let format = SeriesFormat.remoteWrite
        let number = SenderID(rawValue: sender)
        try RemoteWriteDecoder.decodeGuessing(
            bytes.span.bytes, hasher: IdentityHasher(seed: (1, 2)), salt: format.salt(number),
            samplesMax: 100,
            into: &request)
        var place = LearnedPlace()
        _ = try router.route(
            request, in: bytes.span.bytes, format: format, sender: number, arrivalMs: nowMs + afterMs,
            after: &place)
        return router.builder.batches.flatMap { $0.records.map(\.slot) }
    }

    @Test("a silent series leaves in three steps, and its slot is given to another one")
    func steps() throws {
        let sink = SilentSink()
        let streams = Streams()
        let stream = streams.open(.measured, site: "s")
        var limits = ReceiverLimits()
        limits.sweepEntries = 2
        limits.seriesInAll = 5
        let hasher = IdentityHasher(seed: (1, 2))
        let registry = SeriesRegistry(
            stream: stream, streamID: .measured, topology: streams.topology(stream), sink: sink,
            events: FakeEvents(), inventory: nil, limits: limits, laneCount: 1, hasher: hasher)
        registry.watchSilence()
        var router = SampleRouter(
            .init(registry: registry, hasher: hasher, limits: limits), stream: stream, shardCount: 1,
            table: registry.table)
        #expect(try Self.slots(&router, [0, 1, 2]) == [0, 1, 2])
        #expect(try Self.slots(&router, [1], 1) == [3], "another source of the same")

        sink.silent([1], stream)
        registry.retire(nowMs: Self.nowMs)
        _ = try #require(registry.retirementOrder)
        #expect(try Self.slots(&router, [1, 0]) == [1, 0], "what a lane knows works until it is swept")
        for _ in 0..<3 { router.tend(lane: 0, nowMs: Self.nowMs) }
        #expect(try Self.slots(&router, [1]) == [4], "now it has another slot")
        #expect(try Self.slots(&router, [1], 1) == [3] && registry.seriesCount == 5)

        registry.retire(nowMs: Self.nowMs + 11_999)
        #expect(sink.retired.withLock { $0 } == [] && registry.retirementOrder != nil)
        registry.retire(nowMs: Self.nowMs + 12_000)
        #expect(sink.retired.withLock { $0 } == [1] && registry.retirementOrder == nil)
        #expect(registry.seriesCount == 4)
        #expect(try Self.slots(&router, [3]) == [1], "the slot is free for the next series")
        #expect(try Self.slots(&router, [4, 5]) == [5, 5], "what is beyond the limit shares a slot")
        #expect(registry.senders.map(\.series) == [4, 1])
        #expect(sink.registered.withLock { $0.last?.isShared } == true)

        let later = Self.nowMs + 20_000
        sink.silent([0], stream)
        registry.retire(nowMs: later)
        for _ in 0..<9 { router.tend(lane: 0, nowMs: later) }
        registry.retire(nowMs: later + 12_000)
        #expect(registry.seriesCount == 4)
        #expect(try Self.slots(&router, [4, 5]) == [5, 5], "until it asks again")
        #expect(try Self.slots(&router, [4, 5], afterMs: 70_000) == [0, 5], "when there is room for one")
    }

    @Test("slots that are on their way are not gathered twice; the last lane counts")
    func order() throws {
        var retirement = Retirement(shardCount: 2, laneCount: 2, waitMs: 10)
        retirement.gather([5, 70, 5], shard: 1)
        retirement.gather([1], shard: 7)
        #expect(retirement.begin() == [[], [5, 70]])
        let order = try #require(retirement.order)
        #expect(
            order.holds(shard: 1, slot: 70) && !order.holds(shard: 1, slot: 71)
                && !order.holds(shard: 0, slot: 5))
        retirement.gather([70], shard: 1)
        #expect(retirement.begin() == nil)
        retirement.finished(lane: 0, order.number, nowMs: 0)
        retirement.finished(lane: 0, order.number, nowMs: 0)
        #expect(retirement.end(nowMs: 1_000) == nil)
        retirement.finished(lane: 1, order.number, nowMs: 5)
        #expect(retirement.end(nowMs: 14) == nil)
        #expect(retirement.end(nowMs: 15) == [[], [5, 70]])
        #expect(retirement.order == nil && retirement.begin() == nil)
    }
}
