import Sketches
import Telemetry

/// The levels of one window while it is being made: what both a finest window and a rollup end as.
struct LevelSet {
    var nodes: [FieldColumn] = []
    /// With sketches.
    var racks: [FieldColumn] = []
    /// Sorted.
    var jobs: [String] = []
    /// With sketches.
    var jobColumns: [FieldColumn] = []
    var gpus: [Level: GPUCounts] = [:]

    /// Which levels and sketches a summary of that resolution has.
    private struct Selection {
        let spec: StreamSpec
        let hasParent: Bool

        init(_ spec: StreamSpec, resolutionMs: Int64) {
            self.spec = spec
            hasParent = spec.plan.rollupsMs.contains { $0 > resolutionMs }
        }

        private func isMerged(_ level: Level) -> Bool { hasParent && (level == .rack || level == .job) }
        func contains(_ level: Level) -> Bool { spec.levels.contains(level) || isMerged(level) }
        func keepsSketches(_ level: Level) -> Bool { spec.sketchLevels.contains(level) || isMerged(level) }
    }

    /// Works out array, hall and site from the racks, in the order of the topology, and puts all together.
    func summary(
        _ spec: StreamSpec, resolutionMs: Int64, startMs: Int64, coverage: Double, topology: TopologySnapshot
    ) -> WindowSummary {
        let selection = Selection(spec, resolutionMs: resolutionMs)
        var columns: [Level: [FieldColumn]] = [.node: nodes, .rack: racks, .job: jobColumns]
        var arena = SketchArena()
        for rack in racks {
            let upper = Self.upper(rack, topology, &arena)
            for (level, column) in zip([Level.array, .hall, .site], upper) {
                columns[level, default: []].append(column)
            }
        }
        let levels = Level.allCases.sorted().filter { selection.contains($0) }.map { level in
            var kept = columns[level] ?? []
            if !selection.keepsSketches(level) {
                for index in kept.indices { kept[index].dropSketches() }
            }
            return LevelSummary(
                level: level, jobs: level == .job ? jobs : [], columns: kept,
                gpus: gpus[level] ?? GPUCounts(entityCount: 0))
        }
        var summary = WindowSummary(
            stream: spec.id, resolutionMs: resolutionMs, startMs: startMs,
            topologyVersion: topology.version, coverage: coverage, levels: levels)
        summary.timeline =
            spec.timeline.map { $0(spec.id, summary.endMs) } ?? timeline(endMs: summary.endMs)
        return summary
    }

    /// One field of array, hall and site.
    private static func upper(
        _ racks: FieldColumn, _ topology: TopologySnapshot, _ arena: inout SketchArena
    ) -> [FieldColumn] {
        let arrayCount = topology.count(.array)
        let hallCount = topology.count(.hall)
        var arrays = FieldColumn(field: racks.field, entityCount: arrayCount)
        var halls = FieldColumn(field: racks.field, entityCount: hallCount)
        var site = FieldColumn(field: racks.field, entityCount: 1)
        arena.removeAll()
        arena.resize(to: arrayCount + hallCount + 1)
        for rack in 0..<racks.entityCount where racks.count[rack] > 0 {
            let array = Int(topology.rackArray[rack])
            arrays.add(array, from: racks, rack)
            guard !racks.sketchBytes.isEmpty else { continue }
            // Our own bytes; a damaged share of another worker would count without its quantiles.
            try? arena.merge(encoded: racks.sketch(rack), into: array)
        }
        for array in 0..<arrayCount {
            let hall = Int(topology.arrayHall[array])
            halls.add(hall, from: arrays, array)
            arena.mergeOwn(array, into: arrayCount + hall)
        }
        for hall in 0..<hallCount {
            site.add(0, from: halls, hall)
            arena.mergeOwn(arrayCount + hall, into: arrayCount + hallCount)
        }
        arrays.setSketches(arena)
        halls.setSketches(arena, first: arrayCount)
        site.setSketches(arena, first: arrayCount + hallCount)
        arrays.setQuantiles()
        halls.setQuantiles()
        site.setQuantiles()
        return [arrays, halls, site]
    }

    /// Where a stream without a scenario stands: what its own telemetry says.
    private func timeline(endMs: Int64) -> TimelinePoint {
        var point = TimelinePoint(timeMs: endMs)
        guard let site = gpus[.site], site.entityCount > 0 else { return point }
        point.installed = Int(site.expected[0])
        point.powered = Int(site.reporting[0])
        point.inTraining = Int(site.inJob[0])
        if let busy = racks.first(where: { $0.field == .gpuUtil }) {
            let count = busy.count.reduce(0) { $0 + Double($1) }
            point.utilization = count > 0 ? busy.sum.reduce(0, +) / count / 100 : 0
        }
        if let power = racks.first(where: { $0.field == .powerUsage }), let reporting = gpus[.rack] {
            point.megawatts = power.count.indices.reduce(0) { total, rack in
                total + (power.mean(rack) ?? 0) * Double(reporting.reporting[rack]) / 1e6
            }
        }
        return point
    }
}
