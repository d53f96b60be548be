import Aggregation
import Telemetry
import TestSupport
import Testing

@Suite(.computing) struct RevisionTests {
    static let start = CoreHarness.startMs
    static var spec: StreamSpec {
        StreamSpec(
            id: .measured, site: "test",
            plan: WindowPlan(rollupsMs: [30_000, 60_000], reviseWithinMs: 120_000))
    }

    private static func events(_ harness: CoreHarness) {
        harness.core.emit([
            Event(
                stream: .measured, timeMs: start + 5_000, kind: .jobStart, job: "llm", nodes: ["n0", "n1"],
                source: .ingest),
            Event(
                stream: .measured, timeMs: start + 12_345, kind: .jobStart, job: "eval", nodes: ["n3"],
                source: .ingest),
            Event(stream: .measured, timeMs: start + 24_000, kind: .jobEnd, job: "eval", source: .ingest),
        ])
    }

    /// The newest revision of each window.
    private static func newest(_ harness: CoreHarness, _ resolutionMs: Int64) -> [WindowSummary] {
        var newest: [Int64: WindowSummary] = [:]
        for window in harness.sink.windows(resolutionMs) {
            let known = newest[window.startMs]
            #expect(window.revision == (known?.revision ?? -1) + 1)
            newest[window.startMs] = window
        }
        return newest.values.sorted { $0.startMs < $1.startMs }
    }

    @Test("what comes late gives the windows that it would have given in time", arguments: sized([1, 2, 7]))
    func sameAsInTime(shards: Int) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let workload = Workload(&random, nodeCount: 10, gpusPerNode: 4)
        // Some series stop somewhere, and the rest of them comes when the windows are closed, in several parts.
        var inTime: [[TestSample]] = []
        var late: [[[TestSample]]] = [[], [], []]
        for series in workload.series {
            guard Double.random(in: 0..<1, using: &random) < 0.3, series.count > 3 else {
                inTime.append(series)
                continue
            }
            let cut = Int.random(in: 0..<series.count, using: &random)
            inTime.append(Array(series[..<cut]))
            let middle = Int.random(in: cut...series.count, using: &random)
            let part = Int.random(in: 0..<2, using: &random)
            late[part].append(Array(series[cut..<middle]))
            late[part + 1].append(Array(series[middle...]))
        }
        let harness = CoreHarness(shards: shards, spec: Self.spec)
        Self.events(harness)
        harness.setNow(Self.start + 45_000)
        #expect(harness.deliver(inTime.flatMap(\.self)) == .accepted)
        await harness.advance(toMs: Self.start + 75_000)
        for (part, series) in late.enumerated() {
            let samples = series.flatMap(\.self)
            await harness.advance(toMs: Self.start + [80_000, 90_000, 125_000][part])
            #expect(harness.core.offer(harness.batches(samples)) == .accepted)
        }
        await harness.advance(toMs: Self.start + 140_000)

        for resolution: Int64 in [10_000, 30_000, 60_000] {
            let oracle = Oracle(
                workload.samples, windowMs: resolution, topology: harness.topology.snapshot(),
                jobs: InvariantTests.jobs)
            let newest = Self.newest(harness, resolution)
            #expect(newest.contains { $0.revision > 0 }, "\(resolution)")
            for window in newest {
                let found = oracle.differences(window)
                let counted = resolution == 10_000 ? found : found.filter { !$0.contains("reporting") }
                #expect(counted == [], "seed=\(seed) shards=\(shards) \(resolution) \(window.revision)")
            }
        }
        let ledger = try #require(harness.sink.closes.last?.ledger)
        #expect(ledger.aggregated == Int64(workload.samples.count))
        #expect(ledger.received == Int64(workload.samples.count))
        #expect(harness.core.status(harness.stream)?.ledger == ledger)
        // Every closing says exactly what is committed with it and before it.
        var total: Int64 = 0
        for close in harness.sink.closes {
            #expect(close.ledger.aggregated >= total)
            total = close.ledger.aggregated
            #expect(close.ledger.inFlight >= 0)
        }
        let through = harness.sink.closes.map(\.closedThroughMs)
        #expect(through == through.sorted())
    }

    private func sample(_ node: Int, _ second: Int64, _ value: Double = 1) -> TestSample {
        TestSample(
            node: node, gpu: 0, field: .gpuUtil, timeMs: Self.start + second * 1_000, value: value)
    }

    @Test("beyond the time for revisions a sample is late, and so is one whose window was let go")
    func beyond() async {
        let harness = CoreHarness(spec: Self.spec)
        harness.setNow(Self.start + 9_000)
        harness.deliver([sample(0, 1), sample(2, 1), sample(4, 1)])
        await harness.advance(toMs: Self.start + 100_000)
        #expect(harness.core.offer(harness.batches([sample(2, 3)])) == .accepted)
        await harness.advance(toMs: Self.start + 220_000)
        #expect(harness.core.offer(harness.batches([sample(4, 3)])) == .accepted)
        await harness.advance(toMs: Self.start + 240_000)
        let ledger = harness.core.status(harness.stream)?.ledger
        #expect(ledger?.aggregated == 4)
        #expect(ledger?[.late] == 1)
        #expect(ledger?.inFlight == 0)
        #expect(harness.sink.windows(10_000).filter { $0.startMs == Self.start }.map(\.revision) == [0, 1])

        var limits = AggregationLimits()
        limits.revisionBytesMax = 1_000
        let small = CoreHarness(spec: Self.spec, limits: limits)
        small.setNow(Self.start + 9_000)
        small.deliver((0..<10).map { sample($0, 1) })
        await small.advance(toMs: Self.start + 100_000)
        #expect(small.core.offer(small.batches([sample(2, 3)])) == .accepted)
        await small.advance(toMs: Self.start + 200_000)
        #expect(small.core.status(small.stream)?.ledger[.late] == 1)
        #expect(small.sink.windows.allSatisfy { $0.revision == 0 })
    }

    @Test("a GPU that is heard late is counted once, in its node and in its job")
    func gpuCounts() async throws {
        let harness = CoreHarness(spec: Self.spec)
        Self.events(harness)
        harness.setNow(Self.start + 9_000)
        harness.deliver([sample(0, 6), sample(4, 6)])
        await harness.advance(toMs: Self.start + 60_000)
        let late = [sample(0, 8), sample(1, 8), sample(1, 9), sample(5, 8)]
        #expect(harness.core.offer(harness.batches(late)) == .accepted)
        await harness.advance(toMs: Self.start + 75_000)
        #expect(harness.core.offer(harness.batches([sample(6, 7), sample(6, 8)])) == .accepted)
        await harness.advance(toMs: Self.start + 90_000)
        let all = harness.sink.windows(10_000).filter { $0.startMs == Self.start }
        #expect(all.map { $0.level(.site)?.gpus.reporting } == [[2], [4], [5]])
        #expect(all.map { $0.level(.site)?.gpus.inJob } == [[1], [2], [2]])
        #expect(all.map { $0.level(.job)?.gpus.reporting } == [[1], [2], [2]])
        #expect(all.map { $0.level(.site)?.gpus.expected } == [[40], [40], [40]])
        #expect(all.last?.column(.site, .gpuUtil)?.count == [8])
    }
}
