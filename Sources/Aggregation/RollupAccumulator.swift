import Sketches
import Telemetry

/// A longer window while its shorter ones are being closed.
///
/// It is fed with their summaries and nothing else, so that it does not matter whether those were made just now or
/// came back from the store after a restart. Counts of GPUs are the most in any of them.
final class RollupAccumulator {
    /// One field at one level.
    private final class Merged {
        var column: FieldColumn
        var sketches = SketchArena()
        init(_ field: FieldIndex) { column = FieldColumn(field: field, entityCount: 0) }
    }

    let resolutionMs: Int64
    /// `nil` while nothing was added.
    private(set) var startMs: Int64?
    private var columns: [Level: [FieldIndex: Merged]] = [:]
    private var gpus: [Level: GPUCounts] = [:]
    private var jobs: [String] = []
    private var jobIndex: [String: Int] = [:]
    private var coverageSum = 0.0
    private var windowCount = 0

    init(resolutionMs: Int64) { self.resolutionMs = resolutionMs }

    var endMs: Int64? { startMs.map { $0 + resolutionMs } }

    /// Adds a shorter window that lies in this one, or begins with it. Those of another are refused.
    @discardableResult
    func add(_ child: WindowSummary) -> Bool {
        let start = floorMultiple(child.startMs, resolutionMs)
        guard startMs == nil || startMs == start else { return false }
        startMs = start
        coverageSum += child.coverage
        windowCount += 1
        for level in child.levels {
            let entities = level.level == .job ? level.jobs.map { number(ofJob: $0) } : nil
            for column in level.columns where Self.isMerged(level.level) {
                merge(column, level.level, entities)
            }
            raise(level.gpus, level.level, entities)
        }
        return true
    }

    /// The rollup; everything starts anew.
    func finish(_ spec: StreamSpec, topology: TopologySnapshot) -> WindowSummary {
        var set = LevelSet()
        set.nodes = merged(.node, count: topology.count(.node)).map(\.column)
        set.racks = withSketches(merged(.rack, count: topology.count(.rack)))
        let order = jobs.indices.sorted { jobs[$0] < jobs[$1] }
        set.jobs = order.map { jobs[$0] }
        set.jobColumns = withSketches(merged(.job, count: jobs.count)).map { Self.reordered($0, order) }
        for (level, counts) in gpus where level != .job {
            set.gpus[level] = counts
            set.gpus[level]?.grow(to: topology.count(level))
        }
        set.gpus[.job] = Self.reordered(gpus[.job] ?? GPUCounts(entityCount: 0), order)
        let summary = set.summary(
            spec, resolutionMs: resolutionMs, startMs: startMs ?? 0,
            coverage: coverageSum / Double(max(1, windowCount)), topology: topology)
        reset()
        return summary
    }

    private func reset() {
        startMs = nil
        columns = [:]
        gpus = [:]
        jobs = []
        jobIndex = [:]
        coverageSum = 0
        windowCount = 0
    }

    /// What the upper levels are made of, they are made of again.
    private static func isMerged(_ level: Level) -> Bool { level == .node || level == .rack || level == .job }

    private func number(ofJob name: String) -> Int {
        if let known = jobIndex[name] { return known }
        jobIndex[name] = jobs.count
        jobs.append(name)
        return jobs.count - 1
    }

    private func merge(_ column: FieldColumn, _ level: Level, _ entities: [Int]?) {
        let target = columns[level]?[column.field] ?? Merged(column.field)
        columns[level, default: [:]][column.field] = target
        let count = entities == nil ? column.entityCount : jobs.count
        target.column.grow(to: count)
        if level.hasQuantiles { target.sketches.resize(to: count) }
        let hasSketches = level.hasQuantiles && !column.sketchBytes.isEmpty
        for row in 0..<column.entityCount where column.count[row] > 0 {
            let entity = entities?[row] ?? row
            target.column.add(entity, from: column, row)
            // Bytes from the store may be damaged: then that entity has no part of them in its quantiles.
            if hasSketches { try? target.sketches.merge(encoded: column.sketch(row), into: entity) }
        }
    }

    private func raise(_ counts: GPUCounts, _ level: Level, _ entities: [Int]?) {
        let count = entities == nil ? counts.entityCount : jobs.count
        gpus[level, default: GPUCounts(entityCount: 0)].grow(to: count)
        for row in 0..<counts.entityCount { gpus[level]?.raise(entities?[row] ?? row, to: counts, row) }
    }

    private func merged(_ level: Level, count: Int) -> [Merged] {
        let sorted = (columns[level] ?? [:]).values.sorted { $0.column.field < $1.column.field }
        for merged in sorted {
            merged.column.grow(to: count)
            if level.hasQuantiles { merged.sketches.resize(to: count) }
        }
        return sorted
    }

    private func withSketches(_ merged: [Merged]) -> [FieldColumn] {
        merged.map { merged in
            var column = merged.column
            column.setSketches(merged.sketches)
            column.setQuantiles()
            return column
        }
    }

    private static func reordered(_ column: FieldColumn, _ order: [Int]) -> FieldColumn {
        var sorted = column
        sorted.count = order.map { column.count[$0] }
        sorted.sum = order.map { column.sum[$0] }
        sorted.min = order.map { column.min[$0] }
        sorted.max = order.map { column.max[$0] }
        if !column.p50.isEmpty {
            sorted.p50 = order.map { column.p50[$0] }
            sorted.p90 = order.map { column.p90[$0] }
            sorted.p99 = order.map { column.p99[$0] }
        }
        sorted.sketchOffsets = [0]
        sorted.sketchBytes = []
        for entity in order {
            sorted.sketchBytes += column.sketch(entity)
            sorted.sketchOffsets.append(UInt32(sorted.sketchBytes.count))
        }
        return sorted
    }

    private static func reordered(_ counts: GPUCounts, _ order: [Int]) -> GPUCounts {
        var sorted = GPUCounts(entityCount: 0)
        sorted.grow(to: order.count)
        for (place, entity) in order.enumerated() { sorted.add(place, from: counts, entity) }
        return sorted
    }
}
