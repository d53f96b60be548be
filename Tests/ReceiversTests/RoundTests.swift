import Dispatch
import Logging
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Receivers

/// Small requests of many connections go on together, and each is judged for itself.
@Suite struct RoundTests {
    /// A log whose records are safe when the test says so.
    final class HeldJournal: IngestJournal {
        struct State {
            var bodies: [[UInt8]] = []
            var waiting: [@Sendable (Bool) -> Void] = []
            var calls = 0
        }

        let state = Mutex(State())
        /// Bodies of this length are refused.
        let refused: Int

        init(refused: Int) { self.refused = refused }

        func check(_ head: JournalHead, body: RawSpan) -> JournalCheck {
            JournalCheck(rawValue: UInt32(body.byteCount))
        }

        func append(_ head: JournalHead, body: RawSpan, check: JournalCheck) -> LogPosition? {
            guard body.byteCount != refused else { return nil }
            #expect(check.rawValue == UInt32(body.byteCount))
            return state.withLock { state in
                state.bodies.append(body.withUnsafeBytes { Array($0) })
                return LogPosition(rawValue: Int64(state.bodies.count))
            }
        }

        func whenSafe(_ tell: @escaping @Sendable (Bool) -> Void) {
            state.withLock { state in
                state.waiting.append(tell)
                state.calls += 1
            }
        }

        /// Says it of all that wait.
        func tell(isSafe: Bool) {
            let waiting = state.withLock { state in
                defer { state.waiting = [] }
                return state.waiting
            }
            for tell in waiting { tell(isSafe) }
        }

        var end: LogPosition { LogPosition(rawValue: Int64(state.withLock { $0.bodies.count })) }
        func read(from: LogPosition, bytesMax: Int) throws -> JournalChunk {
            JournalChunk(records: [], next: from)
        }
        func retire() {}
        func noteClosing(throughMs: Int64) -> LogPosition { end }
        func keepFrom(newestMs: Int64, cut: LogPosition) -> LogPosition { cut }
        func release(_ mark: LogMark) {}
    }

    /// A sink that holds the event loop in the first request until the test lets it go on.
    final class RoundSink: JournaledSink {
        struct State {
            var rounds: [[LoggedRequest]] = []
            var taken: [LoggedRequest] = []
            var slots: UInt32 = 0
        }

        let state = Mutex(State())
        let arrived = DispatchSemaphore(value: 0)
        let goOn = DispatchSemaphore(value: 0)
        /// What becomes of a request, by its count of samples.
        let full = 3
        let noRoom = 4
        let shardCount = 2

        func shard(stream: StreamIndex, rack: Int32, node: Int32) -> Int { Int(node) % shardCount }
        func register(_ series: [SeriesDescriptor], stream: StreamIndex, shard: Int) {}
        func move(_ racks: [Int32: Int32], stream: StreamIndex) {}
        func offer(_ batches: [SampleBatch]) -> Admission { .full }
        func observed(
            sender: SenderID, stream: StreamIndex, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64
        ) {}
        func beginReplay(_ stream: StreamIndex) {}
        func replayClosing(throughMs: Int64, stream: StreamIndex) -> Bool { true }
        func endReplay(_ stream: StreamIndex) {}

        func take(_ requests: [LoggedRequest], place: (Int) -> LogPosition?) -> [JournaledAdmission] {
            let isFirst = state.withLock { state in
                state.rounds.append(requests)
                return state.rounds.count == 1
            }
            if isFirst {
                arrived.signal()
                goOn.wait()
            }
            return requests.enumerated().map { number, request in
                switch request.batches.reduce(0, { $0 + $1.records.count }) {
                case full: return .full
                case noRoom: return .noRoom
                default:
                    guard place(number) != nil else { return .refused }
                    state.withLock { $0.taken.append(request) }
                    return .accepted
                }
            }
        }
    }

    static func body(_ count: Int) -> [UInt8] {
        Body.write([(Body.gpu(0), (0..<count).map { (Bench.nowMs - 1_000 + Int64($0), 1) })])
    }

