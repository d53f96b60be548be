import Logging
import Receivers
import Synchronization
import TLS
import Telemetry
import WireFormats

/// A sink that keeps what it gets, and checks that no slot is used before it was announced.
final class FakeSink: BatchSink {
    struct State {
        var series: [[SeriesDescriptor]]
        var batches: [SampleBatch] = []
        var observed: [(sender: SenderID, newestMs: Int64)] = []
        /// Offers that will be refused.
        var refusals = 0
        var offers = 0
        var unknownSlots = 0
        var moves: [[Int32: Int32]] = []
        var largestOffer = 0
    }

    let state: Mutex<State>
    let shardCount: Int

    init(shardCount: Int = 2) {
        self.shardCount = shardCount
        state = Mutex(State(series: Array(repeating: [], count: shardCount)))
    }

    func shard(stream: StreamIndex, rack: Int32, node: Int32) -> Int { Int(node) % shardCount }

    func register(_ series: [SeriesDescriptor], stream: StreamIndex, shard: Int) {
        state.withLock { state in
            for descriptor in series {
                if Int(descriptor.slot) != state.series[shard].count { state.unknownSlots += 1 }
                state.series[shard].append(descriptor)
            }
        }
    }

    func move(_ racks: [Int32: Int32], stream: StreamIndex) { state.withLock { $0.moves.append(racks) } }

    func offer(_ batches: [SampleBatch]) -> Admission {
        state.withLock { state in
            state.offers += 1
            state.largestOffer = max(state.largestOffer, batches.count)
            if state.refusals > 0 {
                state.refusals -= 1
                return .full
            }
            for batch in batches {
                let known = state.series[batch.shard].count
                state.unknownSlots += batch.records.count { Int($0.slot) >= known }
            }
            state.batches += batches
            return .accepted
        }
    }

    func observed(
        sender: SenderID, stream: StreamIndex, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64
    ) {
        state.withLock { $0.observed.append((sender, newestMs)) }
    }

    /// Everything that was taken, by GPU and field.
    var samples: [(series: SeriesDescriptor, timeMs: Int64, value: Double)] {
        state.withLock { state in
            state.batches.flatMap { batch in
                batch.records.map { record in
                    (
                        state.series[batch.shard][Int(record.slot)], batch.baseMs + Int64(record.offsetMs),
                        record.value
                    )
                }
            }
        }
    }

    var series: [SeriesDescriptor] { state.withLock { $0.series.flatMap { $0 } } }
    var sampleCount: Int { state.withLock { $0.batches.reduce(0) { $0 + $1.records.count } } }
    var moves: [[Int32: Int32]] { state.withLock { $0.moves } }
    var unknownSlots: Int { state.withLock { $0.unknownSlots } }
}

final class FakeEvents: EventSink {
    private let events = Mutex<[Event]>([])
    func emit(_ new: [Event]) { events.withLock { $0 += new } }
    var all: [Event] { events.withLock { $0 } }
}

final class FakeLedger: Sendable {
    private let ledger = Mutex(Ledger())
    func add(_ delta: Ledger) { ledger.withLock { $0.add(delta) } }
    var value: Ledger { ledger.withLock { $0 } }
}

/// A server on a free port of the loopback interface, with everything around it.
struct Bench {
    static let nowMs: Int64 = 1_764_000_000_000

    let sink: FakeSink
    let events = FakeEvents()
    let ledger = FakeLedger()
    let streams = Streams()
    let metrics = Metrics()
    let server: IngestServer
    let stream: StreamIndex

    init(
        sink: FakeSink = FakeSink(), inventory: Inventory? = nil, access: BearerCheck = BearerCheck(),
        tls: TLSContext? = nil, tlsNowMs: Int64 = Bench.nowMs,
        configure: (inout IngestConfiguration) -> Void = { _ in }
    ) {
        var configuration = IngestConfiguration()
        configuration.port = 0
        configuration.threads = 1
        configure(&configuration)
        self.sink = sink
        stream = streams.open(.measured, site: "memphis")
        let ledger = ledger
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let acceptor = TLSAcceptor(
            listener: "ingest", clock: WallClock { tlsNowMs }, metrics: metrics, logger: logger)
        acceptor.replace(tls)
        server = IngestServer(
            configuration: configuration, sink: sink, events: events, streams: streams, stream: stream,
            inventory: inventory, access: access, tls: acceptor, account: { delta, _ in ledger.add(delta) },
            clock: WallClock { Bench.nowMs }, metrics: metrics,
            logger: logger)
    }

    var topology: TopologySnapshot { streams.topology(stream).snapshot() }

    /// Starts the server, runs the body with its port, stops the server.
    func run<T>(_ body: (Int) async throws -> T) async throws -> T {
        let address = try await server.start()
        do {
            let result = try await body(address.port)
            await server.stop(grace: .milliseconds(200))
            return result
        } catch {
            await server.stop(grace: .zero)
            throw error
        }
    }

    func metric(_ line: String) -> Bool {
        metrics.exposition().split(separator: "\n").contains(Substring(line))
    }
}

/// Remote write bodies.
enum Body {
    static func write(_ series: [(labels: [String: String], samples: [(Int64, Double)])]) -> [UInt8] {
        var encoder = RemoteWriteEncoder()
        for one in series {
            encoder.add(
                labels: one.labels.map { Label($0.key, $0.value) },
                samples: one.samples.map { TimedValue(timeMs: $0.0, value: $0.1) })
        }
        return encoder.finish()
    }

    static func gpu(
        _ gpu: Int, node: String = "n1", field: String = "DCGM_FI_DEV_GPU_TEMP",
        _ more: [String: String] = [:]
    ) -> [String: String] {
        ["__name__": field, "gpu": "\(gpu)", "hostname": node].merging(more) { $1 }
    }
}
