import Aggregation
import Telemetry
import Testing

/// Nodes that move after, or while, windows are closed that late samples revise; and the jobs that run on them.
@Suite struct MovedNodeTests {
    private static let start = InventoryTests.start
    private static let job = "train"

    private func samples(_ node: Int, _ seconds: Range<Int64>, gpus: Range<Int> = 0..<4) -> [TestSample] {
        gpus.flatMap { gpu in
            seconds.map { second in
                TestSample(
                    node: node, gpu: gpu, field: .powerUsage, timeMs: Self.start + second * 1_000,
                    value: Double(node * 100 + gpu))
            }
        }
    }

    private static func harness(
        _ shards: Int, rollupsMs: [Int64] = [60_000], job nodes: [String] = ["n0"]
    ) -> CoreHarness {
        let plan = WindowPlan(rollupsMs: rollupsMs, reviseWithinMs: 300_000)
        let harness = CoreHarness(
            shards: shards, nodeCount: 4, spec: StreamSpec(id: .measured, site: "test", plan: plan))
        harness.core.emit([
            Event(
                stream: .measured, timeMs: start - 60_000, kind: .jobStart, job: job, nodes: nodes,
                source: .ingest)
        ])
        return harness
    }

    /// Delivers in time, and closes what ends within a minute before.
    private static func close(_ harness: CoreHarness, throughSecond second: Int64) async {
        harness.setNow(start + second * 1_000)
        harness.observe(newestMs: start + second * 1_000)
        await harness.advance(toMs: start + second * 1_000 + 1_000)
    }

    private static func newest(_ harness: CoreHarness, _ resolutionMs: Int64) -> WindowSummary? {
        harness.sink.windows(resolutionMs).last { $0.startMs == start }
    }

    private static func ofJob(_ window: WindowSummary?) -> [UInt32]? {
        guard let level = window?.level(.job), level.jobs == [job] else { return nil }
        return [level.gpus.expected[0], level.gpus.reporting[0], level.gpus.inJob[0]]
    }

    @Test("what comes late for a job whose node has moved since adds no GPU twice", arguments: [1, 2, 7])
    func jobRevised(shards: Int) async throws {
        let harness = Self.harness(shards)
        // Of the GPUs of node 0 all but one, and that one comes late.
        harness.deliver(samples(0, 0..<5, gpus: 0..<3))
        for node in 1..<4 { harness.deliver(samples(node, 0..<5)) }
        await Self.close(harness, throughSecond: 50)
        #expect(Self.ofJob(Self.newest(harness, 10_000)) == [4, 3, 3])
        for (rack, second) in [("r1", Int64(5)), ("new", 6), ("r0", 7)] {
            #expect(InventoryTests.place(0, in: rack, of: harness).moved == [0])
            harness.deliver(samples(0, second..<second + 1))
            await Self.close(harness, throughSecond: 10 + second * 10)
            #expect(Self.ofJob(Self.newest(harness, 10_000)) == [4, 4, 4], "\(rack)")
        }
        await harness.finish()
        let window = try #require(Self.newest(harness, 10_000))
        #expect(window.revision == 3)
        #expect(window.level(.node)?.gpus.reporting == [4, 4, 4, 4])
        #expect(window.level(.site)?.gpus.inJob == [4])
        #expect(Self.ofJob(Self.newest(harness, 60_000)) == [4, 4, 4], "the rollup takes the most of any")
    }

    @Test("a job's node that is silent is not made up for by one that moved", arguments: [1, 2, 7])
    func jobInItsFirstClosing(shards: Int) async throws {
        let harness = Self.harness(shards, job: ["n0", "n2"])
        for node in [0, 1, 3] { harness.deliver(samples(node, 0..<5)) }
        await harness.settle()
        #expect(InventoryTests.place(0, in: "r1", of: harness).moved == [0])
        for node in [0, 1, 3] { harness.deliver(samples(node, 5..<10)) }
        await harness.settle()
        #expect(InventoryTests.place(0, in: "r0", of: harness).moved == [0])
        harness.deliver(samples(0, 9..<10))
        await Self.close(harness, throughSecond: 50)
        #expect(Self.ofJob(Self.newest(harness, 10_000)) == [8, 4, 4])
        // And what is late for a window that was open while the node moved.
        harness.deliver(samples(0, 8..<9))
        await Self.close(harness, throughSecond: 60)
        #expect(InventoryTests.place(0, in: "r1", of: harness).moved == [0])
        harness.deliver(samples(0, 7..<8))
        await harness.finish()
        let window = try #require(Self.newest(harness, 10_000))
        #expect(Self.ofJob(window) == [8, 4, 4])
        #expect(window.level(.node)?.gpus.reporting == [4, 4, 0, 4])
        #expect(Self.ofJob(Self.newest(harness, 60_000)) == [8, 4, 4])
    }

