import Sketches
import Telemetry

/// The shares of the shards in a finest window, put into the order of the topology: nothing depends on how many
/// shares there are or in which order they came.
final class WindowBuilder {
    struct GroupRow {
        var rack: Int32
        /// Index in `jobs`, or -1.
        var job: Int
        var partial: Int
        /// Within the partial.
        var row: Int
        /// Within all partials one after the other.
        var flatRow: Int
    }

    private var partials: [WindowPartial]
    let topology: TopologySnapshot
    let step: CloseStep
    let startMs: Int64
    let endMs: Int64
    /// Ascending by rack, then job.
    let rows: [GroupRow]
    let jobs: [String]
    let fields: [FieldIndex]
    /// For each array the job that all of its racks worked for alone: its index, or -1 for no job; -2 where that is
    /// not so. Such a job has the array's sketches added instead of those of the racks.
    let soleJobs: [Int]
    private let jobIndex: [String: Int]
    /// Nodes of each job in this window, by the table of jobs.
    let members: [String: [Int32]]
    /// Faulted GPUs of the nodes that have any, once GPUs are counted.
    private(set) var faulted: [Int32: UInt32] = [:]

    init(
        partials: [WindowPartial], topology: TopologySnapshot, step: CloseStep, startMs: Int64, endMs: Int64
    ) {
        self.partials = partials
        self.topology = topology
        self.step = step
        self.startMs = startMs
        self.endMs = endMs
        fields = Set(partials.flatMap(\.fields)).sorted()
        var members = step.isFleet ? [:] : Self.members(step, startMs, endMs, topology)
        for (job, nodes) in partials.lazy.flatMap(\.jobNodes) {
            members[job] = Set(members[job] ?? []).union(nodes).sorted()
        }
        self.members = members
        var names = Set(members.keys)
        for partial in partials { for group in partial.groups { names.insert(group.job) } }
        jobs = names.filter { !$0.isEmpty }.sorted()
        var jobIndex: [String: Int] = [:]
        for (index, job) in jobs.enumerated() { jobIndex[job] = index }
        self.jobIndex = jobIndex
        var rows: [GroupRow] = []
        var known: (name: String, index: Int) = ("", -1)
        for (number, partial) in partials.enumerated() {
            for (row, group) in partial.groups.enumerated() {
                if group.job != known.name { known = (group.job, jobIndex[group.job] ?? -1) }
                rows.append(
                    GroupRow(
                        rack: group.rack, job: known.index, partial: number, row: row, flatRow: rows.count))
            }
        }
        rows.sort { ($0.rack, $0.job) < ($1.rack, $1.job) }
        self.rows = rows
        soleJobs = Self.soleJobs(rows, topology)
    }

    private static func soleJobs(_ rows: [GroupRow], _ topology: TopologySnapshot) -> [Int] {
        // -3: no rack was seen.
        var sole = Array(repeating: -3, count: topology.count(.array))
        for (place, row) in rows.enumerated() {
            let array = Int(topology.rackArray[Int(row.rack)])
            let isShared = place > 0 && rows[place - 1].rack == row.rack
            if isShared || (sole[array] != -3 && sole[array] != row.job) {
                sole[array] = -2
            } else {
                sole[array] = row.job
            }
        }
        return sole.map { $0 == -3 ? -2 : $0 }
    }

    /// Where each partial has that field.
    func places(_ field: FieldIndex) -> [Int?] { partials.map { $0.fields.firstIndex(of: field) } }

    func nodeColumn(_ field: FieldIndex) -> FieldColumn {
        var column = FieldColumn(field: field, entityCount: topology.count(.node))
        for (partial, place) in zip(partials, places(field)) {
            guard let place, place < partial.nodeColumns.count else { continue }
            let from = partial.nodeColumns[place]
            for (row, node) in partial.nodes.enumerated() { column.add(Int(node), from: from, row) }
        }
        return column
    }

