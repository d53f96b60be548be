import Aggregation
import Exchange
import Telemetry
import TestSupport
import Testing

@Suite(.computing) struct CheckpointTests {
    static let start = CoreHarness.startMs
    static let energy = TestFleet.energy

    @Test("what was encoded is read back")
    func roundTrip() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        var checkpoint = ShardCheckpoint()
        for field in [Self.energy, TestFleet.replays, .xidErrors].sorted() {
            for gpu in 0..<Int32.random(in: 1...300, using: &random) {
                let values = [0, 79, 4_503_599_627_370_495, 9e15, 0.25, -3, 1e300, -0.0]
                checkpoint.entries.append(
                    .init(
                        gpu: gpu * 3, field: field,
                        lastMs: Self.start + Int64.random(in: -5_000...5_000, using: &random),
                        lastValue: values.randomElement(using: &random) ?? 0))
            }
        }
        let read = try ShardCheckpoint(encoded: checkpoint.encoded())
        #expect(read == checkpoint, "seed=\(seed)")
        #expect(read.newestMs == checkpoint.entries.map(\.lastMs).max())
        #expect(try ShardCheckpoint(encoded: ShardCheckpoint().encoded()) == ShardCheckpoint())
    }

    @Test("corrupted bytes never trap, and cut ones are refused")
    func corruption() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let entries = (0..<50).map {
            ShardCheckpoint.Entry(
                gpu: $0, field: .xidErrors, lastMs: Self.start, lastValue: Double($0) / 3)
        }
        let bytes = ShardCheckpoint(entries: entries).encoded()
        for cut in 0..<bytes.count {
            #expect(throws: CheckpointError.self) { try ShardCheckpoint(encoded: Array(bytes[..<cut])) }
        }
        for _ in 0..<3_000 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                damaged[Int.random(in: 0..<damaged.count, using: &random)] =
                    UInt8.random(in: 0...255, using: &random)
            }
            _ = try? ShardCheckpoint(encoded: damaged)
        }
        #expect(throws: CheckpointError.unknownVersion(9)) { try ShardCheckpoint(encoded: [9]) }
        #expect(throws: CheckpointError.trailingBytes(1)) { try ShardCheckpoint(encoded: [1, 0, 0]) }
    }

    private func samples(_ second: Int64, _ energy: Double, _ xid: Double) -> [TestSample] {
        [(Self.energy, energy), (.xidErrors, xid)].map {
            TestSample(
                node: 3, gpu: 1, field: $0.0, timeMs: Self.start + second * 1_000, value: $0.1)
        }
    }

    @Test("after a restart a counter goes on, and an XID that stays is not told again", arguments: [1, 3])
    func samplesGoOn(shards: Int) async throws {
        var spec = StreamSpec(id: .measured, site: "test")
        spec.checkpointEveryMs = 10_000
        let before = CoreHarness(shards: 2, spec: spec)
        before.setNow(Self.start + 9_000)
        before.deliver(samples(1, 100, 0) + samples(9, 180, 79))
        await before.advance(toMs: Self.start + 60_000)
        let close = try #require(before.sink.closes.last { !$0.checkpoints.isEmpty })
        spec.closedThroughMs = close.closedThroughMs
        for bytes in close.checkpoints { spec.checkpoints.append(try ShardCheckpoint(encoded: bytes)) }

        let after = CoreHarness(shards: shards, spec: spec)
        after.setNow(Self.start + 61_000)
        after.deliver(samples(61, 250, 79) + samples(62, 260, 31))
        await after.advance(toMs: Self.start + 120_000)
        let window = try #require(after.sink.windows(10_000).first { $0.startMs == Self.start + 60_000 })
        #expect(window.column(.site, Self.energy)?.sum == [80])
        #expect(after.detected.map(\.value) == [31])
    }

    /// With one rack a block a checkpoint takes as many blocks as there are racks, and no slots are left for them.
    @Test(
        "a fleet that is simulated again from the last closing gives the same windows as without a restart",
        arguments: sized([1, 32]))
    func fleetGoesOn(racksPerBlock: Int) async throws {
        var limits = AggregationLimits()
        limits.racksPerBlock = racksPerBlock
        let whole = CollectingSink()
        let (one, oneStream, _) = try FleetTests.core(
            shards: 2, checkpointEveryMs: 10_000, sink: whole, limits: limits)
        await FleetTests.run(one, oneStream, ticks: 0..<40)
        await FleetTests.finish(one, oneStream)

        let close = try #require(whole.closes.last { $0.closedThroughMs <= Self.start + 20_000 })
        #expect(close.checkpoints.count == 2)
        let sink = CollectingSink()
        let (other, stream, _) = try FleetTests.core(
            shards: 3, checkpointEveryMs: 10_000, sink: sink, goingOnFrom: close, limits: limits)
        await FleetTests.run(other, stream, ticks: 20..<40)
        await FleetTests.finish(other, stream)
        let expected = whole.windows(10_000).filter { $0.startMs >= Self.start + 20_000 }
        #expect(expected.count == 2)
        #expect(sink.windows(10_000) == expected)
    }
}
