import Store
import Telemetry

/// The lanes of one endpoint. In strict order there is one, which goes on behind the cursor. An endpoint that takes windows
/// in any order has one for new windows and others for the gaps behind the cursor:
///
///     done │ gap │ done │ gap │ done │ cursor: new windows …
///
/// When new windows come while old ones still wait, the lane of new windows leaps over the old ones and leaves a gap. Gaps
/// are worked off beside it, oldest first, in pieces, as many at once as `InFlightLimit` gives. New windows go first, and a
/// request is theirs to have as soon as there may be two. While the endpoint fails one lane tries it, the others wait.
///
/// Each lane is an `EndpointStateMachine`, strict in itself; nothing is in two lanes. So what was sent in a lane and not
/// recorded when the process died is one part a lane, and goes out again under the same id.
struct EndpointLanes: Sendable {
    /// The lane of new windows.
    static let live = 0
    /// Who waits for a time to come that no lane waits for.
    static let gate = -1

    struct LaneAction: Sendable, Equatable {
        var lane: Int
        var action: EndpointStateMachine.Action
    }

    let configuration: EndpointConfiguration
    private(set) var lanes: [Int: EndpointStateMachine]
    private(set) var account = EndpointAccount()
    /// What is still to be sent of what is before the cursor, oldest first.
    private(set) var gaps: [DeliveryGap] = []
    private(set) var limit: InFlightLimit
    /// Lanes whose request is on its way.
    private(set) var inFlight: Set<Int> = []

    private let seed: UInt64
    private var form: WireForm
    private var lastLane = EndpointLanes.live
    /// Lanes whose part is ready and has to wait.
    private var held: Set<Int> = []
    /// Where the lane of new windows leaps from.
    private var leaping: DeliveryPosition?
    private var splitting: (through: Int64, at: Int64)?
    /// In strict order the cursor is not gone on from before all gaps are closed.
    private var openingAt: DeliveryPosition?
    private var isOpen = false
    private var draining: DrainScope?
    private var hasStopped = false
    /// In the end a gap could not be closed.
    private var hasGivenUp = false
    /// The store could not split this one.
    private var unsplitThrough: Int64?
    /// The receiver wants no requests until this timer.
    private var quietToken: Int?
    private var lastToken = 0

    init(_ configuration: EndpointConfiguration, seed: UInt64, remembered: WireForm? = nil) {
        self.configuration = configuration
        self.seed = seed
        let first = EndpointStateMachine(configuration, seed: seed, remembered: remembered)
        lanes = [Self.live: first]
        form = first.form
        limit = InFlightLimit(max: configuration.takesAnyOrder ? configuration.maxInFlight : 1)
    }

    var isPaused: Bool { lanes[Self.live]?.isPaused ?? false }
    var isStopped: Bool { hasStopped }
    var isDisabled: Bool { lanes.values.contains { $0.state == .disabled } }

    /// Everything is delivered.
    var isIdle: Bool { lanes[Self.live]?.state == .idle && pendingWindows == 0 }

    /// The bytes of a lane's part that is on its way, the same each time; `nil` for any other.
    func body(of part: Part, _ lane: Int) -> [UInt8]? { lanes[lane]?.body(of: part) }

    func partOnItsWay(_ lane: Int) -> Part? { inFlight.contains(lane) ? lanes[lane]?.partOnItsWay : nil }

    /// The form in which a lane's part goes out.
    func form(of lane: Int) -> WireForm { lanes[lane]?.form ?? form }

    /// Takes an event for a lane, or for the endpoint as a whole. What does not fit changes nothing.
    mutating func handle(
        _ event: EndpointStateMachine.Event, lane: Int = EndpointLanes.live, nowMs: Int64
    ) -> [LaneAction] {
        var actions: [LaneAction] = []
        switch event {
        case .opened(let cursor): opened(cursor, nowMs, &actions)
        case .split(let done): split(done)
        case .pause, .resume, .drain: all(event, nowMs, &actions)
        case .attempted(let outcome): attempted(outcome, lane, nowMs, &actions)
        case .timer(let token) where lane == Self.gate: if token == quietToken { quietToken = nil }
        default: feed(event, lane, nowMs, &actions)
        }
        plan(nowMs, &actions)
        release(&actions)
        if hasGivenUp, openingAt != nil {
            openingAt = nil
            feed(.drain(.inFlight), Self.live, nowMs, &actions)
        }
        stopIfDone(&actions)
        return actions
    }
}

