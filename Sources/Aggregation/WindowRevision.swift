import Telemetry

/// One closed window that late samples change, with the rollups above it: each that is closed gets a summary with the
/// next revision number; one that is still open takes the samples in.
struct WindowRevision: ~Copyable {
    private let spec: StreamSpec
    private let topology: TopologySnapshot
    private let ladder: RollupLadder
    private let book: RevisionBook
    private let late: [WindowPartial]
    let startMs: Int64
    /// Still to be revised, shortest first.
    private var resolutions: [Int64]
    private var assembly: WindowAssembly?
    private var base: RevisionBook.Entry?
    private var accumulator: RollupAccumulator?
    private var nextField = 0
    private var fields: [FieldIndex] = []
    /// What is made, each with the fleet that its window was closed with.
    private(set) var made: [(summary: WindowSummary, topology: TopologySnapshot)] = []

    /// - Parameter late: shares of the late samples of that window.
    init(
        _ late: [WindowPartial], startMs: Int64, spec: StreamSpec, topology: TopologySnapshot,
        ladder: RollupLadder, book: RevisionBook
    ) {
        self.late = late
        self.startMs = startMs
        self.spec = spec
        self.topology = topology
        self.ladder = ladder
        self.book = book
        let isKept = book.find(spec.plan.finestMs, startMs) != nil
        resolutions = isKept ? [spec.plan.finestMs] + spec.plan.rollupsMs : []
    }

    var sampleCount: Int64 { late.reduce(0) { $0 + $1.sampleCount } }

    /// Works for about a millisecond.
    ///
    /// - Returns: whether everything is made.
    mutating func advance() -> Bool {
        if assembly != nil {
            guard var summary = assembly?.step() else { return false }
            summary.revision = (base?.revision ?? 0) + 1
            let fleet = base?.topology ?? topology
            if let set = assembly?.set { book.keep(set, summary, fleet) }
            assembly = nil
            made.append((summary, fleet))
            return false
        }
        if let accumulator {
            mergeNext(into: accumulator)
            return false
        }
        guard !resolutions.isEmpty else { return true }
        begin(resolutions.removeFirst())
        return false
    }

    private mutating func begin(_ resolutionMs: Int64) {
        let start = floorMultiple(startMs, resolutionMs)
        let rung = ladder.rung(resolutionMs)
        if let rung, rung.startMs == start {
            // What is above takes it from there.
            resolutions = []
            for field in lateFields { addLate(field, to: rung) }
            if let finest = made.first?.summary { rung.raise(finest) }
            return
        }
        guard var entry = book.find(resolutionMs, start) else { return }
        // It stays with the racks of then, and has what is new since.
        entry.topology = topology.arranged(as: entry.topology)
        base = entry
        let fresh = RollupAccumulator(resolutionMs: resolutionMs)
        _ = fresh.opens(for: start)
        for job in entry.set.jobs { _ = fresh.number(ofJob: job) }
        accumulator = fresh
        nextField = 0
        fields = Set((entry.set.columns[.rack] ?? []).map(\.field)).union(lateFields).sorted()
    }

    private var lateFields: [FieldIndex] { Set(late.flatMap(\.fields)).sorted() }

    /// One field, what was known and what came late; after the last, the window is put together.
    private mutating func mergeNext(into fresh: RollupAccumulator) {
        guard nextField < fields.count, let base else {
            setGPUs(fresh)
            let start = floorMultiple(startMs, fresh.resolutionMs)
            assembly = WindowAssembly(
                .rollup(fresh), spec: spec, topology: base?.topology ?? topology,
                resolutionMs: fresh.resolutionMs, startMs: start, coverage: base?.coverage ?? 0, parent: nil)
            accumulator = nil
            return
        }
        let field = fields[nextField]
        for level in [Level.node, .rack, .job] {
            let entities = level == .job ? base.set.jobs.map { fresh.number(ofJob: $0) } : nil
            for column in base.set.columns[level] ?? [] where column.field == field {
                fresh.merge(column, level, entities)
            }
        }
        addLate(field, to: fresh)
        nextField += 1
    }

