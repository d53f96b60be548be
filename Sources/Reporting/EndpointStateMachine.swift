import Store
import Telemetry

/// What an endpoint does next, decided without clock, sockets or store: events in, actions out.
///
///     created -> opening -> fetching -> sending -> advancing -> sending … -> fetching -> idle
///
/// One part is on its way at a time, and the next one goes out only after the cursor has moved durably past the one
/// before: order is strict, and after a crash at most one part is sent again, under the same id. Whatever fails for now
/// waits with jitter and is tried again, for ever; what is refused for good is cut into halves until the rows to
/// blame are alone, and they become dead letters, stored together with the move of the cursor.
///
/// Three steps may fail for now and lead to `waiting`: a reply of the store, a fetch and an attempt to send.
///
/// Of an endpoint that takes windows in any order there are several, each strict in itself: see `EndpointLanes`.
struct EndpointStateMachine: Sendable {
    // Internal is what other files of this folder go on with.

    let configuration: EndpointConfiguration
    /// The last window of the gap that is worked off; then it stops. `nil`: all that comes.
    let through: Int64?
    private let encoding: any EndpointEncoding
    /// How bodies are written: becomes simpler when the endpoint does not understand it, and stays so.
    var form: WireForm
    var state: State = .created
    /// What was meant, while a simpler form is tried because the first request was called malformed.
    var doubted: WireForm?
    /// Malformed is what is in a request, and not its form.
    var isFormKnown = false
    /// Lanes of one endpoint share it.
    var account = EndpointAccount()
    /// The cursor as it is in the store.
    private(set) var position: DeliveryPosition?
    var newestSequence: Int64 = 0
    var commits: CommitTimes
    /// Windows that are waiting for long may be left behind in a gap.
    var mayLeap = false
    var leap: (from: DeliveryPosition, through: Int64)?
    /// There is room for a gap of a part that fails again and again: see `SetAside`.
    var hasRoomForGap = false
    /// Its part was set aside before.
    var isTakenUp = false
    /// On its way to the store.
    var settingAside: SetAside?
    /// What it has let go of, for whoever takes it up again.
    var setAside: SetAside?

    /// Everything up to here is done or not wanted, whether the store knows it or not.
    private(set) var reached = DeliveryPosition.start
    var reachedSequence: Int64 { reached.sequence }
    /// Windows that were fetched, oldest last.
    var fetched: [Consignment] = []
    /// What of the windows up to here was to be sent is in `fetched`, or was taken out of it.
    var scannedThrough: Int64 = 0
    private var newestAtFetch: Int64 = 0
    var progress: WindowProgress?
    /// `nil` where no series is ended.
    var memory: SeriesMemory?
    var delivery: Delivery?
    var advance: Advance?
    private var movedMs: Int64 = 0

    var sendBackoff: Backoff
    private var storeBackoff: Backoff
    var token = 0
    /// The timer at whose ring windows have waited long enough for others.
    var gathering: Int?
    private(set) var gatherer: WindowGatherer
    /// Attempts that failed since its own last answer, and the endpoint's answers when the first of them did.
    var failures = 0
    var answersAtFailure = 0
    /// Those of them that what is in the part may be to blame for.
    var suspicions = 0
    /// It was said that its part is set aside.
    var isAsideTold = false
    /// Other lanes have requests on their way, and have not failed.
    var doOthersWork = false
    /// How often secrets had been read again when the part went out.
    var refreshesAtSend = 0
    /// Said once, and again only after it has been otherwise.
    private var isStoreFailing = false
    var draining: DrainScope?
    var isPaused = false

    /// - Parameter remembered: what the endpoint was found to understand earlier, instead of what is tried first.
    init(
        _ configuration: EndpointConfiguration, seed: UInt64, remembered: WireForm? = nil,
        through: Int64? = nil, likely: Int = BatchLimits.windowsRange.upperBound
    ) {
        gatherer = WindowGatherer(likely: likely)
        commits = CommitTimes(horizonMs: Limits.liveMs + configuration.batch.waitMs)
        self.configuration = configuration
        self.through = through
        memory = through == nil ? configuration.seriesMemory : nil
        encoding = configuration.encoding
        form = remembered ?? encoding.form
        sendBackoff = Backoff(configuration.backoff, seed: seed)
        storeBackoff = Backoff(BackoffLimits(baseMs: 100, capMs: 10_000), seed: ~seed)
    }

