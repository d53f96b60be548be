import Sketches
import Telemetry

/// The levels of one window, with all their sketches: what both a finest window and a rollup end as.
struct LevelSet: Sendable {
    /// By level, in the order of the fields; jobs in the order of `jobs`.
    var columns: [Level: [FieldColumn]] = [:]
    /// Sorted.
    var jobs: [String] = []
    var gpus: [Level: GPUCounts] = [:]

    /// Which levels and sketches a summary of that resolution has.
    private struct Selection {
        let spec: StreamSpec
        let hasParent: Bool

        init(_ spec: StreamSpec, resolutionMs: Int64) {
            self.spec = spec
            hasParent = spec.plan.rollupsMs.contains { $0 > resolutionMs }
        }

        private func isMerged(_ level: Level) -> Bool { hasParent && (level == .rack || level == .job) }
        func contains(_ level: Level) -> Bool { spec.levels.contains(level) || isMerged(level) }
        func keepsSketches(_ level: Level) -> Bool { spec.sketchLevels.contains(level) || isMerged(level) }
    }

    func summary(
        _ spec: StreamSpec, resolutionMs: Int64, startMs: Int64, coverage: Double, topologyVersion: Int
    ) -> WindowSummary {
        let selection = Selection(spec, resolutionMs: resolutionMs)
        let levels = Level.allCases.sorted().filter { selection.contains($0) }.map { level in
            var kept = columns[level] ?? []
            if !selection.keepsSketches(level) {
                for index in kept.indices { kept[index].dropSketches() }
            }
            return LevelSummary(
                level: level, jobs: level == .job ? jobs : [], columns: kept,
                gpus: gpus[level] ?? GPUCounts(entityCount: 0))
        }
        var summary = WindowSummary(
            stream: spec.id, resolutionMs: resolutionMs, startMs: startMs,
            topologyVersion: topologyVersion, coverage: coverage, levels: levels)
        summary.timeline =
            spec.timeline.map { $0(spec.id, summary.endMs) } ?? timeline(endMs: summary.endMs)
        return summary
    }

    /// Where a stream without a scenario stands: what its own telemetry says.
    private func timeline(endMs: Int64) -> TimelinePoint {
        var point = TimelinePoint(timeMs: endMs)
        guard let site = gpus[.site], site.entityCount > 0 else { return point }
        point.installed = Int(site.expected[0])
        point.powered = Int(site.reporting[0])
        point.inTraining = Int(site.inJob[0])
        let racks = columns[.rack] ?? []
        if let busy = racks.first(where: { $0.field == .gpuUtil }) {
            let count = busy.count.reduce(0) { $0 + Double($1) }
            point.utilization = count > 0 ? busy.sum.reduce(0, +) / count / 100 : 0
        }
        if let power = racks.first(where: { $0.field == .powerUsage }), let reporting = gpus[.rack] {
            point.megawatts = power.count.indices.reduce(0) { total, rack in
                total + (power.mean(rack) ?? 0) * Double(reporting.reporting[rack]) / 1e6
            }
        }
        return point
    }
}