// MARK: Events

extension EndpointLanes {
    private mutating func feed(
        _ event: EndpointStateMachine.Event, _ lane: Int, _ nowMs: Int64, _ actions: inout [LaneAction]
    ) {
        guard var machine = lanes.removeValue(forKey: lane) else { return }
        machine.account = account
        machine.mayLeap =
            configuration.takesAnyOrder && lane == Self.live && gaps.count < DeliveryGap.countMax / 2
        let asked = machine.handle(event, nowMs: nowMs)
        account = machine.account
        lanes[lane] = machine
        if case .leaped(true) = event, let position = machine.position, let from = leaping {
            gaps.append(DeliveryGap(after: from, through: position.sequence))
            leaping = nil
        }
        if lane != Self.live { moved(lane) }
        for action in asked { take(action, of: lane, &actions) }
    }

    private mutating func take(
        _ action: EndpointStateMachine.Action, of lane: Int, _ actions: inout [LaneAction]
    ) {
        switch action {
        case .send: held.insert(lane)
        case .openCursor where lane != Self.live: break
        case .stopped: if lane != Self.live { ended(lane) }
        case .leap(let from, _):
            leaping = from
            actions.append(LaneAction(lane: lane, action: action))
        case .report(.simplified(_, let simpler, _)):
            form = simpler
            actions.append(LaneAction(lane: lane, action: action))
        default: actions.append(LaneAction(lane: lane, action: action))
        }
    }

    private mutating func opened(
        _ cursor: DeliveryCursor?, _ nowMs: Int64, _ actions: inout [LaneAction]
    ) {
        guard let cursor, lanes[Self.live]?.state == .opening else {
            return feed(.cursor(cursor?.position), Self.live, nowMs, &actions)
        }
        isOpen = true
        gaps = cursor.gaps.filter { !$0.isClosed }
        feed(.known(cursor.newest), Self.live, nowMs, &actions)
        openingAt = cursor.position
    }

    private mutating func all(
        _ event: EndpointStateMachine.Event, _ nowMs: Int64, _ actions: inout [LaneAction]
    ) {
        if case .resume = event { quietToken = nil }
        if case .drain(let scope) = event { draining = scope }
        for lane in lanes.keys.sorted() { feed(event, lane, nowMs, &actions) }
        // What waits for its turn is not on its way.
        if isPaused || draining == .inFlight { withdraw(nowMs, &actions) }
    }

    private mutating func withdraw(_ nowMs: Int64, _ actions: inout [LaneAction]) {
        for lane in held.sorted() { feed(.withdrawn, lane, nowMs, &actions) }
        held = []
    }

    private mutating func attempted(
        _ outcome: AttemptOutcome, _ lane: Int, _ nowMs: Int64, _ actions: inout [LaneAction]
    ) {
        inFlight.remove(lane)
        let (retries, failures) = (account.retries, account.failuresInARow)
        feed(.attempted(outcome), lane, nowMs, &actions)
        guard account.retries == retries else {
            limit.failed()
            if configuration.takesAnyOrder, case .response(_, let after?, _, _) = outcome {
                beQuiet(min(after, configuration.backoff.retryAfterMaxMs), &actions)
            }
            return
        }
        limit.succeeded()
        guard failures > 0, account.failuresInARow == 0 else { return }
        // It works again: who waits for another try need not any more.
        for other in lanes.keys.sorted() {
            if case .waiting(.send, let token, _) = lanes[other]?.state {
                feed(.timer(token), other, nowMs, &actions)
            }
        }
    }
}

// MARK: Gaps and the end

extension EndpointLanes {
    /// A lane of a gap has got on.
    private mutating func moved(_ lane: Int) {
        guard let machine = lanes[lane], let position = machine.position,
            let index = gaps.firstIndex(where: { $0.through == machine.through })
        else { return }
        gaps[index].after = max(gaps[index].after, position)
        if gaps[index].isClosed { gaps.remove(at: index) }
    }