    /// What was to be sent last, and has no answer yet.
    var partOnItsWay: Part? { state == .sending ? delivery?.pieces.last : nil }

    /// The bytes of a part that is on its way, the same each time; `nil` for any other.
    func body(of part: Part) -> [UInt8]? {
        guard let progress, progress.consignment.sequence == part.sequence else { return nil }
        return progress.body(of: part, form: form)
    }

    /// Takes an event. What does not fit the state (a stale timer, a reply after the stop) changes nothing.
    mutating func handle(_ event: Event, nowMs: Int64) -> [Action] {
        var actions: [Action] = []
        switch (event, state) {
        case (_, .stopped): break
        case (.start, .created): actions = open()
        case (.cursor(let found), .opening): opened(found, nowMs, &actions)
        case (.windows(let windows, let through), .fetching):
            received(windows?.map { .window($0) }, through, nowMs, &actions)
        case (.fetched(let found, let through), .fetching): received(found, through, nowMs, &actions)
        case (.advanced(let done), .advancing): moved(done, nowMs, &actions)
        case (.attempted(let outcome), .sending): attempted(outcome, nowMs, &actions)
        case (.leaped(let done), .leaping): leaped(done, nowMs, &actions)
        case (.split(let done), .leaping): wasSplit(done, nowMs, &actions)
        case (.withdrawn, .sending): draining != nil ? stopNow(&actions) : (state = .paused)
        case (.known(let newest), _): known(newest, .min)
        case (.committed(let newest), _):
            known(newest, nowMs)
            if state == .idle { gather(nowMs, &actions) }
        case (.timer(let rung), .idle) where rung == gathering: proceed(nowMs, &actions)
        case (.timer(let rung), .waiting(let step, let token, _)) where rung == token:
            resume(step, nowMs, &actions)
        case (.drain(let scope), _): drain(scope, nowMs, &actions)
        case (.pause, _):
            isPaused = true
            if state == .idle { state = .paused }
        case (.resume, _): goOn(nowMs, &actions)
        case (.hurry, .idle) where gathering != nil: proceed(nowMs, &actions)
        default: break
        }
        return actions
    }
}

// MARK: The store's side

extension EndpointStateMachine {
    mutating func open() -> [Action] {
        state = .opening
        return [.openCursor(fromBeginning: configuration.fromBeginning)]
    }

    private mutating func opened(_ found: DeliveryPosition?, _ nowMs: Int64, _ actions: inout [Action]) {
        guard let found else { return storeFailed(.open, nowMs, &actions) }
        storeAnswered()
        position = found
        reached = found
        movedMs = nowMs
        fetch(nowMs, &actions)
    }

    mutating func fetch(_ nowMs: Int64, _ actions: inout [Action]) {
        if draining != nil, draining != .pending { return stop(nowMs, &actions) }
        if isPaused, draining == nil {
            state = .paused
            return
        }
        if let through, reached.sequence >= through { return finishGap(&actions) }
        state = .fetching
        newestAtFetch = newestSequence
        // Of one lane of many no more is held than goes into a request.
        let likely = configuration.takesAnyOrder ? gatherer.likely : configuration.batch.windowsMax
        let limit = max(Limits.fetchedWindows, min(configuration.batch.windowsMax, likely))
        actions.append(.fetch(after: reached, through: through, limit: limit))
    }

    private mutating func received(
        _ windows: [Consignment]?, _ through: Int64, _ nowMs: Int64, _ actions: inout [Action]
    ) {
        guard let windows else { return storeFailed(.fetch, nowMs, &actions) }
        storeAnswered()
        fetched = windows.reversed()
        scannedThrough = max(through, windows.last?.sequence ?? 0)
        newestSequence = max(newestSequence, scannedThrough)
        if !windows.isEmpty { return proceed(nowMs, &actions) }
        pass(scannedThrough)
        if self.through != nil { return fetch(nowMs, &actions) }
        // A commit may have come in while the store was looking.
        newestSequence > newestAtFetch && newestSequence > scannedThrough
            ? fetch(nowMs, &actions) : rest(nowMs, &actions)
    }

