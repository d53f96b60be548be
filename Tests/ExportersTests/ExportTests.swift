import Exporters
import Simulation
import Synchronization
import Telemetry
import TestSupport
import Testing
import WireFormats

@Suite struct ScrapeExportTests {
    @Test("each port answers as one node; before the first tick, and for a silent node, nobody answers")
    func ports() async throws {
        let plan = try SmallFleet.plan { $0.failures.perGPUDay = 0 }
        var model = FleetModel(plan: plan)
        let at = plan.scenario.startMs + 60_000
        try model.inject(plan.injection("node_down", at: plan.nodeName(2), timeMs: at, forMs: 600_000))
        let export = ScrapeExport(
            plan: plan, nodes: 1..<4, host: "127.0.0.1", showsJob: false, showsTime: false)
        let ports = try await export.start(port: 0)
        #expect(ports.count == 3 && Set(ports).count == 3 && !ports.contains(0))
        let early = try await RawClient(port: ports[0], patience: 5).get("/metrics")
        #expect(early == nil)
        let sink = CountingSink()
        let tap = ExportTap(into: sink)
        tap.add(export, name: "a")
        let tick = model.tick(at: at + 1_000)
        tap.offer(tick, stream: StreamIndex(rawValue: 0)) {}
        #expect(sink.count.load(ordering: .relaxed) == 1)
        for (number, port) in ports.enumerated() {
            let reply = try await RawClient(port: port, patience: 5).get("/metrics")
            let page = ExporterPage(plan: plan, node: number + 1).text(tick)
            #expect(reply.map { Array($0.body.utf8) } == page, "node \(number + 1)")
        }
        let missing = try await RawClient(port: ports[0], patience: 5).get("/nothing")
        #expect(missing?.status == 404)
        #expect(export.counts.requests == 4 && export.counts.failed == 2)
        await export.stop()
        #expect(throws: (any Error).self) { try RawClient(port: ports[0], patience: 1) }
    }

    @Test("a port that is taken leaves none open")
    func taken() async throws {
        let plan = try SmallFleet.plan()
        let one = ScrapeExport(plan: plan, nodes: 0..<1, host: "127.0.0.1", showsJob: false, showsTime: false)
        let port = try await one.start(port: 0)[0]
        let two = ScrapeExport(
            plan: plan, nodes: 0..<2, host: "127.0.0.1", showsJob: false, showsTime: false)
        await #expect(throws: (any Error).self) { try await two.start(port: port - 1) }
        await one.stop()
    }
}

@Suite struct RemoteWriteExportTests {
    @Test(
        "a tick arrives with the labels of a scrape and the time that was asked for",
        arguments: [true, false])
    func arrives(showsTime: Bool) async throws {
        let plan = try SmallFleet.plan { $0.failures.perGPUDay = 0 }
        var model = FleetModel(plan: plan)
        let tick = model.tick(at: plan.scenario.startMs + 60_000)
        let server = try BodyServer()
        let export = RemoteWriteExport(
            plan: plan, nodes: 0..<2, url: "http://127.0.0.1:\(server.port)/api/v1/write", name: "test",
            showsJob: true, showsTime: showsTime, clock: WallClock { 1_800_000_000_000 })
        export.take(tick)
        let body = try await server.body()
        let message = String(decoding: try Snappy.decode(body, limit: 16 << 20), as: UTF8.self)
        for text in [
            "DCGM_FI_DEV_POWER_USAGE", "dcgm-exporter", plan.nodeName(1) + ":9400", "pretrain", "r0001",
        ] {
            #expect(message.contains(text), "\(text)")
        }
        for _ in 0..<200 where export.counts.requests == 0 { try await Task.sleep(for: .milliseconds(25)) }
        #expect(export.counts.requests == 1 && export.counts.failed == 0)
        #expect(export.counts.samples == Int64(2 * 8 * tick.fields.count))
        export.stop()
    }

    @Test("a receiver that is not there costs ticks, which are counted, and nothing else")
    func refused() async throws {
        let plan = try SmallFleet.plan()
        var model = FleetModel(plan: plan)
        let tick = model.tick(at: plan.scenario.startMs + 60_000)
        // Port 9 of loopback: nobody listens.
        let export = RemoteWriteExport(
            plan: plan, nodes: 0..<1, url: "http://127.0.0.1:9/", name: "test", showsJob: false,
            showsTime: false, clock: WallClock { 0 })
        export.take(tick)
        for _ in 0..<400 where export.counts.requests == 0 { try await Task.sleep(for: .milliseconds(25)) }
        #expect(export.counts.failed == 1 && export.counts.lastError != nil && export.counts.samples == 0)
        export.stop()
        export.take(tick)
        #expect(export.counts.dropped == 0)
    }
}

final class CountingSink: FleetSink {
    let count = Atomic<Int>(0)

    func offer(_ tick: any FleetTick, stream: StreamIndex, done: @escaping @Sendable () -> Void) {
        count.add(1, ordering: .relaxed)
        done()
    }
}
