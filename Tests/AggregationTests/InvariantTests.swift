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

    @Test("any shard count and any interleaving give the truth", arguments: sized([1, 2, 7]))
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

    @Test("GPUs under maintenance are that alone: not reporting, not silent, not faulted, not in a job")
    func maintenance() async throws {
        let start = CoreHarness.startMs
        let harness = CoreHarness()
        harness.setNow(start + 10_000)
        func event(_ kind: EventKind, _ offset: Int64, _ entity: String, gpu: Int? = nil, job: String = "")
            -> Event
        {
            Event(
                stream: .measured, timeMs: start + offset, kind: kind, entity: entity, gpu: gpu, job: job,
                nodes: job.isEmpty ? [] : ["n0", "n1"], value: kind == .xid ? 79 : nil, source: .ingest)
        }
        harness.core.emit([
            event(.jobStart, 1_000, "", job: "llm"), event(.nodeDown, 2_000, "n1"),
            event(.xid, 3_000, "n0", gpu: 2), event(.maintenanceStart, 4_000, "n1"),
            event(.maintenanceStart, 4_000, "n0", gpu: 3), event(.maintenanceEnd, 9_000, "n1"),
            event(.maintenanceEnd, 9_000, "n0"),
        ])
        harness.deliver([
            TestSample(node: 0, gpu: 0, field: .gpuUtil, timeMs: start + 4_000, value: 1),
            TestSample(node: 1, gpu: 1, field: .gpuUtil, timeMs: start + 6_000, value: 4),
        ])
        await harness.advance(toMs: start + 70_000)
        let windows = harness.sink.windows(10_000)
        let nodes = try #require(windows.first?.level(.node)?.gpus)
        #expect(Array(nodes.maintenance.prefix(3)) == [1, 4, 0])
        #expect(Array(nodes.reporting.prefix(3)) == [1, 0, 0])
        #expect(Array(nodes.faulted.prefix(3)) == [1, 0, 0])
        #expect((0..<3).map { nodes.silent($0) } == [2, 0, 4])
        let site = try #require(windows.first?.level(.site)?.gpus)
        #expect(site.maintenance == [5] && site.expected == [40] && site.silent(0) == 34)
        let job = try #require(windows.first?.level(.job)?.gpus)
        #expect(job.maintenance == [5] && job.faulted == [1])
        let second = try #require(windows.dropFirst().first?.level(.site)?.gpus)
        #expect(second.maintenance == [0] && second.faulted == [4])
    }

    @Test("a GPU that reports while it is worked on hides neither a silent GPU nor is it one with an error")
    func maintenanceAndSilence() async throws {
        let start = CoreHarness.startMs
        let harness = CoreHarness(
            spec: StreamSpec(
                id: .measured, site: "test", plan: WindowPlan(finestMs: 10_000, rollupsMs: [60_000])))
        harness.setNow(start + 10_000)
        func event(_ kind: EventKind, _ offset: Int64, _ entity: String, gpu: Int? = nil) -> Event {
            Event(
                stream: .measured, timeMs: start + offset, kind: kind, entity: entity, gpu: gpu,
                value: kind == .xid ? 79 : nil, source: .ingest)
        }
        var job = event(.jobStart, 0, "")
        job.job = "llm"
        job.nodes = ["n0", "n1"]
        harness.core.emit([
            job, event(.maintenanceStart, 1_000, "n0", gpu: 3), event(.xid, 2_000, "n0", gpu: 3),
            event(.maintenanceStart, 1_000, "n1"), event(.maintenanceEnd, 9_500, "n0", gpu: 3),
            event(.maintenanceEnd, 9_500, "n1"), event(.maintenanceStart, 20_000, "n0"),
        ])
        // GPU 0 of n0 is dead; GPU 3, which is worked on, reports, and so does all of n1.
        for second in [Int64(4_000), 14_000, 24_000] {
            harness.deliver(
                ([1, 2, 3].map { (0, $0) } + (0..<4).map { (1, $0) }).map { node, gpu in
                    TestSample(node: node, gpu: gpu, field: .gpuUtil, timeMs: start + second, value: 1)
                })
        }
        await harness.advance(toMs: start + 130_000)
        let windows = harness.sink.windows(10_000)
        let nodes = try #require(windows.first?.level(.node)?.gpus)
        #expect(nodes.reporting[0] == 2 && nodes.maintenance[0] == 1 && nodes.silent(0) == 1)
        #expect(nodes.inJob[0] == 2 && nodes.faulted[0] == 0)
        #expect(nodes.reporting[1] == 0 && nodes.maintenance[1] == 4)
        let jobs = try #require(windows.first?.level(.job)?.gpus)
        #expect(jobs.expected == [8] && jobs.reporting == [2] && jobs.maintenance == [5])
        #expect(jobs.silent(0) == 1)
        let third = try #require(windows.dropFirst(2).first?.level(.node)?.gpus)
        #expect(third.maintenance[0] == 4 && third.reporting[0] == 0)
        // GPU 0 was silent in the minute, however much was worked on beside it.
        let minute = try #require(harness.sink.windows(60_000).first?.level(.node)?.gpus)
        #expect(minute.reporting[0] == 3 && minute.silent(0) == 1 && minute.maintenance[0] == 0)
        for level in try #require(harness.sink.windows(60_000).first).levels {
            for entity in level.gpus.expected.indices {
                let counted = level.gpus.reporting[entity] + level.gpus.maintenance[entity]
                #expect(counted <= level.gpus.expected[entity])
            }
        }
    }

    @Test(
        "maintenance of a rack, an array, a hall or the site is that of all its nodes",
        arguments: [
            "rack", "array", "hall", "site",
        ])
    func maintenanceAbove(level: String) async throws {
        let start = CoreHarness.startMs
        let harness = CoreHarness()
        harness.setNow(start + 10_000)
        let topology = harness.topology.snapshot()
        let name =
            switch level {
            case "rack": topology.rackNames[0]
            case "array": topology.arrayNames[0]
            case "hall": topology.hallNames[0]
            default: topology.site
            }
        let rack = topology.rackArray.indices.filter { rack in
            switch level {
            case "rack": rack == 0
            case "array": topology.rackArray[rack] == 0
            case "hall": topology.arrayHall[Int(topology.rackArray[rack])] == 0
            default: true
            }
        }
        let nodes = topology.nodeRack.indices.filter { rack.contains(Int(topology.nodeRack[$0])) }
        harness.core.emit([
            Event(stream: .measured, timeMs: start, kind: .maintenanceStart, entity: name, source: .ingest)
        ])
        harness.deliver([TestSample(node: 0, gpu: 0, field: .gpuUtil, timeMs: start + 4_000, value: 1)])
        await harness.advance(toMs: start + 70_000)
        let counts = try #require(harness.sink.windows(10_000).first?.level(.node)?.gpus)
        for node in topology.nodeRack.indices {
            let whole = nodes.contains(node)
            #expect(counts.maintenance[node] == (whole ? counts.expected[node] : 0))
        }
    }
}
