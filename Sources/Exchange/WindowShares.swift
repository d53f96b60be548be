import Sketches
import Telemetry

/// What the shards of one process have to say of one window, by slices.
///
/// On the bus a rack has a group for each job, with sketches, and a node its GPU counts: everything above is added up
/// where the window is reported, by the same code as in a single process.
struct WindowShares: Sendable {
    private struct Row {
        var partial: Int
        var row: Int
    }

    private var partials: [WindowPartial] = []
    private var groupRows: [Int: [Row]] = [:]
    private var nodeRows: [Int: [Row]] = [:]

    mutating func add(_ partial: WindowPartial, _ slices: FleetSlices, _ topology: TopologySnapshot) {
        let number = partials.count
        partials.append(partial)
        for (row, group) in partial.groups.enumerated() {
            groupRows[slices.slice(ofRack: group.rack), default: []].append(Row(partial: number, row: row))
        }
        for (row, node) in partial.nodes.enumerated() {
            let slice = slices.slice(ofRack: topology.nodeRack[Int(node)])
            nodeRows[slice, default: []].append(Row(partial: number, row: row))
        }
    }

    /// In the order of their keys: the same however the racks are divided among shards.
    func groups(slice: Int, _ topology: TopologySnapshot) -> [PartialGroup] {
        var all: [PartialGroup] = []
        for place in groupRows[slice] ?? [] {
            let partial = partials[place.partial]
            let group = partial.groups[place.row]
            all.append(
                PartialGroup(
                    key: PartialGroupKey(
                        level: .rack, name: topology.rackNames[Int(group.rack)], job: group.job),
                    gpus: GroupGPUs(partial.groupGPUs, place.row),
                    fields: Self.statistics(partial.groupColumns, place.row)))
        }
        for place in nodeRows[slice] ?? [] {
            let partial = partials[place.partial]
            let name = topology.nodeNames[Int(partial.nodes[place.row])]
            all.append(
                PartialGroup(
                    key: PartialGroupKey(level: .node, name: name),
                    gpus: GroupGPUs(partial.nodeGPUs, place.row),
                    fields: Self.statistics(partial.nodeColumns, place.row)))
        }
        return all.sorted { $0.key < $1.key }
    }

    static func statistics(_ columns: [FieldColumn], _ row: Int) -> [FieldStatistics] {
        columns.filter { $0.count[row] > 0 }.map { column in
            // Our own bytes.
            let sketch = (try? QuantileSketch(encoded: column.sketch(row))) ?? QuantileSketch()
            return FieldStatistics(
                field: column.field.field.id, count: UInt64(column.count[row]), sum: column.sum[row],
                min: column.min[row], max: column.max[row], sketch: sketch)
        }.sorted { $0.field < $1.field }
    }
}

extension GroupGPUs {
    init(_ counts: GPUCounts, _ row: Int) {
        self.init(
            expected: counts.expected[row], reporting: counts.reporting[row], inJob: counts.inJob[row],
            faulted: counts.faulted[row])
    }
}
