import Sketches
import Telemetry

/// One window being made, in steps of less than a millisecond: a finest one out of the shares of the shards, or a
/// rollup out of its parts. Each rack's sketch is read once, for its quantiles, its array and the rollup above.
///
/// A struct, so that its loops run under one access to the whole of it.
struct WindowAssembly: ~Copyable {
    enum Source {
        case shares(WindowBuilder)
        case rollup(RollupAccumulator)
    }

    /// Racks, of one field, that one step works on.
    private static let racksPerStep = 256

    private let source: Source
    private let spec: StreamSpec
    private let topology: TopologySnapshot
    private let resolutionMs: Int64
    private let startMs: Int64
    private let coverage: Double
    private let parent: RollupAccumulator?
    private let fields: [FieldIndex]
    private var nextField = 0
    /// What is done next with the field: its nodes, its racks, what is above; before, it is opened.
    private enum Phase { case open, nodes, racks, above }
    private var phase = Phase.open
    private(set) var set = LevelSet()
    private var areGPUsCounted = false
    private var summary: WindowSummary?

    // Of the field that is being worked on:
    private var flat = FieldColumn(field: FieldIndex(rawValue: 0), entityCount: 0)
    private var racks = FieldColumn(field: FieldIndex(rawValue: 0), entityCount: 0)
    private var arrays = FieldColumn(field: FieldIndex(rawValue: 0), entityCount: 0)
    private var jobs = FieldColumn(field: FieldIndex(rawValue: 0), entityCount: 0)
    /// Arrays, then halls, then the site.
    private var upper = SketchArena()
    /// One for a rack with more than one group, then one for each job.
    private var jobSketches = SketchArena()
    private var buckets = SketchBuckets()
    private var encoder = SketchEncoder()
    private var nextRack = 0
    private var nextRow = 0

    /// - Parameter parent: the rollup that this window is a part of.
    init(
        _ source: Source, spec: StreamSpec, topology: TopologySnapshot, resolutionMs: Int64, startMs: Int64,
        coverage: Double, parent: RollupAccumulator?
    ) {
        self.source = source
        self.spec = spec
        self.topology = topology
        self.resolutionMs = resolutionMs
        self.startMs = startMs
        self.coverage = coverage
        self.parent = parent.flatMap { $0.opens(for: startMs) ? $0 : nil }
        switch source {
        case .shares(let shares):
            fields = shares.fields
            set.jobs = shares.jobs
        case .rollup(let rollup):
            fields = rollup.fields
            set.jobs = rollup.jobs.sorted()
        }
    }

    /// Works for a while; the summary when it is done.
    mutating func step() -> WindowSummary? {
        guard nextField < fields.count else { return finish() }
        let field = fields[nextField]
        switch phase {
        case .open:
            if open(field) { phase = .nodes } else { nextField += 1 }
        case .nodes:
            addNodes(field)
            phase = .racks
        case .racks:
            addRacks(nextRack..<min(nextRack + Self.racksPerStep, racks.entityCount))
            if nextRack == racks.entityCount { phase = .above }
        case .above:
            close(field)
            if case .shares(let shares) = source { shares.forget(field) }
            phase = .open
            nextField += 1
        }
        return nil
    }

    // MARK: One field

    /// - Returns: false when nothing was heard of it.
    private mutating func open(_ field: FieldIndex) -> Bool {
        racks = FieldColumn(field: field, entityCount: topology.count(.rack))
        arrays = FieldColumn(field: field, entityCount: topology.count(.array))
        jobs = FieldColumn(field: field, entityCount: set.jobs.count)
        upper.removeAll()
        upper.resize(to: topology.count(.array) + topology.count(.hall) + 1)
        jobSketches.removeAll()
        jobSketches.resize(to: 1 + set.jobs.count)
        nextRack = 0
        nextRow = 0
        encoder.removeAll()
        switch source {
        case .shares(let shares):
            shares.flatten(field, into: &flat)
            guard flat.isHeard else { return false }
        case .rollup(let rollup):
            guard let merged = rollup.find(.rack, field) else { return false }
            merged.grow(to: racks.entityCount, hasSketches: true)
        }
        racks.startSketches()
        return true
    }

    private mutating func addNodes(_ field: FieldIndex) {
        var nodes: FieldColumn
        switch source {
        case .shares(let shares):
            guard spec.levels.contains(.node) else { return }
            nodes = shares.nodeColumn(field)
        case .rollup(let rollup):
            guard let merged = rollup.find(.node, field) else { return }
            nodes = merged.column
            nodes.grow(to: topology.count(.node))
        }
        parent?.merge(nodes, .node, nil)
        set.columns[.node, default: []].append(nodes)
    }

    private mutating func addRacks(_ range: Range<Int>) {
        let above = parent?.merged(.rack, racks.field, count: racks.entityCount)
        switch source {
        case .shares(let shares):
            for rack in range {
                read(rack, of: shares)
                add(rack, above)
            }
        case .rollup(let rollup):
            guard let merged = rollup.find(.rack, racks.field) else { break }
            for rack in range {
                read(rack, of: merged)
                add(rack, above)
            }
        }
        above?.add(racks, range)
        nextRack = range.upperBound
    }

