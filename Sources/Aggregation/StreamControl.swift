import Dispatch
import Telemetry

/// Decides when the windows of one stream are over, and drives their closing step by step.
///
/// A lock guards its state; while it is held, blocks are put on the queues of the shards, so that all of them see the
/// decisions in one order with the batches. Nothing under the lock waits.
final class StreamControl: Sendable {
    struct State {
        var watermark: Watermark
        var admitted: AdmittedWindows
        /// What the watermark says; for simulated streams the time of the last tick.
        var watermarkMs: Int64?
        /// Samples before this are late.
        var sealedThroughMs: Int64?
        /// Closing was ordered up to here.
        var orderedThroughMs: Int64?
        /// End of the last window that was closed with a checkpoint.
        var checkpointedMs: Int64?
        var isClosing = false
        /// The log is read again: its closings count, and the clock does not.
        var isReplaying = false
        /// After the last request that was taken.
        var logPosition = LogPosition.start
        var isFinal = false
        /// The stream was closed: nobody waits for its closings any more.
        var isAbandoned = false
        var hasSeries = false
        /// When silent series were looked for.
        var lookedMs: Int64?
        var jobs: JobTable
        var faults: FaultTable
        var events = PendingEvents()
        var accounted = Ledger()
        var ticks = TickQueue()
    }

    let shared: StreamShared
    let state: Locked<State>
    let shards: [Shard]
    let roller: Roller
    let limits: AggregationLimits
    private let credits: Credits
    private let counters: CoreCounters

    init(
        shared: StreamShared, shards: [Shard], roller: Roller, limits: AggregationLimits, credits: Credits,
        counters: CoreCounters, startedMs: Int64
    ) {
        self.shared = shared
        self.shards = shards
        self.roller = roller
        self.limits = limits
        self.credits = credits
        self.counters = counters
        let spec = shared.spec
        var start = State(
            watermark: Watermark(
                plan: spec.plan, sendersMax: limits.sendersMax, closedThroughMs: spec.closedThroughMs,
                startedMs: startedMs),
            admitted: AdmittedWindows(plan: spec.plan, limits: limits),
            jobs: JobTable(intervalsMax: limits.jobIntervalsMax),
            faults: FaultTable(intervalsMax: limits.jobIntervalsMax))
        start.watermarkMs = spec.closedThroughMs
        start.sealedThroughMs = spec.closedThroughMs
        start.orderedThroughMs = spec.closedThroughMs
        state = Locked(start)
    }

    private var plan: WindowPlan { shared.spec.plan }
    private var isMeasured: Bool { !shared.spec.id.isSimulated }
    private var index: StreamIndex { shared.index }

    // MARK: What comes in

    func open() {
        roller.open(shared)
        for shard in shards { shard.open(shared) }
        take(shared.spec.openEvents, keep: false)
    }

    func register(_ series: [SeriesDescriptor], shard: Int) {
        state.withLock { state in
            state.hasSeries = true
            shared.addSeries(series.count)
            shards[shard].register(series, index)
            guard state.jobs.hasWaiting, state.jobs.resolveWaiting(find: shared.topology.nodeIndex) else {
                return
            }
            publishJobs(state.jobs.snapshot)
        }
    }

    func observed(_ sender: SenderID, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64) {
        state.withLock { state in
            state.watermark.observed(
                sender, oldestMs: oldestMs, newestMs: newestMs, arrivalMs: arrivalMs)
            if !isMeasured { advance(&state, toMs: min(max(newestMs, 0), .max / 4)) }
        }
    }

    /// Everything about some requests at one moment of the order that their places in the log have: the credit, the place,
    /// the way to the shards, the watermark and what was rejected before.
    func take(_ requests: [LoggedRequest], _ place: (Int) -> LogPosition?) -> [JournaledAdmission] {
        let admissions = state.withLock { state in
            var load = ShardLoad(shardCount: shards.count)
            let admissions = requests.indices.map { number in
                take(requests[number], &state, &load) { place(number) }
            }
            // Still under the lock: closings come before or after all of them.
            load.finish(shards)
            return admissions
        }
        for (request, admission) in zip(requests, admissions)
        where admission == .accepted && !request.isCounted && request.rejected.received > 0 {
            counters.add(request.rejected)
        }
        return admissions
    }

