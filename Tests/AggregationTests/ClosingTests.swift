import Aggregation
import QueueIsolation
import Telemetry
import TestSupport
import Testing

@Suite(.computing) struct ClosingTests {
    static let start = CoreHarness.startMs

    private func fleet(_ second: Int64, nodes: Int = 10, _ value: Double? = nil) -> [TestSample] {
        (0..<nodes).flatMap { node in
            [FieldIndex.powerUsage, .gpuUtil].map { field in
                TestSample(
                    node: node, gpu: 0, field: field, timeMs: Self.start + second * 1_000,
                    value: value ?? Double(node * 50 + Int(second % 60)))
            }
        }
    }

    @Test("one sender with a fast clock cannot close windows for the others")
    func fastClock() async {
        let harness = CoreHarness()
        harness.setNow(Self.start + 5_000)
        harness.deliver(fleet(4), sender: 1)
        harness.observe(sender: 2, newestMs: Self.start + 400_000)
        await harness.advance(toMs: Self.start + 30_000)
        #expect(harness.sink.windows.isEmpty)
        harness.deliver(fleet(5), sender: 1)
        await harness.settle()
        let status = harness.core.status(harness.stream)
        #expect(status?.ledger[.late] == 0)
        #expect(status?.ledger.inFlight == 40)
        #expect(status?.senders.map(\.id.rawValue) == [1, 2])
        #expect(status?.senders.last?.skewMs == -395_000)
    }

    @Test("a quiet measured stream with series has windows of silent GPUs; without series only time passes")
    func silence() async {
        let harness = CoreHarness()
        harness.deliver(fleet(5))
        await harness.advance(toMs: Self.start + 100_000)
        let finest = harness.sink.windows(10_000)
        #expect(finest.map(\.startMs) == (0..<5).map { Self.start + $0 * 10_000 })
        #expect(finest.map { $0.level(.site)?.gpus.reporting } == [[10], [0], [0], [0], [0]])
        #expect(finest.map(\.coverage) == [0.5, 0, 0, 0, 0])
        #expect(harness.sink.closes.last?.closedThroughMs == Self.start + 50_000)

        let empty = CoreHarness(
            spec: StreamSpec(id: .measured, site: "t", closedThroughMs: Self.start))
        await empty.advance(toMs: Self.start + 200_000)
        #expect(empty.sink.windows.isEmpty)
        #expect(empty.sink.closes.last?.closedThroughMs == Self.start + 150_000)
    }

