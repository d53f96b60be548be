public import Telemetry

/// What a roll-up tells of itself.
public struct RollupStatus: Sendable {
    public struct Partition: Sendable {
        public var partition: Int
        /// Number of the last closed window.
        public var closed: Int64
        public var open: Int
        public var merged: MergeCounters
    }
    public var partitions: [Partition] = []
    public var share = 0
    /// Finals that are ours.
    public var closed: UInt64 = 0
    /// Of those, with slices missing.
    public var incomplete: UInt64 = 0
    /// Finals of others that were in the place of ours.
    public var adopted: UInt64 = 0
    /// Finals whose acknowledgement was lost, and that were found when looking.
    public var recovered: UInt64 = 0
    /// Readings of the chain that went backwards.
    public var regressions: UInt64 = 0
    public var leaseLosses: UInt64 = 0
    /// Partitions whose finals wait because the stream has no room for them.
    public var full = 0
    /// Partials that were taken away, being in finals.
    public var trimmed: UInt64 = 0
    /// Partitions that nobody had for longer than the brokers keep partials.
    public var lapses: UInt64 = 0
    public var problem: String?
    public init() {}
}

/// A roll-up: holds leases of partitions, merges their partials, and closes windows one after the other.
///
/// The lease only keeps two from doing the same work. What makes a window close once is that each final is stored only
/// behind the one that its writer knows.
public struct RollupMachine: NodeMachine {
    public let fleet: FleetMap
    private let graceMs: Int64
    private let reviseMs: Int64
    private var limits: ExchangeLimits
    private let fingerprint: UInt64
    private var keeper: LeaseKeeper
    private var tokens = TokenSource()
    private var work: [Int: PartitionWork] = [:]
    private var purposes: [UInt64: Int] = [:]
    private var cursors: [UInt64: Int] = [:]
    private var counters = RollupStatus()
    private var lastTickMs: Int64?
    private var trims: [UInt64: Int] = [:]
    private let clock: WallClock?
    /// What of ingested telemetry may be lost, in words, and until when it is told.
    private var lapse: (text: String, untilMs: Int64)?
    /// Why the brokers do not let it take anything away, and when they are asked again.
    private var trimProblem: String?
    private var trimsAgainMs = Int64.min
    /// Somebody has partials for which the brokers have no room: what is missing is no reason to close without it.
    private var isHeld = false

    /// - Parameter graceMs: how long a window waits for slices that are missing; twice a window's length at least.
    ///   15,000 for three brokers.
    /// - Parameter reviseMs: how long closed windows of ingested telemetry are revised; less than the brokers keep
    ///   partials.
    /// - Parameter clock: to know for how long nobody has closed windows, by the time of the brokers.
    public init(
        name: String, incarnation: UInt64, fleet: FleetMap, leaseMs: Int64, graceMs: Int64,
        reviseMs: Int64 = 0, clock: WallClock? = nil,
        limits: ExchangeLimits = ExchangeLimits()
    ) {
        self.fleet = fleet
        self.clock = clock
        self.graceMs = max(graceMs, 2 * fleet.windowMs)
        self.reviseMs = reviseMs
        self.limits = limits
        fingerprint = fleet.fingerprint
        keeper = LeaseKeeper(
            role: fleet.rollupRole, name: name, incarnation: incarnation, fleet: fleet, leaseMs: leaseMs,
            count: fleet.partitions, leaseWord: fleet.partitionWord,
            leaseSubject: { fleet.partitionLease($0) })
    }

    /// Whether windows wait beyond the grace for slices that are missing: those who have them say that they wait for room.
    public mutating func hold(_ isHeld: Bool) { self.isHeld = isHeld }

    public mutating func drain() { keeper.isDraining = true }
    public mutating func resume() { keeper.isDraining = false }
    /// How long the brokers keep partials from now on: somebody may change that.
    public mutating func keep(partialsMs: Int64) { limits.partialsKeepMs = partialsMs }

    public func status(nowMs: Int64) -> RollupStatus {
        var status = counters
        status.share = keeper.share(nowMs: nowMs)
        status.partitions = work.keys.sorted().compactMap { partition in
            work[partition]?.merge.map {
                .init(partition: partition, closed: $0.closed, open: $0.openWindows, merged: $0.counters)
            }
        }
        status.leaseLosses = keeper.leases.reduce(0) { $0 + $1.losses }
        status.full = work.values.count { $0.fullUntilMs != nil }
        status.problem =
            status.full > 0
            ? BusStream.finals.fullWords
            : keeper.problem ?? counters.problem ?? lapse.flatMap { nowMs < $0.untilMs ? $0.text : nil }
                ?? trimProblem
        return status
    }

