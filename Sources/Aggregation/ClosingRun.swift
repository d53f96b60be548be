import Telemetry

/// One step of closing a stream, from the shares of the shards to what the sink gets, worked off bit by bit.
final class ClosingRun {
    /// Windows that end together, and have the same fleet.
    private struct Made {
        var endMs: Int64
        var windows: [WindowSummary]
        /// Of windows that were closed before: that of then. `nil`: the present one.
        var topology: TopologySnapshot?
        /// Samples that count in them for the first time.
        var samples: Int64 = 0
    }

    private let spec: StreamSpec
    private let ladder: RollupLadder
    private let step: CloseStep
    private let topology: TopologySnapshot
    private var shares: [Int64: [WindowPartial]]
    private let sampleCounts: [Int64: Int64]
    /// Starts of the finest windows to make, ascending.
    private let starts: [Int64]
    private var nextStart = 0
    private let book: RevisionBook
    /// Late shares by window, newest first.
    private var late: [(startMs: Int64, partials: [WindowPartial])]
    private var revision: WindowRevision?
    /// Samples that came for windows that are not kept any more.
    private(set) var tooLate: Int64 = 0
    private var revised: [Made] = []
    private var assembly: WindowAssembly?
    private var builder: WindowBuilder?
    private var nodes: [Int64: WindowNodes] = [:]
    /// The finest window is made, and rollups that end with it are looked for.
    private var isAfterFinest = false
    private var made: [Made] = []

    /// - Parameter starts: of the windows to make, with or without shares.
    init(
        _ spec: StreamSpec, ladder: RollupLadder, step: CloseStep, topology: TopologySnapshot,
        shares: [Int64: [WindowPartial]], late: [Int64: [WindowPartial]], starts: [Int64],
        book: RevisionBook
    ) {
        self.spec = spec
        self.ladder = ladder
        self.step = step
        self.topology = topology
        self.shares = shares
        sampleCounts = shares.mapValues { $0.reduce(0) { $0 + $1.sampleCount } }
        self.starts = starts
        self.late = late.sorted { $0.key > $1.key }.map { ($0.key, $0.value) }
        self.book = book
    }

    /// Works for less than a millisecond.
    ///
    /// - Returns: whether everything is made.
    func advance() -> Bool {
        if revision != nil || !late.isEmpty {
            revise()
            return false
        }
        if assembly != nil {
            guard let summary = assembly?.step() else { return false }
            if let set = assembly?.set { book.keep(set, summary, topology) }
            assembly = nil
            take(summary)
            return false
        }
        if let startMs = nextStart < starts.count ? starts[nextStart] : nil {
            let finestEndMs = startMs + spec.plan.finestMs
            // Before it come, after a gap, rollups that ended in the gap; with it those that end as it does.
            if begin(ladder.due(throughMs: isAfterFinest ? finestEndMs : startMs)) { return false }
            if isAfterFinest {
                isAfterFinest = false
                nextStart += 1
            } else {
                beginFinest(startMs)
            }
            return false
        }
        return !begin(ladder.due(throughMs: step.isFinal ? .max : step.throughMs))
    }

    /// Windows that are closed already come first: the rollups that they are in may end with this step.
    private func revise() {
        guard revision != nil else {
            let (startMs, partials) = late.removeLast()
            revision = WindowRevision(
                partials, startMs: startMs, spec: spec, topology: topology, ladder: ladder, book: book)
            return
        }
        guard revision?.advance() == true else { return }
        let samples = revision?.sampleCount ?? 0
        let summaries = revision?.made ?? []
        if summaries.isEmpty { tooLate += samples }
        for (number, (summary, fleet)) in summaries.enumerated() {
            // A rollup may have been closed after nodes had moved, and its part before.
            if number > 0, revised.last?.topology?.version == fleet.version {
                revised[revised.count - 1].windows.append(summary)
            } else {
                revised.append(
                    Made(
                        endMs: .min, windows: [summary], topology: fleet, samples: number == 0 ? samples : 0))
            }
        }
        revision = nil
    }

    private func beginFinest(_ startMs: Int64) {
        let endMs = startMs + spec.plan.finestMs
        let builder = WindowBuilder(
            partials: shares.removeValue(forKey: startMs) ?? [], topology: topology, step: step,
            startMs: startMs, endMs: endMs)
        if spec.tellsOrdinals { self.builder = builder }
        assembly = WindowAssembly(
            .shares(builder), spec: spec, topology: topology, resolutionMs: spec.plan.finestMs,
            startMs: startMs, coverage: step.coverage(fromMs: startMs, toMs: endMs),
            parent: ladder.parent(of: spec.plan.finestMs))
    }

    private func begin(_ rung: RollupAccumulator?) -> Bool {
        guard let rung, let startMs = rung.startMs else { return false }
        assembly = WindowAssembly(
            .rollup(rung), spec: spec, topology: topology, resolutionMs: rung.resolutionMs, startMs: startMs,
            coverage: rung.coverage, parent: ladder.parent(of: rung.resolutionMs))
        return true
    }

    private func take(_ summary: WindowSummary) {
        if summary.resolutionMs == spec.plan.finestMs {
            let samples = sampleCounts[summary.startMs] ?? 0
            made.append(Made(endMs: summary.endMs, windows: [summary], samples: samples))
            isAfterFinest = true
            if let builder {
                nodes[summary.startMs] = WindowNodes(jobs: builder.members, faulted: builder.faulted)
                self.builder = nil
            }
        } else if isAfterFinest, !made.isEmpty {
            made[made.count - 1].windows.append(summary)
        } else {
            // Rollups without a finest window of their own: before the next one, or at the end of the step.
            let endMs = nextStart < starts.count ? starts[nextStart] : step.throughMs
            if made.last?.endMs == endMs, made.last?.windows.first?.resolutionMs != spec.plan.finestMs {
                made[made.count - 1].windows.append(summary)
            } else {
                made.append(Made(endMs: endMs, windows: [summary]))
            }
        }
    }

    /// What the sink gets, revisions first, then oldest first, with the samples that each commits.
    ///
    /// - Parameters:
    ///   - ledger: the account at this step, without what is aggregated.
    ///   - aggregated: samples that were committed or handed over before.
    ///   - handedOverMs: where the stream stood before this step.
    ///   - tellsAnyway: whether a step without windows is told of.
    func closes(
        ledger: Ledger, aggregated: Int64, handedOverMs: Int64?, tellsAnyway: Bool
    ) -> [(close: WindowClose, samples: Int64)] {
        if made.isEmpty, tellsAnyway { made.append(Made(endMs: step.throughMs, windows: [])) }
        if !made.isEmpty { made[made.count - 1].endMs = step.throughMs }
        for index in revised.indices { revised[index].endMs = handedOverMs ?? step.throughMs }
        var total = aggregated
        return (revised + made).enumerated().map { place, one in
            total += one.samples
            var account = ledger
            account.aggregated = total
            var close = WindowClose(
                stream: spec.id, closedThroughMs: one.endMs, windows: one.windows,
                topology: one.topology ?? topology, ledger: account, events: place == 0 ? step.events.all : []
            )
            for window in one.windows { close.nodes[window.startMs] = nodes[window.startMs] }
            return (close, one.samples)
        }
    }
}
