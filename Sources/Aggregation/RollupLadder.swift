import Telemetry

/// The longer windows of a stream, each fed by the next shorter one.
struct RollupLadder {
    private let spec: StreamSpec
    private let rungs: [RollupAccumulator]

    init(_ spec: StreamSpec) {
        self.spec = spec
        rungs = spec.plan.rollupsMs.map { RollupAccumulator(resolutionMs: $0) }
        restore()
    }

    /// Adds a finest window.
    func add(_ finest: WindowSummary) { rungs.first?.add(finest) }

    /// Closes the rollups that end by a time, shorter ones first.
    func close(throughMs: Int64, _ topology: TopologySnapshot) -> [WindowSummary] {
        var closed: [WindowSummary] = []
        for (index, rung) in rungs.enumerated() {
            guard let endMs = rung.endMs, endMs <= throughMs else { continue }
            let summary = rung.finish(spec, topology: topology)
            closed.append(summary)
            if index + 1 < rungs.count { rungs[index + 1].add(summary) }
        }
        return closed
    }

    /// Takes what was committed before a restart and whose next longer window is still open.
    private func restore() {
        guard let closedThroughMs = spec.closedThroughMs else { return }
        let resolutions = [spec.plan.finestMs] + spec.plan.rollupsMs
        let children = spec.openRollups.sorted {
            ($0.resolutionMs, $0.startMs) < ($1.resolutionMs, $1.startMs)
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