    /// One field of the groups of all partials, one partial after the other: one column is read faster than many.
    func flatten(_ field: FieldIndex, into flat: inout FieldColumn) {
        flat.field = field
        flat.count.removeAll(keepingCapacity: true)
        flat.sum.removeAll(keepingCapacity: true)
        flat.min.removeAll(keepingCapacity: true)
        flat.max.removeAll(keepingCapacity: true)
        flat.sketchOffsets.removeAll(keepingCapacity: true)
        flat.sketchBytes.removeAll(keepingCapacity: true)
        flat.sketchOffsets.append(0)
        for (partial, place) in zip(partials, places(field)) {
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
            for offset in column.sketchOffsets.dropFirst() { flat.sketchOffsets.append(start + offset) }
            flat.sketchBytes += column.sketchBytes
        }
    }

    /// Lets go of a field's columns, a little at a time.
    func forget(_ field: FieldIndex) {
        for (partial, place) in places(field).enumerated() {
            guard let place else { continue }
            let none = FieldColumn(field: field, entityCount: 0)
            partials[partial].groupColumns[place] = none
            if place < partials[partial].nodeColumns.count { partials[partial].nodeColumns[place] = none }
        }
    }

    // MARK: GPUs

    func countGPUs(_ set: inout LevelSet) {
        var nodes = GPUCounts(entityCount: topology.count(.node))
        for partial in partials {
            for (row, node) in partial.nodes.enumerated() {
                nodes.add(Int(node), from: partial.nodeGPUs, row)
            }
        }
        if !step.isFleet { nodes.expect(topology) }
        let table = step.faults
        let planned = topology.affected(by: table.maintained(fromMs: startMs, toMs: endMs))
        for (node, fault) in topology.affected(by: table.faulted(fromMs: startMs, toMs: endMs)) {
            let broken = fault.ordinals.subtracting(planned[node]?.ordinals ?? [])
            let said = fault.wholeNode ? nodes.expected[node] : UInt32(broken.count)
            nodes.faulted[node] = max(nodes.faulted[node], min(said, nodes.expected[node]))
        }
        for (node, count) in nodes.faulted.enumerated() where count > 0 { faulted[Int32(node)] = count }
        for (node, work) in planned {
            nodes.setMaintenance(node, work.wholeNode ? .max : UInt32(work.ordinals.count))
        }
        set.setGPUs(nodes, topology)
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
            // Workers may place a node differently, and each tells of it.
            counts.reporting[index] = min(counts.reporting[index], counts.expected[index])
            counts.inJob[index] = min(counts.inJob[index], counts.expected[index])
            counts.setMaintenance(index, list.reduce(0) { $0 + nodes.maintenance[Int($1)] })
        }
        return counts
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

extension LevelSet {
    /// Counts of the nodes, and their sums upwards.
    mutating func setGPUs(_ nodes: GPUCounts, _ topology: TopologySnapshot) {
        let racks = nodes.summed(count: topology.count(.rack)) { Int(topology.nodeRack[$0]) }
        let arrays = racks.summed(count: topology.count(.array)) { Int(topology.rackArray[$0]) }
        let halls = arrays.summed(count: topology.count(.hall)) { Int(topology.arrayHall[$0]) }
        gpus[.node] = nodes
        gpus[.rack] = racks
        gpus[.array] = arrays
        gpus[.hall] = halls
        gpus[.site] = halls.summed(count: 1) { _ in 0 }
    }
}

extension TopologySnapshot {
    fileprivate var gpusOfNodes: [UInt32] {
        var counts = [UInt32](repeating: 0, count: nodeNames.count)
        for node in gpuNode { counts[Int(node)] += 1 }
        return counts
    }
}

extension GPUCounts {
    /// Of nodes: those that there are. A node that was in two places in this time is there once; one that an inventory
    /// has removed is there as far as it is heard.
    mutating func expect(_ topology: TopologySnapshot) {
        expected = topology.gpusOfNodes
        for node in expected.indices {
            reporting[node] = min(reporting[node], expected[node])
            inJob[node] = min(inJob[node], expected[node])
            if topology.nodeStanding[node] == .removed { expected[node] = reporting[node] }
        }
    }

    /// Of nodes: no more than there are, where both places of one that has moved were added.
    mutating func limit(_ topology: TopologySnapshot) {
        for (node, count) in topology.gpusOfNodes.enumerated() where reporting[node] > count {
            expected[node] = min(expected[node], count)
            reporting[node] = count
            inJob[node] = min(inJob[node], count)
        }
    }
}
