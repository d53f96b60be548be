import Receivers
import Synchronization
import Telemetry
import TestSupport
import Testing
import WireFormats

// Clients that are slow, too many, or faster than the sink.
extension IngestServerTests {
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
        let bench = Bench { $0.limits.requestTimeout = .seconds(2) }
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
}