    /// Puts a rack, whose sketch is in `buckets`, where it belongs.
    @inline(__always)
    private mutating func add(_ rack: Int, _ above: RollupAccumulator.Merged?) {
        racks.sketchOffsets.append(UInt32(encoder.count))
        guard racks.count[rack] > 0 else { return }
        let array = Int(topology.rackArray[rack])
        arrays.add(array, from: racks, rack)
        racks.setQuantiles(rack, buckets)
        guard !buckets.isEmpty else { return }
        upper.merge(buckets, into: array)
        above?.sketches.merge(buckets, into: rack)
    }

    /// Leaves the rack's sketch in `buckets`.
    private mutating func read(_ rack: Int, of shares: WindowBuilder) {
        let first = nextRow
        while nextRow < shares.rows.count, shares.rows[nextRow].rack == Int32(rack) { nextRow += 1 }
        buckets.removeAll()
        let isSole = shares.soleJobs[Int(topology.rackArray[rack])] != -2
        let isSplit = nextRow - first > 1
        for place in first..<nextRow {
            let row = shares.rows[place]
            racks.add(rack, from: flat, row.flatRow)
            if row.job >= 0 { jobs.add(row.job, from: flat, row.flatRow) }
            let bytes = Int(flat.sketchOffsets[row.flatRow])..<Int(flat.sketchOffsets[row.flatRow + 1])
            guard !bytes.isEmpty else { continue }
            // Our own bytes; a damaged share of another worker would count without its quantiles.
            do { try buckets.read(flat.sketchBytes, in: bytes) } catch { continue }
            if row.job >= 0, !isSole { jobSketches.merge(buckets, into: 1 + row.job) }
            if isSplit {
                jobSketches.merge(buckets, into: 0)
            } else {
                // A rack that works for one job only, as nearly all do, has its sketch already.
                encoder.append(flat.sketchBytes, bytes)
            }
        }
        guard isSplit else { return }
        jobSketches.read(0, into: &buckets)
        jobSketches.clear(0)
        encoder.encode(buckets)
    }

    private mutating func read(_ rack: Int, of merged: RollupAccumulator.Merged) {
        racks.add(rack, from: merged.column, rack)
        merged.sketches.read(rack, into: &buckets)
        encoder.encode(buckets)
    }

    private mutating func close(_ field: FieldIndex) {
        let arrayCount = topology.count(.array)
        let hallCount = topology.count(.hall)
        var halls = FieldColumn(field: field, entityCount: hallCount)
        var site = FieldColumn(field: field, entityCount: 1)
        for array in 0..<arrayCount {
            let hall = Int(topology.arrayHall[array])
            halls.add(hall, from: arrays, array)
            upper.read(array, into: &buckets)
            upper.merge(buckets, into: arrayCount + hall)
            if case .shares(let shares) = source, shares.soleJobs[array] >= 0 {
                jobSketches.merge(buckets, into: 1 + shares.soleJobs[array])
            }
        }
        for hall in 0..<hallCount {
            site.add(0, from: halls, hall)
            upper.read(arrayCount + hall, into: &buckets)
            upper.merge(buckets, into: arrayCount + hallCount)
        }
        racks.sketchBytes = encoder.bytes
        racks.dropEmptySketches()
        arrays.setSketches(upper, &buckets)
        halls.setSketches(upper, first: arrayCount, &buckets)
        site.setSketches(upper, first: arrayCount + hallCount, &buckets)
        closeJobs(field)
        for (level, column) in [(Level.rack, racks), (.array, arrays), (.hall, halls), (.site, site)] {
            set.columns[level, default: []].append(column)
        }
    }

    private mutating func closeJobs(_ field: FieldIndex) {
        switch source {
        case .shares:
            jobs.setSketches(jobSketches, first: 1, &buckets)
        case .rollup(let rollup):
            if let merged = rollup.find(.job, field) {
                merged.grow(to: rollup.jobs.count, hasSketches: true)
                let order = set.jobs.map { rollup.number(ofJob: $0) }
                for (job, number) in order.enumerated() { jobs.add(job, from: merged.column, number) }
                jobs.setSketches(merged.sketches, order, &buckets)
            } else {
                jobs.setSketches(jobSketches, first: 1, &buckets)
            }
        }
        if let parent { parent.merge(jobs, .job, set.jobs.map { parent.number(ofJob: $0) }) }
        set.columns[.job, default: []].append(jobs)
    }

    // MARK: The end

    private mutating func finish() -> WindowSummary? {
        if let summary {
            parent?.note(summary)
            return summary
        }
        guard areGPUsCounted else {
            areGPUsCounted = true
            countGPUs()
            return nil
        }
        summary = set.summary(
            spec, resolutionMs: resolutionMs, startMs: startMs, coverage: coverage,
            topologyVersion: topology.version)
        return nil
    }

    private mutating func countGPUs() {
        switch source {
        case .shares(let shares): shares.countGPUs(&set)
        case .rollup(let rollup):
            for (level, counts) in rollup.gpus where level != .job {
                set.gpus[level] = counts
                set.gpus[level]?.grow(to: topology.count(level))
            }
            let counts = rollup.gpus[.job] ?? GPUCounts(entityCount: 0)
            set.gpus[.job] = counts.reordered(set.jobs.map { rollup.number(ofJob: $0) })
            rollup.reset()
        }
    }
}