    public mutating func handle(_ input: NodeInput, nowMs: Int64) -> [NodeAction] {
        var actions: [NodeAction] = []
        if !keeper.handle(input, nowMs: nowMs) {
            switch input {
            case .tick:
                actions = keeper.tick(nowMs: nowMs, &tokens)
                countIdle(nowMs)
            case .published(let token, let result): published(token, result, nowMs)
            case .read(let token, let result): wasRead(token, result, nowMs)
            case .delivered(let cursor, let delivery): delivered(cursor, delivery)
            }
        }
        actions += followLeases()
        for partition in work.keys.sorted() { actions += proceed(partition, nowMs, input.isTick) }
        return actions
    }

    /// Adds up for how long nothing has come while the broker answered: a pause of our own or of the broker is none.
    private mutating func countIdle(_ nowMs: Int64) {
        let step = min(nowMs - (lastTickMs ?? nowMs), 500)
        lastTickMs = nowMs
        for partition in work.keys {
            let answers = !isHeld && keeper.failures == 0 && keeper.leases[partition].mayAct(nowMs: nowMs)
            let idle = work[partition]?.idleMs ?? 0
            work[partition]?.idleMs = answers ? idle + step : 0
        }
    }

    private mutating func followLeases() -> [NodeAction] {
        var actions: [NodeAction] = []
        for (partition, known) in work where keeper.leases[partition].epoch != known.epoch {
            if let cursor = known.cursor {
                cursors[cursor] = nil
                actions.append(.close(cursor: cursor))
            }
            work[partition] = nil
        }
        for partition in keeper.leases.indices where work[partition] == nil {
            if let epoch = keeper.leases[partition].epoch { work[partition] = PartitionWork(epoch: epoch) }
        }
        return actions
    }

    private mutating func proceed(_ partition: Int, _ nowMs: Int64, _ isTick: Bool) -> [NodeAction] {
        // Also while something is under way: what came meanwhile is no reason to close either.
        if isHeld { work[partition]?.merge?.waitAnew() }
        guard var mine = work[partition], !mine.isReading, mine.closing == nil else { return [] }
        defer { work[partition] = mine }
        if mine.mustRead {
            guard isTick || !mine.waitsForTick, nowMs >= mine.fullUntilMs ?? nowMs else { return [] }
            mine.mustRead = false
            mine.waitsForTick = false
            mine.isReading = true
            mine.readMs = nowMs
            return [.read(.finals, fleet.finalSubject(partition), token: token(partition, &mine))]
        }
        guard let merge = mine.merge else { return [] }
        var actions: [NodeAction] = []
        if mine.cursor == nil, isTick {
            let cursor = tokens.next()
            cursors[cursor] = partition
            mine.cursor = cursor
            actions.append(
                .open(
                    .partials, fleet.partialSubjects(in: partition), .sequence(merge.lastSequence + 1),
                    cursor: cursor))
        }
        if isTick, let action = trim(partition, nowMs, &mine) { actions.append(action) }
        let isIdle = !isHeld && mine.idleMs >= graceMs
        guard mine.mayWrite, keeper.leases[partition].mayAct(nowMs: nowMs),
            merge.canClose(graceMs: graceMs, isIdle: isIdle)
        else {
            // What was read may have been old: the partials of what was closed since are not there any more.
            mine.mustRead = merge.openWindows > 0 && nowMs - mine.readMs >= limits.rereadMs
            return actions
        }
        guard
            let record = mine.merge?.nextFinal(
                writer: keeper.incarnation, lateSinceLast: merge.counters.late - mine.lateTold)
        else { return actions }
        mine.closing = PartitionWork.Closing(record: record, late: merge.counters.late)
        let message = BusMessage(
            stream: .finals, subject: fleet.finalSubject(partition), bytes: record.encoded(limits))
        actions.append(.publish(message, .lastSequence(mine.finalSequence), token: token(partition, &mine)))
        return actions
    }

