import Aggregation
import Telemetry
import Testing

/// Nodes that move, go and come back while windows are open.
@Suite struct InventoryTests {
    static let start = CoreHarness.startMs

    func samples(_ node: Int, _ seconds: Range<Int64>, gpus: Int = 4) -> [TestSample] {
        (0..<gpus).flatMap { gpu in
            seconds.map { second in
                TestSample(
                    node: node, gpu: gpu, field: .powerUsage, timeMs: Self.start + second * 1_000,
                    value: Double(node * 100 + gpu))
            }
        }
    }

    static func place(_ node: Int32, in rack: String, of harness: CoreHarness) -> FleetChange {
        let change = harness.topology.arrange { name, now in
            guard name == "n\(node)" else { return nil }
            return Placement(rack: rack, array: now.array, hall: now.hall, model: now.model)
        }
        harness.core.move([node: harness.topology.rackOfNode(node)], stream: harness.stream)
        return change
    }

    @Test(
        "a node that moves counts where it stands, once, and each of its samples once", arguments: [1, 2, 7])
    func moving(shards: Int) async throws {
        let harness = CoreHarness(shards: shards, nodeCount: 4)
        for node in 0..<4 { harness.deliver(samples(node, 0..<15)) }
        await harness.settle()
        // In the middle of the second window: from r0 into r1, which has nodes already.
        #expect(Self.place(0, in: "r1", of: harness).moved == [0])
        harness.deliver(samples(0, 15..<30))
        for node in 1..<4 { harness.deliver(samples(node, 15..<30)) }
        await harness.settle()
        // And back, to the rack in which it was before.
        #expect(Self.place(0, in: "r0", of: harness).moved == [0])
        harness.deliver(samples(0, 30..<40))
        for node in 1..<4 { harness.deliver(samples(node, 30..<40)) }
        await harness.settle()
        #expect(Self.place(0, in: "new", of: harness).moved == [0])
        harness.deliver(samples(0, 40..<60))
        for node in 1..<4 { harness.deliver(samples(node, 40..<60)) }
        await harness.finish()
        let windows = harness.sink.windows(10_000)
        let racks = windows.compactMap { window -> [UInt32]? in
            guard let count = window.column(.rack, .powerUsage)?.count else { return nil }
            return count + Array(repeating: 0, count: 3 - count.count)
        }
        #expect(
            racks == [
                [80, 80, 0], [60, 100, 0], [40, 120, 0], [80, 80, 0], [40, 80, 40], [40, 80, 40],
            ],
            "samples count in the rack in which they were taken")
        for window in windows {
            #expect(window.column(.site, .powerUsage)?.count == [160])
            #expect(window.column(.node, .powerUsage)?.count == [40, 40, 40, 40])
            let counts = try #require(window.level(.node)?.gpus)
            #expect(counts.expected == [4, 4, 4, 4] && counts.reporting == [4, 4, 4, 4])
            #expect(window.level(.site)?.gpus.reporting == [16])
        }
        #expect(windows.last?.level(.rack)?.gpus.expected == [4, 8, 4])
        #expect(harness.core.status(harness.stream)?.ledger.dropped == 0)
    }

    @Test("counters and XIDs of a node that moves go on, and a sample that comes again is a duplicate")
    func goingOn() async throws {
        let energy = try #require(CounterTests.energy)
        var limits = AggregationLimits()
        limits.slotsPerBlock = 2
        let harness = CoreHarness(shards: 2, nodeCount: 4, limits: limits)
        func sample(_ field: FieldIndex, _ second: Int64, _ value: Double) -> TestSample {
            TestSample(
                node: 0, gpu: 1, field: field, timeMs: Self.start + second * 1_000, value: value)
        }
        let first = [sample(energy, 1, 1_000), sample(.xidErrors, 1, 79), sample(.gpuTemp, 1, 40)]
        harness.deliver(first)
        await harness.settle()
        for (rack, second) in [("r1", Int64(2)), ("r2", 3), ("r0", 4), ("r1", 5)] {
            _ = Self.place(0, in: rack, of: harness)
            harness.deliver(first)
            harness.deliver([
                sample(energy, second, 1_000 * Double(second)), sample(.xidErrors, second, 79),
            ])
        }
        await harness.finish()
        let window = harness.sink.windows(10_000).first
        #expect(window?.column(.site, energy)?.sum == [4_000])
        #expect(harness.detected.count <= 1, "a code that stays is told once at most")
        let ledger = try #require(harness.core.status(harness.stream)?.ledger)
        #expect(ledger[.duplicate] == 6 && ledger[.outOfOrder] == 6, "all that came again")
        #expect(window?.level(.site)?.gpus.reporting == [1])
    }

    @Test("what comes late for a window of before a move counts in the racks of before")
    func revised() async throws {
        var spec = StreamSpec(id: .measured, site: "test")
        spec.plan.reviseWithinMs = 300_000
        let harness = CoreHarness(shards: 2, nodeCount: 4, spec: spec)
        // Of node 0 two GPUs, and two come late.
        harness.deliver(samples(0, 0..<5, gpus: 2))
        for node in 1..<4 { harness.deliver(samples(node, 0..<5)) }
        harness.setNow(Self.start + 60_000)
        harness.observe(newestMs: Self.start + 55_000)
        await harness.advance(toMs: Self.start + 61_000)
        #expect(Self.place(0, in: "r1", of: harness).moved == [0])
        harness.deliver(samples(3, 5..<8))
        harness.deliver(samples(0, 5..<8, gpus: 3))
        for node in 0..<4 { harness.deliver(samples(node, 90..<95)) }
        await harness.advance(toMs: Self.start + 100_000)
        await harness.finish()
        let first = harness.sink.windows(10_000).filter { $0.startMs == Self.start }
        #expect(first.map(\.revision) == [0, 1])
        let counts = try #require(first.last?.level(.rack)?.gpus)
        #expect(counts.expected == [8, 8] && counts.reporting == [7, 8])
        #expect(first.last?.column(.site, .powerUsage)?.count == [70 + 12 + 9])
        let later = harness.sink.windows(10_000).last
        #expect(later?.level(.rack)?.gpus.expected == [4, 12])
    }

    @Test("nobody waits for a node that a list had and has not; as long as it is heard, it counts")
    func removing() async throws {
        let harness = CoreHarness(nodeCount: 2)
        _ = harness.topology.arrange { $1.hall.isEmpty ? nil : $1 }
        let change = harness.topology.arrange { $0 == "n1" ? nil : $1 }
        #expect(change.removed == [1] && change.moved.isEmpty)
        harness.deliver(samples(0, 0..<20) + samples(1, 0..<10))
        await harness.finish()
        let counts = harness.sink.windows(10_000).compactMap { $0.level(.site)?.gpus }
        #expect(counts.map(\.expected) == [[8], [4]] && counts.map(\.reporting) == [[8], [4]])
        #expect(harness.topology.arrange { $1.hall.isEmpty ? nil : $1 }.returned == [1])
        #expect(harness.topology.snapshot().nodeStanding == [.listed, .listed])
    }
}
