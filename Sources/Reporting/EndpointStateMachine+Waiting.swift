import Store

// Waiting, resting and stopping.

extension EndpointStateMachine {
    mutating func wait(_ step: Step, _ delayMs: Int64, _ nowMs: Int64, _ actions: inout [Action]) {
        if step == .send { letGoOfFetched() }
        token += 1
        state = .waiting(step, token: token, untilMs: nowMs + delayMs)
        actions.append(.wake(afterMs: delayMs, token: token))
    }

    /// A window, or some that went together, got their answers.
    mutating func finishWindow() {
        if let after = progress?.grid.memory { memory = after }
        progress = nil
    }

    /// It may take long: windows behind the one that is being delivered are fetched again.
    mutating func letGoOfFetched() {
        fetched = []
        scannedThrough = progress?.consignment.sequence ?? reachedSequence
    }

    /// An operator says so: at once, whatever it waited for.
    mutating func goOn(_ nowMs: Int64, _ actions: inout [Action]) {
        isPaused = false
        switch state {
        case .paused where delivery == nil: proceed(nowMs, &actions)
        case .paused, .disabled: sendAgain(nowMs, &actions)
        case .waiting(let step, _, _): resume(step, nowMs, &actions)
        case .idle where gathering != nil: proceed(nowMs, &actions)
        default: break
        }
    }

    mutating func resume(_ step: Step, _ nowMs: Int64, _ actions: inout [Action]) {
        switch step {
        case .open: actions += open()
        case .fetch: fetch(nowMs, &actions)
        case .send where isPaused: state = .paused
        case .send: sendAgain(nowMs, &actions)
        case .advance: if let advance { move(advance, &actions) }
        }
    }

    /// What failed goes out once more. Alerts are said as they are by now, and not as they were.
    private mutating func sendAgain(_ nowMs: Int64, _ actions: inout [Action]) {
        guard configuration.feed == .alerts else { return send(&actions) }
        delivery = nil
        progress = nil
        fetch(nowMs, &actions)
    }

    mutating func drain(_ scope: DrainScope, _ nowMs: Int64, _ actions: inout [Action]) {
        draining = scope
        switch state {
        case .sending, .advancing, .leaping: break
        case .opening, .fetching: if scope == .inFlight { stop(nowMs, &actions) }
        case .idle: scope == .inFlight ? stop(nowMs, &actions) : proceed(nowMs, &actions)
        case .created, .waiting, .disabled, .paused: stopNow(&actions)
        case .stopped: break
        }
    }

    /// Stops, after the cursor has been moved past what was not selected.
    mutating func stop(_ nowMs: Int64, _ actions: inout [Action]) {
        if let position, reached > position, delivery == nil, advance == nil {
            draining = .inFlight
            return move(Advance(to: reached), &actions)
        }
        stopNow(&actions)
    }

    mutating func stopNow(_ actions: inout [Action]) {
        state = .stopped
        fetched = []
        progress = nil
        actions.append(.stopped)
    }
}

// MARK: What is new, and what waits for long

extension EndpointStateMachine {
    mutating func known(_ newest: Int64, _ atMs: Int64) {
        newestSequence = max(newestSequence, newest)
        commits.note(newest, atMs: atMs)
    }

    func leapTarget(_ nowMs: Int64) -> Int64? {
        commits.leapTarget(from: reached.sequence, to: newestSequence, beforeMs: liveSince(nowMs))
    }

    /// The last of the windows that are not new any more.
    func waitedFor(_ nowMs: Int64) -> Int64? { commits.newest(beforeMs: liveSince(nowMs)) }

    private func liveSince(_ nowMs: Int64) -> Int64 {
        nowMs - Limits.liveMs - configuration.batch.waitMs
    }
}
