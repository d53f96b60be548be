import Telemetry

/// What a roll-up does with the partials of one partition, whatever fleet they are of.
protocol PartitionMerge: Sendable {
    var closed: Int64 { get }
    var lastSequence: UInt64 { get }
    var counters: MergeCounters { get }
    var openWindows: Int { get }
    mutating func add(_ message: StoredMessage)
    /// Whether there is a final to write.
    func canClose(graceMs: Int64, isIdle: Bool) -> Bool
    mutating func nextFinal(writer: UInt64, lateSinceLast: UInt64) -> FinalRecord
    /// What is missing is not there because it cannot be stored now.
    mutating func waitAnew()
    /// A final is stored.
    ///
    /// - Parameter isOwn: it is what `nextFinal` said last.
    mutating func advance(by record: FinalRecord, isOwn: Bool)
}

extension WindowMerge: PartitionMerge {
    mutating func advance(by record: FinalRecord, isOwn: Bool) {
        advance(to: record.window, whole: record.whole)
    }
}

/// One partition's windows of telemetry that several workers ingest: open ones, and closed ones for as long as they are
/// revised.
///
/// Nobody knows beforehand who hears what. A worker (an origin) says with a mark that it has said everything of a
/// window; a window closes when all origins that were heard of late have, or after a grace. What an origin says of a
/// closed window, because it was away or something came late, makes the whole window anew: it is stored as a final of the
/// same window with the next revision.
struct OriginMerge: PartitionMerge {
    private struct Entry: Sendable {
        var shares: [WindowMerge.ShareKey: [UInt64: WindowMerge.Share]] = [:]
        var marks: [UInt64: OriginMark] = [:]
        /// Of the first message, and of the last that changed anything.
        var firstSequence: UInt64
        var lastSequence: UInt64 = 0
        /// `progressMs` at the first mark.
        var markedMs: Int64?
        /// Of a closed window: the first message that no final has yet.
        var changedSequence: UInt64?
        /// An origin has said that its share is whole: a final is due.
        var isDirty = false
        var revision: UInt32 = 0
    }

    /// An origin that says nothing for so long is not missed any more, by the windows' time.
    static let forgetMs: Int64 = 3_600_000
    /// Origins beyond are not heard.
    static let originsMax = 1_024
    /// A worker's clock may be so much ahead of the broker's.
    static let aheadMaxMs: Int64 = 300_000

    let fleet: FleetMap
    let partition: Int
    private let fingerprint: UInt64
    private let limits: ExchangeLimits
    /// Closed windows that are kept.
    private let keptMax: Int64
    private var entries: [Int64: Entry] = [:]
    private var origins: [UInt64: OriginState] = [:]
    /// `progressMs` when each origin was last heard.
    private var heardMs: [UInt64: Int64] = [:]
    private(set) var closed: Int64
    private(set) var lastSequence: UInt64
    /// Everything up to here is in finals already; it is only read again to know what windows were made of.
    private let consumed: UInt64
    /// What must be read first for that; `nil` when nothing must.
    private var mustBegin: UInt64?
    /// The brokers have let go of what closed windows were made of: those are not revised.
    private var isWhole = true
    private var toldSequence: UInt64 = 0
    private(set) var progressMs: Int64 = 0
    private var newestMs: Int64?
    private(set) var counters = MergeCounters()

    /// - Parameters:
    ///   - last: the partition's last final; `nil` before there is one.
    ///   - reviseMs: how long after a window others are still put into it; 0: never.
    init(
        fleet: FleetMap, partition: Int, last: FinalRecord?, reviseMs: Int64,
        limits: ExchangeLimits = ExchangeLimits()
    ) {
        self.fleet = fleet
        self.partition = partition
        self.limits = limits
        fingerprint = fleet.fingerprint
        keptMax = min(reviseMs / fleet.windowMs, Int64(limits.openWindowsMax))
        let ingest = last?.ingest
        closed = ingest?.closed ?? -1
        consumed = ingest?.consumed ?? 0
        let resume = last?.resumeSequence ?? 1
        lastSequence = max(1, resume) - 1
        mustBegin = ingest?.isExact == true ? resume : nil
        for origin in ingest?.origins ?? [] {
            origins[origin.origin] = origin
            heardMs[origin.origin] = 0
        }
    }

    var openWindows: Int { entries.keys.count { $0 > closed } }
    var keptWindows: Int { entries.count - openWindows }

    // MARK: What comes in

