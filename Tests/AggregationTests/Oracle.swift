import Sketches
import Telemetry

/// What summaries must say, worked out slowly from the samples themselves.
struct Oracle {
    struct Statistics {
        var values: [Double] = []
        var count: Int { values.count }
        var sum: Double { values.sorted().reduce(0, +) }
        var min: Double { values.min() ?? 0 }
        var max: Double { values.max() ?? 0 }
        var sketch: [UInt8] { QuantileSketch(values).encoded() }
    }

    struct Key: Hashable {
        var startMs: Int64
        var level: Level
        /// Index at the level; for jobs -1.
        var entity: Int
        var job: String
        var field: FieldIndex
    }

    /// A node's time in a job, half open.
    struct Membership {
        var node: Int
        var job: String
        var fromMs: Int64
        var toMs: Int64
    }

    /// What samples add to their windows: those of counters and sticky gauges by brute force from the sample before,
    /// the others as they are.
    static func contributions(_ samples: [TestSample]) -> [TestSample] {
        struct Series: Hashable {
            var node: Int
            var gpu: Int
            var field: FieldIndex
        }
        var before: [Series: Double] = [:]
        return samples.sorted { $0.timeMs < $1.timeMs }.map { sample in
            guard sample.field.field.kind != .gauge else { return sample }
            let series = Series(node: sample.node, gpu: sample.gpu, field: sample.field)
            defer { before[series] = sample.value }
            var added = sample
            added.value = 0
            guard let last = before[series] else { return added }
            if sample.field.field.kind == .stickyGauge {
                added.value = sample.value == 0 || sample.value == last ? 0 : 1
            } else if sample.value >= last {
                added.value = sample.value - last
            } else if sample.field.field.unit == "count", last > 4e9, sample.value < 1e9 {
                added.value = sample.value + 4_294_967_296 - last
            } else {
                added.value = sample.value
            }
            return added
        }
    }

    private(set) var statistics: [Key: Statistics] = [:]
    /// GPUs heard of, by window, level, entity and job.
    private(set) var heard: [Key: Set<Int>] = [:]

    /// - Parameter samples: only those that must count.
    init(
        _ samples: [TestSample], windowMs: Int64, topology: TopologySnapshot, jobs: [Membership] = [],
        gpusPerNode: Int = 64
    ) {
        let jobsOfNode = Dictionary(grouping: jobs, by: \.node)
        for sample in Self.contributions(samples) {
            let start = sample.timeMs / windowMs * windowMs
            let rack = Int(topology.nodeRack[sample.node])
            let array = Int(topology.rackArray[rack])
            var places: [(Level, Int, String)] = [
                (.node, sample.node, ""), (.rack, rack, ""), (.array, array, ""),
                (.hall, Int(topology.arrayHall[array]), ""), (.site, 0, ""),
            ]
            let job = jobsOfNode[sample.node]?.first {
                $0.fromMs <= sample.timeMs && sample.timeMs < $0.toMs
            }
            if let job { places.append((.job, -1, job.job)) }
            for (level, entity, job) in places {
                let key = Key(startMs: start, level: level, entity: entity, job: job, field: sample.field)
                statistics[key, default: Statistics()].values.append(sample.value)
                var anyField = key
                anyField.field = FieldIndex(rawValue: 0)
                heard[anyField, default: []].insert(sample.node * gpusPerNode + sample.gpu)
            }
        }
    }

    /// Differences between a summary and the truth, in words.
    func differences(_ summary: WindowSummary) -> [String] {
        var found: [String] = []
        var seen = 0
        for level in summary.levels {
            for column in level.columns {
                for entity in 0..<column.entityCount {
                    let key = Key(
                        startMs: summary.startMs, level: level.level,
                        entity: level.level == .job ? -1 : entity,
                        job: level.level == .job ? level.jobs[entity] : "", field: column.field)
                    let truth = statistics[key] ?? Statistics()
                    seen += truth.count > 0 ? 1 : 0
                    found += Self.compare(column, entity, truth).map { "\(key): \($0)" }
                }
            }
            for entity in 0..<level.gpus.reporting.count {
                let key = Key(
                    startMs: summary.startMs, level: level.level, entity: level.level == .job ? -1 : entity,
                    job: level.level == .job ? level.jobs[entity] : "", field: FieldIndex(rawValue: 0))
                if Int(level.gpus.reporting[entity]) != heard[key]?.count ?? 0 {
                    found.append("\(key): reporting \(level.gpus.reporting[entity])")
                }
            }
        }
        let wanted = statistics.keys.count { key in
            key.startMs == summary.startMs && summary.level(key.level) != nil
        }
        if wanted != seen { found.append("\(wanted) statistics wanted, \(seen) there") }
        return found
    }

    private static func compare(_ column: FieldColumn, _ entity: Int, _ truth: Statistics) -> [String] {
        var found: [String] = []
        if Int(column.count[entity]) != truth.count { found.append("count \(column.count[entity])") }
        if column.min[entity] != truth.min { found.append("min \(column.min[entity])") }
        if column.max[entity] != truth.max { found.append("max \(column.max[entity])") }
        let error = abs(column.sum[entity] - truth.sum)
        if error > 1e-12 * truth.values.reduce(0, { $0 + abs($1) }) {
            found.append("sum \(column.sum[entity]) for \(truth.sum)")
        }
        if !column.sketchOffsets.isEmpty, Array(column.sketch(entity)) != truth.sketch {
            found.append("sketch")
        }
        guard !column.p50.isEmpty, truth.count > 0 else { return found }
        let sorted = truth.values.sorted()
        for (share, value) in [(0.5, column.p50), (0.9, column.p90), (0.99, column.p99)] {
            let exact = sorted[Int((share * Double(truth.count - 1)).rounded(.down))]
            if abs(value[entity] - exact) > 0.0055 * abs(exact) { found.append("p\(share) \(value[entity])") }
        }
        return found
    }
}
