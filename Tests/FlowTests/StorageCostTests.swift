import Aggregation
import Exchange
import Foundation
import Logging
import Settings
import Simulation
import Store
import Telemetry
import TestSupport
import Testing

/// What `config explain --cost` says, held against a store that has been written by a simulated fleet.
@Suite struct StorageCostTests {
    static let minutes = 12

    @Test(
        "the cost of a fleet is what a real store holds after some windows", .timeLimit(.minutes(20)),
        .computing)
    func estimate() async throws {
        let plan = try SimulatedRemoteWriteTests.plan()
        let folder = FileManager.default.temporaryDirectory.path + "/cost-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let ticks = Self.minutes * 6
        let fields = try await Self.play(plan, ticks: ticks, into: folder)
        let used = try Self.bytes(folder)

        var settings = DaemonSettings()
        settings.windows.finestMs = 10_000
        settings.windows.rollupsMs = [60_000]
        var fleet = FleetSize(gpus: plan.gpuCount)
        fleet.fields = fields
        let cost = StorageCost(settings, fleet: fleet)
        let perDay = Dictionary(grouping: cost.rows, by: \.resolutionMs).mapValues { rows in
            rows.reduce(0) { $0 + Double($1.bytesPerDay) }
        }
        let days = { (windows: Int, lengthMs: Int64) in Double(windows) * Double(lengthMs) / Double(UTC.dayMs)
        }
        let estimated =
            (perDay[10_000] ?? 0) * days(ticks, 10_000) + (perDay[60_000] ?? 0) * days(Self.minutes, 60_000)
        let ratio = estimated / Double(used)
        print("estimated \(Int(estimated)) bytes, the store has \(used): \(ratio)")
        // A small fleet, whose blobs are a few hundred bytes: pages and keys are a good part of it.
        #expect((0.6...1.6).contains(ratio), "estimated \(Int(estimated)), used \(used)")
        #expect(cost.series == plan.gpuCount * fields)
    }

    /// Plays a fleet into a store; how many fields it has.
    private static func play(_ plan: FleetPlan, ticks: Int, into folder: String) async throws -> Int {
        let startMs = plan.scenario.startMs + 600_000
        let clock = WallClock { startMs + 3_600_000 }
        var logger = Logger(label: "cost")
        logger.logLevel = .error
        let metrics = Metrics()
        let store = try HistoryStore(directory: folder, clock: clock, metrics: metrics, logger: logger)
        let streams = Streams()
        let core = AggregationCore(
            shardCount: 2, streams: streams, bus: EmbeddedBus(), sink: store, clock: clock, metrics: metrics)
        let id = try #require(StreamID.simulated(run: "cost"))
        let stream = streams.open(id, site: "lab")
        plan.makeTopology(into: streams.topology(stream))
        var spec = StreamSpec(
            id: id, site: "lab", plan: WindowPlan(finestMs: 10_000, rollupsMs: [60_000], latenessMs: 0),
            tickMs: 10_000)
        spec.levels = Set(Level.allCases)
        core.openStream(spec)
        var model = FleetModel(plan: plan)
        var fields = 0
        for tick in 0..<ticks {
            let one = model.tick(at: startMs + Int64(tick) * 10_000)
            fields = one.fields.count
            await withCheckedContinuation { done in core.offer(one, stream: stream) { done.resume() } }
        }
        await withCheckedContinuation { done in core.finish(stream) { done.resume() } }
        await store.close()
        return fields
    }

    /// Bytes of the history's file, without what an empty one has.
    private static func bytes(_ folder: String) throws -> Int64 {
        let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/history.sqlite")
        return ((attributes[.size] as? Int64) ?? Int64(attributes[.size] as? Int ?? 0)) - 32 * 8_192
    }
}

@Suite struct StorageCostRuleTests {
    static func rows(_ settings: DaemonSettings, gpus: Int) -> StorageCost {
        StorageCost(settings, fleet: FleetSize(gpus: gpus))
    }

    @Test("the levels and lengths of the configuration are what is paid for")
    func rows() {
        var settings = DaemonSettings()
        settings.aggregation.measuredLevels = [.rack, .site]
        settings.windows.rollupsMs = [60_000]
        let cost = Self.rows(settings, gpus: 512)
        #expect(cost.rows.map(\.level) == [.rack, .site, .rack, .site])
        #expect(cost.rows.map(\.resolutionMs) == [10_000, 10_000, 60_000, 60_000])
        // A row a field, and one of GPU counts, six times a minute.
        #expect(cost.rows[0].rowsPerDay == Int64((cost.fleet.fields + 1) * 8_640))
        // With sketches of the site from a minute up.
        #expect(cost.rows[3].rowsPerDay == Int64((2 * cost.fleet.fields + 1) * 1_440))
        #expect(cost.series == 512 * cost.fleet.fields)
        #expect(cost.samplesPerSecond == Double(cost.series) / 15)
    }

    @Test("what is kept follows the retention")
    func retention() {
        var settings = DaemonSettings()
        settings.windows.rollupsMs = []
        settings.store.retention = [.init(resolutionMs: 10_000, keepMs: 12 * 3_600_000)]
        let half = Self.rows(settings, gpus: 4_096)
        #expect(half.rows.allSatisfy { abs($0.keptBytes - $0.bytesPerDay / 2) <= 1 })
        #expect(Self.rows(settings, gpus: 8_192).bytesPerDay > half.bytesPerDay)
    }

    @Test("endpoints get what they select, of the measured stream alone")
    func endpoints() {
        var settings = DaemonSettings()
        settings.windows.rollupsMs = [60_000]
        var racks = DaemonSettings.Endpoint(name: "racks", destination: .file(path: "r"))
        racks.levels = [.rack]
        racks.resolutionsMs = [60_000]
        racks.fields = [.gpuTemp]
        racks.statistics = [.avg, .p99]
        racks.gpuCounts = false
        racks.batchSamples = 8
        var nodes = racks
        nodes.name = "nodes"
        nodes.levels = [.node]
        nodes.gpuCounts = true
        var simulated = racks
        simulated.streams = .simulated
        settings.endpoints = [racks, nodes, simulated]
        let cost = Self.rows(settings, gpus: 512)
        #expect(cost.endpoints.map(\.name) == ["racks", "nodes"])
        // Eight racks with two numbers a minute; 64 nodes with one (no quantiles below the rack) and five counts.
        #expect(abs(cost.endpoints[0].samplesPerSecond - 16.0 / 60) < 1e-9)
        #expect(abs(cost.endpoints[0].requestsPerSecond - 2.0 / 60) < 1e-9)
        #expect(abs(cost.endpoints[1].samplesPerSecond - 64.0 * 6 / 60) < 1e-9)
    }

    @Test("an inventory says how many nodes, racks, arrays and halls there are")
    func inventory() throws {
        let path = FileManager.default.temporaryDirectory.path + "/inventory-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        try "# ours\nnode,rack,array,hall,model\nn1,r1,a1,h1,H100\nn2,r1,a1,h1,H100\nn3,r2,a1,h1,H100\n"
            .write(toFile: path, atomically: true, encoding: .utf8)
        let fleet = try FleetSize(inventory: path)
        #expect(fleet.gpus == 24 && fleet.nodes == 3 && fleet.racks == 2)
        #expect(fleet.arrays == 1 && fleet.halls == 1)
        try "rack\nr1\n".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(throws: SettingsFailure.self) { try FleetSize(inventory: path) }
        #expect(throws: SettingsFailure.self) { try FleetSize(inventory: path + ".none") }
    }
}
