import Telemetry
import TestSupport
import Testing
import WireFormats

@testable import Receivers

/// What comes out of the router, against what went in, one request after another: each sample once, to the slot of its series, and
/// those of one slot in the order in which they came.
@Suite struct RouterTests {
    private static let nowMs = Bench.nowMs

    /// A router with everything around it.
    private struct Lane: ~Copyable {
        let sink = FakeSink()
        let streams = Streams()
        let registry: SeriesRegistry
        var router: SampleRouter
        var place = LearnedPlace()
        let hasher = IdentityHasher(seed: (1, 2))

        init(identities: Int) {
            var limits = ReceiverLimits()
            limits.identities = identities
            let stream = streams.open(.measured, site: "s")
            registry = SeriesRegistry(
                stream: stream, streamID: .measured, topology: streams.topology(stream), sink: sink,
                events: FakeEvents(), inventory: nil, limits: limits, laneCount: 1, hasher: hasher)
            router = SampleRouter(
                .init(registry: registry, hasher: hasher, limits: limits), stream: stream,
                shardCount: sink.shardCount, table: registry.table)
        }

        mutating func send(
            _ series: [(labels: [String: String], samples: [(Int64, Double)])], afterMs: Int64 = 0
        ) throws {
            let bytes = Body.write(series)
            let message = try Snappy.decode(bytes, limit: 1 << 24)
            var request = WriteRequest()
            let format = SeriesFormat.remoteWrite
            let sender = SenderID(rawValue: 0)
            try RemoteWriteDecoder.decodeGuessing(
                message.span.bytes, hasher: hasher, salt: format.salt(sender), samplesMax: 100_000,
                into: &request)
            let isTaken = try router.route(
                request, in: message.span.bytes, format: format, sender: sender,
                arrivalMs: RouterTests.nowMs + afterMs, after: &place)
            #expect(isTaken && sink.offer(router.builder.batches) == .accepted)
        }
    }

    /// - Parameters:
    ///   - gpu: of 8 a node.
    ///   - spelling: a label that says nothing about where the sample goes.
    private static func labels(_ gpu: Int, spelling: Int) -> [String: String] {
        Body.gpu(gpu % 8, node: "n\(gpu / 8)", spelling == 0 ? [:] : ["container": "c\(spelling)"])
    }

    @Test("samples of one series under several spellings keep their order in a request")
    func spellings() throws {
        var lane = Lane(identities: 1_000)
        try lane.send([(Self.labels(0, spelling: 0), [(Self.nowMs - 9_000, 1)])])
        // The new spelling's come between those of the known one.
        try lane.send([
            (Self.labels(0, spelling: 0), [(Self.nowMs - 8_000, 2)]),
            (Self.labels(0, spelling: 1), [(Self.nowMs - 7_000, 3)]),
            (Self.labels(0, spelling: 1), [(Self.nowMs - 6_000, 4)]),
            (Self.labels(0, spelling: 0), [(Self.nowMs - 5_000, 5)]),
        ])
        // Several samples of one that is new, before one of a known one.
        try lane.send([
            (Self.labels(0, spelling: 2), [(Self.nowMs - 4_000, 6), (Self.nowMs - 3_000, 7)]),
            (Self.labels(0, spelling: 0), [(Self.nowMs - 2_000, 8)]),
        ])
        #expect(lane.sink.samples.map(\.value) == [1, 2, 3, 4, 5, 6, 7, 8])
    }

    @Test(
        "labels that change all the time leave little behind, and what comes again does not come as new",
        arguments: [15, 30, 60, 240])
    func leftBehind(every seconds: Int) throws {
        var lane = Lane(identities: 100_000)
        // Long enough that its longest pause is known: the limit was too low for it before.
        let (series, scrapes) = (2_000, 6 + 600 / seconds)
        var (most, madeLate) = (0, 0)
        for scrape in 0..<scrapes {
            let afterMs = Int64(scrape * seconds * 1_000)
            let known = lane.registry.table.made
            try lane.send(
                (0..<series).map { gpu in
                    // The last tenth of them with another label each time.
                    (
                        Self.labels(gpu, spelling: gpu < series / 10 * 9 ? 0 : scrape + 1),
                        [(Self.nowMs + afterMs, Double(scrape))]
                    )
                }, afterMs: afterMs)
            if scrape >= scrapes / 2 { madeLate += lane.registry.table.made - known }
            for part in 0..<10 {
                lane.router.tend(lane: 0, nowMs: Self.nowMs + afterMs + Int64(part * seconds * 100))
            }
            most = max(most, lane.registry.table.count)
        }
        #expect(madeLate == (scrapes - scrapes / 2) * series / 10, "only what is new")
        #expect(most <= series * 5 / 4 + series / 10 * 2, "at most \(most) entries")
        #expect(lane.sink.samples.count == series * scrapes)
    }

    @Test(
        "each sample arrives once, at its series, in order: spellings that come and go, few entries, several scrapes",
        arguments: [16, 24, 64, 100_000], 0..<5)
    func everything(identities: Int, seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed * 7 + identities))
        var lane = Lane(identities: identities)
        var spellings = [Int](repeating: 0, count: 64)
        var timeMs = Self.nowMs - 1_000_000
        var sent: [Int: [Double]] = [:]
        var number = 0.0
        for _ in 0..<60 {
            var body: [(labels: [String: String], samples: [(Int64, Double)])] = []
            let scrapes = Int.random(in: 1...3, using: &random)
            let order = Bool.random(using: &random) ? Array(0..<64) : Array(0..<64).shuffled(using: &random)
            for _ in 0..<scrapes {
                timeMs += 1_000
                for gpu in order where Int.random(in: 0..<10, using: &random) > 0 {
                    if Int.random(in: 0..<12, using: &random) == 0 {
                        spellings[gpu] = Int.random(in: 0..<6, using: &random)
                    }
                    // Now and then two samples, which is what no guess expects.
                    let count = Int.random(in: 0..<20, using: &random) == 0 ? 2 : 1
                    var samples: [(Int64, Double)] = []
                    for half in 0..<count {
                        number += 1
                        samples.append((timeMs + Int64(half), number))
                        sent[gpu, default: []].append(number)
                    }
                    body.append((Self.labels(gpu, spelling: spellings[gpu]), samples))
                }
            }
            try lane.send(body)
        }
        let topology = lane.streams.topology(lane.streams.open(.measured, site: "s")).snapshot()
        var received: [Int: [Double]] = [:]
        for sample in lane.sink.samples {
            let node = topology.nodeNames[Int(sample.series.node)].dropFirst()
            let gpu = Int(topology.gpuOrdinal[Int(sample.series.gpu)])
            received[(Int(node) ?? -1) * 8 + gpu, default: []].append(sample.value)
        }
        #expect(received == sent)
        #expect(lane.sink.unknownSlots == 0)
    }
}