    /// What is in finals, and is not read again by whoever takes over, gives its room to others.
    private mutating func trim(_ partition: Int, _ nowMs: Int64, _ mine: inout PartitionWork) -> NodeAction? {
        guard mine.resumeSequence > mine.trimmedSequence, nowMs >= mine.trimsMs, nowMs >= trimsAgainMs,
            keeper.leases[partition].mayAct(nowMs: nowMs)
        else { return nil }
        // Where they refused, one partition asks for all.
        if trimProblem != nil { trimsAgainMs = nowMs + limits.trimRetryMs }
        mine.trimsMs = nowMs + limits.trimEveryMs
        mine.trimmedSequence = mine.resumeSequence
        let token = tokens.next()
        trims[token] = partition
        return .trim(
            .partials, fleet.partialSubjects(in: partition), before: mine.resumeSequence, token: token)
    }

    private mutating func trimmed(_ partition: Int, _ result: Result<UInt64, BusError>, _ nowMs: Int64) {
        switch result {
        case .success(let count):
            counters.trimmed += count
            trimProblem = nil
            trimsAgainMs = .min
            return
        case .failure(.denied):
            trimProblem =
                "the brokers keep partials that are in finals, because they do not let this roll-up take them away: give it "
                + "$JS.API.STREAM.PURGE.CLSD_PART_\(fleet.cluster), as in Deploy/nats"
            trimsAgainMs = nowMs + limits.trimRetryMs
        case .failure(.failed(let text)):
            trimProblem =
                "the brokers keep partials that are in finals, because they cannot take them away: \(text)"
            trimsAgainMs = nowMs + limits.trimRetryMs
        case .failure: break
        }
        work[partition]?.trimmedSequence = 0
    }

    private mutating func token(_ partition: Int, _ mine: inout PartitionWork) -> UInt64 {
        let token = tokens.next()
        purposes[token] = partition
        mine.token = token
        return token
    }

    private mutating func published(
        _ token: UInt64, _ result: Result<UInt64, BusError>, _ nowMs: Int64
    ) {
        if let partition = trims.removeValue(forKey: token) { return trimmed(partition, result, nowMs) }
        if result != .failure(.full) { keeper.note(result) }
        guard let partition = purposes.removeValue(forKey: token), work[partition]?.token == token,
            let closing = work[partition]?.closing
        else { return }
        work[partition]?.closing = nil
        switch result {
        case .success(let sequence): closed(partition, closing, sequence)
        case .failure(.full):
            work[partition]?.fullUntilMs = nowMs + limits.fullRetryMs
            work[partition]?.mustRead = true
            work[partition]?.mayWrite = false
        case .failure(.denied), .failure(.failed), .failure(.unavailable):
            work[partition]?.mustRead = true
            work[partition]?.mayWrite = false
        case .failure(.conflict), .failure(.ambiguous):
            work[partition]?.lost = closing
            work[partition]?.mustRead = true
            work[partition]?.mayWrite = false
        }
    }

    private mutating func closed(_ partition: Int, _ closing: PartitionWork.Closing, _ sequence: UInt64) {
        counters.closed += 1
        if closing.record.slicesPresent < closing.record.slicesExpected { counters.incomplete += 1 }
        work[partition]?.closed(closing, sequence)
    }

    /// Somebody has the partition again: is all there that was said meanwhile?
    private mutating func lookBack(_ partition: Int, _ last: StoredMessage?, _ nowMs: Int64) {
        guard fleet.isIngested, limits.partialsKeepMs > 0, let last, last.timestampMs > 0, let clock else {
            // What is simulated is published again by the workers.
            return
        }
        // Where nothing was heard nothing was closed, and somebody had it nevertheless.
        let awayMs = clock.nowMs() - max(last.timestampMs, keeper.leases[partition].formerMs ?? .min)
        guard awayMs > limits.partialsKeepMs else { return }
        counters.lapses += 1
        lapse = (
            "no roll-up has had partition \(partition) for \(awayMs / 1_000) s, and the brokers keep partials "
                + "for \(limits.partialsKeepMs / 1_000) s (cluster.partials_keep): what was ingested in the first "
                + "\((awayMs - limits.partialsKeepMs) / 1_000) s of that is lost, if anything was",
            nowMs + Self.lapseToldMs
        )
    }

    /// For an hour.
    private static let lapseToldMs: Int64 = 3_600_000

