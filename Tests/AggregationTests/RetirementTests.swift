import Aggregation
import Telemetry
import TestSupport
import Testing

@Suite(.computing) struct RetirementTests {
    static let start = CoreHarness.startMs

    private func sample(_ node: Int, _ second: Int64, _ value: Double = 1) -> TestSample {
        TestSample(
            node: node, gpu: 0, field: .gpuUtil, timeMs: Self.start + second * 1_000, value: value)
    }

    private static func limits(_ silentMs: Int64 = 60_000) -> AggregationLimits {
        var limits = AggregationLimits()
        limits.seriesSilentMs = silentMs
        limits.slotsPerBlock = 16
        return limits
    }

    @Test("generation after generation of series comes and goes, and the slots stay few")
    func churn() async {
        let harness = CoreHarness(shards: 2, nodeCount: 40, limits: Self.limits())
        harness.givesSlotsBack()
        var delivered = 0
        for generation in 0..<120 {
            let second = Int64(generation) * 20
            harness.setNow(Self.start + second * 1_000 + 500)
            // The same GPUs under another name each time, as when an exporter's pod is made anew.
            let samples = (0..<40).flatMap { node in
                (0..<10).map { sample(node, second + Int64($0), Double(generation)) }
            }
            #expect(harness.deliver(samples, spelling: generation) == .accepted)
            delivered += samples.count
            harness.core.tick()
            await harness.settle()
        }
        #expect(harness.slotsMax <= 40 * 8)
        let status = harness.core.status(harness.stream)
        #expect((status?.seriesCount ?? .max) <= 40 * 8)
        await harness.advance(toMs: Self.start + 2_500_000)
        let counts = harness.sink.windows(10_000).compactMap { $0.column(.site, .gpuUtil)?.count[0] }
        #expect(counts.reduce(0, +) == UInt32(delivered))
        // What was there for one generation has its values, and nobody else's.
        let maxima = harness.sink.windows(10_000).compactMap { $0.column(.site, .gpuUtil)?.max[0] }
        #expect(maxima == (0..<120).map(Double.init))
        await harness.advance(toMs: Self.start + 2_700_000)
        await harness.advance(toMs: Self.start + 2_900_000)
        await harness.advance(toMs: Self.start + 3_100_000)
        #expect(harness.core.status(harness.stream)?.seriesCount == 0)
    }

    @Test("a series that goes on is never named; one that is silent is named once, and still works")
    func naming() async {
        let harness = CoreHarness(shards: 1, limits: Self.limits())
        let named = TestLock<[UInt32]>([])
        harness.core.onSilent { series in named.withLock { $0 += series.slots } }
        harness.deliver([sample(0, 1), sample(1, 1)])
        for second in stride(from: Int64(10), to: 300, by: 10) {
            harness.setNow(Self.start + second * 1_000)
            harness.deliver([sample(0, second)])
            harness.core.tick()
            await harness.settle()
        }
        #expect(named.withLock { $0 } == [1])
        harness.setNow(Self.start + 300_000)
        harness.deliver([sample(1, 300)])
        await harness.settle()
        #expect(harness.core.status(harness.stream)?.ledger[.noEntity] == 0)
        for second in stride(from: Int64(310), to: 600, by: 10) {
            harness.setNow(Self.start + second * 1_000)
            harness.deliver([sample(0, second)])
            harness.core.tick()
            await harness.settle()
        }
        #expect(named.withLock { $0 } == [1, 1])
    }

    @Test("sources of one GPU that come and go leave the others as they are")
    func redundantSources() async {
        let harness = CoreHarness(shards: 1, limits: Self.limits())
        harness.givesSlotsBack()
        // The first source goes at 10 s, the second takes over at 45 s, a third comes at 200 s.
        harness.deliver([sample(0, 1, 5)], source: 0)
        for second in stride(from: Int64(5), to: 600, by: 5) {
            harness.setNow(Self.start + second * 1_000)
            if second <= 10 { harness.deliver([sample(0, second, 5)], source: 0) }
            if second < 400 { harness.deliver([sample(0, second, 7)], source: 1) }
            if second >= 200 { harness.deliver([sample(0, second, 9)], source: 2) }
            harness.core.tick()
            await harness.settle()
        }
        await harness.advance(toMs: Self.start + 700_000)
        let maxima = harness.sink.windows(10_000).map { $0.column(.site, .gpuUtil)?.max[0] ?? 0 }
        #expect(maxima.prefix(2) == [5, 5])
        #expect(maxima[4..<40].allSatisfy { $0 == 7 })
        #expect(maxima[44..<60].allSatisfy { $0 == 9 })
        for later in stride(from: Int64(760), to: 1_400, by: 60) {
            await harness.advance(toMs: Self.start + later * 1_000)
        }
        #expect(harness.core.status(harness.stream)?.seriesCount == 0)
    }
}
