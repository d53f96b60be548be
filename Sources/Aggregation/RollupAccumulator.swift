import Sketches
import Telemetry

/// A longer window while its shorter ones are being closed.
///
/// It is fed with what their summaries say and nothing else, so that it does not matter whether those were made just
/// now or came back from the store after a restart. Counts of GPUs are the most in any of them.
final class RollupAccumulator {
    /// One field at one level.
    final class Merged {
        var column: FieldColumn
        var sketches = SketchArena()
        init(_ field: FieldIndex) { column = FieldColumn(field: field, entityCount: 0) }

        func grow(to count: Int, hasSketches: Bool) {
            column.grow(to: count)
            if hasSketches { sketches.resize(to: count) }
        }

        /// Forgets everything, and keeps the memory for the next rollup.
        func removeAll() {
            column = FieldColumn(field: column.field, entityCount: 0)
            sketches.removeAll()
        }

        /// Adds neighbouring entities, without their sketches.
        func add(_ other: FieldColumn, _ range: Range<Int>) { Self.add(&column, other, range) }

        /// Apart, so that the column is opened once.
        private static func add(_ column: inout FieldColumn, _ other: FieldColumn, _ range: Range<Int>) {
            for entity in range { column.add(entity, from: other, entity) }
        }
    }

    let resolutionMs: Int64
    /// `nil` while nothing was added.
    private(set) var startMs: Int64?
    private var columns: [Level: [FieldIndex: Merged]] = [:]
    private(set) var gpus: [Level: GPUCounts] = [:]
    private(set) var jobs: [String] = []
    private var jobIndex: [String: Int] = [:]
    private var coverageSum = 0.0
    private var windowCount = 0

    init(resolutionMs: Int64) { self.resolutionMs = resolutionMs }

    var endMs: Int64? { startMs.map { $0 + resolutionMs } }
    var coverage: Double { coverageSum / Double(max(1, windowCount)) }

    /// Whether a shorter window with that start lies in this one, or begins it.
    func opens(for childStartMs: Int64) -> Bool {
        let start = floorMultiple(childStartMs, resolutionMs)
        guard startMs == nil || startMs == start else { return false }
        startMs = start
        return true
    }

    /// Adds a shorter window. Those of another rollup are refused.
    @discardableResult
    func add(_ child: WindowSummary) -> Bool {
        guard opens(for: child.startMs) else { return false }
        for level in child.levels where Self.isMerged(level.level) {
            let entities = level.level == .job ? level.jobs.map { number(ofJob: $0) } : nil
            for column in level.columns { merge(column, level.level, entities) }
        }
        note(child)
        return true
    }

    /// What a shorter window says besides its columns; once, after its columns were merged.
    func note(_ child: WindowSummary) {
        coverageSum += child.coverage
        windowCount += 1
        raise(child)
    }

    /// The most GPUs in any of the windows.
    func raise(_ child: WindowSummary) {
        for level in child.levels {
            let entities = level.level == .job ? level.jobs.map { number(ofJob: $0) } : nil
            raise(level.gpus, level.level, entities)
        }
    }

    func reset() {
        startMs = nil
        for fields in columns.values { for merged in fields.values { merged.removeAll() } }
        gpus = [:]
        jobs = []
        jobIndex = [:]
        coverageSum = 0
        windowCount = 0
    }

    /// What the upper levels are made of, they are made of again.
    static func isMerged(_ level: Level) -> Bool { level == .node || level == .rack || level == .job }

    func number(ofJob name: String) -> Int {
        if let known = jobIndex[name] { return known }
        jobIndex[name] = jobs.count
        jobs.append(name)
        return jobs.count - 1
    }

    /// Fields that were heard of, ascending.
    var fields: [FieldIndex] {
        (columns[.rack] ?? [:]).values.filter(\.column.isHeard).map(\.column.field).sorted()
    }

    func find(_ level: Level, _ field: FieldIndex) -> Merged? { columns[level]?[field] }

    /// One field at one level, with room for so many entities.
    func merged(_ level: Level, _ field: FieldIndex, count: Int) -> Merged {
        let merged = columns[level]?[field] ?? Merged(field)
        columns[level, default: [:]][field] = merged
        merged.grow(to: count, hasSketches: level.hasQuantiles)
        return merged
    }

    /// Adds a column with its sketches; `entities` are the numbers of its rows where they are not the rows.
    func merge(_ column: FieldColumn, _ level: Level, _ entities: [Int]?) {
        let needed = entities.map { ($0.max() ?? -1) + 1 } ?? column.entityCount
        let target = merged(level, column.field, count: max(needed, level == .job ? jobs.count : 0))
        let hasSketches = level.hasQuantiles && !column.sketchBytes.isEmpty
        guard hasSketches || entities != nil else {
            target.add(column, 0..<column.entityCount)
            return
        }
        for row in 0..<column.entityCount where column.count[row] > 0 {
            let entity = entities?[row] ?? row
            target.column.add(entity, from: column, row)
            // Bytes from the store may be damaged: then that entity has no part of them in its quantiles.
            if hasSketches { try? target.sketches.merge(encoded: column.sketch(row), into: entity) }
        }
    }

    private func raise(_ counts: GPUCounts, _ level: Level, _ entities: [Int]?) {
        let count = entities == nil ? counts.entityCount : jobs.count
        var raised = gpus.removeValue(forKey: level) ?? GPUCounts(entityCount: 0)
        raised.grow(to: count)
        for row in 0..<counts.entityCount { raised.raise(entities?[row] ?? row, to: counts, row) }
        gpus[level] = raised
    }
}
