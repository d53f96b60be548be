import Telemetry

/// The longer windows of a stream, each fed by the next shorter one.
struct RollupLadder {
    private let rungs: [RollupAccumulator]

    init(_ spec: StreamSpec) {
        rungs = spec.plan.rollupsMs.map { RollupAccumulator(resolutionMs: $0) }
        restore(spec)
    }

    /// The rung that windows of that length go into; `nil` for the longest.
    func parent(of resolutionMs: Int64) -> RollupAccumulator? {
        rungs.first { $0.resolutionMs > resolutionMs }
    }

    /// The rung of that length.
    func rung(_ resolutionMs: Int64) -> RollupAccumulator? { rungs.first { $0.resolutionMs == resolutionMs } }

    /// The shortest rung that ends by a time.
    func due(throughMs: Int64) -> RollupAccumulator? {
        rungs.first { rung in rung.endMs.map { $0 <= throughMs } ?? false }
    }

    /// Takes what was committed before a restart and whose next longer window is still open.
    private func restore(_ spec: StreamSpec) {
        guard let closedThroughMs = spec.closedThroughMs else { return }
        let resolutions = [spec.plan.finestMs] + spec.plan.rollupsMs
        let children = spec.openRollups.sorted {
            ($0.resolutionMs, $0.startMs, $1.revision) < ($1.resolutionMs, $1.startMs, $0.revision)
        }
        var seen: Set<[Int64]> = []
        for child in children {
            guard let place = resolutions.firstIndex(of: child.resolutionMs), place < rungs.count,
                child.endMs <= closedThroughMs, seen.insert([child.resolutionMs, child.startMs]).inserted
            else { continue }
            let rung = rungs[place]
            let parentEndMs = floorMultiple(child.startMs, rung.resolutionMs) + rung.resolutionMs
            if parentEndMs > closedThroughMs { rung.add(child) }
        }
    }
}