    private func addLate(_ field: FieldIndex, to target: RollupAccumulator) {
        for partial in late {
            guard let place = partial.fields.firstIndex(of: field) else { continue }
            if place < partial.nodeColumns.count {
                target.merge(partial.nodeColumns[place], .node, partial.nodes.map(Int.init))
            }
            let column = partial.groupColumns[place]
            target.merge(column, .rack, partial.groups.map { Int($0.rack) })
            let isInJob = partial.groups.indices.filter { !partial.groups[$0].job.isEmpty }
            let jobs = isInJob.map { target.number(ofJob: partial.groups[$0].job) }
            target.merge(column.rows(isInJob), .job, jobs)
        }
    }

    // MARK: GPUs

    private func setGPUs(_ fresh: RollupAccumulator) {
        guard let base else { return }
        var set = base.set
        if fresh.resolutionMs == spec.plan.finestMs {
            addLateGPUs(&set, fresh)
            var summary = WindowSummary(
                stream: spec.id, resolutionMs: fresh.resolutionMs, startMs: startMs, topologyVersion: 0,
                levels: [])
            summary.levels = Self.counts(set)
            fresh.raise(summary)
        } else {
            var summary = WindowSummary(
                stream: spec.id, resolutionMs: fresh.resolutionMs, startMs: startMs, topologyVersion: 0,
                levels: Self.counts(set))
            fresh.raise(summary)
            summary.levels = made.first?.summary.levels ?? []
            fresh.raise(summary)
        }
    }

    private static func counts(_ set: LevelSet) -> [LevelSummary] {
        set.gpus.map { level, counts in
            LevelSummary(level: level, jobs: level == .job ? set.jobs : [], columns: [], gpus: counts)
        }
    }

    /// The shares count only GPUs that were not heard of before.
    private func addLateGPUs(_ set: inout LevelSet, _ fresh: RollupAccumulator) {
        var nodes = set.gpus[.node] ?? GPUCounts(entityCount: 0)
        nodes.grow(to: topology.count(.node))
        var jobs = set.gpus[.job] ?? GPUCounts(entityCount: 0)
        for partial in late {
            for (row, node) in partial.nodes.enumerated() {
                nodes.addLate(Int(node), from: partial.nodeGPUs, row)
            }
            for (job, members) in partial.jobNodes {
                let job = fresh.number(ofJob: job)
                jobs.grow(to: job + 1)
                jobs.expected[job] += members.reduce(0) { $0 + nodes.expected[Int($1)] }
            }
            for (row, group) in partial.groups.enumerated() where !group.job.isEmpty {
                let job = fresh.number(ofJob: group.job)
                jobs.grow(to: job + 1)
                jobs.addLate(job, from: partial.groupGPUs, row)
            }
        }
        nodes.limit(topology)
        set.setGPUs(nodes, base?.topology ?? topology)
        set.gpus[.job] = jobs
        set.jobs = fresh.jobs
    }
}

extension GPUCounts {
    fileprivate mutating func addLate(_ entity: Int, from late: GPUCounts, _ row: Int) {
        reporting[entity] += late.reporting[row]
        inJob[entity] += late.inJob[row]
        guard maintenance[entity] > 0 else {
            expected[entity] = max(expected[entity], reporting[entity])
            return
        }
        // Nothing says which GPU it was that was worked on: no more report than are left.
        let left = expected[entity] - min(maintenance[entity], expected[entity])
        reporting[entity] = min(reporting[entity], left)
        inJob[entity] = min(inJob[entity], left)
    }
}

extension FieldColumn {
    /// Some of the rows, with their sketches.
    fileprivate func rows(_ rows: [Int]) -> FieldColumn {
        var some = FieldColumn(field: field, entityCount: rows.count)
        some.sketchOffsets = [0]
        for (place, row) in rows.enumerated() {
            some.add(place, from: self, row)
            some.sketchBytes += sketch(row)
            some.sketchOffsets.append(UInt32(some.sketchBytes.count))
        }
        return some
    }
}
