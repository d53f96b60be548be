import Sketches
import Telemetry

extension FieldColumn {
    /// Adds values that were added up elsewhere. The count stays at its greatest value instead of overflowing.
    @inline(__always)
    mutating func add(_ entity: Int, from other: FieldColumn, _ row: Int) {
        let count = other.count[row]
        guard count > 0 else { return }
        if self.count[entity] == 0 {
            self.count[entity] = count
            sum[entity] = other.sum[row]
            min[entity] = other.min[row]
            max[entity] = other.max[row]
        } else {
            let (total, overflow) = self.count[entity].addingReportingOverflow(count)
            self.count[entity] = overflow ? .max : total
            sum[entity] += other.sum[row]
            min[entity] = Swift.min(min[entity], other.min[row])
            max[entity] = Swift.max(max[entity], other.max[row])
        }
    }

    /// Appends entities that nothing was heard of.
    mutating func grow(to entityCount: Int) {
        let missing = entityCount - count.count
        guard missing > 0 else { return }
        count.append(contentsOf: repeatElement(0, count: missing))
        sum.append(contentsOf: repeatElement(0, count: missing))
        min.append(contentsOf: repeatElement(0, count: missing))
        max.append(contentsOf: repeatElement(0, count: missing))
    }

    /// Whether any entity has a sample.
    var isHeard: Bool { count.contains { $0 > 0 } }

    /// Makes room for sketches and quantiles that follow, entity by entity.
    mutating func startSketches() {
        sketchOffsets = [0]
        sketchOffsets.reserveCapacity(entityCount + 1)
        p50 = Array(repeating: 0, count: entityCount)
        p90 = p50
        p99 = p50
    }

    /// Takes the sketches of the entities out of an arena, `order[0]` for entity 0, with their quantiles.
    mutating func setSketches(
        _ arena: borrowing SketchArena, _ order: some Collection<Int>, _ buckets: inout SketchBuckets
    ) {
        var encoder = SketchEncoder()
        startSketches()
        for (entity, sketch) in order.enumerated() {
            arena.read(sketch, into: &buckets)
            encoder.encode(buckets)
            sketchOffsets.append(UInt32(encoder.count))
            if count[entity] > 0 { setQuantiles(entity, buckets) }
        }
        sketchBytes = encoder.bytes
        dropEmptySketches()
    }

    mutating func setSketches(
        _ arena: borrowing SketchArena, first: Int = 0, _ buckets: inout SketchBuckets
    ) {
        setSketches(arena, first..<first + entityCount, &buckets)
    }

    /// The quantiles of an entity with samples. One that was heard only while sketches were not fed gets its mean.
    @inline(__always)
    mutating func setQuantiles(_ entity: Int, _ buckets: borrowing SketchBuckets) {
        let mean = sum[entity] / Double(count[entity])
        let range = min[entity]...max[entity]
        let found = buckets.quantiles((0.5, 0.9, 0.99), clampedTo: range) ?? (mean, mean, mean)
        p50[entity] = found.0
        p90[entity] = found.1
        p99[entity] = found.2
    }

    /// No quantiles where no entity has a sketch.
    mutating func dropEmptySketches() {
        guard sketchBytes.isEmpty else { return }
        p50 = []
        p90 = []
        p99 = []
    }

    mutating func dropSketches() {
        sketchOffsets = []
        sketchBytes = []
    }
}

extension GPUCounts {
    var entityCount: Int { expected.count }

    mutating func grow(to entityCount: Int) {
        let missing = entityCount - expected.count
        guard missing > 0 else { return }
        expected.append(contentsOf: repeatElement(0, count: missing))
        reporting.append(contentsOf: repeatElement(0, count: missing))
        inJob.append(contentsOf: repeatElement(0, count: missing))
        faulted.append(contentsOf: repeatElement(0, count: missing))
        maintenance.append(contentsOf: repeatElement(0, count: missing))
    }

    mutating func add(_ entity: Int, from other: GPUCounts, _ row: Int) {
        expected[entity] += other.expected[row]
        reporting[entity] += other.reporting[row]
        inJob[entity] += other.inJob[row]
        faulted[entity] += other.faulted[row]
        maintenance[entity] += other.maintenance[row]
    }

    /// The most in any of the windows merged. Those under maintenance are those of the window in which most reported,
    /// and of such windows the fewest: so no GPU counts twice, and none that was silent is taken for one that is worked on.
    mutating func raise(_ entity: Int, to other: GPUCounts, _ row: Int) {
        if expected[entity] == 0 || other.reporting[row] > reporting[entity] {
            reporting[entity] = max(reporting[entity], other.reporting[row])
            maintenance[entity] = other.maintenance[row]
        } else if other.expected[row] > 0, other.reporting[row] == reporting[entity] {
            maintenance[entity] = min(maintenance[entity], other.maintenance[row])
        }
        expected[entity] = max(expected[entity], other.expected[row])
        inJob[entity] = max(inJob[entity], other.inJob[row])
        faulted[entity] = max(faulted[entity], other.faulted[row])
    }

    /// So many of an entity's GPUs are worked on. What they do otherwise was left out where it was known of which GPU
    /// it was; of the rest there are no more than GPUs are left.
    mutating func setMaintenance(_ entity: Int, _ count: UInt32) {
        let planned = min(count, expected[entity])
        maintenance[entity] = planned
        let left = expected[entity] - planned
        reporting[entity] = min(reporting[entity], left)
        inJob[entity] = min(inJob[entity], left)
        faulted[entity] = min(faulted[entity], left)
    }

    func reordered(_ order: [Int]) -> GPUCounts {
        var sorted = GPUCounts(entityCount: order.count)
        for (place, entity) in order.enumerated() where entity < entityCount {
            sorted.add(place, from: self, entity)
        }
        return sorted
    }

    /// The sums over the children of each of `count` parents.
    func summed(count: Int, parent: (Int) -> Int) -> GPUCounts {
        var sums = GPUCounts(entityCount: count)
        for entity in 0..<entityCount { sums.add(parent(entity), from: self, entity) }
        return sums
    }
}
