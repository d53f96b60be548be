import Telemetry

/// The windows of a stream that late samples may still change: closed, and kept with all their sketches.
final class RevisionBook {
    struct Entry {
        var set: LevelSet
        var coverage: Double
        var revision: Int
        /// The fleet with which it was closed.
        var topology: TopologySnapshot
        var bytes: Int
    }

    struct Key: Hashable {
        var resolutionMs: Int64
        var startMs: Int64
    }

    private var entries: [Key: Entry] = [:]
    private var bytes = 0
    private let plan: WindowPlan
    private let bytesMax: Int
    /// Finest windows from here on can be revised; `nil`: none.
    private(set) var fromMs: Int64?

    init(_ plan: WindowPlan, bytesMax: Int) {
        self.plan = plan
        self.bytesMax = bytesMax
    }

    func find(_ resolutionMs: Int64, _ startMs: Int64) -> Entry? {
        entries[Key(resolutionMs: resolutionMs, startMs: startMs)]
    }

    func keep(_ set: LevelSet, _ summary: WindowSummary, _ topology: TopologySnapshot) {
        guard plan.reviseWithinMs > 0 else { return }
        let key = Key(resolutionMs: summary.resolutionMs, startMs: summary.startMs)
        let entry = Entry(
            set: set, coverage: summary.coverage, revision: summary.revision, topology: topology,
            bytes: set.byteCount)
        bytes += entry.bytes - (entries.updateValue(entry, forKey: key)?.bytes ?? 0)
    }

    /// Lets go of what is too old or too much.
    func prune(closedThroughMs: Int64) {
        guard !entries.isEmpty else { return }
        let finest = entries.keys.filter { $0.resolutionMs == plan.finestMs }.map(\.startMs).sorted()
        var firstMs = plan.start(closedThroughMs - plan.reviseWithinMs)
        drop(beforeMs: firstMs)
        for startMs in finest where startMs >= firstMs && bytes > bytesMax {
            firstMs = startMs + plan.finestMs
            drop(beforeMs: firstMs)
        }
        fromMs = finest.first { $0 >= firstMs }
    }

    private func drop(beforeMs: Int64) {
        for (key, entry) in entries where key.startMs + key.resolutionMs <= beforeMs {
            entries[key] = nil
            bytes -= entry.bytes
        }
    }
}

extension LevelSet {
    /// About how much memory it takes.
    var byteCount: Int {
        columns.values.reduce(0) { total, columns in
            columns.reduce(total) { total, column in
                total + column.entityCount * 28 + column.p50.count * 24 + column.sketchOffsets.count * 4
                    + column.sketchBytes.count
            }
        }
    }
}
