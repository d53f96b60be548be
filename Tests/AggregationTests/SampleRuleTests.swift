import Aggregation
import Telemetry
import TestSupport
import Testing

@Suite(.computing) struct SampleRuleTests {
    static let start = CoreHarness.startMs

    private func sample(_ second: Int64, _ value: Double, _ field: FieldIndex = .powerUsage) -> TestSample {
        TestSample(node: 0, gpu: 0, field: field, timeMs: Self.start + second * 1_000, value: value)
    }

    private static func ledger(_ harness: CoreHarness) -> Ledger {
        harness.core.status(harness.stream)?.ledger ?? Ledger()
    }

    @Test(
        "what is no measurement is counted by its reason",
        arguments: [
            (Double(bitPattern: 0x7ff0_0000_0000_0002), DropReason.stale),
            (.nan, .notANumber),
            (.infinity, .blank), (-.infinity, .blank),
            (9_223_372_036_854_775_808, .blank), (-9_223_372_036_854_775_808, .blank),
            (2_147_483_632, .blank), (2_147_483_647, .blank),
            (140_737_488_355_328, .blank), (140_737_488_355_343, .blank),
        ])
    func rejected(_ value: Double, _ reason: DropReason) async {
        let harness = CoreHarness()
        harness.deliver([sample(1, value), sample(2, 300)])
        await harness.settle()
        let ledger = Self.ledger(harness)
        #expect(ledger[reason] == 1)
        #expect(ledger.inFlight == 1)
        #expect(ledger.received == 2)
        #expect(ledger.aggregated == 0)
    }

    @Test("large values of wide fields are measurements")
    func wideFields() async throws {
        let energy = try #require(FieldCatalog.find(id: 156))
        let harness = CoreHarness()
        harness.deliver([
            sample(1, 2_147_483_640, energy), sample(2, 5e12, energy), sample(3, 2_147_483_631),
            sample(4, 3e9),
        ])
        await harness.settle()
        #expect(Self.ledger(harness).inFlight == 4)
    }

    @Test("the order of a series' life is kept by reason")
    func order() async {
        let harness = CoreHarness()
        harness.setNow(Self.start + 5_000)
        harness.deliver([
            sample(2, 300), sample(2, 300), sample(2, 301), sample(1, 300), sample(3, 302),
            sample(5 + 601, 1),
        ])
        await harness.settle()
        let ledger = Self.ledger(harness)
        #expect(ledger.inFlight == 2)
        #expect(ledger[.duplicate] == 1)
        #expect(ledger[.conflict] == 1)
        #expect(ledger[.outOfOrder] == 1)
        #expect(ledger[.future] == 1)
        await harness.advance(toMs: Self.start + 60_000)
        harness.deliver([sample(4, 300), sample(59, 300)])
        await harness.settle()
        #expect(Self.ledger(harness)[.late] == 1)
        // What was in the closed window is committed; the sample of second 59 is in an open one.
        #expect(Self.ledger(harness).aggregated == 2)
        #expect(Self.ledger(harness).inFlight == 1)
    }

    @Test("times before 1970 and unknown slots are counted, and trap nothing")
    func oddRecords() async {
        let harness = CoreHarness()
        harness.deliver([sample(1, 300)])
        let shard = harness.core.shard(stream: harness.stream, rack: 0, node: 0)
        func batch(_ baseMs: Int64, _ slot: UInt32, _ offsetMs: Int32) -> SampleBatch {
            SampleBatch(
                stream: harness.stream, shard: shard, sender: SenderID(rawValue: 1),
                arrivalMs: harness.nowMs, baseMs: baseMs,
                records: [SampleRecord(slot: slot, offsetMs: offsetMs, value: 1)])
        }
        #expect(harness.core.offer([batch(-5, 0, 0), batch(.max, 0, 5), batch(.min, 0, -5)]) == .accepted)
        #expect(harness.core.offer([batch(Self.start, 4_000_000_000, 0)]) == .accepted)
        harness.observe(newestMs: .max)
        harness.observe(newestMs: .min)
        await harness.settle()
        let ledger = Self.ledger(harness)
        #expect(ledger[.noEntity] == 1)
        #expect(ledger.inFlight == 1)
        #expect(ledger.received == 5)
    }

