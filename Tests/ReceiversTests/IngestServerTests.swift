import Glibc
import Synchronization
import Telemetry
import TestSupport
import Testing
import WireFormats

@testable import Receivers

/// Over real sockets on the loopback interface: what arrives, and how serving begins and ends. Requests that are refused
/// and clients that are slow or many are in files of their own, and part of this suite: one test at a time.
@Suite(.serialized) struct IngestServerTests {
    @Test("a remote write arrives: series announced, samples in their shard, 204")
    func write() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            let now = Bench.nowMs
            let reply = await client.write(
                Body.write([
                    (Body.gpu(0), [(now - 15_000, 50), (now, 51)]), (Body.gpu(1), [(now, 61)]),
                    (Body.gpu(0, node: "n2"), [(now, 71)]),
                ]))
            #expect(reply?.status == 204 && reply?.body == "")
        }
        let samples = bench.sink.samples.sorted { $0.value < $1.value }
        #expect(samples.map(\.value) == [50, 51, 61, 71])
        #expect(samples.map(\.timeMs) == [-15_000, 0, 0, 0].map { Bench.nowMs + $0 })
        #expect(bench.topology.nodeNames == ["n1", "n2"])
        #expect(samples.allSatisfy { $0.series.field == .gpuTemp && $0.series.redundantTo == nil })
        #expect(bench.sink.unknownSlots == 0)
        let observed = bench.sink.state.withLock { $0.observed }
        #expect(observed.count == 1 && observed[0].newestMs == Bench.nowMs)
        #expect(bench.ledger.value == Ledger())
        #expect(bench.metric(#"colossus_ingest_requests_total{code="204",path="/api/v1/write"} 1"#))
        #expect(bench.metric("colossus_ingest_samples_total 4"))
        #expect(bench.metric("colossus_ingest_connections 0"))
    }

    @Test("what is rejected before the sink is counted, with its reason, as received and dropped")
    func rejected() async throws {
        let bench = Bench { $0.limits.labels.count = 6 }
        try await bench.run { port in
            let client = try RawClient(port: port)
            let now = Bench.nowMs
            let many = Dictionary(uniqueKeysWithValues: (0..<9).map { ("l\($0)", "x") })
            let body = Body.write([
                (Body.gpu(0), [(now, 1), (now + 3_600_000, 2)]),
                (["__name__": "up"], [(now, 1), (now + 1, 1)]),
                (["__name__": "DCGM_FI_DEV_GPU_TEMP", "gpu": "0"], [(now, 1)]),
                (Body.gpu(0, ["GPU_I_ID": "3"]), [(now, 1)]), (Body.gpu(0, many), [(now, 1)]),
                (["__name__": "DCGM_FI_DEV_GPU_TEMP", "hostname": "n1"], [(now, 1)]),
            ])
            // The second time they are known by their identities.
            for _ in 0..<2 { #expect(await client.write(body)?.status == 204) }
        }
        var expected = Ledger()
        expected.received = 14
        expected[.future] = 2
        expected[.unknownField] = 4
        expected[.noEntity] = 6
        expected[.badLabels] = 2
        #expect(bench.ledger.value == expected)
        #expect(bench.sink.sampleCount == 2 && bench.sink.series.count == 1)
        #expect(bench.sink.state.withLock { $0.observed.map(\.newestMs) } == [Bench.nowMs, Bench.nowMs])
    }

    @Test("one connection serves many requests, also when they come all at once")
    func keepAlive() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            for index in 0..<20 {
                let body = Body.write([(Body.gpu(index % 8), [(Bench.nowMs + Int64(index), 1)])])
                #expect(await client.write(body)?.status == 204)
            }
            var pipelined: [UInt8] = []
            for index in 0..<30 {
                let body = Body.write([(Body.gpu(index % 8), [(Bench.nowMs + 100 + Int64(index), 2)])])
                pipelined += RawClient.request("/api/v1/write", body, RawClient.writeHeaders)
                pipelined += RawClient.request("/nothing", [], [:], method: "POST").prefix(0)
            }
            await client.send(pipelined)
            for _ in 0..<30 { #expect(await client.reply()?.status == 204) }
            #expect(bench.server.connectionCount == 1)
        }
        let times = bench.sink.samples.filter { $0.value == 2 }.map(\.timeMs)
        #expect(times == (0..<30).map { Bench.nowMs + 100 + Int64($0) }, "in the order in which they came")
    }

    @Test("a large request goes in batches of bounded size and offers of bounded length")
    func large() async throws {
        let bench = Bench(sink: FakeSink(shardCount: 3)) { $0.limits.batchesPerOffer = 4 }
        let count = 30_000
        try await bench.run { port in
            let client = try RawClient(port: port)
            let series = (0..<count / 100).map { index in
                (
                    Body.gpu(index % 8, node: "n\(index / 8)"),
                    (0..<100).map { (Bench.nowMs - 100_000 + Int64($0) * 1_000, Double(index)) }
                )
            }
            #expect(await client.write(Body.write(series))?.status == 204)
        }
        #expect(bench.sink.sampleCount == count && bench.sink.unknownSlots == 0)
        #expect(bench.sink.state.withLock { $0.largestOffer } == 4)
        #expect(bench.sink.state.withLock { $0.batches.allSatisfy { $0.records.count <= 2_048 } })
    }

    @Test("stopping closes idle connections and lets a running request finish")
    func stop() async throws {
        let bench = Bench()
        let address = try await bench.server.start()
        let idle = try RawClient(port: address.port)
        let busy = try RawClient(port: address.port)
        let body = Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])])
        #expect(await idle.write(body)?.status == 204)
        bench.sink.state.withLock { $0.refusals = 10 }
        await busy.send(RawClient.request("/api/v1/write", body, RawClient.writeHeaders))
        try await until { bench.sink.state.withLock { $0.offers } >= 2 }
        await bench.server.stop(grace: .seconds(10))
        #expect(await busy.reply()?.status == 204)
        #expect(await idle.isClosed())
        #expect(bench.sink.sampleCount == 2)
        #expect(throws: RawClient.Failure.self) { try RawClient(port: address.port) }
    }

    @Test("who was let in at the last moment and is slow to ask is answered before the server is gone")
    func slowToAsk() async throws {
        let bench = Bench()
        let address = try await bench.server.start()
        let slow = try RawClient(port: address.port)
        try await until { bench.server.connectionCount == 1 }
        async let stopped: Void = bench.server.stop(grace: .seconds(30), settling: .seconds(30))
        // Longer than what is waited for when nobody is there.
        try await Task.sleep(for: .milliseconds(600))
        #expect(await slow.write(Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])]))?.status == 204)
        await stopped
        #expect(await slow.isClosed() && bench.sink.sampleCount == 1)
    }

    /// A socket that listens on a free port of the loopback interface.
    private static func listening() -> CInt {
        let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                #expect(bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0)
            }
        }
        #expect(listen(descriptor, 64) == 0)
        return descriptor
    }

    @Test("a socket that goes from server to server loses no connection")
    func handedOn() async throws {
        let descriptor = Self.listening()
        defer { close(descriptor) }
        let (isOver, answers) = (Locked(false), Locked<[Int: Int]>([:]))
        func bench() -> Bench {
            Bench {
                $0.listeningDescriptor = dup(descriptor)
                $0.threads = 2
            }
        }
        var serving = bench()
        let port = try await serving.server.start().port
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    while !isOver.withLock({ $0 }) {
                        let body = Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])])
                        let status = await (try RawClient(port: port)).write(body)?.status ?? 0
                        answers.withLock { $0[status, default: 0] += 1 }
                    }
                }
            }
            for _ in 0..<10 {
                try await Task.sleep(for: .milliseconds(20))
                await serving.server.stop(grace: .seconds(30), settling: .seconds(30))
                serving = bench()
                try await serving.server.start()
            }
            isOver.withLock { $0 = true }
            try await group.waitForAll()
        }
        await serving.server.stop()
        let counts = answers.withLock { $0 }
        #expect(counts[204] ?? 0 > 100 && counts.count == 1, "\(counts)")
    }

    @Test("a socket that listens already is served")
    func passedSocket() async throws {
        let descriptor = Self.listening()
        let bench = Bench { $0.listeningDescriptor = descriptor }
        try await bench.run { port in
            let client = try RawClient(port: port)
            #expect(await client.write(Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])]))?.status == 204)
        }
        #expect(bench.sink.sampleCount == 1)
    }

    @Test("an address that is taken is an error")
    func taken() async throws {
        let bench = Bench()
        try await bench.run { port in
            let other = Bench { $0.port = port }
            await #expect(throws: (any Error).self) { try await other.server.start() }
        }
    }
}

/// Waits for something that is bound to happen soon.
func until(_ condition: () -> Bool) async throws {
    for _ in 0..<2_000 {
        if condition() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record("it never happened")
}