    static func waitFor(_ semaphore: DispatchSemaphore) async {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                semaphore.wait()
                continuation.resume()
            }
        }
    }

    @Test("requests that come together go on together, each is judged for itself, and the log is asked once")
    func together() async throws {
        let journal = HeldJournal(refused: Self.body(5).count)
        let sink = RoundSink()
        let streams = Streams()
        let stream = streams.open(.measured, site: "memphis")
        var configuration = IngestConfiguration()
        configuration.port = 0
        configuration.threads = 1
        configuration.limits.creditTimeout = .zero
        let server = IngestServer(
            configuration: configuration, sink: sink, events: FakeEvents(), streams: streams, stream: stream,
            logging: IngestLogging(journal: journal, sink: sink, first: .start, mark: nil),
            account: { _, _ in }, clock: WallClock { Bench.nowMs }, metrics: Metrics(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let port = try await server.start().port
        while server.replay?.isDone != true { try await Task.sleep(for: .milliseconds(1)) }

        // One is in the sink, and holds the loop; meanwhile the requests of others come.
        let first = try RawClient(port: port)
        let clients = try (0..<6).map { _ in try RawClient(port: port) }
        while server.connectionCount < 7 { try await Task.sleep(for: .milliseconds(1)) }
        await first.send(RawClient.request("/api/v1/write", Self.body(1), RawClient.writeHeaders))
        await Self.waitFor(sink.arrived)
        for (place, client) in clients.enumerated() {
            await client.send(
                RawClient.request("/api/v1/write", Self.body(place + 2), RawClient.writeHeaders))
        }
        sink.goOn.signal()

        // Those that were not taken are told at once, whatever the log does.
        let refusals = [(1, 429), (2, 503), (3, 503)]
        for (place, status) in refusals { #expect(await clients[place].reply()?.status == status) }
        #expect(sink.state.withLock { $0.rounds.map(\.count) } == [1, 6])
        #expect(journal.state.withLock { $0.calls } == 2)
        // The log has what was taken, in the order in which the sink got it.
        #expect(journal.state.withLock { $0.bodies } == [1, 2, 6, 7].map { Self.body($0) })
        let taken = sink.state.withLock { $0.taken.map { $0.batches.reduce(0) { $0 + $1.records.count } } }
        #expect(taken == [1, 2, 6, 7])

        let answers = Locked<[Int]>([])
        let waiting = [first, clients[0], clients[4], clients[5]].map { client in
            Task {
                let status = await client.reply()?.status ?? 0
                answers.withLock { $0.append(status) }
            }
        }
        try await Task.sleep(for: .milliseconds(50))
        #expect(answers.withLock { $0 }.isEmpty, "answered before the log said that it is safe")
        journal.tell(isSafe: true)
        for task in waiting { await task.value }
        #expect(answers.withLock { $0 } == [204, 204, 204, 204])

        // What the log cannot say for now is no 204.
        await first.send(RawClient.request("/api/v1/write", Self.body(8), RawClient.writeHeaders))
        while journal.state.withLock({ $0.waiting.isEmpty }) { try await Task.sleep(for: .milliseconds(1)) }
        journal.tell(isSafe: false)
        #expect(await first.reply()?.status == 503)
        await server.stop(grace: .milliseconds(200))
    }

    @Test("whoever goes away in the middle of a round is no harm to the others")
    func goesAway() async throws {
        let bench = Bench()
        try await bench.run { port in
            let others = try (0..<4).map { _ in try RawClient(port: port) }
            for _ in 0..<20 {
                do {
                    let client = try RawClient(port: port)
                    await client.send(
                        RawClient.request("/api/v1/write", Self.body(1), RawClient.writeHeaders))
                }
                for client in others { #expect(await client.write(Self.body(2))?.status == 204) }
            }
        }
        #expect(bench.sink.sampleCount >= 160)
    }
}
