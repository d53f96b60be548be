import QueueIsolation
import Telemetry
import TestSupport
import Testing

@testable import Aggregation

/// Requests that are taken together: in their order, each as a whole or not at all.
@Suite(.computing) struct RoundTests {
    static let start = CoreHarness.startMs

    /// One sample of each of four GPUs of some nodes.
    static func samples(_ nodes: [Int], second: Int64) -> [TestSample] {
        nodes.flatMap { node in
            (0..<4).map { gpu in
                TestSample(
                    node: node, gpu: gpu, field: .gpuTemp, timeMs: start + second * 1_000,
                    value: Double(second))
            }
        }
    }

    static func request(
        _ harness: CoreHarness, _ samples: [TestSample], rejected: Ledger = Ledger()
    ) -> LoggedRequest {
        LoggedRequest(
            stream: harness.stream, sender: SenderID(rawValue: 1), batches: harness.batches(samples),
            rejected: rejected, newestMs: samples.map(\.timeMs).max(), arrivalMs: harness.nowMs)
    }

    @Test("what there is no credit or no place for is refused, and the others are taken, in their order")
    func judged() async throws {
        var limits = AggregationLimits()
        limits.recordsInFlightMax = 20
        let harness = CoreHarness(shards: 2, limits: limits)
        harness.setNow(Self.start + 10_000)
        var rejected = Ledger()
        rejected.received = 3
        rejected[.unknownField] = 3
        // Nodes 0, 1, 4 and 5 are in one shard, 2 and 3 in the other: 4 records a node.
        let requests = [
            Self.request(harness, Self.samples([0, 1], second: 1)),
            Self.request(harness, Self.samples([2, 3], second: 1), rejected: rejected),
            Self.request(harness, Self.samples([0, 1], second: 2)),
            Self.request(harness, Self.samples([0, 1, 4, 5], second: 3), rejected: rejected),
            Self.request(harness, Self.samples([0], second: 4)),
            Self.request(harness, Self.samples([2, 3], second: 3), rejected: rejected),
            Self.request(harness, Self.samples([2, 3], second: 4)),
        ]
        // No credit comes back before the gate is opened.
        let gate = QueueGate(harness.core.monitoredQueues.map(\.queue))
        gate.close()
        let asked = TestLock<[Int]>([])
        let admissions = harness.core.take(requests) { number in
            let place = asked.withLock { asked in
                asked.append(number)
                return asked.count
            }
            return number == 5 ? nil : LogPosition(rawValue: Int64(place))
        }
        #expect(admissions == [.accepted, .accepted, .accepted, .full, .accepted, .refused, .accepted])
        #expect(asked.withLock { $0 } == [0, 1, 2, 4, 5, 6])
        #expect(harness.core.status(harness.stream)?.recordsInFlight == 36)
        gate.open()
        await harness.settle()
        let ledger = try #require(harness.core.status(harness.stream)?.ledger)
        // Nothing is out of order, and only what was taken counts: 36 samples, and 3 that were rejected before.
        #expect(ledger.received == 39 && ledger.dropped == 3 && ledger[.unknownField] == 3, "\(ledger)")
        #expect(harness.core.status(harness.stream)?.recordsInFlight == 0)
    }

    @Test("a round says what the same requests say one by one", arguments: sized([1, 2, 3] as [UInt64]))
    func equal(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let spec = StreamSpec(id: .measured, site: "test", plan: ReplayTests.plan)
        let together = CoreHarness(shards: 2, spec: spec)
        let oneByOne = CoreHarness(shards: 3, spec: spec)
        var position: Int64 = 0
        for second in stride(from: Int64(0), to: 60, by: 2) {
            // More than one block of a shard's queue takes.
            let count = second == 10 ? 700 : Int.random(in: 1...20, using: &random)
            let requests = (0..<count).map { number in
                Self.samples([Int.random(in: 0..<10, using: &random)], second: second).map { sample in
                    var sample = sample
                    sample.timeMs += Int64(number)
                    return sample
                }
            }
            for harness in [together, oneByOne] { harness.setNow(Self.start + second * 1_000 + 1_500) }
            let admissions = together.core.take(requests.map { Self.request(together, $0) }) { number in
                LogPosition(rawValue: position + Int64(number))
            }
            #expect(admissions.allSatisfy { $0 == .accepted })
            for request in requests {
                #expect(
                    oneByOne.core.take(Self.request(oneByOne, request)) { LogPosition(rawValue: position) }
                        == .accepted)
            }
            position += Int64(count)
            for harness in [together, oneByOne] {
                await harness.advance(toMs: Self.start + second * 1_000 + 1_900)
            }
        }
        for harness in [together, oneByOne] { await harness.advance(toMs: Self.start + 200_000) }
        #expect(ReplayTests.counts(together.sink.windows) == ReplayTests.counts(oneByOne.sink.windows))
        let ledgers = [together, oneByOne].map { $0.core.status($0.stream)?.ledger }
        #expect(ledgers[0] == ledgers[1] && ledgers[0]?.dropped == 0, "seed \(seed): \(ledgers)")
    }
}
