import Store
import Telemetry

/// The levels and fields of a window that an endpoint selected, in a fixed order: levels from the node up, entities
/// as in the topology, fields by their place in the catalogue.
struct SelectedWindow: Sendable {
    let window: StoredWindow
    let levels: [SelectedLevel]

    private let labels: LabelChanges

    init(_ window: StoredWindow, selection: DeliverySelection, labels: LabelChanges = LabelChanges()) {
        self.window = window
        self.labels = labels
        levels = window.summary.levels
            .filter { selection.levels.isEmpty || selection.levels.contains($0.level) }
            .sorted { $0.level < $1.level }
            .map { SelectedLevel($0, fields: selection.fields) }
    }

    var summary: WindowSummary { window.summary }

    /// Where the entities of a level are.
    func places(of level: SelectedLevel) -> Places {
        Places(topology: window.topology, labels: labels, jobs: level.jobs)
    }

    func place(_ level: Level, _ entity: Int) -> [(name: String, value: String)] {
        places(level).place(level, entity)
    }

    func placeBytesMax(_ level: Level) -> Int { places(level).bytesMax(level) }

    private func places(_ level: Level) -> Places {
        let jobs = level == .job ? levels.first { $0.level == .job }?.jobs : nil
        return Places(topology: window.topology, labels: labels, jobs: jobs ?? [])
    }
}

/// One level of a window, with its selected columns.
struct SelectedLevel: Sendable {
    let level: Level
    let columns: [FieldColumn]
    let gpus: GPUCounts
    /// Names of the entities, for jobs only.
    let jobs: [String]
    let entityCount: Int

    init(_ summary: LevelSummary, fields: Set<FieldIndex>) {
        level = summary.level
        columns = summary.columns
            .filter { fields.isEmpty || fields.contains($0.field) }
            .sorted { $0.field < $1.field }
        gpus = summary.gpus
        jobs = summary.jobs
        entityCount = max(gpus.expected.count, columns.map(\.entityCount).max() ?? 0)
    }

    /// A job without a name is what is outside of any job: no series.
    func isNamed(_ entity: Int) -> Bool { level != .job || !(jobs[safely: entity]?.isEmpty ?? true) }

    func hasGPUs(_ entity: Int) -> Bool {
        entity < gpus.expected.count && (gpus.expected[entity] > 0 || gpus.reporting[entity] > 0)
    }
}

/// The GPU counts of an entity, in the order in which they are reported.
enum GPUStatistic: String, CaseIterable, Sendable {
    case expected, reporting, silent
    case inJob = "in_job"
    case faulted

    func value(_ counts: GPUCounts, _ entity: Int) -> UInt32 {
        switch self {
        case .expected: counts.expected[entity]
        case .reporting: counts.reporting[entity]
        case .silent: counts.silent(entity)
        case .inJob: counts.inJob[entity]
        case .faulted: counts.faulted[entity]
        }
    }
}

extension FieldStatistic {
    var isQuantile: Bool { self == .p50 || self == .p90 || self == .p99 }

    /// `nil` where nothing was heard, or where the level keeps no quantiles.
    func value(_ column: FieldColumn, _ entity: Int) -> Double? {
        guard entity < column.entityCount, column.count[entity] > 0 else { return nil }
        return switch self {
        case .avg: column.mean(entity)
        case .min: column.min[entity]
        case .max: column.max[entity]
        case .count: Double(column.count[entity])
        case .sum: column.sum[entity]
        case .p50: column.p50[safely: entity]
        case .p90: column.p90[safely: entity]
        case .p99: column.p99[safely: entity]
        }
    }
}

extension Array {
    /// `nil` outside; what comes from a file is not trusted to have consistent lengths.
    subscript(safely index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
