/// Where a worker's partials come from.
public protocol PartialSource: Sendable {
    /// The last window of a slice that is over, by its number; nothing later is asked for.
    func lastReadyWindow(slice: Int) -> Int64
    /// The first window that there still is something of; those before are closed, and are not asked for either.
    func firstKeptWindow() -> Int64
    /// A slice's share of a window. The same each time it is asked.
    func groups(slice: Int, window: Int64) -> [PartialGroup]
    /// From now on these slices are asked for, and no others.
    func hold(_ slices: Set<Int>)
}

extension PartialSource {
    public func firstKeptWindow() -> Int64 { 0 }
    public func hold(_ slices: Set<Int>) {}
}

/// What a worker tells of itself.
public struct WorkerStatus: Sendable {
    public var slices: [Int] = []
    /// Of the leases, in the order of `slices`.
    public var epochs: [UInt64] = []
    /// How long ago the lease was confirmed of which that is longest ago; milliseconds.
    public var leaseAgeMs: Int64 = 0
    /// Leases that were taken so far.
    public var acquisitions: UInt64 = 0
    public var isDraining = false
    public var share = 0
    public var published: UInt64 = 0
    /// Chunks that were sent again, because nobody knew what had become of them.
    public var retried: UInt64 = 0
    public var failed: [BusError: UInt64] = [:]
    /// How often publishing waited because a lease was not confirmed of late.
    public var fenced: UInt64 = 0
    public var inFlight = 0
    /// Slices whose partials wait because the stream has no room for them.
    public var full = 0
    /// Windows that were published once more, because no final had them before the brokers would let go of them.
    public var repeated: UInt64 = 0
    public var leaseLosses: UInt64 = 0
    public var leaseRegressions: UInt64 = 0
    public var problem: String?
    public init() {}
}

/// A worker: holds leases of slices and publishes their partials, each until it is known to be stored.
public struct WorkerMachine: NodeMachine {
    private struct Chunk {
        var slice: Int
        var epoch: UInt64
        var window: Int64
        var message: BusMessage
    }

    private struct SliceWork {
        var epoch: UInt64
        /// The next window to publish; `nil` until the last final is known.
        var next: Int64?
        var isReading = false
        /// Chunks of a window that are not stored yet.
        var windows: [Int64: Int] = [:]
        /// When all of a window was stored that is in no final yet.
        var storedMs: [Int64: Int64] = [:]
        var retry: [Chunk] = []
        /// The stream had no room: nothing is sent before, and then one chunk, to see.
        var fullUntilMs: Int64?
    }

    public let fleet: FleetMap
    private let source: any PartialSource
    private var limits: ExchangeLimits
    private let fingerprint: UInt64
    private var keeper: LeaseKeeper
    private var tokens = TokenSource()
    private var work: [Int: SliceWork] = [:]
    /// Slices that the source was told of.
    private var held: Set<Int> = []
    private var inFlight: [UInt64: Chunk] = [:]
    private var reading: [UInt64: Int] = [:]
    private var counters = WorkerStatus()

    /// - Parameters:
    ///   - name: of the worker; letters, digits, `-`, `_`.
    ///   - incarnation: random, not 0: another at each start.
    ///   - leaseMs: 1,000 or more; 10,000 for three brokers, whose elections take up to 9 s.
    public init(
        name: String, incarnation: UInt64, fleet: FleetMap, leaseMs: Int64, source: any PartialSource,
        limits: ExchangeLimits = ExchangeLimits()
    ) {
        self.fleet = fleet
        self.source = source
        self.limits = limits
        fingerprint = fleet.fingerprint
        keeper = LeaseKeeper(
            role: "worker", name: name, incarnation: incarnation, fleet: fleet, leaseMs: leaseMs,
            count: fleet.slices, leaseWord: "slice", leaseSubject: { fleet.sliceLease($0) })
    }

    /// Gives all slices away, and takes no more.
    public mutating func drain() { keeper.isDraining = true }
    public mutating func resume() { keeper.isDraining = false }
    /// How long the brokers keep partials from now on: somebody may change that.
    public mutating func keep(partialsMs: Int64) { limits.partialsKeepMs = partialsMs }

