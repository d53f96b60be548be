import Sketches
import Telemetry

/// Makes the levels of a finest window out of the shares of the shards. Nothing depends on how many shares there
/// are or in which order they came: all is merged in the order of the topology.
struct WindowBuilder {
    private struct GroupRow {
        var rack: Int32
        /// Index in `jobs`, or -1.
        var job: Int
        var partial: Int
        /// Within the partial.
        var row: Int
        /// Within all partials one after the other.
        var flatRow: Int
    }

    let partials: [WindowPartial]
    let topology: TopologySnapshot
    let step: CloseStep
    let startMs: Int64
    let endMs: Int64
    private var rows: [GroupRow] = []
    private var jobs: [String] = []
    private var jobIndex: [String: Int] = [:]
    /// Nodes of each job in this window, by the table of jobs.
    private var members: [String: [Int32]] = [:]

    init(
        partials: [WindowPartial], topology: TopologySnapshot, step: CloseStep, startMs: Int64, endMs: Int64
    ) {
        self.partials = partials
        self.topology = topology
        self.step = step
        self.startMs = startMs
        self.endMs = endMs
        members = step.isFleet ? [:] : Self.members(step, startMs, endMs, topology)
        jobs = Set(partials.flatMap { $0.groups.lazy.map(\.job) } + Array(members.keys))
            .filter { !$0.isEmpty }.sorted()
        for (index, job) in jobs.enumerated() { jobIndex[job] = index }
        for (number, partial) in partials.enumerated() {
            for (row, group) in partial.groups.enumerated() {
                rows.append(
                    GroupRow(
                        rack: group.rack, job: jobIndex[group.job] ?? -1, partial: number, row: row,
                        flatRow: rows.count))
            }
        }
        rows.sort { ($0.rack, $0.job) < ($1.rack, $1.job) }
    }

    func levels(_ spec: StreamSpec) -> LevelSet {
        var set = LevelSet()
        set.jobs = jobs
        var arena = SketchArena()
        for field in Set(partials.flatMap(\.fields)).sorted() {
            let places = partials.map { $0.fields.firstIndex(of: field) }
            let (rack, job) = groupColumns(field, places, &arena)
            guard rack.isHeard else { continue }
            set.racks.append(rack)
            set.jobColumns.append(job)
            if spec.levels.contains(.node) { set.nodes.append(nodeColumn(field, places)) }
        }
        countGPUs(&set)
        return set
    }

    private func nodeColumn(_ field: FieldIndex, _ places: [Int?]) -> FieldColumn {
        var column = FieldColumn(field: field, entityCount: topology.count(.node))
        for (partial, place) in zip(partials, places) {
            guard let place, place < partial.nodeColumns.count else { continue }
            for (row, node) in partial.nodes.enumerated() {
                column.add(Int(node), from: partial.nodeColumns[place], row)
            }
        }
        return column
    }

    private func groupColumns(
        _ field: FieldIndex, _ places: [Int?], _ arena: inout SketchArena
    ) -> (rack: FieldColumn, job: FieldColumn) {
        let groups = flattened(field, places)
        var racks = FieldColumn(field: field, entityCount: topology.count(.rack))
        var jobColumn = FieldColumn(field: field, entityCount: jobs.count)
        racks.sketchOffsets = [0]
        racks.sketchOffsets.reserveCapacity(racks.entityCount + 1)
        arena.removeAll()
        // One sketch for the rack that is being merged, and one for each job.
        arena.resize(to: 1 + jobs.count)
        var next = 0
        for rack in 0..<racks.entityCount {
            let first = next
            while next < rows.count, rows[next].rack == Int32(rack) { next += 1 }
            addRack(rack, rows[first..<next], groups, &racks, &jobColumn, &arena)
            racks.sketchOffsets.append(UInt32(racks.sketchBytes.count))
        }
        jobColumn.setSketches(arena, first: 1)
        racks.setQuantiles()
        jobColumn.setQuantiles()
        return (racks, jobColumn)
    }

    /// One field of the groups of all partials, one partial after the other: one column is read faster than many.
    private func flattened(_ field: FieldIndex, _ places: [Int?]) -> FieldColumn {
        var flat = FieldColumn(field: field, entityCount: 0)
        flat.sketchOffsets = [0]
        for (partial, place) in zip(partials, places) {
            guard let place else {
                flat.grow(to: flat.entityCount + partial.groups.count)
                let end = UInt32(flat.sketchBytes.count)
                flat.sketchOffsets.append(contentsOf: repeatElement(end, count: partial.groups.count))
                continue
            }
            let column = partial.groupColumns[place]
            flat.count += column.count
            flat.sum += column.sum
            flat.min += column.min
            flat.max += column.max
            let start = UInt32(flat.sketchBytes.count)
            flat.sketchOffsets += column.sketchOffsets.dropFirst().map { start + $0 }
            flat.sketchBytes += column.sketchBytes
        }
        return flat
    }