    private func take(
        _ request: LoggedRequest, _ state: inout State, _ load: inout ShardLoad, _ place: () -> LogPosition?
    ) -> JournaledAdmission {
        let room = admits(&state, request.oldestMs, request.newestMs, request.arrivalMs)
        guard room == .accepted, credits.takeAll(request.batches) else {
            waits(&state, request.sender, request.oldestMs ?? request.newestMs, request.arrivalMs)
            return room == .accepted ? .full : room
        }
        guard let position = place() else {
            for batch in request.batches {
                credits.giveBack(batch.records.count, shard: batch.shard, stream: index)
            }
            return .refused
        }
        state.logPosition = position
        for var batch in request.batches {
            batch.isCounted = request.isCounted
            load.add(batch, shards)
        }
        if let newestMs = request.newestMs {
            state.watermark.observed(
                request.sender, oldestMs: request.oldestMs, newestMs: newestMs,
                arrivalMs: request.arrivalMs)
        }
        if !request.isCounted, request.rejected.received > 0 { state.accounted.add(request.rejected) }
        return .accepted
    }

    /// Whether windows can be opened for samples of these times now.
    func hasRoom(_ sender: SenderID, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64) -> Bool {
        state.withLock { state in
            // While the log is read again, what comes meanwhile goes behind it, and closes nothing before.
            let hasRoom = state.admitted.admit(
                oldestMs: oldestMs, newestMs: newestMs, arrivalMs: arrivalMs,
                closedThroughMs: state.orderedThroughMs, always: false)
            if !hasRoom { waits(&state, sender, oldestMs, arrivalMs) }
            return hasRoom
        }
    }

    private func admits(
        _ state: inout State, _ oldestMs: Int64?, _ newestMs: Int64?, _ arrivalMs: Int64
    ) -> JournaledAdmission {
        guard unclosedCount(state) <= limits.unclosedWindowsMax else { return .full }
        guard let newestMs else { return .accepted }
        let isAdmitted = state.admitted.admit(
            oldestMs: oldestMs ?? newestMs, newestMs: newestMs, arrivalMs: arrivalMs,
            closedThroughMs: state.orderedThroughMs, always: state.isReplaying)
        return isAdmitted ? .accepted : .noRoom
    }

    /// A sender waits for us: it is not silent, and its backlog is not to be closed without it.
    private func waits(_ state: inout State, _ sender: SenderID, _ oldestMs: Int64?, _ arrivalMs: Int64) {
        guard let oldestMs, !state.isReplaying else { return }
        state.watermark.refused(sender, oldestMs: oldestMs, arrivalMs: arrivalMs)
    }

    func beginReplay() { state.withLock { $0.isReplaying = true } }

    func endReplay() { state.withLock { $0.isReplaying = false } }

    func replayClosing(throughMs: Int64) -> Bool {
        state.withLock { state in
            guard !state.isClosing else { return false }
            advance(&state, toMs: throughMs)
            return true
        }
    }

    func tick(nowMs: Int64) {
        state.withLock { state in
            guard !state.isReplaying else { return }
            lookForSilent(&state, nowMs)
            guard isMeasured, !shared.spec.isReported, let watermarkMs = state.watermark.advance(nowMs: nowMs)
            else { return }
            advance(&state, toMs: watermarkMs)
        }
    }

    /// Several times in the time after which a series is silent.
    private func lookForSilent(_ state: inout State, _ nowMs: Int64) {
        guard isMeasured, state.hasSeries else { return }
        let lookedMs = state.lookedMs ?? nowMs
        state.lookedMs = lookedMs
        guard nowMs - lookedMs >= limits.seriesSilentMs / 4 else { return }
        state.lookedMs = nowMs
        for shard in shards { shard.nameSilent(index, nowMs: nowMs) }
    }

    /// Nodes stand in other racks, with their series.
    func move(_ racks: [Int32: Int32]) {
        guard !racks.isEmpty else { return }
        for shard in shards { shard.move(racks, index) }
    }

    func retire(_ slots: [UInt32], shard: Int) { shards[shard].retire(slots, index) }

