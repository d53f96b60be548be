import Receivers
import Synchronization
import Telemetry
import TestSupport
import Testing

@Suite(.serialized) struct SourcesTests {
    @Test("the series of a GPU's field are told with their senders, the first one first")
    func sources() async throws {
        let tokens = BearerCheck([
            .init(name: "a", secrets: [Array("a-0123456789abcdef".utf8)]),
            .init(name: "b", secrets: [Array("b-0123456789abcdef".utf8)]),
        ])
        let bench = Bench(access: tokens)
        try await bench.run { port in
            let client = try RawClient(port: port)
            for name in ["b", "a"] {
                let body = Body.write([
                    (Body.gpu(0), [(Bench.nowMs, 50)]), (Body.gpu(1, node: "n2"), [(Bench.nowMs, 51)]),
                ])
                let reply = await client.write(body, ["Authorization": "Bearer \(name)-0123456789abcdef"])
                #expect(reply?.status == 204)
            }
        }
        let fleet = bench.topology
        for gpu in fleet.gpuNode.indices {
            let found = bench.server.sources(gpu: Int32(gpu), field: .gpuTemp)
            #expect(found.map(\.sender) == ["ingest/token:b", "ingest/token:a"])
            #expect(Set(found.map(\.slot)).count == 2)
            for one in found {
                let series = bench.sink.state.withLock { $0.series[one.shard][Int(one.slot)] }
                #expect(series.gpu == Int32(gpu) && series.field == .gpuTemp)
            }
        }
        #expect(bench.server.sources(gpu: 0, field: .gpuUtil).isEmpty)
        #expect(bench.server.sources(gpu: 99, field: .gpuTemp).isEmpty)
        #expect(bench.server.sources(gpu: -1, field: .gpuTemp).isEmpty)
    }
}