    @Test(
        "a revised window stays with the racks of before: its samples, its GPUs, its fleet",
        arguments: [1, 2, 7])
    func revisedRacks(shards: Int) async throws {
        // The minute is closed after the move, the ten seconds and the twenty before.
        let harness = Self.harness(shards, rollupsMs: [20_000, 60_000])
        for node in 0..<4 { harness.deliver(samples(node, 0..<5, gpus: 0..<2)) }
        await Self.close(harness, throughSecond: 50)
        let before = try #require(harness.sink.closes.last)
        #expect(InventoryTests.place(0, in: "new", of: harness).moved == [0])
        for node in 1...2 { harness.deliver(samples(node, 70..<75)) }
        await Self.close(harness, throughSecond: 130)
        // GPU 3 of node 0 was never heard where the node stood.
        harness.deliver(samples(0, 5..<8, gpus: 1..<4))
        harness.deliver(samples(3, 5..<8))
        harness.deliver(samples(0, 75..<78))
        await Self.close(harness, throughSecond: 140)
        await harness.finish()

        for resolutionMs: Int64 in [10_000, 20_000, 60_000] {
            let isAfter = resolutionMs == 60_000
            let close = try #require(
                harness.sink.closes.last { close in
                    close.windows.contains { $0.startMs == Self.start && $0.resolutionMs == resolutionMs }
                })
            let window = try #require(Self.newest(harness, resolutionMs))
            #expect(window.revision == 1)
            #expect(window.topologyVersion == close.topology.version)
            #expect(close.topology.nodeRack == (isAfter ? [2, 0, 1, 1] : [0, 0, 1, 1]), "\(resolutionMs)")
            if !isAfter { #expect(window.topologyVersion == before.topology.version) }
            let counts = try #require(window.column(.rack, .powerUsage)?.count)
            #expect(Array(counts.prefix(2)) == [29, 32], "\(resolutionMs)")
            #expect(counts.dropFirst(2).allSatisfy { $0 == 0 }, "\(resolutionMs)")
            #expect(window.column(.array, .powerUsage)?.count == [61])
            #expect(window.column(.node, .powerUsage)?.count == [19, 10, 10, 22])
            let gpus = try #require(window.level(.rack)?.gpus)
            #expect(Array(gpus.reporting.prefix(2)) == [6, 6])
            #expect(Array(gpus.expected.prefix(2)) == [8, 8])
        }
        let later = try #require(harness.sink.windows(10_000).last { $0.startMs == Self.start + 70_000 })
        #expect(later.revision == 1 && later.column(.rack, .powerUsage)?.count == [20, 20, 12])
        let last = try #require(harness.sink.closes.last)
        #expect(last.topology.nodeRack == [2, 0, 1, 1])
    }

    @Test("a longer window across a move counts GPUs in both racks, and once in what both are part of")
    func acrossAMove() async throws {
        let harness = Self.harness(2)
        for node in 0..<4 { harness.deliver(samples(node, 0..<10)) }
        await Self.close(harness, throughSecond: 50)
        #expect(InventoryTests.place(0, in: "new", of: harness).moved == [0])
        for node in 0..<4 { harness.deliver(samples(node, 51..<59)) }
        await harness.finish()
        let minute = try #require(Self.newest(harness, 60_000))
        #expect(minute.level(.rack)?.gpus.expected == [8, 8, 4])
        #expect(minute.level(.rack)?.gpus.reporting == [8, 8, 4])
        #expect(minute.column(.rack, .powerUsage)?.count == [112, 144, 32])
        #expect(minute.level(.array)?.gpus.expected == [16])
        #expect(minute.level(.site)?.gpus.reporting == [16])
        #expect(Self.ofJob(minute) == [4, 4, 4])
    }
}