    public func status(nowMs: Int64) -> WorkerStatus {
        var status = counters
        status.slices = keeper.leases.indices.filter { keeper.leases[$0].epoch != nil }
        status.epochs = status.slices.map { keeper.leases[$0].epoch ?? 0 }
        status.leaseAgeMs = keeper.leases.compactMap { $0.ageMs(nowMs: nowMs) }.max() ?? 0
        status.acquisitions = keeper.leases.reduce(0) { $0 + $1.acquisitions }
        status.isDraining = keeper.isDraining
        status.share = keeper.share(nowMs: nowMs)
        status.inFlight = inFlight.count
        status.leaseLosses = keeper.leases.reduce(0) { $0 + $1.losses }
        status.leaseRegressions = keeper.leases.reduce(0) { $0 + $1.regressions }
        status.full = work.values.count { $0.fullUntilMs != nil }
        status.problem = status.full > 0 ? BusStream.partials.fullWords : keeper.problem
        return status
    }

    public mutating func handle(_ input: NodeInput, nowMs: Int64) -> [NodeAction] {
        if !keeper.handle(input, nowMs: nowMs) {
            switch input {
            case .published(let token, let result): published(token, result, nowMs)
            case .read(let token, let result): wasRead(token, result)
            case .tick, .delivered: break
            }
        }
        var actions: [NodeAction] = []
        if case .tick = input { actions = keeper.tick(nowMs: nowMs, &tokens) }
        followLeases()
        for slice in work.keys.sorted() { actions += proceed(slice, nowMs, isTick: input.isTick) }
        return actions
    }

    private mutating func followLeases() {
        for (slice, known) in work where keeper.leases[slice].epoch != known.epoch {
            work[slice] = nil
            // What is on its way may arrive: its epoch is older than that of whoever comes next.
            inFlight = inFlight.filter { $0.value.slice != slice }
        }
        for slice in keeper.leases.indices where work[slice] == nil {
            if let epoch = keeper.leases[slice].epoch { work[slice] = SliceWork(epoch: epoch) }
        }
        let slices = Set(work.keys)
        guard slices != held else { return }
        held = slices
        source.hold(slices)
    }

    private mutating func proceed(_ slice: Int, _ nowMs: Int64, isTick: Bool) -> [NodeAction] {
        guard var mine = work[slice] else { return [] }
        defer { work[slice] = mine }
        guard var next = mine.next else {
            guard isTick, !mine.isReading else { return [] }
            mine.isReading = true
            let token = tokens.next()
            reading[token] = slice
            let subject = fleet.finalSubject(fleet.partition(of: slice))
            return [.read(.finals, subject, token: token)]
        }
        let ready = source.lastReadyWindow(slice: slice)
        let kept = source.firstKeptWindow()
        next = max(next, kept)
        if isTick { forget(before: kept, &mine) }
        let isOld = isTick && hasOld(mine, through: ready, nowMs)
        guard next <= ready || !mine.retry.isEmpty || isOld else { return [] }
        guard keeper.leases[slice].mayAct(nowMs: nowMs) else {
            if isTick { counters.fenced += 1 }
            return []
        }
        if let untilMs = mine.fullUntilMs {
            guard isTick, nowMs >= untilMs, !mine.retry.isEmpty else { return [] }
            mine.fullUntilMs = nowMs + limits.fullRetryMs
            counters.retried += 1
            return [send(mine.retry.removeFirst())]
        }
        var actions: [NodeAction] = []
        if isTick {
            for chunk in mine.retry { actions.append(send(chunk)) }
            counters.retried += UInt64(mine.retry.count)
            mine.retry = []
        }
        if isOld { actions += repeatOldest(slice, through: ready, nowMs, &mine) }
        while next <= ready, mine.windows.count < limits.windowsInFlightMax,
            inFlight.count < limits.inFlightMax
        {
            let chunks = chunks(slice, mine.epoch, next)
            mine.windows[next] = chunks.count
            for chunk in chunks { actions.append(send(chunk)) }
            next += 1
        }
        mine.next = next
        return actions
    }

    private func hasOld(_ mine: SliceWork, through ready: Int64, _ nowMs: Int64) -> Bool {
        guard limits.partialsKeepMs > 0, let oldest = Self.oldest(mine, through: ready) else { return false }
        return nowMs - oldest.value >= limits.partialsKeepMs / 2
    }

