/// What became of partials that came.
public struct MergeCounters: Sendable, Equatable {
    public var merged: UInt64 = 0
    /// The same chunk again.
    public var duplicate: UInt64 = 0
    /// Of a lease that its origin has renewed by another since: a zombie's.
    public var stale: UInt64 = 0
    /// After its window was closed, and not a copy of one that is in it.
    public var late: UInt64 = 0
    /// After its window was closed; what it says is in it.
    public var settled: UInt64 = 0
    /// Not readable.
    public var malformed: UInt64 = 0
    /// Of another fleet map, of a slice elsewhere, of a window that is none, or with another number of chunks.
    public var foreign: UInt64 = 0
    /// Windows that closed early because too many waited.
    public var forced: UInt64 = 0

    /// Of a window that has not ended yet by the broker's clock, or of more windows than are kept open; of ingested
    /// telemetry.
    public var ahead: UInt64 = 0

    /// Closed windows that were stored once more, of ingested telemetry.
    public var revised: UInt64 = 0

    public init() {}
}

/// One partition's open windows: takes partials in any order and any number of times, and says which window may close.
///
/// Exact because nothing is added up before the window closes: until then there is one set of chunks for each slice,
/// origin and epoch, and a set that comes again replaces itself.
public struct WindowMerge: Sendable {
    struct Share: Sendable {
        var chunks: [UInt16: [PartialGroup]] = [:]
        var chunkCount: UInt16
        var lacksStart: Bool
        var lacksEnd: Bool
        var isComplete: Bool { chunks.count == Int(chunkCount) }
    }

    struct ShareKey: Hashable, Comparable {
        var slice: UInt32
        var origin: UInt64
        static func < (left: Self, right: Self) -> Bool {
            left.slice == right.slice ? left.origin < right.origin : left.slice < right.slice
        }
    }

    private struct OpenWindow: Sendable {
        /// By epoch; an older one stays until a newer one is complete.
        var shares: [ShareKey: [UInt64: Share]] = [:]
        var firstSequence: UInt64
        /// `progressMs` when the first of it came.
        var firstMs: Int64
    }

    public let fleet: FleetMap
    public let partition: Int
    private let fingerprint: UInt64
    private let limits: ExchangeLimits
    private var open: [Int64: OpenWindow] = [:]
    /// What is in windows that were closed of late: the epoch of each share.
    private var settled: [Int64: [ShareKey: UInt64]] = [:]
    /// Number of the last closed window; -1 before the first.
    public private(set) var closed: Int64
    /// See `FinalRecord.whole`, for the last closed window.
    private var whole: UInt64
    /// Of the last message that came.
    public private(set) var lastSequence: UInt64
    /// How much of the broker's time has passed between the messages that came, without stretches in which the broker
    /// itself stood still. The only clock that windows close by: a second reading closes them alike.
    public private(set) var progressMs: Int64 = 0
    private var newestMs: Int64?
    public private(set) var counters = MergeCounters()

    /// - Parameters:
    ///   - closed: the last window that is closed already.
    ///   - whole: of its final.
    ///   - resumeSequence: messages before it are not needed any more.
    public init(
        fleet: FleetMap, partition: Int, closed: Int64, whole: UInt64 = 0, resumeSequence: UInt64,
        limits: ExchangeLimits = ExchangeLimits()
    ) {
        self.fleet = fleet
        self.partition = partition
        self.limits = limits
        self.closed = closed
        self.whole = whole
        fingerprint = fleet.fingerprint
        lastSequence = resumeSequence > 0 ? resumeSequence - 1 : 0
    }

    public var openWindows: Int { open.count }

    public mutating func add(_ message: StoredMessage) {
        lastSequence = max(lastSequence, message.sequence)
        passTime(to: message.timestampMs)
        let envelope: PartialEnvelope
        do {
            envelope = try PartialEnvelope(decoding: message.bytes, limits)
        } catch {
            counters.malformed += 1
            return
        }
        guard envelope.fleet == fingerprint, Int(envelope.slice) < fleet.slices,
            fleet.partition(of: Int(envelope.slice)) == partition,
            Int64(envelope.windowLengthMs) == fleet.windowMs,
            let window = fleet.window(startingMs: envelope.windowStartMs)
        else {
            counters.foreign += 1
            return
        }
        add(envelope, window, message)
    }

    /// Workers send something for every window: when nothing was stored for longer, it was the broker that paused, and
    /// what they could not deliver is still to come.
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

    private mutating func add(_ envelope: PartialEnvelope, _ window: Int64, _ message: StoredMessage) {
        let key = ShareKey(slice: envelope.slice, origin: envelope.origin)
        guard window > closed else {
            let known = settled[window]?[key].map { $0 >= envelope.epoch || envelope.origin == 0 } ?? false
            // Any worker computes such a share alike, and it is in a window that has all slices.
            let isCopy =
                envelope.origin == 0 && closed - window < 64 && whole >> UInt64(closed - window) & 1 == 1
            if known || isCopy {
                counters.settled += 1
            } else {
                counters.late += 1
            }
            return
        }
        var entry =
            open[window]
            ?? OpenWindow(firstSequence: message.sequence, firstMs: progressMs)
        entry.firstSequence = min(entry.firstSequence, message.sequence)
        Self.add(envelope, to: &entry.shares[key, default: [:]], &counters)
        open[window] = entry
    }

