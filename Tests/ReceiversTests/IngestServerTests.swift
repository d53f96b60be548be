import Glibc
import Receivers
import Synchronization
import Telemetry
import TestSupport
import Testing
import WireFormats

/// Over real sockets on the loopback interface.
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
        let samples = bench.sink.samples.sorted { ($0.series.gpu, $0.timeMs) < ($1.series.gpu, $1.timeMs) }
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

    @Test("corrupt bodies are answered with the reason and the byte")
    func corrupt() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            let broken = await client.write([0x05, 0x00, 0x61, 0x01, 0x02])
            #expect(broken?.status == 400)
            #expect(
                broken?.body
                    == "The snappy block is corrupt at byte 3: a copy reaches back before the start of the output.\n"
            )
            let message = await client.write(Snappy.encode([0x0A, 0x05, 0x0A]))
            #expect(
                message?.body
                    == "The remote write message is corrupt at byte 1: a length reaches beyond the end of its message.\n"
            )
            // Good series before and a label that turns out corrupt only when it is read.
            let good = Snappy.encode([0x0A, 0x09, 0x0A, 0x03, 0x0A, 0x07, 0x61, 0x12, 0x02, 0x10, 0x01])
            #expect(await client.write(good)?.status == 400)
            #expect(await client.write([])?.status == 400)
            // And the connection is still good.
            #expect(await client.write(Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])]))?.status == 204)
        }
        #expect(bench.sink.sampleCount == 1 && bench.ledger.value == Ledger())
        #expect(bench.metric(#"colossus_ingest_rejected_requests_total{reason="corrupt_snappy"} 2"#))
    }

    @Test(
        "requests are judged by their heads",
        arguments: [
            ("POST", "/api/v1/write", "localhost", ["Content-Type": "text/plain"], 415),
            ("POST", "/api/v1/write", "localhost", ["Content-Encoding": "br"], 415),
            ("POST", "/api/v1/write", "localhost", ["Content-Encoding": "gzip, gzip"], 415),
            ("POST", "/api/v1/write", "localhost", ["Content-Encoding": "gzip"], 400),
            ("POST", "/api/v1/write", "localhost", ["Content-Encoding": "ZSTD"], 400),
            ("POST", "/api/v1/write", "localhost", ["Content-Encoding": "identity"], 400),
            (
                "POST", "/api/v1/write", "localhost",
                ["Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"], 415
            ),
            (
                "POST", "/api/v1/write", "localhost",
                ["Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"], 400
            ),
            (
                "POST", "/api/v1/write", "localhost",
                ["Content-Type": "application/x-protobuf; proto=prometheus.WriteRequest"], 400
            ),
            ("POST", "/api/v1/import", "localhost", ["Content-Type": "application/openmetrics-text"], 415),
            ("POST", "/api/v1/import", "localhost", ["Content-Type": "text/plain; version=1.0.0"], 415),
            ("POST", "/api/v1/import", "localhost", ["Content-Encoding": "gzip"], 400),
            ("POST", "/api/v1/import", "localhost", ["Content-Encoding": "deflate"], 415),
            ("POST", "/api/v1/import", "localhost", ["Content-Type": "text/plain; version=0.0.4"], 400),
            ("POST", "/api/v1/events", "localhost", ["Content-Type": "application/x-protobuf"], 415),
            ("GET", "/api/v1/write", "localhost", [:], 405), ("PUT", "/api/v1/events", "localhost", [:], 405),
            ("GET", "/", "localhost", [:], 404), ("POST", "/api/v1/write/x", "localhost", [:], 404),
            ("POST", "/api/v1/write?x=1", "localhost", [:], 400),
            ("POST", "/api/v1/write", "localhost", ["Origin": "http://localhost"], 403),
            ("POST", "/api/v1/write", "localhost", ["Origin": "null"], 403),
            ("POST", "/api/v1/write", "evil.example", [:], 403), ("POST", "/api/v1/write", "", [:], 403),
            ("POST", "/api/v1/write", "localhost.evil.example", [:], 403),
            ("POST", "/api/v1/write", "localhost:x", [:], 403), ("GET", "/", "evil.example", [:], 403),
            ("POST", "/api/v1/write", "LOCALHOST:9480", [:], 400),
            ("POST", "/api/v1/write", "127.0.0.1", [:], 400),
            ("POST", "/api/v1/write", "127.0.0.1:1", [:], 400), ("POST", "/api/v1/write", "[::1]", [:], 400),
            ("POST", "/api/v1/write", "[::1]:9480", [:], 400),
            ("POST", "/api/v1/write", "ingest.example", [:], 400),
            ("POST", "/api/v1/write", "ingest.example.:80", [:], 400),
        ] as [(String, String, String, [String: String], Int)])
    func heads(
        method: String, path: String, host: String, headers: [String: String], status: Int
    ) async throws {
        let bench = Bench { $0.hostNames = ["Ingest.example"] }
        try await bench.run { port in
            let client = try RawClient(port: port)
            // What is not refused for its head is refused for its body.
            await client.send(RawClient.request(path, [0xFF], headers, method: method, host: host))
            let reply = await client.reply()
            #expect(reply?.status == status)
            #expect(reply?.body.hasSuffix("\n") == true)
            if status == 405 { #expect(reply?.headers["allow"] == "POST") }
        }
        #expect(bench.sink.sampleCount == 0)
    }

    @Test("without a Host, or with two, a request is refused")
    func hostHeaders() async throws {
        let bench = Bench()
        try await bench.run { port in
            for hosts in ["", "Host: localhost\r\nHost: localhost\r\n"] {
                let client = try RawClient(port: port)
                await client.send("POST /api/v1/write HTTP/1.1\r\n\(hosts)Content-Length: 0\r\n\r\n")
                #expect([400, 403].contains(await client.reply()?.status ?? 0))
            }
        }
    }

    @Test("a body beyond the limit is 413: announced, sent in chunks, or decompressed")
    func tooLarge() async throws {
        let bench = Bench { $0.limits.bodyBytes = 1 << 20 }
        try await bench.run { port in
            let announced = try RawClient(port: port)
            await announced.send(
                "POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\nExpect: 100-continue\r\n\r\n"
            )
            let reply = await announced.reply()
            #expect(reply?.status == 413)
            #expect(reply?.body == "The body is larger than 1 MiB (1048576 bytes); send it in parts.\n")
            #expect(reply?.headers["connection"] == "close")

            let chunked = try RawClient(port: port)
            await chunked.send(
                "POST /api/v1/import HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            let chunk = "10000\r\n" + String(repeating: "#", count: 65_536) + "\r\n"
            for _ in 0..<20 { await chunked.send(chunk) }
            await chunked.send("0\r\n\r\n")
            #expect(await chunked.reply()?.status == 413)
            #expect(await chunked.isClosed())

            let bomb = Snappy.encode([UInt8](repeating: 0, count: (1 << 20) + 1))
            let client = try RawClient(port: port)
            #expect(await client.write(bomb)?.status == 413)
            // Exactly at the limit it is read, and found to be no message.
            let brim = Snappy.encode([UInt8](repeating: 0, count: 1 << 20))
            #expect(await client.write(brim)?.status == 400)
        }
    }

    @Test("too many samples are 413")
    func tooManySamples() async throws {
        let bench = Bench { $0.limits.samplesPerRequest = 3 }
        try await bench.run { port in
            let client = try RawClient(port: port)
            let samples = (0..<4).map { (Bench.nowMs + Int64($0), 1.0) }
            #expect(await client.write(Body.write([(Body.gpu(0), samples)]))?.status == 413)
            #expect(await client.write(Body.write([(Body.gpu(0), Array(samples.prefix(3)))]))?.status == 204)
            let page = "a 1\nb 2\nc 3\nd 4\n"
            #expect(await client.post("/api/v1/import", Array(page.utf8))?.status == 413)
        }
        #expect(bench.sink.sampleCount == 3)
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

    @Test("a client that wants to be told to go on is told")
    func expectContinue() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            let page = "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",hostname=\"n1\"} 40\n"
            await client.send(
                "POST /api/v1/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(page.utf8.count)\r\nExpect: 100-continue\r\n\r\n"
            )
            #expect(await client.reply()?.status == 100)
            await client.send(page)
            #expect(await client.reply()?.status == 200)
        }
    }

    @Test("a client that speaks HTTP/1.0, or wants to close, is closed")
    func closes() async throws {
        let bench = Bench()
        try await bench.run { port in
            for head in ["HTTP/1.0\r\n", "HTTP/1.1\r\nConnection: close\r\n"] {
                let client = try RawClient(port: port)
                await client.send("POST /api/v1/import \(head)Host: localhost\r\nContent-Length: 0\r\n\r\n")
                #expect(await client.reply()?.status == 400)
                #expect(await client.isClosed())
            }
        }
    }

    @Test("garbage is answered with 400 or nothing, and the next client is served")
    func garbage() async throws {
        let bench = Bench()
        try await bench.run { port in
            var random = SeededRandom(seed: 41)
            for round in 0..<60 {
                let client = try RawClient(port: port)
                var bytes = RawClient.request("/api/v1/write", [1, 2, 3], RawClient.writeHeaders)
                if round % 3 == 0 {
                    bytes = (0..<200).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                } else {
                    for _ in 0..<3 {
                        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(
                            truncatingIfNeeded: random.next())
                    }
                }
                await client.send(bytes)
                client.finish()
                if let reply = await client.reply() { #expect((400...499).contains(reply.status)) }
            }
            let client = try RawClient(port: port)
            #expect(await client.write(Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])]))?.status == 204)
        }
    }

    @Test("headers beyond the limit are refused")
    func largeHeaders() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            await client.send(
                "POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nX-Big: \(String(repeating: "x", count: 40_000))\r\n\r\n"
            )
            #expect(await client.reply()?.status == 400)
            let many = (0..<200).map { "X-\($0): x\r\n" }.joined()
            let other = try RawClient(port: port)
            await other.send("POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\n\(many)\r\n")
            #expect(await other.reply()?.status == 400)
        }
    }

    @Test("a body that does not come is given up, and so is a connection without traffic")
    func slow() async throws {
        let slow = Bench { $0.limits.requestTimeout = .milliseconds(150) }
        try await slow.run { port in
            let client = try RawClient(port: port)
            await client.send(
                "POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
            #expect(await client.reply()?.status == 408)
            #expect(await client.isClosed())
        }
        let idle = Bench { $0.limits.idleTimeout = .milliseconds(150) }
        try await idle.run { port in
            let client = try RawClient(port: port)
            #expect(await client.write(Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])]))?.status == 204)
            #expect(await client.isClosed())
        }
    }

    @Test(
        "a head that drips in is given up, on a new connection and after a request; a quiet connection is not"
    )
    func slowHead() async throws {
        let bench = Bench { $0.limits.requestTimeout = .milliseconds(500) }
        try await bench.run { port in
            // Has been answered and says nothing more: its bodies came in one piece and in two.
            let quiet = try [RawClient(port: port), RawClient(port: port)]
            let body = Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])])
            #expect(await quiet[0].write(body)?.status == 204)
            let request = RawClient.request("/api/v1/write", body, RawClient.writeHeaders)
            await quiet[1].send(Array(request.dropLast(5)))
            // Another's request lets the server take the first part.
            #expect(await quiet[0].write(body)?.status == 204)
            await quiet[1].send(Array(request.suffix(5)))
            #expect(await quiet[1].reply()?.status == 204)
            let dripping = try RawClient(port: port)
            let later = try RawClient(port: port)
            #expect(await later.write(Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])]))?.status == 204)
            for client in [dripping, later] {
                // The client sends and waits in turns: what drips in has to be sent before the waiting begins.
                for piece in ["P", "O", "ST /"] { await client.send(piece) }
                #expect(await client.isClosed())
            }
            // The time of the quiet ones would have been over before.
            for client in quiet { #expect(await client.write(body)?.status == 204) }
        }
        #expect(bench.metric(#"colossus_ingest_rejected_requests_total{reason="slow_head"} 2"#))
    }

    @Test("a body that comes bit by bit is read")
    func trickle() async throws {
        let bench = Bench()
        try await bench.run { port in
            let client = try RawClient(port: port)
            let body = Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])])
            for byte in RawClient.request("/api/v1/write", body, RawClient.writeHeaders) {
                await client.send([byte])
            }
            #expect(await client.reply()?.status == 204)
        }
    }

    @Test("connections beyond the limit are closed")
    func connectionLimit() async throws {
        let bench = Bench { $0.limits.connections = 2 }
        try await bench.run { port in
            let body = Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])])
            let first = try RawClient(port: port)
            let second = try RawClient(port: port)
            #expect(await first.write(body)?.status == 204)
            #expect(await second.write(body)?.status == 204)
            let third = try RawClient(port: port)
            #expect(await third.isClosed())
            #expect(await first.write(body)?.status == 204)
        }
    }

    @Test("bodies of all connections together are bounded")
    func budget() async throws {
        let bench = Bench { $0.limits.bodyBytesInAll = 1_000 }
        try await bench.run { port in
            let client = try RawClient(port: port)
            let reply = await client.post("/api/v1/import", [UInt8](repeating: 0x23, count: 1_001))
            #expect(reply?.status == 429 && reply?.headers["retry-after"] == "1")
            let next = try RawClient(port: port)
            #expect(await next.post("/api/v1/import", [UInt8](repeating: 0x23, count: 1_000))?.status == 400)
        }
    }

    @Test("out of credit, a request waits; when there is credit again it is taken once")
    func waits() async throws {
        let bench = Bench()
        bench.sink.state.withLock { $0.refusals = 3 }
        try await bench.run { port in
            let client = try RawClient(port: port)
            #expect(await client.write(Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])]))?.status == 204)
        }
        #expect(bench.sink.sampleCount == 1 && bench.sink.state.withLock { $0.offers } == 4)
    }

    @Test("out of credit for too long is 429, and nothing was taken or counted")
    func noCredit() async throws {
        let bench = Bench { $0.limits.creditTimeout = .milliseconds(60) }
        bench.sink.state.withLock { $0.refusals = .max }
        try await bench.run { port in
            let client = try RawClient(port: port)
            let body = Body.write([
                (Body.gpu(0), [(Bench.nowMs, 1)]), (["__name__": "up"], [(Bench.nowMs, 1)]),
            ])
            let reply = await client.write(body)
            #expect(reply?.status == 429 && reply?.headers["retry-after"] == "1")
            #expect(bench.ledger.value == Ledger() && bench.sink.sampleCount == 0)
            // Requests that bring nothing need no credit.
            #expect(await client.write(Body.write([(["__name__": "up"], [(Bench.nowMs, 1)])]))?.status == 204)
            bench.sink.state.withLock { $0.refusals = 0 }
            #expect(await client.write(body)?.status == 204)
        }
        #expect(bench.sink.sampleCount == 1 && bench.ledger.value[.unknownField] == 2)
        #expect(bench.sink.state.withLock { $0.observed.count } == 1)
    }

    @Test("a client that goes away while it waits leaves nothing behind")
    func leaves() async throws {
        let bench = Bench()
        bench.sink.state.withLock { $0.refusals = .max }
        try await bench.run { port in
            do {
                let client = try RawClient(port: port)
                let body = Body.write([(Body.gpu(0), [(Bench.nowMs, 1)])])
                await client.send(RawClient.request("/api/v1/write", body, RawClient.writeHeaders))
                try await until { bench.sink.state.withLock { $0.offers } > 0 }
            }
            bench.sink.state.withLock { $0.refusals = .max }
            try await until { bench.server.connectionCount == 0 }
        }
        #expect(bench.sink.sampleCount == 0)
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

    @Test("a socket that listens already is served")
    func passedSocket() async throws {
        let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                #expect(bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0)
            }
        }
        #expect(listen(descriptor, 16) == 0)
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
