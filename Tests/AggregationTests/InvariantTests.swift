import Aggregation
import Telemetry
import TestSupport
import Testing

/// Samples of a small fleet over some windows, each series in its own order.
struct Workload {
    var series: [[TestSample]] = []
    static let seconds = 40

    init(_ random: inout SeededRandom, nodeCount: Int, gpusPerNode: Int) {
        for node in 0..<nodeCount {
            for gpu in 0..<gpusPerNode {
                for field in [FieldIndex.powerUsage, .gpuUtil, .gpuTemp]
                where Double.random(in: 0..<1, using: &random) < 0.9 {
                    series.append(Self.series(node, gpu, field, &random))
                }
            }
        }
    }

    private static func series(
        _ node: Int, _ gpu: Int, _ field: FieldIndex, _ random: inout SeededRandom
    ) -> [TestSample] {
        (0..<seconds).compactMap { second in
            guard Double.random(in: 0..<1, using: &random) < 0.8 else { return nil }
            let u = Double.random(in: 0..<1, using: &random)
            let value: Double
            switch field {
            case .powerUsage: value = 100 + 600 * u
            case .gpuUtil: value = u < 0.3 ? 0 : (u * 100).rounded()
            default: value = -20 + 100 * u
            }
            return TestSample(
                node: node, gpu: gpu, field: field, timeMs: CoreHarness.startMs + Int64(second) * 1_000 + 7,
                value: value)
        }
    }

    var samples: [TestSample] { series.flatMap { $0 } }

    /// Cuts the series into requests at random; each series keeps its order.
    func interleaved(_ random: inout SeededRandom) -> [[TestSample]] {
        var rest = series.map { $0[...] }
        var requests: [[TestSample]] = [[]]
        var alive = Array(rest.indices)
        while !alive.isEmpty {
            let place = Int.random(in: 0..<alive.count, using: &random)
            let taken = Int.random(in: 1...8, using: &random)
            requests[requests.count - 1] += rest[alive[place]].prefix(taken)
            rest[alive[place]] = rest[alive[place]].dropFirst(taken)
            if rest[alive[place]].isEmpty { alive.swapAt(place, alive.count - 1); alive.removeLast() }
            if requests[requests.count - 1].count > 500 { requests.append([]) }
        }
        return requests
    }
}

@Suite(.computing) struct InvariantTests {
    static let jobs: [Oracle.Membership] = [
        .init(node: 0, job: "llm", fromMs: CoreHarness.startMs + 5_000, toMs: .max),
        .init(node: 1, job: "llm", fromMs: CoreHarness.startMs + 5_000, toMs: .max),
        .init(
            node: 3, job: "eval", fromMs: CoreHarness.startMs + 12_345, toMs: CoreHarness.startMs + 24_000),
    ]

    static func run(shards: Int, _ requests: [[TestSample]]) async -> CoreHarness {
        let harness = CoreHarness(shards: shards)
        let start = CoreHarness.startMs
        harness.setNow(start + 45_000)
        harness.core.emit([
            Event(
                stream: .measured, timeMs: start + 5_000, kind: .jobStart, job: "llm", nodes: ["n0", "n1"],
                source: .ingest),
            Event(
                stream: .measured, timeMs: start + 12_345, kind: .jobStart, job: "eval", nodes: ["n3"],
                source: .ingest),
            Event(stream: .measured, timeMs: start + 24_000, kind: .jobEnd, job: "eval", source: .ingest),
        ])
        for request in requests { #expect(harness.deliver(request) == .accepted) }
        await harness.advance(toMs: start + 120_000)
        return harness
    }

    @Test("any shard count and any interleaving give the truth", arguments: [1, 2, 7])
    func shardsAndInterleavings(shards: Int) async {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let workload = Workload(&random, nodeCount: 10, gpusPerNode: 4)
        for _ in 0..<2 {
            let harness = await Self.run(shards: shards, workload.interleaved(&random))
            let oracle = Oracle(
                workload.samples, windowMs: 10_000, topology: harness.topology.snapshot(), jobs: Self.jobs)
            let finest = harness.sink.windows(10_000)
            #expect(finest.prefix(4).map(\.startMs) == (0..<4).map { CoreHarness.startMs + $0 * 10_000 })
            for window in finest {
                #expect(oracle.differences(window) == [], "seed=\(seed) shards=\(shards)")
            }
            let minute = Oracle(
                workload.samples, windowMs: 60_000, topology: harness.topology.snapshot(), jobs: Self.jobs)
            let rollup = harness.sink.windows(60_000)
            #expect(rollup.count == 1)
            for window in rollup {
                let found = minute.differences(window).filter { !$0.contains("reporting") }
                #expect(found == [], "seed=\(seed) shards=\(shards)")
            }
            let ledger = harness.core.status(harness.stream)?.ledger
            #expect(ledger?.received == Int64(workload.samples.count))
            #expect(ledger?.aggregated == Int64(workload.samples.count))
        }
    }

    @Test("the same order of samples gives byte-identical closings for any number of shards")
    func identicalForAnyShardCount() async {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let workload = Workload(&random, nodeCount: 10, gpusPerNode: 4)
        let requests = workload.interleaved(&random)
        let one = await Self.run(shards: 1, requests).sink.closes
        for shards in [2, 7] {
            let other = await Self.run(shards: shards, requests).sink.closes
            #expect(one.map(\.windows) == other.map(\.windows), "seed=\(seed)")
            #expect(one.map(\.ledger) == other.map(\.ledger), "seed=\(seed)")
            #expect(one.map(\.events) == other.map(\.events), "seed=\(seed)")
        }
    }

    @Test("GPU counts: expected by topology, in a job by event time, the silent ones")
    func gpuCounts() async throws {
        let start = CoreHarness.startMs
        let harness = CoreHarness()
        harness.setNow(start + 10_000)
        harness.core.emit([
            Event(
                stream: .measured, timeMs: start + 5_000, kind: .jobStart, job: "llm", nodes: ["n0", "n1"],
                source: .ingest),
            Event(stream: .measured, timeMs: start + 6_000, kind: .nodeDown, entity: "n2", source: .ingest),
            Event(
                stream: .measured, timeMs: start + 7_000, kind: .xid, entity: "n0", gpu: 2, value: 79,
                source: .ingest),
        ])
        harness.deliver([
            TestSample(node: 0, gpu: 0, field: .gpuUtil, timeMs: start + 4_000, value: 1),
            TestSample(node: 0, gpu: 1, field: .gpuUtil, timeMs: start + 6_000, value: 2),
            TestSample(node: 1, gpu: 1, field: .gpuUtil, timeMs: start + 6_000, value: 4),
        ])
        await harness.advance(toMs: start + 70_000)
        let first = try #require(harness.sink.windows(10_000).first)
        let site = try #require(first.level(.site)).gpus
        #expect(site.expected == [40])
        #expect(site.reporting == [3])
        #expect(site.silent(0) == 37)
        #expect(site.inJob == [2])
        #expect(site.faulted == [5])
        let jobs = try #require(first.level(.job))
        #expect(jobs.jobs == ["llm"])
        #expect(jobs.gpus.expected == [8])
        #expect(jobs.gpus.reporting == [2])
        #expect(jobs.gpus.faulted == [1])
        #expect(jobs.columns.first?.sum == [6])
        let second = try #require(harness.sink.windows(10_000).dropFirst().first)
        #expect(second.level(.node)?.gpus.faulted[2] == 4)
        #expect(second.level(.node)?.gpus.faulted[0] == 0)
        #expect(second.level(.site)?.gpus.reporting == [0])
        #expect(second.level(.site)?.columns == [])
    }
}