    /// - Parameter keep: whether they go with the next closing; not when they were kept before a restart.
    func take(_ events: [Event], keep: Bool) {
        guard !events.isEmpty else { return }
        state.withLock { state in
            let version = state.jobs.snapshot.version
            for event in events {
                state.faults.take(event)
                let changesJobs = event.kind == .jobStart || event.kind == .jobEnd
                let job = changesJobs ? shared.jobNames.number(event.job) : JobSnapshot.none
                guard job != JobSnapshot.none else { continue }
                if event.kind == .jobStart {
                    state.jobs.start(
                        job, nodes: event.nodes, atMs: event.timeMs, find: shared.topology.nodeIndex)
                } else if event.kind == .jobEnd {
                    state.jobs.end(job, atMs: event.timeMs)
                }
            }
            if state.jobs.snapshot.version != version { publishJobs(state.jobs.snapshot) }
            guard keep else { return }
            state.events.append(events)
            let forgotten = state.events.forget(beyond: limits.pendingEventsMax)
            if forgotten > 0 { counters.eventsForgotten.add(Int64(forgotten)) }
        }
    }

    func takePendingEvents() -> [Event] {
        state.withLock { state in
            defer { state.events = PendingEvents() }
            return state.events
        }.all
    }

    /// Gives back what could not be stored: it goes with the next closing, or is taken again.
    func putBack(_ events: [Event]) {
        state.withLock { $0.events.prepend(events) }
    }

    func account(_ ledger: Ledger) {
        state.withLock { $0.accounted.add(ledger) }
        counters.add(ledger)
    }

    /// Too many windows wait for the sink.
    var isStalled: Bool { state.withLock { unclosedCount($0) > limits.unclosedWindowsMax } }

    private func publishJobs(_ snapshot: JobSnapshot) {
        for shard in shards { shard.use(snapshot, index) }
    }

    // MARK: Closing

    /// Somebody else has decided that everything before that time is over.
    func close(throughMs: Int64) { state.withLock { advance(&$0, toMs: throughMs) } }

    /// Moves the watermark, never back.
    func advance(_ state: inout State, toMs watermarkMs: Int64) {
        state.watermarkMs = max(state.watermarkMs ?? watermarkMs, watermarkMs)
        seal(&state, throughMs: plan.start(watermarkMs))
    }

    func seal(_ state: inout State, throughMs: Int64) {
        guard throughMs > state.sealedThroughMs ?? .min else { return }
        state.sealedThroughMs = throughMs
        // With a log, shards are sealed when the closing is ordered: so a closing's place in the log says what was late.
        if shared.spec.journal == nil {
            for shard in shards { shard.seal(index, throughMs: throughMs) }
        }
        orderNext(&state)
    }

    /// Orders the next step of closing, when none is on its way: one window, or a stretch in which none is open.
    private func orderNext(_ state: inout State) {
        guard !state.isClosing, let sealedMs = state.sealedThroughMs else { return }
        guard sealedMs > state.orderedThroughMs ?? .min || state.isFinal else { return }
        let emptyFromMs = emptyFrom(state, sealedMs)
        let throughMs = nextEnd(state, sealedMs, emptyFromMs)
        let tickedMs = state.ticks.takeTicked { $0 + plan.finestMs <= throughMs }
        let step = CloseStep(
            throughMs: throughMs, emptyFromMs: emptyFromMs, tickedMs: tickedMs,
            isFleet: state.ticks.hasSeenAny,
            senders: isMeasured ? state.watermark.heard : [],
            faults: state.faults, jobs: state.jobs.snapshot, jobNames: shared.jobNames.all,
            events: state.events, accounted: state.accounted,
            isFinal: state.isFinal && throughMs == sealedMs, cut: cut(state, throughMs),
            decidedAtNs: DispatchTime.now().uptimeNanoseconds)
        if step.isFinal { state.isFinal = false }
        state.events = PendingEvents()
        state.isClosing = true
        state.orderedThroughMs = throughMs
        state.admitted.close(throughMs: throughMs)
        roller.begin(step, index)
        let keepsCheckpoint = shared.spec.checkpointEveryMs.map { everyMs in
            floorMultiple(throughMs, everyMs) > floorMultiple(state.checkpointedMs ?? .min / 2, everyMs)
        }
        if keepsCheckpoint == true { state.checkpointedMs = throughMs }
        let maintenance = state.faults.hasMaintenance ? state.faults : nil
        for shard in shards {
            if shared.spec.journal != nil { shard.seal(index, throughMs: throughMs) }
            shard.emit(
                index, throughMs: throughMs, keepsCheckpoint: keepsCheckpoint == true,
                maintenance: maintenance)
        }
    }

    /// Notes the closing in the log, at the place that it has among the requests.
    private func cut(_ state: State, _ throughMs: Int64) -> LogPosition? {
        guard let journal = shared.spec.journal else { return nil }
        return state.isReplaying ? state.logPosition : journal.noteClosing(throughMs: throughMs)
    }