    /// The source may be working a window out once more.
    private static func oldest(_ mine: SliceWork, through ready: Int64) -> (key: Int64, value: Int64)? {
        mine.storedMs.filter { $0.key <= ready }.min { ($0.value, $0.key) < ($1.value, $1.key) }
    }

    /// Nobody closes windows; the brokers must have them all the same when somebody does. A window on a tick.
    private mutating func repeatOldest(
        _ slice: Int, through ready: Int64, _ nowMs: Int64, _ mine: inout SliceWork
    ) -> [NodeAction] {
        guard mine.windows.count < limits.windowsInFlightMax, inFlight.count < limits.inFlightMax,
            let window = Self.oldest(mine, through: ready)?.key
        else { return [] }
        mine.storedMs[window] = nil
        counters.repeated += 1
        let chunks = chunks(slice, mine.epoch, window)
        mine.windows[window] = chunks.count
        return chunks.map { chunk in
            // With it, it would be taken for a copy.
            var again = chunk
            again.message.id = nil
            return send(again)
        }
    }

    /// What is in finals needs no publishing any more.
    private mutating func forget(before kept: Int64, _ mine: inout SliceWork) {
        for window in mine.windows.keys where window < kept { mine.windows[window] = nil }
        for window in mine.storedMs.keys where window < kept { mine.storedMs[window] = nil }
        mine.retry.removeAll { $0.window < kept }
        // A chunk that is on its way still tells what became of it.
        let isEmpty = mine.retry.isEmpty && mine.windows.isEmpty
        if isEmpty { mine.fullUntilMs = nil }
    }

    private func chunks(_ slice: Int, _ epoch: UInt64, _ window: Int64) -> [Chunk] {
        let envelope = PartialEnvelope(
            fleet: fingerprint, slice: slice, windowStartMs: fleet.windowStartMs(window),
            windowLengthMs: fleet.windowMs, origin: 0, epoch: epoch,
            groups: source.groups(slice: slice, window: window))
        let subject = fleet.partialSubject(slice)
        return envelope.chunked(limits).enumerated().map { number, bytes in
            let message = BusMessage(
                stream: .partials, subject: subject, bytes: bytes,
                id: "\(slice).\(window).0.\(epoch).\(number)")
            return Chunk(slice: slice, epoch: epoch, window: window, message: message)
        }
    }

    private mutating func send(_ chunk: Chunk) -> NodeAction {
        let token = tokens.next()
        inFlight[token] = chunk
        return .publish(chunk.message, .none, token: token)
    }

    private mutating func published(
        _ token: UInt64, _ result: Result<UInt64, BusError>, _ nowMs: Int64
    ) {
        if result != .failure(.full) { keeper.note(result) }
        guard var chunk = inFlight.removeValue(forKey: token), var mine = work[chunk.slice],
            mine.epoch == chunk.epoch
        else { return }
        switch result {
        case .success:
            counters.published += 1
            mine.fullUntilMs = nil
            let left = (mine.windows[chunk.window] ?? 1) - 1
            mine.windows[chunk.window] = left > 0 ? left : nil
            if left <= 0 { mine.storedMs[chunk.window] = nowMs }
        case .failure(let error):
            counters.failed[error, default: 0] += 1
            // A broker may take the id of a message that it never stored for a copy; without one it cannot.
            chunk.message.id = nil
            if error == .full { mine.fullUntilMs = nowMs + limits.fullRetryMs }
            // The oldest first: others wait for them.
            let place = mine.retry.firstIndex { $0.window > chunk.window } ?? mine.retry.endIndex
            mine.retry.insert(chunk, at: place)
        }
        work[chunk.slice] = mine
    }

    private mutating func wasRead(_ token: UInt64, _ result: Result<StoredMessage?, BusError>) {
        keeper.note(result)
        guard let slice = reading.removeValue(forKey: token), work[slice] != nil else { return }
        work[slice]?.isReading = false
        guard case .success(let message) = result else { return }
        guard let message else {
            work[slice]?.next = 0
            return
        }
        // What is not closed is published again: how much of it the one before has stored does not matter then.
        if let last = try? FinalRecord(decoding: message.bytes, limits), last.fleet == fingerprint {
            work[slice]?.next = last.window + 1
        } else {
            counters.failed[.failed("the last final is not of this fleet"), default: 0] += 1
        }
    }
}

extension NodeInput {
    var isTick: Bool {
        if case .tick = self { return true }
        return false
    }
}