    private mutating func wasRead(
        _ token: UInt64, _ result: Result<StoredMessage?, BusError>, _ nowMs: Int64
    ) {
        keeper.note(result)
        guard let partition = purposes.removeValue(forKey: token), var mine = work[partition],
            mine.token == token
        else { return }
        defer { work[partition] = mine }
        mine.isReading = false
        mine.mustRead = true
        // A broker that refuses at once must not be asked without end.
        mine.waitsForTick = true
        guard case .success(let message) = result else { return }
        var last: FinalRecord?
        if let message {
            last = try? FinalRecord(decoding: message.bytes, limits)
            guard let last, last.fleet == fingerprint, Int(last.partition) == partition else {
                counters.problem = "the last final of partition \(partition) is not of this fleet"
                return
            }
        }
        counters.problem = nil
        let sequence = message?.sequence ?? 0
        if message == nil {
            // Nobody has closed anything for longer than the brokers keep finals. Where this was an old copy's answer, they
            // refuse what is stored behind nothing.
            mine.finalSequence = 0
        }
        guard sequence >= mine.finalSequence else {
            counters.regressions += 1
            return
        }
        mine.mustRead = false
        mine.mayWrite = true
        if mine.merge == nil { lookBack(partition, message, nowMs) }
        adopt(last, sequence, partition, &mine)
    }

    private mutating func adopt(
        _ last: FinalRecord?, _ sequence: UInt64, _ partition: Int, _ mine: inout PartitionWork
    ) {
        defer { mine.lost = nil }
        guard mine.merge != nil else {
            mine.finalSequence = sequence
            mine.merge = merge(partition, last)
            mine.resumeSequence = last?.resumeSequence ?? 0
            return
        }
        guard sequence > mine.finalSequence, let last else { return }
        if let lost = mine.lost, lost.record.window == last.window,
            lost.record.ingest?.revision == last.ingest?.revision, last.writer == keeper.incarnation
        {
            counters.recovered += 1
            mine.closed(lost, sequence)
            counters.closed += 1
            if last.slicesPresent < last.slicesExpected { counters.incomplete += 1 }
        } else {
            counters.adopted += 1
            mine.finalSequence = sequence
            mine.fullUntilMs = nil
            mine.resumeSequence = max(mine.resumeSequence, last.resumeSequence)
            mine.merge?.advance(by: last, isOwn: false)
        }
    }

    private func merge(_ partition: Int, _ last: FinalRecord?) -> any PartitionMerge {
        if fleet.isIngested {
            return OriginMerge(
                fleet: fleet, partition: partition, last: last, reviseMs: reviseMs, limits: limits)
        }
        return WindowMerge(
            fleet: fleet, partition: partition, closed: last?.window ?? -1, whole: last?.whole ?? 0,
            resumeSequence: last?.resumeSequence ?? 1, limits: limits)
    }

    private mutating func delivered(_ cursor: UInt64, _ delivery: BusDelivery) {
        guard let partition = cursors[cursor], work[partition]?.cursor == cursor else { return }
        switch delivery {
        case .messages(let messages):
            work[partition]?.idleMs = 0
            for message in messages { work[partition]?.merge?.add(message) }
        case .ended:
            cursors[cursor] = nil
            work[partition]?.cursor = nil
        }
    }
}

/// What a roll-up knows of one partition that it holds.
struct PartitionWork: Sendable {
    struct Closing {
        var record: FinalRecord
        var late: UInt64
    }

    var epoch: UInt64
    var merge: (any PartitionMerge)?
    /// Of the last final that is known: what the next one is stored behind.
    var finalSequence: UInt64 = 0
    var cursor: UInt64?
    /// The request under way; an answer to another one is not for this holding of the lease.
    var token: UInt64?
    var closing: Closing?
    /// A closing of which nobody knows whether it is stored.
    var lost: Closing?
    var mustRead = true
    var waitsForTick = true
    var isReading = false
    var mayWrite = false
    var idleMs: Int64 = 0
    var lateTold: UInt64 = 0
    /// When the last final was asked for.
    var readMs: Int64 = 0
    /// The stream had no room for a final: it is asked again then.
    var fullUntilMs: Int64?
    /// Of the last final that is known: what is before it is not read again.
    var resumeSequence: UInt64 = 0
    var trimmedSequence: UInt64 = 0
    var trimsMs: Int64 = 0

    init(epoch: UInt64) { self.epoch = epoch }

    mutating func closed(_ closing: Closing, _ sequence: UInt64) {
        finalSequence = sequence
        fullUntilMs = nil
        resumeSequence = max(resumeSequence, closing.record.resumeSequence)
        lateTold = closing.late
        merge?.advance(by: closing.record, isOwn: true)
    }
}