    private mutating func ended(_ lane: Int) {
        let through = lanes.removeValue(forKey: lane)?.through
        if draining != nil, gaps.contains(where: { $0.through == through }) { hasGivenUp = true }
        held.remove(lane)
        inFlight.remove(lane)
    }

    private mutating func split(_ done: Bool) {
        defer { splitting = nil }
        guard let splitting, let index = gaps.firstIndex(where: { $0.through == splitting.through }) else {
            return
        }
        // One lane then takes all of it.
        unsplitThrough = done ? nil : splitting.through
        guard done else { return }
        let first = DeliveryGap(after: gaps[index].after, through: splitting.at)
        gaps[index].after = DeliveryPosition(sequence: splitting.at, parts: 0)
        gaps.insert(first, at: index)
    }

    /// Opens lanes for gaps, as many as are useful, and at last the one of new windows.
    private mutating func plan(_ nowMs: Int64, _ actions: inout [LaneAction]) {
        guard isOpen, draining != .inFlight, !hasGivenUp else { return }
        if let position = openingAt, configuration.takesAnyOrder || gaps.isEmpty {
            openingAt = nil
            feed(.cursor(position), Self.live, nowMs, &actions)
        }
        guard !isPaused, !isDisabled else { return }
        let taken = Set(lanes.values.compactMap(\.through))
        var free = gaps.filter { !taken.contains($0.through) }
        var wanted = (configuration.takesAnyOrder ? limit.now : 1) - taken.count
        while wanted > 0, splitting == nil, let gap = free.first {
            let end = gap.after.sequence + EndpointStateMachine.Limits.gapWindows
            if end < gap.through, gap.through != unsplitThrough, gaps.count < DeliveryGap.countMax {
                splitting = (gap.through, end)
                actions.append(
                    LaneAction(lane: Self.live, action: .split(gapThrough: gap.through, at: end)))
                return
            }
            begin(gap, nowMs, &actions)
            free.removeFirst()
            wanted -= 1
        }
    }

    private mutating func begin(_ gap: DeliveryGap, _ nowMs: Int64, _ actions: inout [LaneAction]) {
        lastLane += 1
        let own = seed &+ UInt64(lastLane) &* 0x9E37_79B9_7F4A_7C15
        lanes[lastLane] = EndpointStateMachine(
            configuration, seed: own, remembered: form, through: gap.through)
        feed(.start, lastLane, nowMs, &actions)
        if let draining { feed(.drain(draining), lastLane, nowMs, &actions) }
        feed(.cursor(gap.after), lastLane, nowMs, &actions)
    }

    private mutating func stopIfDone(_ actions: inout [LaneAction]) {
        guard !hasStopped, let draining, lanes.values.allSatisfy({ $0.state == .stopped }),
            gaps.isEmpty || draining == .inFlight || hasGivenUp || !isOpen || isPaused || isDisabled
        else { return }
        hasStopped = true
        actions.append(LaneAction(lane: Self.live, action: .stopped))
    }
}

// MARK: Requests

extension EndpointLanes {
    /// Lets out what waits, new windows first.
    private mutating func release(_ actions: inout [LaneAction]) {
        for lane in held.sorted() where mayGo(lane) {
            guard let part = lanes[lane]?.partOnItsWay else {
                held.remove(lane)
                continue
            }
            held.remove(lane)
            inFlight.insert(lane)
            lanes[lane]?.form = form
            actions.append(LaneAction(lane: lane, action: .send(part)))
        }
    }

    /// The last that the receiver said counts, for all lanes.
    private mutating func beQuiet(_ pauseMs: Int64, _ actions: inout [LaneAction]) {
        lastToken += 1
        quietToken = lastToken
        actions.append(LaneAction(lane: Self.gate, action: .wake(afterMs: pauseMs, token: lastToken)))
    }

    private func mayGo(_ lane: Int) -> Bool {
        guard inFlight.count < limit.now, quietToken == nil, !isDisabled else { return false }
        if account.failuresInARow > 0 {
            // One lane tries; the first of those that would.
            return inFlight.isEmpty && !lanes.contains { $0.key < lane && $0.value.waitsToSend }
        }
        if lane == Self.live { return true }
        // One request is kept for new windows.
        return inFlight.subtracting([Self.live]).count < max(1, limit.now - 1)
    }
}