    private mutating func moved(_ done: Bool, _ nowMs: Int64, _ actions: inout [Action]) {
        guard done, let advance else { return storeFailed(.advance, nowMs, &actions) }
        storeAnswered()
        account.settle(advance)
        if advance.parts > 0 { account.lastDeliveredMs = nowMs }
        position = advance.to
        reached = max(reached, advance.to)
        movedMs = nowMs
        self.advance = nil
        delivery = nil
        if progress?.isFinished ?? false { finishWindow() }
        proceed(nowMs, &actions)
    }

    mutating func storeFailed(
        _ step: Step, _ nowMs: Int64, _ actions: inout [Action], delayMs: Int64 = 0
    ) {
        account.failed("the store does not answer", nowMs)
        if !isStoreFailing { actions.append(.report(.storeFailing)) }
        isStoreFailing = true
        if draining != nil { return stopNow(&actions) }
        wait(step, max(storeBackoff.nextMs(), delayMs), nowMs, &actions)
    }

    mutating func storeAnswered() {
        storeBackoff.reset()
        isStoreFailing = false
    }

    /// Nothing is left in the gap, and the store knows it in the end.
    private mutating func finishGap(_ actions: inout [Action]) {
        if let position, position < reached { return move(Advance(to: reached), &actions) }
        stopNow(&actions)
    }

    private mutating func leaped(_ done: Bool, _ nowMs: Int64, _ actions: inout [Action]) {
        if settingAside != nil { return madeRoom(done, nowMs, &actions) }
        // What is left of a window is looked up again, here or in the gap.
        progress = nil
        fetched = []
        guard done, let leap else { return storeFailed(.fetch, nowMs, &actions) }
        storeAnswered()
        land(leap.through, nowMs)
        fetch(nowMs, &actions)
    }

    mutating func land(_ sequence: Int64, _ nowMs: Int64) {
        reached = DeliveryPosition(sequence: sequence, parts: 0)
        position = reached
        movedMs = nowMs
    }

    /// Windows up to here need nothing more; only in memory until there is a reason to tell the store.
    private mutating func pass(_ sequence: Int64) {
        if sequence > reached.sequence { reached = DeliveryPosition(sequence: sequence, parts: 0) }
    }
}

// MARK: Deciding what is next

extension EndpointStateMachine {
    /// Nothing is on its way: take the next part, or look for more.
    mutating func proceed(_ nowMs: Int64, _ actions: inout [Action]) {
        if draining == .inFlight { return stop(nowMs, &actions) }
        if isPaused, draining == nil {
            letGoOfFetched()
            state = .paused
            return
        }
        gathering = nil
        if mayLeap, draining == nil, let target = leapTarget(nowMs) {
            leap = (reached, target)
            state = .leaping
            return actions.append(.leap(from: reached, through: target))
        }
        while true {
            if progress == nil, !begin(nowMs, &actions) { return fetch(nowMs, &actions) }
            if let part = progress?.nextPart() {
                delivery = Delivery(part: part, pieces: [part])
                return send(&actions)
            }
            if let done = progress { pass(done.consignment.sequence) }
            finishWindow()
        }
    }

    /// Takes the next fetched window that is to be sent.
    private mutating func begin(_ nowMs: Int64, _ actions: inout [Action]) -> Bool {
        while let one = fetched.popLast() {
            guard one.sequence > reached.sequence else { continue }
            // A part count belongs to the window right after the cursor and to no other.
            let skipped = one.sequence == reached.sequence + 1 ? reached.parts : 0
            func progress(_ grid: any WindowGrid) -> WindowProgress {
                WindowProgress(one, grid: grid, limits: configuration.batch, skipping: skipped)
            }
            if case .window(let window) = one, let reason = configuration.dropReason(window, nowMs) {
                drop(progress(encoding.grid(for: one)), reason, &actions)
                pass(one.sequence)
                continue
            }
            // What is half delivered goes on alone.
            let together =
                skipped > 0 ? nil : gatherer.take(one, &fetched, encoding, configuration, memory, nowMs)
            self.progress = together ?? progress(encoding.grid(for: one, after: memory))
            return true
        }
        pass(scannedThrough)
        return false
    }

