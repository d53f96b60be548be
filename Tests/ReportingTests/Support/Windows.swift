import Reporting
import Store
import Telemetry

/// Windows with values that a test can work out by itself.
enum Windows {
    static let startMs: Int64 = 1_725_235_200_000  // 2024-09-02T00:00:00Z

    /// `racks` racks of one node with 8 GPUs each, in arrays of two, in one hall.
    static func topology(racks: Int) -> TopologySnapshot {
        let topology = Topology(site: "memphis")
        for rack in 0..<racks {
            topology.node(
                "n\(rack)", at: Placement(rack: "r\(rack)", array: "a\(rack / 2)", hall: "h0", model: "H100"),
                gpuCount: 8)
        }
        return topology.snapshot()
    }

    /// Window `index` of 10 s: each rack r has power 100 r + index, with sum, min and max around it.
    static func window(
        _ index: Int, racks: Int, stream: StreamID = .measured, revision: Int = 0, silent: Set<Int> = [],
        fields: [FieldIndex] = [.powerUsage]
    ) -> WindowSummary {
        let columns = fields.map { field in
            var column = FieldColumn(field: field, entityCount: racks)
            column.p50 = Array(repeating: 0, count: racks)
            column.p90 = column.p50
            column.p99 = column.p50
            for rack in 0..<racks where !silent.contains(rack) {
                let value = Double(100 * rack + index)
                column.count[rack] = 8
                column.sum[rack] = 8 * value
                column.min[rack] = value - 0.5
                column.max[rack] = value + 0.5
                column.p50[rack] = value
                column.p90[rack] = value + 0.25
                column.p99[rack] = value + 0.375
            }
            return column
        }
        var gpus = GPUCounts(entityCount: racks)
        for rack in 0..<racks {
            gpus.expected[rack] = 8
            gpus.reporting[rack] = silent.contains(rack) ? 0 : 8
            gpus.inJob[rack] = 4
        }
        return WindowSummary(
            stream: stream, resolutionMs: 10_000, startMs: startMs + Int64(index) * 10_000,
            revision: revision,
            topologyVersion: 1, levels: [LevelSummary(level: .rack, columns: columns, gpus: gpus)]
        )
    }

    static func stored(_ summaries: [WindowSummary], racks: Int) -> [StoredWindow] {
        let topology = topology(racks: racks)
        return summaries.enumerated().map {
            StoredWindow(sequence: Int64($0 + 1), summary: $1, topology: topology)
        }
    }
}

extension EndpointConfiguration {
    static func test(
        _ kind: EndpointKind, name: String = "e", url: String = "http://127.0.0.1:1/",
        path: String = "out.jsonl"
    ) -> EndpointConfiguration {
        var made = EndpointConfiguration(name: name, kind: kind, url: url, path: path)
        made.fromBeginning = true
        made.backoff = BackoffLimits(baseMs: 5, capMs: 40)
        return made
    }
}
