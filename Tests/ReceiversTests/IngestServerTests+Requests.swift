import Receivers
import Telemetry
import TestSupport
import Testing
import WireFormats

// Requests that are malformed, too large, or not for us.
extension IngestServerTests {
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
}