    /// A window has come while nothing was to be done: it may wait for others, up to a time.
    private mutating func gather(_ nowMs: Int64, _ actions: inout [Action]) {
        guard configuration.batch.waitMs > 0, draining == nil,
            newestSequence - reached.sequence < Int64(configuration.batch.windowsMax)
        else { return proceed(nowMs, &actions) }
        guard gathering == nil else { return }
        token += 1
        gathering = token
        actions.append(.wake(afterMs: configuration.batch.waitMs, token: token))
    }

    private mutating func drop(_ window: WindowProgress, _ reason: DropReason, _ actions: inout [Action]) {
        let samples = window.samplesLeft
        guard samples > 0 else { return }
        if account.dropped[reason] == nil { actions.append(.report(.dropped(samples: samples, reason))) }
        account.dropped[reason, default: 0] += samples
    }

    /// Nothing to do until the next commit. The store learns now and then that unselected windows are behind us.
    private mutating func rest(_ nowMs: Int64, _ actions: inout [Action]) {
        if draining != nil { return stop(nowMs, &actions) }
        let behind = reached.sequence - (position?.sequence ?? 0)
        if behind >= Limits.skippedWindows || behind > 0 && nowMs - movedMs >= Limits.skippedMs {
            return move(Advance(to: reached), &actions)
        }
        state = .idle
    }

    mutating func move(_ advance: Advance, _ actions: inout [Action]) {
        var advance = advance
        advance.through = through
        self.advance = advance
        state = .advancing
        actions.append(.advance(advance))
    }
}

// MARK: The endpoint's side

extension EndpointStateMachine {
    mutating func send(_ actions: inout [Action]) {
        guard let piece = delivery?.pieces.last else { return }
        state = .sending
        refreshesAtSend = account.refreshes
        actions.append(.send(piece))
    }

    private mutating func attempted(_ outcome: AttemptOutcome, _ nowMs: Int64, _ actions: inout [Action]) {
        guard let piece = delivery?.pieces.last else { return }
        let verdict = credentialsMayBeStale(outcome) ? .retry : encoding.verdict(outcome, form: form)
        if verdict == .retry { return retry(outcome, nowMs, &actions) }
        let isMalformed = isUnknownForm(outcome, verdict)
        if verdict == .renegotiate || isMalformed, let simpler = encoding.simpler(than: form, after: outcome)
        {
            if isMalformed, doubted == nil { doubted = form }
            actions.append(.report(.simplified(from: form, to: simpler, because: outcome.text)))
            account.fallbacks += 1
            form = simpler
            return send(&actions)
        }
        if verdict == .bisect, let meant = doubted {
            // It was about the data: no form is any better.
            actions.append(
                .report(.simplified(from: form, to: meant, because: "a simpler form is refused, too")))
            (form, doubted, isFormKnown) = (meant, nil, true)
            return send(&actions)
        }
        if verdict == .disable {
            account.failed(outcome.text, nowMs)
            actions.append(.report(.disabled(outcome.text)))
            letGoOfFetched()
            state = .disabled
            if draining != nil { stopNow(&actions) }
            return
        }
        settled(nowMs, &actions)
        delivery?.pieces.removeLast()
        switch verdict {
        case .delivered: accept(piece, outcome, &actions)
        case .partial:
            // Each number counts once: as delivered, or as what the endpoint says that it did not take.
            var rejected = piece
            rejected.samples = min(encoding.rejected(outcome) ?? piece.samples, piece.samples)
            delivery?.accepted += piece.samples - rejected.samples
            refuse(rejected, outcome, nowMs, mayCut: false, isPartial: true)
        case .bisect: refuse(piece, outcome, nowMs, mayCut: true)
        default: refuse(piece, outcome, nowMs, mayCut: false)
        }
        delivery?.pieces.isEmpty ?? true ? finish(&actions) : send(&actions)
    }