    private func addRack(
        _ rack: Int, _ rows: ArraySlice<GroupRow>, _ groups: FieldColumn, _ racks: inout FieldColumn,
        _ jobColumn: inout FieldColumn, _ arena: inout SketchArena
    ) {
        for row in rows {
            racks.add(rack, from: groups, row.flatRow)
            if row.job >= 0 { jobColumn.add(row.job, from: groups, row.flatRow) }
            guard !groups.sketchBytes.isEmpty else { continue }
            let bytes = groups.sketch(row.flatRow)
            if row.job >= 0 {
                try? arena.merge(encoded: bytes, into: 1 + row.job)
            }
            // A rack that works for one job only, as nearly all do, has its sketch already.
            if rows.count == 1 {
                racks.sketchBytes += bytes
            } else {
                try? arena.merge(encoded: bytes, into: 0)
            }
        }
        if rows.count > 1, !groups.sketchBytes.isEmpty {
            arena.encode(0, into: &racks.sketchBytes)
            arena.clear(0)
        }
    }

    // MARK: GPUs

    private func countGPUs(_ set: inout LevelSet) {
        var nodes = GPUCounts(entityCount: topology.count(.node))
        for partial in partials {
            for (row, node) in partial.nodes.enumerated() {
                nodes.add(Int(node), from: partial.nodeGPUs, row)
            }
        }
        if !step.isFleet {
            nodes.expected = Array(repeating: 0, count: topology.count(.node))
            for node in topology.gpuNode { nodes.expected[Int(node)] += 1 }
        }
        let broken = faultedNodes()
        for (node, fault) in broken {
            let said = fault.wholeNode ? nodes.expected[node] : UInt32(fault.ordinals.count)
            nodes.faulted[node] = max(nodes.faulted[node], min(said, nodes.expected[node]))
        }
        let racks = nodes.summed(count: topology.count(.rack)) { Int(topology.nodeRack[$0]) }
        let arrays = racks.summed(count: topology.count(.array)) { Int(topology.rackArray[$0]) }
        let halls = arrays.summed(count: topology.count(.hall)) { Int(topology.arrayHall[$0]) }
        set.gpus = [
            .node: nodes, .rack: racks, .array: arrays, .hall: halls,
            .site: halls.summed(count: 1) { _ in 0 },
        ]
        set.gpus[.job] = jobGPUs(nodes)
    }

    private func jobGPUs(_ nodes: GPUCounts) -> GPUCounts {
        var counts = GPUCounts(entityCount: jobs.count)
        for row in rows where row.job >= 0 {
            counts.add(row.job, from: partials[row.partial].groupGPUs, row.row)
        }
        for (job, list) in members {
            guard let index = jobIndex[job] else { continue }
            counts.expected[index] = list.reduce(0) { $0 + nodes.expected[Int($1)] }
            counts.faulted[index] = list.reduce(0) { $0 + nodes.faulted[Int($1)] }
        }
        return counts
    }

    /// By node index; a rack that is down is all of its nodes.
    private func faultedNodes() -> [Int: FaultTable.Faulted] {
        let named = step.faults.faulted(fromMs: startMs, toMs: endMs)
        guard !named.isEmpty else { return [:] }
        var found: [Int: FaultTable.Faulted] = [:]
        for (node, name) in topology.nodeNames.enumerated() {
            if let fault = named[name] {
                found[node] = fault
            } else if let fault = named[topology.rackNames[Int(topology.nodeRack[node])]], fault.wholeNode {
                found[node] = fault
            }
        }
        return found
    }

    private static func members(
        _ step: CloseStep, _ startMs: Int64, _ endMs: Int64, _ topology: TopologySnapshot
    ) -> [String: [Int32]] {
        var members: [String: [Int32]] = [:]
        for (node, intervals) in step.jobs.intervals.enumerated() where node < topology.nodeRack.count {
            var seen: Set<Int32> = []
            for interval in intervals
            where interval.fromMs < endMs && interval.toMs > startMs && seen.insert(interval.job).inserted {
                members[step.jobNames[Int(interval.job)], default: []].append(Int32(node))
            }
        }
        return members
    }
}
