import Exporters
import Foundation
import Settings
import Simulation
import Telemetry
import TestSupport
import Testing
import WireFormats

enum SmallFleet {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static func plan(_ change: (inout Scenario) -> Void = { _ in }) throws -> FleetPlan {
        var scenario = try loadScenario(path: root.path + "/Config/scenarios/small-64.yaml")
        change(&scenario)
        return try FleetPlan(scenario)
    }
}

@Suite struct ExporterPageTests {
    struct Line: Hashable {
        var name: String
        var labels: [String]
        var values: [String]
    }

    /// A plain reader of its own: names, labels in their order, values.
    static func samples(_ text: String) -> [Line] {
        text.split(separator: "\n").filter { !$0.hasPrefix("#") }.compactMap { line in
            guard let open = line.firstIndex(of: "{"), let close = line.lastIndex(of: "}") else { return nil }
            let pairs = line[line.index(after: open)..<close].components(separatedBy: "\",")
            let names = pairs.compactMap { $0.split(separator: "=", maxSplits: 1).first.map(String.init) }
            return Line(name: String(line[..<open]), labels: names, values: pairs)
        }
    }

    static func page(default isDefault: Bool = true, showsJob: Bool = false) throws -> (String, SimulatedTick)
    {
        let plan = try SmallFleet.plan { $0.telemetry.fields = isDefault ? .default : .all }
        var model = FleetModel(plan: plan)
        let tick = model.tick(at: plan.scenario.startMs + 300_000)
        let bytes = try #require(ExporterPage(plan: plan, node: 5, showsJob: showsJob).text(tick))
        return (String(decoding: bytes, as: UTF8.self), tick)
    }

    @Test("names, help, types and the order of labels are those of a real dcgm-exporter")
    func shape() throws {
        let file = SmallFleet.root.path + "/Deploy/tools/dcgm_example_8gpu_hostname.prom"
        let real = try String(contentsOfFile: file, encoding: .utf8)
        let (ours, _) = try Self.page()
        let comments = { (text: String) in text.split(separator: "\n").filter { $0.hasPrefix("#") } }
        #expect(comments(ours) == comments(real))
        let (a, b) = (Self.samples(ours), Self.samples(real))
        #expect(a.map(\.name) == b.map(\.name))
        // The host's label is `Hostname` until 2026-05 and `hostname` since.
        #expect(a.map { $0.labels.map { $0.lowercased() } } == b.map { $0.labels.map { $0.lowercased() } })
    }

    @Test("our own parser reads every value as it was", arguments: [true, false])
    func parsed(isDefault: Bool) throws {
        let (text, tick) = try Self.page(default: isDefault)
        #expect(tick.fields.count == (isDefault ? 25 : 37))
        let numbers = text.split(separator: "\n").filter { !$0.hasPrefix("#") }
            .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }
        var expected: [Double] = []
        let values = (40..<48).map { tick.values(ofGPU: $0) ?? [] }
        for position in tick.fields.indices { expected += values.map { $0[position] } }
        #expect(numbers == expected)
    }

    @Test("members of the job say so when they are asked to")
    func job() throws {
        let (with, _) = try Self.page(showsJob: true)
        let (without, _) = try Self.page()
        #expect(with.contains(#",hpc_job="pretrain"} "#) && !without.contains("hpc_job"))
    }

    @Test("a node that is down has no page, and one that lost a GPU shows seven")
    func silent() throws {
        let plan = try SmallFleet.plan { $0.failures.perGPUDay = 0 }
        var model = FleetModel(plan: plan)
        let at = plan.scenario.startMs + 60_000
        try model.inject(plan.injection("node_down", at: plan.nodeName(5), timeMs: at, forMs: 600_000))
        try model.inject(plan.injection("gpu_lost", at: plan.nodeName(6) + "/3", timeMs: at, forMs: 600_000))
        let tick = model.tick(at: at + 1_000)
        #expect(ExporterPage(plan: plan, node: 5).text(tick) == nil)
        let page = try #require(ExporterPage(plan: plan, node: 6).text(tick))
        let lines = Self.samples(String(decoding: page, as: UTF8.self))
        #expect(lines.count == tick.fields.count * 7)
        #expect(!lines.contains { $0.values.contains { $0.hasPrefix("gpu=\"3") } })
    }
}
