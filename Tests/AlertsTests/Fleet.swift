import Telemetry
import Testing

@testable import Alerts

/// A fleet of racks of 8 nodes of 8 GPUs, 8 racks an array, 49 arrays a hall, and windows of it.
struct Fleet {
    static let startMs: Int64 = 1_725_235_200_000
    var topology: TopologySnapshot
    var stream: StreamID = .measured
    var nowMs = startMs
    var engine: AlertEngine

    init(racks: Int, policy: AlertPolicy = AlertPolicy()) {
        let topology = Topology(site: "memphis")
        for rack in 0..<racks {
            for node in 0..<8 {
                topology.node(
                    "r\(rack)-n\(node)",
                    at: Placement(
                        rack: "r\(rack)", array: "a\(rack / 8)", hall: "h\(rack / 392)", model: "H100"),
                    gpuCount: 8)
            }
        }
        self.topology = topology.snapshot()
        engine = AlertEngine(policy)
    }

    /// A window of 10 s that ends 10 s after the last one.
    func window(
        silent: [Int: UInt32] = [:], coverage: Double = 1, fields: [FieldColumn] = [], revision: Int = 0
    ) -> WindowSummary {
        let count = topology.nodeNames.count
        var gpus = GPUCounts(entityCount: count)
        for node in 0..<count {
            gpus.expected[node] = 8
            gpus.reporting[node] = 8 - (silent[node] ?? 0)
        }
        var site = GPUCounts(entityCount: 1)
        site.expected[0] = UInt32(8 * count)
        site.reporting[0] = site.expected[0] - silent.values.reduce(0, +)
        return WindowSummary(
            stream: stream, resolutionMs: 10_000, startMs: nowMs, revision: revision, topologyVersion: 1,
            coverage: coverage,
            levels: [
                LevelSummary(level: .node, columns: fields, gpus: gpus),
                LevelSummary(level: .site, columns: [], gpus: site),
            ])
    }

    func column(_ field: FieldIndex, _ value: (Int) -> Double?) -> FieldColumn {
        var column = FieldColumn(field: field, entityCount: topology.nodeNames.count)
        for node in topology.nodeNames.indices {
            guard let value = value(node) else { continue }
            column.count[node] = 1
            column.sum[node] = value
            column.min[node] = value
            column.max[node] = value
        }
        return column
    }

    mutating func close(_ windows: [WindowSummary], events: [Event] = []) -> AlertOutcome {
        nowMs += 10_000
        let close = WindowClose(
            stream: stream, closedThroughMs: nowMs, windows: windows, topology: topology, ledger: Ledger(),
            events: events)
        return engine.look(at: close, nowMs: nowMs + 20_000)
    }

    /// So many windows, one after another; what came of all of them.
    mutating func pass(
        _ count: Int, silent: [Int: UInt32] = [:], coverage: Double = 1, fields: [FieldColumn] = []
    ) -> AlertOutcome {
        var all = AlertOutcome()
        for _ in 0..<count {
            all = all.adding(close([window(silent: silent, coverage: coverage, fields: fields)]))
        }
        return all
    }

    var firing: [Alert] { engine.open.filter { $0.state == .firing } }
    func event(_ kind: EventKind, _ entity: String, value: Double? = nil, gpu: Int? = nil) -> Event {
        Event(
            stream: stream, timeMs: nowMs, kind: kind, entity: entity, gpu: gpu, value: value,
            source: .ingest)
    }

    /// All nodes of some racks, silent.
    static func racks(_ racks: some Sequence<Int>) -> [Int: UInt32] {
        Dictionary(uniqueKeysWithValues: racks.flatMap { rack in (0..<8).map { (rack * 8 + $0, UInt32(8)) } })
    }
}
