import Sketches
import Telemetry

/// A window of ingested telemetry, of all partitions; or what a revision adds to one that was told before.
struct MergedWindow: Sendable {
    var window: Int64
    var partitions: [(partition: Int, groups: [PartialGroup])]
    /// 0...1.
    var coverage: Double
    /// Workers that are in it, and those that should be.
    var present: Int
    var expected: Int
    var isRevision = false
    var storedMs: Int64 = 0
}

/// Puts the finals of all partitions of ingested telemetry together, each window once and in order, and finds out what
/// revisions add: they come as whole windows, and go on as the difference.
struct IngestAssembly: Sendable {
    private struct Held: Sendable {
        var final: FinalRecord
        var sequence: UInt64
        var timestampMs: Int64
    }

    private struct Told: Sendable {
        var groups: [Int: [PartialGroupKey: PartialGroup]] = [:]
        var coverage: [Int: Double] = [:]
    }

    let fleet: FleetMap
    /// The last window that was taken; `nil` before the first ever.
    private(set) var reported: Int64?
    private(set) var foreign: UInt64 = 0
    /// Revisions of windows that cannot be revised here: told before this process began, or too long ago.
    private(set) var late: UInt64 = 0
    /// Finals that were too long for the bus with all that they should say.
    private(set) var lacksGroups: UInt64 = 0
    private(set) var lacksSketches: UInt64 = 0
    /// Fields of groups that a revision has more samples of, whose quantiles stay as they were.
    private(set) var keptSketches: UInt64 = 0
    private let keptMax: Int64
    /// Windows that wait for a partition: beyond, they are told without it.
    private let waitingMax: Int
    private let fingerprint: UInt64
    private let limits: ExchangeLimits
    private var waiting: [Int64: [Int: Held]] = [:]
    /// By partition, the last window that is closed.
    private var closed: [Int: Int64] = [:]
    private var told: [Int64: Told] = [:]
    private var revisions: [(window: Int64, partition: Int, final: FinalRecord)] = []

    /// - Parameters:
    ///   - reported: the last window that is stored.
    ///   - reviseMs: for how long windows are kept to be revised.
    init(
        fleet: FleetMap, reported: Int64?, reviseMs: Int64, waitingMax: Int = 1_024,
        limits: ExchangeLimits = ExchangeLimits()
    ) {
        self.fleet = fleet
        self.reported = reported
        self.waitingMax = waitingMax
        self.limits = limits
        keptMax = reviseMs / fleet.windowMs
        fingerprint = fleet.fingerprint
    }

    var waitingCount: Int { waiting.count }

    /// Reading from here on misses nothing; `nil` when nothing waits.
    var firstWaiting: UInt64? { waiting.values.flatMap(\.values).map(\.sequence).min() }

    mutating func add(_ message: StoredMessage) {
        guard let final = try? FinalRecord(decoding: message.bytes, limits), final.fleet == fingerprint,
            let ingest = final.ingest, Int(final.partition) < fleet.partitions
        else {
            foreign += 1
            return
        }
        let partition = Int(final.partition)
        if final.lacksGroups { lacksGroups += 1 } else if final.lacksSketches { lacksSketches += 1 }
        closed[partition] = max(closed[partition] ?? -1, ingest.closed)
        if final.window > reported ?? -1 {
            waiting[final.window, default: [:]][partition] = Held(
                final: final, sequence: message.sequence, timestampMs: message.timestampMs)
        } else if told[final.window] != nil {
            revisions.append((final.window, partition, final))
        } else if ingest.revision > 0 {
            late += 1
        }
    }

    /// The next window, once no partition can have it any more that has not.
    mutating func take() -> MergedWindow? {
        guard let window = waiting.keys.min() else { return nil }
        let isOver = (0..<fleet.partitions).allSatisfy { closed[$0] ?? -1 >= window }
        guard isOver || waiting.count > waitingMax else { return nil }
        let finals = (waiting.removeValue(forKey: window) ?? [:]).sorted { $0.key < $1.key }
        reported = window
        var known = Told()
        for (partition, held) in finals {
            known.groups[partition] = Self.byKey(held.final.groups)
            known.coverage[partition] = held.final.coverage
        }
        if keptMax > 0 { told[window] = known }
        told = told.filter { $0.key > window - keptMax }
        return MergedWindow(
            window: window, partitions: finals.map { ($0.key, $0.value.final.groups) },
            coverage: coverage(known),
            present: finals.map { Int($0.value.final.slicesPresent) }.min() ?? 0,
            expected: finals.map { Int($0.value.final.slicesExpected) }.max() ?? 0,
            storedMs: finals.map(\.value.timestampMs).max() ?? 0)
    }

    private func coverage(_ told: Told) -> Double {
        told.coverage.values.reduce(0, +) / Double(max(1, fleet.partitions))
    }

    /// What came since for windows that are told, in the order in which it came.
    mutating func takeRevisions() -> [MergedWindow] {
        defer { revisions = [] }
        return revisions.compactMap { window, partition, final in
            guard var known = told[window] else {
                late += 1
                return nil
            }
            let before = known.groups[partition] ?? [:]
            let more = final.groups.compactMap { $0.beyond(before[$0.key], &keptSketches) }
            known.groups[partition] = Self.byKey(final.groups.map { $0.keepingSketches(of: before[$0.key]) })
            known.coverage[partition] = final.coverage
            told[window] = known
            return MergedWindow(
                window: window, partitions: [(partition, more)], coverage: coverage(known),
                present: Int(final.slicesPresent), expected: Int(final.slicesExpected), isRevision: true)
        }
    }

    private static func byKey(_ groups: [PartialGroup]) -> [PartialGroupKey: PartialGroup] {
        Dictionary(groups.map { ($0.key, $0) }) { first, _ in first }
    }
}

extension PartialGroup {
    /// What this has beyond an earlier saying of the same group; `nil` when that is nothing. A field of which there is
    /// less than before stays as it was: a worker has lost what it had.
    ///
    /// - Parameter kept: counts fields whose new samples are in no sketch: the earlier saying had others in it, or the
    ///   revision has none.
    func beyond(_ before: PartialGroup?, _ kept: inout UInt64) -> PartialGroup? {
        guard let before else { return self }
        var more = self
        more.fields = fields.compactMap { field in
            guard let known = before.fields.first(where: { $0.field == field.field }) else { return field }
            guard field.count > known.count else { return nil }
            var rest = field
            let sketch = field.sketch.subtracting(known.sketch)
            if sketch == nil { kept += 1 }
            rest.count -= known.count
            rest.sum -= known.sum
            rest.sketch = sketch ?? .init()
            return rest
        }
        if let now = ordinals, let then = before.ordinals {
            more.ordinals?.reporting = now.reporting & ~then.reporting
            more.ordinals?.inJob = now.inJob & ~then.inJob
            more.countOrdinals()
        } else {
            more.gpus.reporting -= min(gpus.reporting, before.gpus.reporting)
            more.gpus.inJob -= min(gpus.inJob, before.gpus.inJob)
        }
        let isEmpty = more.fields.isEmpty && more.gpus.reporting == 0 && more.gpus.inJob == 0
        return isEmpty ? nil : more
    }
}

extension PartialGroup {
    /// With sketches of what was told before, where this one lacks them.
    fileprivate func keepingSketches(of before: PartialGroup?) -> PartialGroup {
        guard let before else { return self }
        var whole = self
        for index in fields.indices where fields[index].sketch.count == 0 {
            let known = before.fields.first { $0.field == fields[index].field }
            whole.fields[index].sketch = known?.sketch ?? .init()
        }
        return whole
    }
}
