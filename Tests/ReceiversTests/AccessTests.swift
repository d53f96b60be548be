import Receivers
import Synchronization
import Telemetry
import TestSupport
import Testing

/// Bearer tokens in front of the receiver.
@Suite(.serialized) struct AccessTests {
    static let tokens = BearerCheck([
        .init(name: "prom-a", secrets: [Array("prometheus-a-0123".utf8)]),
        .init(name: "slurm", secrets: [Array("slurm-0123456789".utf8)], mayTellEvents: true),
    ])
    static let prometheus = ["Authorization": "Bearer prometheus-a-0123"]
    static let slurm = ["Authorization": "Bearer slurm-0123456789"]
    static let event = Array(#"{"kind": "node_down", "entity": "n1"}"#.utf8)

    static func body(_ second: Int64) -> [UInt8] {
        Body.write([(Body.gpu(0), [(Bench.nowMs - 60_000 + second * 1_000, 50)])])
    }

    @Test("without a token nothing is taken, and the answer says how to come again")
    func unauthorized() async throws {
        let bench = Bench(access: Self.tokens)
        try await bench.run { port in
            for headers in [
                [:], ["Authorization": "Bearer prometheus-a-0124"], ["Authorization": "Basic eDp5"],
            ] {
                // What is refused early closes the connection.
                let reply = try await RawClient(port: port).write(Self.body(0), headers)
                #expect(reply?.status == 401)
                #expect(reply?.headers["www-authenticate"] == "Bearer realm=\"colossusd\"")
            }
            let nothing = try await RawClient(port: port).post("/api/v1/nothing", [])
            #expect(nothing?.status == 401)
        }
        #expect(bench.sink.sampleCount == 0)
        #expect(bench.metric(#"colossus_ingest_rejected_requests_total{reason="unauthorized"} 4"#))
    }

    @Test("each token is a sender of its own, from wherever it comes")
    func identities() async throws {
        let bench = Bench(access: Self.tokens)
        try await bench.run { port in
            let client = try RawClient(port: port)
            #expect(await client.write(Self.body(0), Self.prometheus)?.status == 204)
            #expect(await client.write(Self.body(1), Self.prometheus)?.status == 204)
            #expect(await client.write(Self.body(2), Self.slurm)?.status == 204)
        }
        #expect(
            bench.server.topSenders(5).map(\.name).sorted() == ["ingest/token:prom-a", "ingest/token:slurm"])
        #expect(Set(bench.sink.state.withLock { $0.observed.map(\.sender) }).count == 2)
    }

    @Test("events want a token that may tell them")
    func events() async throws {
        let bench = Bench(access: Self.tokens)
        try await bench.run { port in
            let refused = try await RawClient(port: port).post("/api/v1/events", Self.event, Self.prometheus)
            #expect(refused?.status == 403)
            #expect(refused?.body.contains("events: true") == true)
            let taken = try await RawClient(port: port).post("/api/v1/events", Self.event, Self.slurm)
            #expect(taken?.status == 200)
        }
        #expect(bench.events.all.map(\.entity) == ["n1"])
    }

    @Test("a token that is taken back is refused at once, on connections that had it, too")
    func revoked() async throws {
        let bench = Bench(access: Self.tokens)
        try await bench.run { port in
            let client = try RawClient(port: port)
            #expect(await client.write(Self.body(0), Self.slurm)?.status == 204)
            bench.server.reload(
                access: BearerCheck([.init(name: "slurm", secrets: [Array("another-0123456789".utf8)])]))
            #expect(await client.write(Self.body(1), Self.slurm)?.status == 401)
            let renewed = ["Authorization": "Bearer another-0123456789"]
            #expect(try await RawClient(port: port).write(Self.body(2), renewed)?.status == 204)
        }
        #expect(bench.sink.sampleCount == 2)
    }
}
