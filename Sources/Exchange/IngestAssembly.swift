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
///
/// What waits is bounded by its bytes. A final beyond is refused and read again later, unless the next window waits for
/// it: so one always gets complete, however far a partition is behind the others.
struct IngestAssembly: Sendable {
    private struct Held: Sendable {
        var final: FinalRecord
        var sequence: UInt64
        var timestampMs: Int64
        /// As it was on the bus.
        var bytes: Int
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
    private var revisionBytes = 0
    private var windowBytes = 0
    private var refused: RefusedFinals

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
        refused = RefusedFinals(windowsMax: waitingMax)
        fingerprint = fleet.fingerprint
    }

    var waitingCount: Int { waiting.count }
    /// Of finals that wait to be told, windows and revisions, as they were on the bus.
    var waitingBytes: Int { windowBytes + revisionBytes }
    /// Finals are to be read again from here, once there is room.
    var rereadFrom: UInt64? { refused.rereadFrom }

    /// Reading from here on misses nothing of what was read; `nil` when nothing waits.
    var firstWaiting: UInt64? {
        let kept = waiting.values.flatMap(\.values).map(\.sequence).min()
        guard let kept, let rereadFrom else { return kept ?? rereadFrom }
        return min(kept, rereadFrom)
    }

    mutating func add(_ message: StoredMessage) {
        let isNew = refused.see(message.sequence)
        guard let final = try? FinalRecord(decoding: message.bytes, limits), final.fleet == fingerprint,
            let ingest = final.ingest, Int(final.partition) < fleet.partitions
        else {
            if isNew { foreign += 1 }
            return
        }
        let partition = Int(final.partition)
        guard !refused.isTaken(message.sequence, of: partition) else { return }
        guard hasRoom(for: message.bytes.count, of: partition) else {
            return refused.refuse(message.sequence, of: partition, window: final.window)
        }
        refused.take(message.sequence, of: partition)
        if final.lacksGroups { lacksGroups += 1 } else if final.lacksSketches { lacksSketches += 1 }
        closed[partition] = max(closed[partition] ?? -1, ingest.closed)
        if final.window > reported ?? -1 {
            let held = Held(
                final: final, sequence: message.sequence, timestampMs: message.timestampMs,
                bytes: message.bytes.count)
            let before = waiting[final.window, default: [:]].updateValue(held, forKey: partition)
            windowBytes += held.bytes - (before?.bytes ?? 0)
        } else if told[final.window] != nil {
            revisions.append((final.window, partition, final))
            revisionBytes += message.bytes.count
        } else if ingest.revision > 0 {
            late += 1
        }
    }

    /// Within a partition's finals there is no gap: behind one that was refused all are.
    private func hasRoom(for bytes: Int, of partition: Int) -> Bool {
        if refused.has(partition) { return false }
        if waitingBytes + bytes <= limits.waitingFinalsBytesMax { return true }
        guard let next = waiting.keys.min() else { return true }
        return isAwaited(partition, next)
    }

    /// Whether this partition may still have something of a window.
    private func isAwaited(_ partition: Int, _ window: Int64) -> Bool { closed[partition] ?? -1 < window }

    /// Whoever reads again says so first. Only when it helps: once there is room for half of what may wait, or when the
    /// next window waits for what was refused.
    ///
    /// - Parameter isIdle: nothing is on its way that makes room.
    mutating func takeReread(isIdle: Bool) -> UInt64? {
        guard let from = refused.rereadFrom else { return nil }
        let isLow = waitingBytes <= limits.waitingFinalsBytesMax / 2
        guard isLow || isIdle && isRefusedAwaited else { return nil }
        refused.readAgain()
        return from
    }

    private var isRefusedAwaited: Bool {
        guard let next = waiting.keys.min() else { return true }
        return (0..<fleet.partitions).contains { refused.has($0) && isAwaited($0, next) }
    }

    /// The next window, once no partition can have it any more that has not.
    mutating func take() -> MergedWindow? {
        guard let window = waiting.keys.min() else { return nil }
        let awaited = (0..<fleet.partitions).filter { isAwaited($0, window) }
        guard awaited.isEmpty || isOverdue && !awaited.contains(where: refused.has) else { return nil }
        let finals = (waiting.removeValue(forKey: window) ?? [:]).sorted { $0.key < $1.key }
        windowBytes -= finals.reduce(0) { $0 + $1.value.bytes }
        refused.forget(through: window)
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

    /// More windows wait than may, those counted whose finals were refused.
    private var isOverdue: Bool {
        waiting.count + refused.windows.count { waiting[$0] == nil } > waitingMax
    }

    private func coverage(_ told: Told) -> Double {
        told.coverage.values.reduce(0, +) / Double(max(1, fleet.partitions))
    }

    /// What came since for windows that are told, in the order in which it came.
    mutating func takeRevisions() -> [MergedWindow] {
        defer {
            revisions = []
            revisionBytes = 0
        }
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