    @Test("rollups follow their parts, each in the closing of its last one")
    func rollups() async throws {
        let harness = CoreHarness()
        for second in stride(from: Int64(0), to: 1_260, by: 30) {
            harness.setNow(Self.start + second * 1_000)
            harness.deliver(fleet(second))
        }
        await harness.advance(toMs: Self.start + 1_320_000)
        #expect(harness.sink.windows(60_000).count == 21)
        #expect(harness.sink.windows(600_000).count == 2)
        for close in harness.sink.closes {
            #expect(close.windows.allSatisfy { $0.endMs <= close.closedThroughMs })
            #expect(
                close.windows.first.map { $0.endMs == close.closedThroughMs || $0.resolutionMs > 10_000 }
                    != false)
            #expect(close.windows.map(\.resolutionMs) == close.windows.map(\.resolutionMs).sorted())
        }
        let long = try #require(harness.sink.windows(600_000).first)
        let power = try #require(long.column(.site, .powerUsage))
        #expect(power.count == [200])
        #expect(power.min == [0])
        #expect(power.max == [480])
        let minutes = harness.sink.windows(60_000).prefix(10)
        #expect(minutes.compactMap { $0.column(.site, .powerUsage)?.sum[0] }.reduce(0, +) == power.sum[0])
        #expect(long.level(.site)?.gpus.reporting == [10])
        #expect(long.timeline?.installed == 40)
        // The finest has sketches where rollups and readers need them, and nowhere else.
        let finest = try #require(harness.sink.windows(10_000).first)
        let kept = finest.levels.filter { level in level.columns.contains { !$0.sketchOffsets.isEmpty } }
        #expect(kept.map(\.level) == [.rack, .array, .hall, .site, .job])
        let hour = try #require(harness.sink.windows(600_000).first)
        #expect(hour.levels.map(\.level) == Level.allCases.sorted())
    }

    @Test("after a restart the rollups are those of a run without one")
    func restart() async throws {
        func feed(_ harness: CoreHarness, _ seconds: some Sequence<Int64>) {
            for second in seconds {
                harness.setNow(Self.start + second * 1_000)
                harness.deliver(fleet(second, Double(second) + 0.1))
            }
        }
        let whole = CoreHarness()
        feed(whole, stride(from: 0, to: 660, by: 5))
        await whole.advance(toMs: Self.start + 720_000)

        let before = CoreHarness()
        feed(before, stride(from: 0, to: 260, by: 5))
        await before.settle()
        await before.advance(toMs: Self.start + 260_000)
        let closed = try #require(before.sink.closes.last?.closedThroughMs)
        #expect(closed == Self.start + 240_000)
        // The store gives back what is under an open parent; here everything, and the core picks.
        let after = CoreHarness(
            spec: StreamSpec(
                id: .measured, site: "test", closedThroughMs: closed, openRollups: before.sink.windows,
                ledger: before.sink.closes.last?.ledger ?? Ledger()))
        feed(after, stride(from: 240, to: 660, by: 5))
        await after.advance(toMs: Self.start + 720_000)
        for resolution: Int64 in [60_000, 600_000] {
            let expected = whole.sink.windows(resolution)
            let found = (before.sink.windows + after.sink.windows).filter { $0.resolutionMs == resolution }
            #expect(expected.count == found.count)
            for (one, other) in zip(expected, found) {
                #expect(one.levels == other.levels, "\(resolution) \(one.startMs - Self.start)")
            }
        }
        // The totals go on, and nothing counts twice: what was in flight died with its process, and came again.
        #expect(after.sink.closes.last?.ledger.aggregated == 2_640)
    }

    @Test("in the middle of a minute too")
    func restartWithinAMinute() async throws {
        let whole = CoreHarness()
        let before = CoreHarness()
        for second in stride(from: Int64(0), to: 48, by: 1) {
            whole.setNow(Self.start + second * 1_000)
            before.setNow(Self.start + second * 1_000)
            whole.deliver(fleet(second))
            before.deliver(fleet(second))
        }
        await before.advance(toMs: Self.start + 48_000)
        let closed = try #require(before.sink.closes.last?.closedThroughMs)
        #expect(closed == Self.start + 30_000)
        let after = CoreHarness(
            spec: StreamSpec(
                id: .measured, site: "test", closedThroughMs: closed, openRollups: before.sink.windows))
        for second in stride(from: Int64(30), to: 70, by: 1) {
            if second >= 48 {
                whole.setNow(Self.start + second * 1_000)
                whole.deliver(fleet(second))
            }
            after.setNow(Self.start + second * 1_000)
            after.deliver(fleet(second))
        }
        await whole.advance(toMs: Self.start + 120_000)
        await after.advance(toMs: Self.start + 120_000)
        #expect(whole.sink.windows(60_000).map(\.levels) == after.sink.windows(60_000).map(\.levels))
        #expect(whole.sink.windows(60_000).count == 1)
    }

    @Test("out of credit an offer is refused, and nothing of it is taken")
    func credits() async {
        var limits = AggregationLimits()
        limits.recordsInFlightMax = 30
        let harness = CoreHarness(shards: 2, limits: limits)
        let batches = harness.batches(fleet(1))
        // Keep the shards from giving credit back by filling both queues from inside one of them.
        let gate = QueueGate(harness.core.monitoredQueues.map(\.queue))
        gate.close()
        #expect(harness.core.offer(batches) == .accepted)
        #expect(harness.core.offer(batches) == .accepted)
        let before = harness.core.status(harness.stream)?.recordsInFlight
        #expect(harness.core.offer(batches + batches + batches) == .full)
        #expect(harness.core.status(harness.stream)?.recordsInFlight == before)
        gate.open()
        await harness.settle()
        let ledger = harness.core.status(harness.stream)?.ledger
        #expect(ledger?.received == 40)
        #expect(ledger?.inFlight == 20)
        #expect(ledger?[.duplicate] == 20)
        #expect(harness.core.offer(batches) == .accepted)
    }

    @Test("closings wait for the sink, and lose nothing", .timeLimit(.minutes(20)))
    func slowSink() async {
        let harness = CoreHarness()
        harness.sink.hold()
        for second in stride(from: Int64(0), to: 120, by: 5) {
            harness.setNow(Self.start + second * 1_000)
            harness.deliver(fleet(second))
            harness.core.tick()
        }
        // Two are with the sink; the third waits inside.
        await harness.sink.wait(forCloses: 2)
        #expect(harness.sink.closes.count == 2)
        harness.sink.release()
        await harness.advance(toMs: Self.start + 180_000)
        #expect(
            harness.sink.windows(10_000).map(\.startMs) == (0..<13).map { Self.start + $0 * 10_000 })
        let counted = harness.sink.windows(10_000).compactMap { $0.column(.site, .gpuUtil)?.count[0] }
        #expect(counted.reduce(0, +) == 240)
    }

    @Test("a stream that is finished closes all it has; drain closes nothing")
    func finishing() async {
        let harness = CoreHarness()
        harness.deliver(fleet(5))
        harness.deliver(fleet(15))
        await harness.settle()
        #expect(harness.sink.windows.isEmpty)
        await harness.finish()
        #expect(
            harness.sink.windows.map(\.resolutionMs).sorted() == [10_000, 10_000, 60_000, 600_000, 3_600_000])
        #expect(harness.sink.windows(3_600_000).first?.column(.site, .gpuUtil)?.count == [20])
        await withCheckedContinuation { done in
            harness.core.closeStream(harness.stream) { done.resume() }
        }
        #expect(harness.core.status(harness.stream) == nil)
        #expect(harness.deliver(fleet(25)) == .full)
    }
}