    static func add(
        _ envelope: PartialEnvelope, to shares: inout [UInt64: Share], _ counters: inout MergeCounters
    ) {
        if shares.contains(where: { $0.key > envelope.epoch && $0.value.isComplete }) {
            counters.stale += 1
            return
        }
        var share =
            shares[envelope.epoch]
            ?? Share(
                chunkCount: envelope.chunks, lacksStart: envelope.lacksStart, lacksEnd: envelope.lacksEnd)
        guard share.chunkCount == envelope.chunks else {
            counters.foreign += 1
            return
        }
        guard share.chunks[envelope.chunk] == nil else {
            counters.duplicate += 1
            return
        }
        share.chunks[envelope.chunk] = envelope.groups
        counters.merged += 1
        shares[envelope.epoch] = share
        if share.isComplete { shares = shares.filter { $0.key >= envelope.epoch } }
    }

    /// Whether the window after the last closed one may close.
    ///
    /// It may when every slice has a complete share of it, or when `graceMs` of the broker's time have passed since the
    /// first partial of it or of a later window: by then it is over, however fast the windows' own clock runs.
    ///
    /// - Parameter isIdle: nothing has come for the grace by the reader's own clock, so that the broker's stands still.
    public func canClose(graceMs: Int64, isIdle: Bool) -> Bool {
        guard let evidence = open.values.map(\.firstMs).min() else { return false }
        if let entry = open[closed + 1], presentSlices(entry) == fleet.slices(in: partition) { return true }
        if open.count > limits.openWindowsMax || isIdle { return true }
        return progressMs >= evidence + graceMs
    }

    /// The next window to close.
    ///
    /// Where no final is known, the brokers may have let go of all of them: then it is the first window of which anything is
    /// there, and not window 0 and all after it, with nothing in them. Workers publish again what nobody has reported.
    private var next: Int64 { closed < 0 && open[0] == nil ? open.keys.min() ?? 0 : closed + 1 }

    /// The grace begins anew for all windows that are open.
    public mutating func waitAnew() {
        for window in open.keys { open[window]?.firstMs = progressMs }
    }

    private func presentSlices(_ entry: OpenWindow) -> Int {
        var started = Set<UInt32>()
        var ended = Set<UInt32>()
        for (key, epochs) in entry.shares {
            guard let best = Self.best(epochs), best.share.isComplete else { continue }
            if !best.share.lacksStart { started.insert(key.slice) }
            if !best.share.lacksEnd { ended.insert(key.slice) }
        }
        return started.intersection(ended).count
    }

    /// The highest epoch that is complete, else the one with most chunks.
    static func best(_ epochs: [UInt64: Share]) -> (epoch: UInt64, share: Share)? {
        let complete = epochs.filter { $0.value.isComplete }
        if let newest = complete.max(by: { $0.key < $1.key }) { return (newest.key, newest.value) }
        let fullest = epochs.max { left, right in
            (left.value.chunks.count, left.key) < (right.value.chunks.count, right.key)
        }
        return fullest.map { ($0.key, $0.value) }
    }

    /// The next window's record, without closing it: `advance` does, once the record is stored.
    public func nextFinal(writer: UInt64, lateSinceLast: UInt64) -> FinalRecord {
        let window = next
        var sum = GroupSum()
        var present = 0
        if let entry = open[window] {
            present = presentSlices(entry)
            for slice in Set(entry.shares.keys.map(\.slice)).sorted() {
                for group in sliceGroups(entry, slice) { sum.add(group, .otherGPUs) }
            }
        }
        let later = open.filter { $0.key > window }.map(\.value.firstSequence).min()
        return FinalRecord(
            fleet: fingerprint, partition: partition, window: window, writer: writer,
            resumeSequence: later ?? lastSequence + 1, slicesPresent: present,
            slicesExpected: fleet.slices(in: partition), late: lateSinceLast,
            whole: whole << 1 | (present == fleet.slices(in: partition) ? 1 : 0), groups: sum.sorted)
    }

    private func sliceGroups(_ entry: OpenWindow, _ slice: UInt32) -> [PartialGroup] {
        var sum = GroupSum()
        for key in entry.shares.keys.filter({ $0.slice == slice }).sorted() {
            guard let epochs = entry.shares[key], let best = Self.best(epochs) else { continue }
            for chunk in best.share.chunks.keys.sorted() {
                for group in best.share.chunks[chunk] ?? [] { sum.add(group, .sameGPUs) }
            }
        }
        return sum.sorted
    }

    /// Everything up to this window is closed now, by us or by somebody else.
    ///
    /// - Parameter whole: of its final.
    public mutating func advance(to window: Int64, whole: UInt64 = 0) {
        guard window > closed else { return }
        self.whole = whole
        if open.count > limits.openWindowsMax { counters.forced += 1 }
        for (number, entry) in open where number <= window {
            settled[number] = entry.shares.compactMapValues { epochs in
                epochs.filter { $0.value.isComplete }.keys.max()
            }
            open[number] = nil
        }
        closed = window
        settled = settled.filter { $0.key > window - Int64(limits.settledWindowsMax) }
    }
}