    private mutating func accept(_ piece: Part, _ outcome: AttemptOutcome, _ actions: inout [Action]) {
        doubted = nil
        let left = progress?.grid.leftOut(piece.rows, form: form) ?? 0
        if left > 0 {
            if account.dropped[.form] == nil { actions.append(.report(.dropped(samples: left, .form))) }
            account.dropped[.form, default: 0] += left
        }
        delivery?.accepted += piece.samples - left
        if let warning = encoding.warning(outcome), warning != account.lastWarning {
            account.lastWarning = warning
            actions.append(.report(.warned(warning)))
        }
    }

    /// A receiver that knows only an older version, or another compression, may call the very first request malformed.
    private func isUnknownForm(_ outcome: AttemptOutcome, _ verdict: Verdict) -> Bool {
        guard case .response(400, _, _, let details) = outcome, !details.saysWritten else { return false }
        let isPlain = form.version == 1 && form.compression == .snappy
        return configuration.kind == .remoteWrite && !isPlain && !isFormKnown && verdict == .bisect
            && account.samples == 0
            && delivery?.accepted == 0 && delivery?.refusals == 0
    }

    /// A token that was replaced in its file looks like a refusal, once.
    private mutating func credentialsMayBeStale(_ outcome: AttemptOutcome) -> Bool {
        guard !configuration.secrets.isEmpty, [401, 403].contains(outcome.status),
            let tried = delivery?.refreshes, tried < Limits.refreshes
        else { return false }
        delivery?.refreshes = tried + 1
        return account.refresh(sentAfter: refreshesAtSend)
    }

    private mutating func retry(_ outcome: AttemptOutcome, _ nowMs: Int64, _ actions: inout [Action]) {
        account.failed(outcome.text, nowMs)
        let isNews = account.retried(isStuck: isStuck(account), doOthersWork: doOthersWork)
        if isNews { actions.append(.report(.failing(outcome.text))) }
        if failures == 0 { answersAtFailure = account.answers }
        failures += 1
        if outcome.mayBeThePart { suspicions += 1 }
        // What is pending is safe in the store; whoever is down now gets it after the next start.
        if draining != nil { return stopNow(&actions) }
        var delay = sendBackoff.nextMs()
        if case .response(_, let after?, _, _) = outcome {
            delay = max(delay, min(after, configuration.backoff.retryAfterMaxMs))
        }
        if makeRoom(outcome, delay, nowMs, &actions) { return }
        wait(.send, delay, nowMs, &actions)
    }

    /// The endpoint gave a final answer, whichever: it is up.
    private mutating func settled(_ nowMs: Int64, _ actions: inout [Action]) {
        sendBackoff.reset()
        (failures, suspicions, isAsideTold) = (0, 0, false)
        isTakenUp = false
        if let attempts = account.answered() { actions.append(.report(.recovered(afterAttempts: attempts))) }
    }

    private mutating func refuse(
        _ piece: Part, _ outcome: AttemptOutcome, _ nowMs: Int64, mayCut: Bool, isPartial: Bool = false
    ) {
        guard var delivery else { return }
        account.failed(outcome.text, nowMs)
        delivery.refusals += 1
        let isLost = account.isHopeless && delivery.accepted == 0
        let budget =
            isLost
            ? Limits.refusalsWhenHopeless
            : delivery.accepted > 0 ? account.patience : Limits.refusals
        if mayCut, delivery.refusals <= budget, let (first, second) = progress?.halves(of: piece) {
            delivery.pieces += [second, first]
        } else {
            delivery.dead.append(
                Refusal(
                    part: piece, status: outcome.status, reason: outcome.text,
                    response: outcome.responseBody, isPartial: isPartial)
            )
        }
        self.delivery = delivery
    }

    /// All pieces of the part have their answer.
    private mutating func finish(_ actions: inout [Action]) {
        guard let delivery, let progress else { return }
        let refused = delivery.dead.reduce(0) { $0 + $1.part.samples }
        if let last = delivery.dead.last, !account.isRefusing {
            actions.append(.report(.refused(samples: refused, reason: last.reason)))
        }
        account.finished(delivery)
        move(
            Advance(
                to: progress.position(after: delivery.part), parts: delivery.isTaken ? 1 : 0,
                samples: delivery.accepted,
                dead: delivery.dead
            ), &actions
        )
    }
}
