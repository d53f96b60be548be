import Aggregation
import Exchange
import Telemetry
import TestSupport
import Testing

/// A bus that lets the sink acknowledge what it holds just before each share of the next window arrives: the moment at
/// which a slow store answers while a fast simulation goes on.
private final class AcknowledgingBus: PartialBus {
    private let inner = EmbeddedBus()
    private let sink: CollectingSink
    /// Set before the end, when everything is acknowledged at once.
    let isOver = TestLock(false)

    init(_ sink: CollectingSink) { self.sink = sink }

    func publish(_ partial: WindowPartial) {
        if !partial.isLast {
            sink.release()
            if !isOver.withLock({ $0 }) { sink.hold() }
        }
        inner.publish(partial)
    }

    func subscribe(_ handler: @escaping @Sendable (WindowPartial) -> Void) { inner.subscribe(handler) }
}

@Suite("Late commits", .computing)
struct LateCommitTests {
    @Test("a commit that comes while the next window is being merged does not cut that window short")
    func wholeWindows() async throws {
        let start = CoreHarness.startMs
        let rackCount = 6
        let windowCount = 30
        let sink = CollectingSink()
        sink.hold()
        var limits = AggregationLimits()
        limits.racksPerBlock = 1
        let streams = Streams()
        let bus = AcknowledgingBus(sink)
        let core = AggregationCore(
            shardCount: 2, streams: streams, bus: bus, sink: sink,
            clock: WallClock { start }, metrics: Metrics(), limits: limits)
        let id = try #require(StreamID.simulated(run: "late"))
        let stream = streams.open(id, site: "test")
        for rack in 0..<rackCount {
            for node in 0..<8 {
                streams.topology(stream).node(
                    "r\(rack)n\(node)", at: Placement(rack: "r\(rack)", array: "a", hall: "h"), gpuCount: 8)
            }
        }
        core.openStream(
            StreamSpec(id: id, site: "test", plan: WindowPlan(finestMs: 10_000, rollupsMs: [])))
        for window in 0..<windowCount {
            let tick = TestTick(
                timeMs: start + Int64(window) * 10_000, tick: window + 20, rackCount: rackCount)
            await withCheckedContinuation { done in core.offer(tick, stream: stream) { done.resume() } }
        }
        bus.isOver.withLock { $0 = true }
        sink.release()
        await withCheckedContinuation { done in core.finish(stream) { done.resume() } }

        let windows = sink.windows(10_000)
        #expect(windows.count == windowCount)
        // Five whole racks and half of the sixth, in every window.
        #expect(windows.map { $0.level(.site)?.gpus.expected } == Array(repeating: [352], count: windowCount))
    }
}
