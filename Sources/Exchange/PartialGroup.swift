public import Sketches
public import Telemetry

/// One field's statistics over a group in one window; mergeable.
public struct FieldStatistics: Sendable, Equatable {
    /// DCGM's numeric id.
    public var field: UInt16
    public var count: UInt64
    /// In the field's unit.
    public var sum: Double
    public var min: Double
    public var max: Double
    /// Empty where none is kept.
    public var sketch: QuantileSketch

    public init(
        field: UInt16, count: UInt64, sum: Double, min: Double, max: Double, sketch: QuantileSketch = .init()
    ) {
        self.field = field
        self.count = count
        self.sum = sum
        self.min = min
        self.max = max
        self.sketch = sketch
    }

    /// Adds another's values. Counts, extremes and sketches do not depend on the order; sums do in their last bits.
    public mutating func merge(_ other: FieldStatistics) {
        guard other.count > 0 else { return }
        min = count == 0 ? other.min : Swift.min(min, other.min)
        max = count == 0 ? other.max : Swift.max(max, other.max)
        sum += other.sum
        let (total, overflow) = count.addingReportingOverflow(other.count)
        count = overflow ? .max : total
        sketch.merge(other.sketch)
    }
}

/// Which entity statistics belong to. By name, because workers number their entities each in its own way.
public struct PartialGroupKey: Hashable, Sendable, Comparable {
    public var level: Level
    public var name: String
    /// The job that the entity's GPUs worked for: a rack has a group for each. Empty: none, or all of them.
    public var job: String

    public init(level: Level, name: String, job: String = "") {
        self.level = level
        self.name = name
        self.job = job
    }

    public static func < (left: Self, right: Self) -> Bool {
        if left.level != right.level { return left.level < right.level }
        return left.name == right.name ? left.job < right.job : left.name < right.name
    }
}

/// GPUs of a group in one window.
public struct GroupGPUs: Sendable, Equatable {
    /// Known to be there.
    public var expected: UInt32
    /// At least one sample in the window.
    public var reporting: UInt32
    public var inJob: UInt32
    public var faulted: UInt32

    public init(expected: UInt32 = 0, reporting: UInt32 = 0, inJob: UInt32 = 0, faulted: UInt32 = 0) {
        self.expected = expected
        self.reporting = reporting
        self.inJob = inJob
        self.faulted = faulted
    }

    /// Other GPUs, of another slice.
    mutating func add(_ other: GroupGPUs) {
        expected = sum(expected, other.expected)
        reporting = sum(reporting, other.reporting)
        inJob = sum(inJob, other.inJob)
        faulted = sum(faulted, other.faulted)
    }

    /// The same GPUs, seen by another origin in the same window: those heard by both count once at most as often as
    /// there are GPUs.
    mutating func unite(_ other: GroupGPUs) {
        expected = max(expected, other.expected)
        reporting = min(expected, sum(reporting, other.reporting))
        inJob = min(expected, max(inJob, other.inJob))
        faulted = min(expected, max(faulted, other.faulted))
    }

    private func sum(_ left: UInt32, _ right: UInt32) -> UInt32 {
        let (total, overflow) = left.addingReportingOverflow(right)
        return overflow ? .max : total
    }
}

/// A group's share of one window.
public struct PartialGroup: Sendable, Equatable {
    public var key: PartialGroupKey
    public var gpus: GroupGPUs
    /// Which GPUs of a node, where that is told: of ingested telemetry. The counts are then theirs.
    public var ordinals: GPUOrdinals?
    /// In ascending order of their ids, each once.
    public var fields: [FieldStatistics]

    public init(
        key: PartialGroupKey, gpus: GroupGPUs = GroupGPUs(), ordinals: GPUOrdinals? = nil,
        fields: [FieldStatistics]
    ) {
        self.key = key
        self.gpus = gpus
        self.ordinals = ordinals
        self.fields = fields
    }
}

/// Groups by their keys, merged in the order in which they are added.
struct GroupSum {
    private var groups: [PartialGroupKey: PartialGroup] = [:]

    enum Relation {
        case otherGPUs, sameGPUs
        /// Ingested by several workers: the same GPUs where ordinals tell so, and others where nothing tells.
        case otherOrigin
        /// Of the same worker: what came late, of which only new GPUs are counted.
        case late
    }

    mutating func add(_ group: PartialGroup, _ relation: Relation) {
        guard var known = groups[group.key] else {
            groups[group.key] = group
            return
        }
        switch relation {
        case .otherGPUs: known.gpus.add(group.gpus)
        case .sameGPUs: known.gpus.unite(group.gpus)
        case .otherOrigin, .late: known.addGPUs(of: group, relation)
        }
        for field in group.fields {
            if let place = known.fields.firstIndex(where: { $0.field >= field.field }) {
                if known.fields[place].field == field.field {
                    known.fields[place].merge(field)
                } else {
                    known.fields.insert(field, at: place)
                }
            } else {
                known.fields.append(field)
            }
        }
        groups[group.key] = known
    }

    subscript(key: PartialGroupKey) -> PartialGroup? { groups[key] }

    /// In the order of their keys.
    var sorted: [PartialGroup] { groups.values.sorted { $0.key < $1.key } }
}

extension PartialGroup {
    /// The counts that ordinals say.
    mutating func countOrdinals() {
        guard let ordinals else { return }
        gpus.expected = UInt32(ordinals.known.nonzeroBitCount)
        gpus.reporting = UInt32(ordinals.reporting.nonzeroBitCount)
        gpus.inJob = UInt32(ordinals.inJob.nonzeroBitCount)
    }

    fileprivate mutating func addGPUs(of other: PartialGroup, _ relation: GroupSum.Relation) {
        if var mine = ordinals, let theirs = other.ordinals {
            mine.formUnion(theirs)
            ordinals = mine
            gpus.faulted = max(gpus.faulted, other.gpus.faulted)
            countOrdinals()
            return
        }
        ordinals = nil
        let faulted = max(gpus.faulted, other.gpus.faulted)
        defer { gpus.faulted = faulted }
        if relation == .otherOrigin, key.level == .node {
            gpus.unite(other.gpus)
        } else {
            let expected = max(gpus.expected, other.gpus.expected)
            gpus.add(other.gpus)
            gpus.expected = expected
        }
    }
}