    mutating func add(_ message: StoredMessage) {
        if let first = mustBegin {
            mustBegin = nil
            isWhole = message.sequence == first
        }
        lastSequence = max(lastSequence, message.sequence)
        passTime(to: message.timestampMs)
        do {
            if OriginMark.isOne(message.bytes) {
                try add(OriginMark(decoding: message.bytes), message)
            } else {
                try add(PartialEnvelope(decoding: message.bytes, limits), message)
            }
        } catch {
            counters.malformed += 1
        }
    }

    private mutating func passTime(to timestampMs: Int64) {
        guard let newest = newestMs else {
            newestMs = timestampMs
            return
        }
        guard timestampMs > newest else { return }
        let (step, overflow) = timestampMs.subtractingReportingOverflow(newest)
        progressMs += overflow ? 0 : min(step, fleet.windowMs + 1_000)
        newestMs = timestampMs
    }

    /// Whether a window can take anything in: open, kept, or being read again.
    private func takes(_ window: Int64, _ sequence: UInt64) -> Bool {
        if window > closed || entries[window] != nil { return true }
        return sequence <= consumed && isWhole && window > closed - keptMax
    }

    /// Not of the future, by the broker's clock, and not of more open windows than there is room for: those that are
    /// beyond close first.
    private mutating func isInTime(_ window: Int64, _ message: StoredMessage) -> Bool {
        let isPast = fleet.windowEndMs(window) - message.timestampMs <= Self.aheadMaxMs
        let hasRoom =
            window <= closed || entries[window] != nil || entries.count < 4 * limits.openWindowsMax
        if !isPast || !hasRoom { counters.ahead += 1 }
        return isPast && hasRoom
    }

    private mutating func add(_ envelope: PartialEnvelope, _ message: StoredMessage) {
        guard envelope.fleet == fingerprint, Int(envelope.slice) < fleet.slices,
            fleet.partition(of: Int(envelope.slice)) == partition, envelope.origin != 0,
            Int64(envelope.windowLengthMs) == fleet.windowMs,
            let window = fleet.window(startingMs: envelope.windowStartMs), window < FleetMap.windowNumberMax
        else {
            counters.foreign += 1
            return
        }
        guard isInTime(window, message) else { return }
        guard takes(window, message.sequence) else {
            if message.sequence > consumed { counters.late += 1 }
            return
        }
        var entry = entries.removeValue(forKey: window) ?? Entry(firstSequence: message.sequence)
        let key = WindowMerge.ShareKey(slice: envelope.slice, origin: envelope.origin)
        let before = counters.merged
        WindowMerge.add(envelope, to: &entry.shares[key, default: [:]], &counters)
        if counters.merged > before { change(&entry, window, message.sequence) }
        entries[window] = entry
    }

    private mutating func add(_ mark: OriginMark, _ message: StoredMessage) {
        guard mark.fleet == fingerprint, Int(mark.partition) == partition, mark.origin != 0,
            origins[mark.origin] != nil || origins.count < Self.originsMax
        else {
            counters.foreign += 1
            return
        }
        guard isInTime(mark.window, message) else { return }
        hear(mark)
        guard takes(mark.window, message.sequence) else {
            if message.sequence > consumed { counters.late += 1 }
            return
        }
        var entry = entries.removeValue(forKey: mark.window) ?? Entry(firstSequence: message.sequence)
        defer { entries[mark.window] = entry }
        if let known = entry.marks[mark.origin], known.epoch >= mark.epoch {
            if known.epoch > mark.epoch { counters.stale += 1 } else { counters.duplicate += 1 }
        } else {
            entry.marks[mark.origin] = mark
            entry.markedMs = entry.markedMs ?? progressMs
            change(&entry, mark.window, message.sequence)
        }
        if mark.window <= closed, entry.changedSequence != nil { entry.isDirty = true }
    }

    private mutating func hear(_ mark: OriginMark) {
        var state =
            origins[mark.origin]
            ?? OriginState(
                origin: mark.origin, first: mark.window, progress: mark.window, weight: mark.weight)
        state.first = min(state.first, mark.window)
        state.progress = max(state.progress, mark.window)
        state.weight = mark.weight
        origins[mark.origin] = state
        heardMs[mark.origin] = progressMs
    }

    private func change(_ entry: inout Entry, _ window: Int64, _ sequence: UInt64) {
        entry.lastSequence = sequence
        if window <= closed, sequence > consumed { entry.changedSequence = entry.changedSequence ?? sequence }
    }

    /// A window that closes without somebody is revised by what he says later: it need not wait.
    mutating func waitAnew() {}

    // MARK: Closing

    /// The next window to close: one that any origin has marked. What nobody has is passed over.
    private var candidate: Int64? { entries.filter { $0.key > closed && !$0.value.marks.isEmpty }.keys.min() }
    private var dirty: Int64? { entries.filter { $0.key <= closed && $0.value.isDirty }.keys.min() }