    /// From where on silence is worth a summary: a measured stream with series, but only the last stretch of a long
    /// gap.
    private func emptyFrom(_ state: State, _ sealedMs: Int64) -> Int64? {
        guard isMeasured, state.hasSeries || shared.spec.isReported else { return nil }
        let recentMs = plan.start(sealedMs - plan.maxHoldMs)
        return max(state.orderedThroughMs ?? recentMs, recentMs)
    }

    private func nextEnd(_ state: State, _ sealedMs: Int64, _ emptyFromMs: Int64?) -> Int64 {
        var endMs = sealedMs
        for startMs in [shared.firstOpenMs, state.ticks.firstTickedMs] {
            if let startMs { endMs = min(endMs, startMs + plan.finestMs) }
        }
        if let emptyFromMs, let orderedMs = state.orderedThroughMs {
            endMs = min(endMs, orderedMs < emptyFromMs ? emptyFromMs : orderedMs + plan.finestMs)
        }
        // A window that a late block has yet to close lies before what was ordered already.
        return max(endMs, min(sealedMs, (state.orderedThroughMs ?? .min / 2) + plan.finestMs))
    }

    /// The roller has handed everything of the last step over.
    ///
    /// - Parameter revisesFromMs: from where on its windows are kept for revisions.
    func stepDone(revisesFromMs: Int64?) {
        let released = state.withLock { state in
            state.isClosing = false
            if let orderedMs = state.orderedThroughMs {
                state.jobs.prune(beforeMs: orderedMs - plan.reviseWithinMs)
                state.faults.prune(beforeMs: orderedMs)
            }
            if plan.reviseWithinMs > 0 {
                for shard in shards { shard.revise(index, fromMs: revisesFromMs) }
            }
            orderNext(&state)
            return releaseTicks(&state)
        }
        for done in released { done() }
    }

    func unclosedCount(_ state: State) -> Int {
        guard state.isClosing, !state.isAbandoned, let sealedMs = state.sealedThroughMs else { return 0 }
        return Int((sealedMs - (state.orderedThroughMs ?? sealedMs)) / plan.finestMs) + 1
    }

    /// Nothing is on its way through the shards or the roller.
    var isIdle: Bool {
        state.withLock { state in
            !state.isClosing && !state.ticks.isBusy && !state.isFinal && credits.used(stream: index) == 0
                && (state.orderedThroughMs ?? .min) >= (state.sealedThroughMs ?? .min)
        }
    }

    /// Lets everybody go who waits for a tick.
    func abandon() {
        let released = state.withLock { state in
            state.isAbandoned = true
            return releaseTicks(&state)
        }
        for done in released { done() }
    }

    /// Closes every window and every rollup. To be called when the shards have nothing more to do.
    func closeAll() {
        state.withLock { state in
            let ends = [shared.lastOpenMs, state.ticks.lastTickedMs].compactMap {
                $0.map { $0 + plan.finestMs }
            }
            let endMs = max(ends.max() ?? .min, state.sealedThroughMs ?? .min)
            guard endMs > .min else { return }
            state.isFinal = true
            if endMs > state.sealedThroughMs ?? .min {
                state.watermarkMs = endMs
                seal(&state, throughMs: endMs)
            } else {
                orderNext(&state)
            }
        }
    }

    // MARK: Status

    func status(nowMs: Int64) -> StreamStatus {
        let inFlight = credits.used(stream: index)
        var ledger = shared.startLedger
        ledger.add(shared.processed)
        return state.withLock { state in
            ledger.add(state.accounted)
            ledger.received += Int64(inFlight)
            let senders = state.watermark.senders.sorted { $0.key.rawValue < $1.key.rawValue }
            return StreamStatus(
                stream: shared.spec.id, watermarkMs: state.watermarkMs,
                closedThroughMs: state.orderedThroughMs,
                lagMs: isMeasured ? state.watermarkMs.map { max(0, nowMs - $0) } ?? 0 : 0,
                senders: senders.map { id, sender in
                    .init(
                        id: id, newestMs: sender.newestMs, lastArrivalMs: sender.lastArrivalMs,
                        skewMs: sender.skewMs)
                },
                seriesCount: shared.seriesCount, openWindowCount: shared.openCount,
                unclosedWindowCount: unclosedCount(state), recordsInFlight: inFlight, ledger: ledger)
        }
    }
}
