import Receivers
import Telemetry
import TestSupport
import Testing
import WireFormats

/// What the series registry makes of series, seen through the server.
@Suite(.serialized) struct RegistryTests {
    private typealias Series = (labels: [String: String], samples: [(Int64, Double)])

    private func send(_ bench: Bench, _ requests: [[Series]]) async throws {
        try await bench.run { port in
            let client = try RawClient(port: port)
            for request in requests { #expect(await client.write(Body.write(request))?.status == 204) }
        }
    }

    @Test(
        "a field has one series under all of its names, and labels that change with the value are no other series"
    )
    func aliases() async throws {
        let bench = Bench()
        let now = Bench.nowMs
        try await send(
            bench,
            [
                [(Body.gpu(0, field: "DCGM_FI_DEV_XID_ERRORS", ["err_code": "0"]), [(now, 0)])],
                [
                    (
                        Body.gpu(0, field: "DCGM_FI_DEV_XID_ERROR", ["err_code": "79", "err_msg": "x"]),
                        [(now + 1, 79)]
                    )
                ],
            ])
        #expect(bench.sink.series.count == 1)
        #expect(bench.sink.samples.map(\.value) == [0, 79])
    }

    @Test("a second source of a GPU's field is redundant to the first")
    func redundant() async throws {
        let bench = Bench()
        let now = Bench.nowMs
        func replica(_ name: String) -> Series { (Body.gpu(0, ["prometheus_replica": name]), [(now, 1)]) }
        try await send(bench, [[replica("a")], [replica("b")], [replica("c"), replica("a")]])
        let series = bench.sink.series.sorted { $0.slot < $1.slot }
        #expect(series.map(\.redundantTo) == [nil, series[0].slot, series[0].slot])
        #expect(Set(series.map(\.gpu)).count == 1 && bench.sink.sampleCount == 4)
    }

    @Test("series that only name the UUID of a GPU belong to the GPU that has it")
    func uuid() async throws {
        let bench = Bench()
        let now = Bench.nowMs
        let nameless = ["__name__": "DCGM_FI_DEV_GPU_UTIL", "hostname": "n1", "UUID": "GPU-7"]
        try await send(
            bench,
            [
                [(nameless, [(now, 1)])], [(Body.gpu(5, ["UUID": "GPU-7"]), [(now, 2)])],
                [(nameless, [(now + 1, 3)])],
            ])
        #expect(Set(bench.sink.series.map(\.gpu)).count == 1 && bench.sink.series.count == 2)
        #expect(bench.topology.gpuOrdinal == [5])
        #expect(bench.ledger.value[.noEntity] == 1)
    }

    @Test("the place of a node comes from the inventory, else from labels; a new inventory moves it")
    func placement() async throws {
        let bench = Bench(inventory: try Inventory(csv: "node,rack,hall\nn1,r1,h1\n"))
        let now = Bench.nowMs
        let labels = ["rack": "r9", "pod": "a9", "hall": "h9"]
        try await bench.run { port in
            let client = try RawClient(port: port)
            for node in ["n1", "n2"] {
                #expect(
                    await client.write(Body.write([(Body.gpu(0, node: node, labels), [(now, 1)])]))?.status
                        == 204)
            }
            let change = bench.server.reload(
                inventory: try Inventory(csv: "node,rack,hall\nn1,r5,h1\nn3,r3,\n"))
            #expect(change.moved == [0] && change.removed.isEmpty)
            #expect(bench.server.reload(inventory: nil) == FleetChange(), "without one, all stays")
            #expect(bench.topology.nodeStanding == [.heard, .heard], "and none is listed")
            _ = bench.server.reload(inventory: try Inventory(csv: "node,rack,hall\nn1,r5,h1\nn2,r9,h9\n"))
            let removal = bench.server.reload(inventory: try Inventory(csv: "node,rack,hall\nn1,r5,h1\n"))
            #expect(removal.removed == [1])
            #expect(bench.server.reload(inventory: nil).returned == [1], "it is waited for again")
            _ = bench.server.reload(
                inventory: try Inventory(csv: "node,rack,hall\nn1,r5,h1\nn3,r3,\n"))
            for node in ["n1", "n3"] {
                #expect(
                    await client.write(Body.write([(Body.gpu(1, node: node, labels), [(now, 1)])]))?.status
                        == 204)
            }
        }
        let topology = bench.topology
        #expect(topology.nodeNames == ["n1", "n2", "n3"])
        #expect(topology.nodeRack.map { topology.rackNames[Int($0)] } == ["r5", "r9", "r3"])
        #expect(topology.nodeStanding == [.listed, .heard, .listed])
        #expect(bench.sink.moves == [[0: topology.nodeRack[0]]])
        // The GPU that comes after the move, too, in the shard where the node's others are.
        #expect(bench.sink.series.filter { $0.node == 0 }.map(\.rack) == [0, topology.nodeRack[0]])
        #expect(topology.arrayNames.allSatisfy { $0 == "a9" })
        #expect(Set(topology.hallNames) == ["h1", "h9"])
    }

    @Test("series beyond the limits are folded together, known ones go on")
    func seriesLimit() async throws {
        let bench = Bench { $0.limits.seriesInAll = 3 }
        let now = Bench.nowMs
        try await send(
            bench,
            [
                (0..<8).map { (Body.gpu($0), [(now, 1)]) },
                (0..<8).map { (Body.gpu($0, ["err_code": "1"]), [(now + 1, 1)]) },
                [(Body.gpu(0, node: "another"), [(now, 1)])],
            ])
        #expect(bench.sink.series.count { !$0.isShared } == 3 && bench.sink.sampleCount == 17)
        let shared = bench.sink.series.filter(\.isShared)
        #expect(shared.count == 1 && shared[0].gpu == -1)
        #expect(bench.sink.samples.count { $0.series.isShared } == 11)
        #expect(bench.topology.nodeNames == ["n1", "__other__"], "nothing beyond the limit grows the fleet")
        #expect(bench.topology.rackNames.contains("__other__") && bench.topology.gpuNode.count == 3)
        #expect(bench.server.seriesCount == 3 && bench.ledger.value.dropped == 0)
        #expect(bench.metric("colossus_ingest_folded_samples_total 11"))
    }

    @Test("counters and XIDs beyond a sender's limit are dropped and counted; the census says whose they are")
    func census() async throws {
        let bench = Bench { $0.limits.seriesPerSender = 4 }
        let now = Bench.nowMs
        let energy = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
        try await send(
            bench,
            [
                (0..<4).map { (Body.gpu($0), [(now, 1)]) },
                (0..<6).map { (Body.gpu($0, field: energy), [(now, 1)]) },
                (4..<7).map { (Body.gpu($0), [(now, 1)]) },
                (4..<7).map { (Body.gpu($0), [(now + 1_000, 1)]) },
            ])
        #expect(bench.ledger.value[.seriesLimit] == 6 && bench.ledger.value.received == 6)
        #expect(bench.sink.samples.count { $0.series.isShared } == 6)
        let census = bench.server.census(rowsMax: 10)
        #expect(census.series == 4 && census.seriesPerSenderMax == 4)
        #expect(census.folded == 9 && census.foldedSamples == 6 && bench.server.foldedCount == 9)
        #expect(census.senders == [.init(name: "ingest/127.0.0.1", series: 4, folded: 9)])
        #expect(
            census.fields == [
                .init(name: "DCGM_FI_DEV_GPU_TEMP", series: 4, folded: 3),
                .init(name: energy, series: 0, folded: 6),
            ])
        #expect(census.nodes == [.init(name: "n1", series: 4, folded: 0)])
        #expect(census.labels.first == .init(name: "node", series: 1, folded: 0))
        #expect(bench.server.census(rowsMax: 1).fields.count == 1)
    }

    @Test("what is forgotten is learned again, and keeps its slot", arguments: [16, 40, 1_000])
    func forgetting(identities: Int) async throws {
        let bench = Bench { $0.limits.identities = identities }
        let now = Bench.nowMs
        let passes = (0..<5).map { pass in
            (0..<100).map {
                (Body.gpu($0 % 8, node: "n\($0 / 8)"), [(now + Int64(pass), Double($0))]) as Series
            }
        }
        try await send(bench, passes)
        #expect(bench.sink.series.count == 100 && bench.sink.sampleCount == 500)
        for sample in bench.sink.samples {
            let topology = bench.topology
            let node = topology.nodeNames[Int(sample.series.node)]
            let ordinal = topology.gpuOrdinal[Int(sample.series.gpu)]
            #expect("n\(Int(sample.value) / 8)" == node && Int(sample.value) % 8 == Int(ordinal))
        }
    }

    @Test("hpc_job labels become jobs: all nodes in each event, and an end when the last has left")
    func jobs() async throws {
        let bench = Bench()
        let start = Bench.nowMs - 100_000
        func scrape(_ timeMs: Int64, _ jobs: [String: String]) -> [Series] {
            jobs.sorted { $0.key < $1.key }.flatMap { node, job in
                (0..<2).map {
                    (Body.gpu($0, node: node, job.isEmpty ? [:] : ["hpc_job": job]), [(timeMs, 1)])
                }
            }
        }
        try await send(
            bench,
            [
                scrape(start, ["n1": "", "n2": ""]), scrape(start + 1_000, ["n1": "A", "n2": "A"]),
                scrape(start + 2_000, ["n1": "A", "n2": "A"]), scrape(start + 3_000, ["n1": "", "n2": ""]),
            ])
        let told = bench.events.all
        #expect(told.map(\.kind) == [.jobStart, .jobEnd])
        #expect(told.map(\.timeMs) == [start + 1_000, start + 3_000])
        #expect(told.map(\.nodes) == [["n1", "n2"], []])
        #expect(told.allSatisfy { $0.job == "A" && $0.source == .detected && $0.stream == .measured })
    }
}