    func canClose(graceMs: Int64, isIdle: Bool) -> Bool {
        if dirty != nil { return true }
        guard let window = candidate, let markedMs = entries[window]?.markedMs else { return false }
        let awaited = origins.values.contains { origin in
            origin.progress < window && isExpected(origin, window)
                && progressMs - (heardMs[origin.origin] ?? 0) < graceMs
        }
        return !awaited || isIdle || progressMs >= markedMs + graceMs || openWindows > limits.openWindowsMax
    }

    private func isExpected(_ origin: OriginState, _ window: Int64) -> Bool {
        origin.first <= window && (window - origin.progress) * fleet.windowMs <= Self.forgetMs
    }

    mutating func nextFinal(writer: UInt64, lateSinceLast: UInt64) -> FinalRecord {
        let isRevision = dirty != nil
        let window = dirty ?? candidate ?? closed + 1
        toldSequence = lastSequence
        let entry = entries[window] ?? Entry(firstSequence: lastSequence)
        let through = max(closed, window)
        let expected = origins.values.filter { isExpected($0, window) || entry.marks[$0.origin] != nil }
        let kept = entries.filter { $0.key > through - keptMax }.map(\.value.firstSequence).min()
        let open = entries.filter { $0.key != window }.compactMap(\.value.changedSequence).min()
        var record = FinalRecord(
            fleet: fingerprint, partition: partition, window: window, writer: writer,
            resumeSequence: kept ?? lastSequence + 1, slicesPresent: entry.marks.count,
            slicesExpected: expected.count, late: lateSinceLast, groups: groups(entry))
        record.ingest = IngestedFinal(
            closed: through, revision: isRevision ? entry.revision + 1 : 0,
            coverage: coverage(entry, expected), consumed: open.map { $0 - 1 } ?? lastSequence,
            isExact: kept != nil, origins: origins.values.sorted { $0.origin < $1.origin })
        return record
    }

    private func coverage(_ entry: Entry, _ expected: [OriginState]) -> Double {
        var (heard, all) = (0.0, 0.0)
        for origin in expected {
            let mark = entry.marks[origin.origin]
            let weight = Double(max(1, mark?.weight ?? origin.weight))
            all += weight
            heard += weight * (mark?.coverage ?? 0)
        }
        return all == 0 ? 1 : heard / all
    }

    private func groups(_ entry: Entry) -> [PartialGroup] {
        var sum = GroupSum()
        for key in entry.shares.keys.sorted() {
            guard let epochs = entry.shares[key], let best = WindowMerge.best(epochs), best.share.isComplete
            else { continue }
            for chunk in best.share.chunks.keys.sorted() {
                for group in best.share.chunks[chunk] ?? [] { sum.add(group, .otherOrigin) }
            }
        }
        return Self.limited(sum.sorted)
    }

    /// Of a rack's part that works for one job nobody says which GPUs those are, only of its nodes: never more than they
    /// have.
    private static func limited(_ groups: [PartialGroup]) -> [PartialGroup] {
        var inJob: [Substring: UInt32] = [:]
        for group in groups where group.key.level == .node {
            inJob[PlacedName.rack(of: group.key.name), default: 0] += group.gpus.inJob
        }
        return groups.map { group in
            guard group.key.level == .rack, !group.key.job.isEmpty,
                let most = inJob[PlacedName.rack(of: group.key.name)]
            else { return group }
            var limited = group
            limited.gpus.reporting = min(group.gpus.reporting, most)
            limited.gpus.inJob = min(group.gpus.inJob, most)
            return limited
        }
    }

    mutating func advance(by record: FinalRecord, isOwn: Bool) {
        guard let ingest = record.ingest else { return }
        let told = isOwn ? toldSequence : ingest.consumed
        let before = closed
        closed = max(closed, ingest.closed)
        if openWindows > limits.openWindowsMax { counters.forced += 1 }
        for (window, var entry) in entries
        where window == record.window || window > before && window <= closed {
            if window == record.window {
                entry.revision = max(entry.revision, ingest.revision)
                if ingest.revision > 0 { counters.revised += 1 }
            }
            // What came while the final was on its way is not in it.
            let isAfter = entry.lastSequence > told || window != record.window
            let first = window == record.window ? told + 1 : entry.firstSequence
            entry.changedSequence = isAfter ? first : nil
            entry.isDirty = isAfter && !entry.marks.isEmpty
            entries[window] = entry
        }
        let firstKept = closed - keptMax
        entries = entries.filter { $0.key > firstKept }
    }
}
