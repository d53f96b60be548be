import Aggregation
import Telemetry
import TestSupport
import Testing

@Suite(.computing) struct CounterTests {
    static let start = CoreHarness.startMs
    static let energy = FieldCatalog.find(name: "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION")
    static let replays = FieldCatalog.find(name: "DCGM_FI_DEV_PCIE_REPLAY_COUNTER")

    private func samples(_ field: FieldIndex?, _ values: [(Int64, Double)]) -> [TestSample] {
        values.compactMap { second, value in
            field.map {
                TestSample(
                    node: 0, gpu: 0, field: $0, timeMs: Self.start + second * 1_000, value: value)
            }
        }
    }

    private func sums(_ harness: CoreHarness, _ field: FieldIndex?) -> [Double] {
        harness.sink.windows(10_000).compactMap { window in
            field.flatMap { window.column(.site, $0) }?.sum[0]
        }
    }

    @Test("the sum of a counter is its increase, over windows, resets and wraps")
    func increases() async throws {
        let harness = CoreHarness()
        harness.setNow(Self.start + 40_000)
        // A reset at second 14, and an energy counter far beyond 32 bits.
        harness.deliver(
            samples(
                Self.energy,
                [(1, 5e12), (5, 5e12 + 700), (12, 5e12 + 1_000), (14, 40), (18, 90), (25, 90)]))
        // 32 bits are over at second 13.
        harness.deliver(
            samples(Self.replays, [(2, 4_294_967_290), (9, 4_294_967_294), (13, 5), (17, 6), (23, 2)]))
        await harness.advance(toMs: Self.start + 90_000)
        #expect(sums(harness, Self.energy) == [700, 300 + 40 + 50, 0])
        #expect(sums(harness, Self.replays) == [4, 7 + 1, 2])
        let first = try #require(harness.sink.windows(10_000).first)
        let column = try #require(Self.replays.flatMap { first.column(.rack, $0) })
        #expect(column.count[0] == 2)
        #expect(column.max[0] == 4)
    }

    @Test("another source of the same counter goes on from where the first one was")
    func takeover() async {
        let harness = CoreHarness()
        harness.setNow(Self.start + 1_000)
        harness.deliver(samples(Self.energy, [(1, 1_000), (2, 1_100)]))
        harness.setNow(Self.start + 33_000)
        harness.deliver(samples(Self.energy, [(33, 1_700)]), source: 1)
        await harness.advance(toMs: Self.start + 90_000)
        #expect(sums(harness, Self.energy) == [100, 600])
    }

    @Test("an XID counts when it comes, and its number is never added")
    func xids() async {
        let harness = CoreHarness()
        harness.setNow(Self.start + 40_000)
        harness.deliver(
            samples(
                .xidErrors, [(1, 79), (2, 79), (11, 79), (12, 48), (13, 0), (14, 48), (21, 48), (22, 31)]))
        await harness.advance(toMs: Self.start + 90_000)
        #expect(sums(harness, .xidErrors) == [0, 2, 1])
        #expect(harness.detected.map(\.value) == [48, 48, 31])
    }

    @Test("a late sample changes what the next one adds to, and adds nothing itself")
    func late() async {
        let harness = CoreHarness()
        harness.setNow(Self.start + 5_000)
        harness.deliver(samples(Self.energy, [(1, 100)]), sender: 1)
        await harness.advance(toMs: Self.start + 60_000)
        harness.deliver(samples(Self.energy, [(3, 150), (58, 175)]), sender: 1)
        await harness.advance(toMs: Self.start + 120_000)
        #expect(sums(harness, Self.energy).filter { $0 != 0 } == [25])
        #expect(harness.core.status(harness.stream)?.ledger[.late] == 1)
    }

    @Test(
        "counters of a whole fleet are those of brute force, for any number of shards",
        arguments: sized([1, 2, 7]))
    func bruteForce(shards: Int) async {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        var workload = Workload(&random, nodeCount: 6, gpusPerNode: 3)
        for node in 0..<6 {
            for gpu in 0..<3 {
                for field in [Self.energy, Self.replays, .xidErrors].compactMap(\.self) {
                    workload.series.append(Self.counter(node, gpu, field, &random))
                }
            }
        }
        let harness = await InvariantTests.run(shards: shards, workload.interleaved(&random))
        let oracle = Oracle(
            workload.samples, windowMs: 10_000, topology: harness.topology.snapshot(),
            jobs: InvariantTests.jobs)
        #expect(harness.sink.windows(10_000).count >= 4)
        for window in harness.sink.windows(10_000) {
            #expect(oracle.differences(window) == [], "seed=\(seed) shards=\(shards)")
        }
    }

    private static func counter(
        _ node: Int, _ gpu: Int, _ field: FieldIndex, _ random: inout SeededRandom
    ) -> [TestSample] {
        var value = field == replays ? 4_294_967_200.0 : 1e9
        return (0..<Workload.seconds).map { second in
            let u = Double.random(in: 0..<1, using: &random)
            switch field {
            case .xidErrors: value = u < 0.7 ? value : (u < 0.8 ? 0 : (u * 100).rounded())
            default:
                value = u < 0.05 ? (u * 100).rounded() : value + (u * 20).rounded()
                if field == replays, value >= 4_294_967_296 { value -= 4_294_967_296 }
            }
            return TestSample(
                node: node, gpu: gpu, field: field, timeMs: CoreHarness.startMs + Int64(second) * 1_000 + 7,
                value: value)
        }
    }
}