    @Test("a second source is redundant until the owner has been silent for 30 s of arrival time")
    func redundantSource() async {
        let harness = CoreHarness()
        let start = Self.start
        harness.deliver([sample(1, 300)], arrivalMs: start + 1_000)
        harness.deliver([sample(2, 301)], arrivalMs: start + 2_000, source: 1)
        harness.deliver([sample(3, 302)], arrivalMs: start + 30_999, source: 1)
        await harness.settle()
        #expect(Self.ledger(harness)[.redundant] == 2)
        harness.deliver([sample(1, 302)], arrivalMs: start + 31_000, source: 1)
        await harness.settle()
        // It has taken over, and what the old owner said is not told again.
        #expect(Self.ledger(harness)[.redundant] == 2)
        #expect(Self.ledger(harness)[.conflict] == 1)
        harness.deliver([sample(4, 303)], arrivalMs: start + 31_500, source: 1)
        harness.deliver([sample(5, 303)], arrivalMs: start + 32_000)
        await harness.settle()
        #expect(Self.ledger(harness)[.redundant] == 3)
        #expect(Self.ledger(harness).inFlight == 2)
    }

    @Test("an XID is told once when a series changes to it, never at first sight")
    func xidEdges() async throws {
        let harness = CoreHarness()
        harness.deliver([sample(1, 79, .xidErrors), sample(2, 79, .xidErrors)])
        await harness.settle()
        #expect(harness.detected.isEmpty)
        harness.deliver([
            sample(3, 48, .xidErrors), sample(4, 48, .xidErrors), sample(5, 0, .xidErrors),
            sample(6, 48, .xidErrors),
        ])
        await harness.settle()
        #expect(harness.detected.map(\.value) == [48, 48])
        let event = try #require(harness.detected.first)
        #expect(event.kind == .xid)
        #expect(event.source == .detected)
        #expect(event.entity == "n0")
        #expect(event.gpu == 0)
        #expect(event.message.contains("Double Bit ECC Error"))
        await harness.advance(toMs: Self.start + 60_000)
        #expect(harness.sink.closes.flatMap(\.events).map(\.value) == [48, 48])
        #expect(harness.sink.windows(10_000).first?.level(.node)?.gpus.faulted.first == 1)
    }

    @Test("receivers' own rejections are part of the account")
    func accounted() async {
        let harness = CoreHarness()
        var rejected = Ledger()
        rejected.received = 7
        rejected[.badLabels] = 7
        harness.core.account(rejected, stream: harness.stream)
        harness.deliver([sample(1, 300)])
        await harness.advance(toMs: Self.start + 60_000)
        let ledger = harness.sink.closes.last?.ledger
        #expect(ledger?.received == 8)
        #expect(ledger?[.badLabels] == 7)
        #expect(ledger?.inFlight == 0)
        #expect(
            harness.metrics.exposition().contains("colossus_samples_dropped_total{reason=\"bad_labels\"} 7"))
    }

    @Test("a look at a series tells its newest sample, and which of two sources counts")
    func look() async throws {
        let harness = CoreHarness()
        harness.deliver([sample(1, 300), sample(2, 301)])
        harness.deliver([sample(2, 400)], source: 1)
        await harness.settle()
        let shard = harness.core.shard(
            stream: harness.stream, rack: harness.topology.rackOfNode(0), node: 0)
        func look(_ slots: [UInt32], shard: Int) async -> [SeriesState] {
            await withCheckedContinuation { continuation in
                harness.core.look(at: slots, stream: harness.stream, shard: shard) {
                    continuation.resume(returning: $0)
                }
            }
        }
        let states = await look([0, 1, 77], shard: shard)
        #expect(states.map(\.slot) == [0, 1])
        #expect(states.first?.newestMs == Self.start + 2_000)
        #expect(states.first?.value == 301)
        #expect(states.map(\.counts) == [true, false])
        #expect(await look([0], shard: 99).isEmpty)
    }
}
