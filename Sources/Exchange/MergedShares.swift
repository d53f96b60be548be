import Telemetry

/// Makes the shares that a roller takes of what is told by names: enters nodes and GPUs that are new into the topology of
/// the stream that is reported.
struct MergedShares {
    private let topology: Topology
    private let fleet: FleetMap
    private let stream: StreamIndex
    /// GPUs of each node that are in the topology.
    private var known: [String: (node: Int32, gpus: UInt64)] = [:]
    private var racks: [String: Int32] = [:]

    init(_ topology: Topology, _ fleet: FleetMap, _ stream: StreamIndex) {
        self.topology = topology
        self.fleet = fleet
        self.stream = stream
    }

    mutating func partials(_ merged: MergedWindow) -> [WindowPartial] {
        merged.partitions.map { partial($0.groups, $0.partition, merged) }
    }

    private mutating func partial(
        _ groups: [PartialGroup], _ partition: Int, _ merged: MergedWindow
    ) -> WindowPartial {
        var partial = WindowPartial(
            stream: stream, shard: partition, startMs: fleet.windowStartMs(merged.window),
            resolutionMs: fleet.windowMs)
        partial.isLate = merged.isRevision
        let nodes = nodes(groups)
        var rows: [(GroupKey, PartialGroup)] = []
        for group in groups where group.key.level == .rack {
            // A rack is entered with the first of its nodes, and each group's samples are of some node.
            guard let rack = racks[group.key.name] else { continue }
            rows.append((GroupKey(rack: rack, job: group.key.job), group))
        }
        for group in groups where group.key.level == .job {
            if let node = enter(group) { partial.jobNodes[group.key.job, default: []].append(node) }
        }
        partial.groups = rows.map(\.0)
        partial.groupGPUs = GPUCounts(rows.map(\.1.gpus))
        partial.nodes = nodes.map(\.0)
        partial.nodeGPUs = GPUCounts(nodes.map(\.1.gpus))
        let ids = Set((rows.map(\.1) + nodes.map(\.1)).flatMap { $0.fields.map(\.field) })
        partial.fields = ids.compactMap { FieldCatalog.find(id: $0) }.sorted()
        partial.groupColumns = FinalAssembly.columns(partial.fields, rows.map(\.1), sketches: true)
        if nodes.contains(where: { !$0.1.fields.isEmpty }) {
            partial.nodeColumns = FinalAssembly.columns(partial.fields, nodes.map(\.1), sketches: false)
        }
        partial.sampleCount = partial.groupColumns.reduce(0) { total, column in
            column.count.reduce(total) { $0 + Int64($1) }
        }
        return partial
    }

    /// By topology index, ascending. Workers that place a node elsewhere mean the same node.
    private mutating func nodes(_ groups: [PartialGroup]) -> [(Int32, PartialGroup)] {
        var found: [Int32: GroupSum] = [:]
        for group in groups where group.key.level == .node {
            guard let node = enter(group) else { continue }
            var same = group
            same.key.name = ""
            found[node, default: GroupSum()].add(same, .otherOrigin)
        }
        return found.sorted { $0.key < $1.key }.compactMap { node, sum in sum.sorted.first.map { (node, $0) }
        }
    }

    private mutating func enter(_ group: PartialGroup) -> Int32? {
        guard let (name, place, rack) = PlacedName.node(group.key.name) else { return nil }
        var entry = known[name] ?? (topology.node(name, at: place), 0)
        // Not that of the node: it may have moved.
        if racks[rack] == nil { racks[rack] = topology.rack(at: place) }
        let count = min(UInt64(group.gpus.expected), 64)
        let counted = count == 64 ? UInt64.max : (1 << count) - 1
        var new = (group.ordinals?.known ?? counted) & ~entry.gpus
        entry.gpus |= new
        while new != 0 {
            topology.gpu(node: entry.node, ordinal: UInt8(new.trailingZeroBitCount))
            new &= new - 1
        }
        known[name] = entry
        return entry.node
    }
}
