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
/// A lane that fails on where others get on, because of what is in its part, is stuck: it tries again at its own times,
/// and neither it nor the backlog waits for the other. After some attempts its part makes room for what is behind it: it
/// becomes a gap of its own (`SetAside`).
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
    /// Gaps that the store makes two of: its own wish is that of the lane of new windows, others are of lanes that make room.
    private var splitting: [Int: (through: Int64, at: Int64)] = [:]
    /// Parts that nobody holds until their time has come, by the last window of their gap.
    private(set) var aside: [Int64: SetAside] = [:]
    /// Until this timer none of them is taken up, unless the endpoint works.
    private var asideToken: Int?
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
    /// It has said elsewhere that it wants none any more.
    private var isGone = false
    /// The receiver takes so many a minute.
    private var pace = RequestPace()
    private var paceToken: Int?
    private var isWelcome: Bool
    private var lastToken = 0
    /// How many windows fit into a request, as the lanes have found out.
    private var likely: Int

    init(_ configuration: EndpointConfiguration, seed: UInt64, remembered: WireForm? = nil) {
        self.configuration = configuration
        self.seed = seed
        // Strict ones try with all at first, and find out in one lane.
        likely =
            configuration.takesAnyOrder
            ? EndpointStateMachine.Limits.fetchedWindows : BatchLimits.windowsRange.upperBound
        isWelcome = configuration.handshakeOrigin == nil
        let first = EndpointStateMachine(configuration, seed: seed, remembered: remembered, likely: likely)
        lanes = [Self.live: first]
        form = first.form
        limit = InFlightLimit(max: configuration.takesAnyOrder ? configuration.maxInFlight : 1)
    }

    var isPaused: Bool { lanes[Self.live]?.isPaused ?? false }
    var isStopped: Bool { hasStopped }
    var isDisabled: Bool { isGone || lanes.values.contains { $0.state == .disabled } }

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
        case .split(let done):
            split(done, lane)
            if lane != Self.live { feed(event, lane, nowMs, &actions) }
        case .pause, .resume, .drain: all(event, nowMs, &actions)
        case .attempted(let outcome): attempted(outcome, lane, nowMs, &actions)
        case .quiet(let pauseMs): beQuiet(pauseMs, &actions)
        case .gone(let text):
            isGone = true
            account.failed(text, nowMs)
        case .timer(let token) where lane == Self.gate:
            if token == quietToken { quietToken = nil }
            if token == paceToken { paceToken = nil }
            if token == asideToken { asideToken = nil }
            for (through, one) in aside where one.token == token { aside[through]?.token = nil }
        default: feed(event, lane, nowMs, &actions)
        }
        plan(nowMs, &actions)
        if isGone, draining != nil { withdraw(nowMs, &actions) }
        release(nowMs, &actions)
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
            configuration.takesAnyOrder && lane == Self.live && gaps.count < DeliveryGap.countMax - 1
        machine.hasRoomForGap =
            gaps.count + splitting.count < EndpointStateMachine.Limits.gapsAside
        machine.doOthersWork = inFlight.contains { $0 != lane && lanes[$0]?.failures == 0 }
        let likelyBefore = machine.gatherer.likely
        let asked = machine.handle(event, nowMs: nowMs)
        account = machine.account
        if machine.gatherer.likely != likelyBefore { likely = machine.gatherer.likely }
        let made = machine.setAside
        machine.setAside = nil
        lanes[lane] = machine
        if case .leaped(true) = event, let position = machine.position, let from = leaping {
            gaps.append(DeliveryGap(after: from, through: position.sequence))
            leaping = nil
        }
        if lane != Self.live { moved(lane) }
        if let made { setAside(made, nowMs, &actions) }
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
        case .split(let through, let sequence):
            splitting[lane] = (through, sequence)
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
        if case .resume = event {
            (quietToken, asideToken, isGone) = (nil, nil, false)
            for through in aside.keys { aside[through]?.token = nil }
        }
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
        let wasStuck = lanes[lane]?.isStuck(account) ?? false
        let (retries, failures) = (account.retries, account.failuresInARow)
        feed(.attempted(outcome), lane, nowMs, &actions)
        guard account.retries == retries else {
            // What fails on where others get on says nothing of the endpoint.
            if !wasStuck || !outcome.mayBeThePart { limit.failed() }
            if configuration.takesAnyOrder, case .response(_, let after?, _, _) = outcome {
                beQuiet(min(after, configuration.backoff.retryAfterMaxMs), &actions)
            }
            return
        }
        limit.succeeded()
        guard failures > 0, account.failuresInARow == 0 else { return }
        // It works again: who waits for its second try need not any more. Others may have themselves to blame.
        for other in lanes.keys.sorted() where lanes[other]?.failures == 1 {
            if case .waiting(.send, let token, _) = lanes[other]?.state {
                feed(.timer(token), other, nowMs, &actions)
            }
        }
        for (through, one) in aside where one.isBlind { aside[through]?.token = nil }
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

    private mutating func split(_ done: Bool, _ lane: Int) {
        guard let wish = splitting.removeValue(forKey: lane),
            let index = gaps.firstIndex(where: { $0.through == wish.through })
        else { return }
        // One lane then takes all of it.
        if lane == Self.live { unsplitThrough = done ? nil : wish.through }
        guard done else { return }
        // What was set aside is at its head.
        if let made = aside.removeValue(forKey: wish.through) { aside[wish.at] = made }
        let first = DeliveryGap(after: gaps[index].after, through: wish.at)
        gaps[index].after = DeliveryPosition(sequence: wish.at, parts: 0)
        gaps.insert(first, at: index)
    }

    /// Nobody holds it until its time has come.
    private mutating func setAside(_ made: SetAside, _ nowMs: Int64, _ actions: inout [LaneAction]) {
        var made = made
        made.token = nextToken()
        if account.failuresInARow > 0 { asideToken = made.token }
        for through in made.throughs { aside[through] = made }
        actions.append(
            LaneAction(
                lane: Self.gate, action: .wake(afterMs: max(0, made.untilMs - nowMs), token: lastToken)))
    }

    /// Opens lanes for gaps, as many as are useful, and at last the one of new windows.
    private mutating func plan(_ nowMs: Int64, _ actions: inout [LaneAction]) {
        guard isOpen, draining != .inFlight, !hasGivenUp, !hasStopped else { return }
        if let position = openingAt, configuration.takesAnyOrder || gaps.isEmpty {
            openingAt = nil
            feed(.cursor(position), Self.live, nowMs, &actions)
        }
        guard !isPaused, !isDisabled else { return }
        let taken = Set(lanes.values.compactMap(\.through))
        var free = gaps.filter { !taken.contains($0.through) && aside[$0.through] == nil }
        let mayTryAside = asideToken == nil || account.failuresInARow == 0
        if mayTryAside, !lanes.values.contains(where: { $0.isTakenUp }) {
            // One at a time: what may take long to fail again leaves room for what does not.
            let rung = gaps.filter { aside[$0.through].map { $0.token == nil } ?? false }
            let next = rung.min { (aside[$0.through]?.untilMs ?? 0) < (aside[$1.through]?.untilMs ?? 0) }
            if let next { free.append(next) }
        }
        var wanted = 1 - taken.count
        if configuration.takesAnyOrder {
            // Who is stuck takes nobody's place, up to a number.
            let stuck = lanes.values.filter { $0.through != nil && $0.isStuck(account) }.count
            wanted = min(limit.now + stuck, 2 * limit.max) - taken.count
        }
        while wanted > 0, splitting[Self.live] == nil, let gap = free.first {
            let end = gap.after.sequence + EndpointStateMachine.Limits.gapWindows
            if end < gap.through, gap.through != unsplitThrough,
                gaps.count < DeliveryGap.countMax / 2
            {
                return take(.split(gapThrough: gap.through, at: end), of: Self.live, &actions)
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
            configuration, seed: own, remembered: form, through: gap.through, likely: likely)
        if let made = aside.removeValue(forKey: gap.through) { lanes[lastLane]?.takeUp(made) }
        feed(.start, lastLane, nowMs, &actions)
        if let draining { feed(.drain(draining), lastLane, nowMs, &actions) }
        feed(.cursor(gap.after), lastLane, nowMs, &actions)
    }

    private mutating func stopIfDone(_ actions: inout [LaneAction]) {
        guard !hasStopped, let draining, lanes.values.allSatisfy({ $0.state == .stopped }),
            gaps.allSatisfy({ aside[$0.through] != nil }) || draining == .inFlight || hasGivenUp || !isOpen
                || isPaused || isDisabled
        else { return }
        hasStopped = true
        actions.append(LaneAction(lane: Self.live, action: .stopped))
    }
}

// MARK: Requests

extension EndpointLanes {
    /// The receiver wants requests, and so many a minute. The part that asked goes out now.
    mutating func welcomed(ratePerMinute: Int?, nowMs: Int64) {
        isWelcome = true
        pace.allow(ratePerMinute: ratePerMinute)
        pace.asked(nowMs: nowMs)
    }

    /// Lets out what waits, new windows first.
    private mutating func release(_ nowMs: Int64, _ actions: inout [LaneAction]) {
        for lane in turns where mayGo(lane) {
            // In strict order there is nothing to choose from: the part waits on its way.
            let pauseMs = configuration.takesAnyOrder ? pace.waitMs(nowMs: nowMs) : 0
            if pauseMs > 0 {
                if paceToken == nil {
                    paceToken = nextToken()
                    actions.append(
                        LaneAction(
                            lane: Self.gate, action: .wake(afterMs: pauseMs, token: lastToken)))
                }
                return
            }
            guard let part = lanes[lane]?.partOnItsWay else {
                held.remove(lane)
                continue
            }
            held.remove(lane)
            inFlight.insert(lane)
            lanes[lane]?.form = form
            lanes[lane]?.refreshesAtSend = account.refreshes
            pace.asked(nowMs: nowMs)
            actions.append(LaneAction(lane: lane, action: .send(part)))
        }
    }

    /// Those that wait: new windows first, but while the endpoint fails whoever has not failed yet.
    private var turns: [Int] {
        let turns = held.sorted()
        guard account.failuresInARow > 0 else { return turns }
        return turns.filter { !hasFailed($0) } + turns.filter(hasFailed)
    }

    private func hasFailed(_ lane: Int) -> Bool { (lanes[lane]?.failures ?? 0) > 0 }

    /// The last that the receiver said counts, for all lanes.
    private mutating func beQuiet(_ pauseMs: Int64, _ actions: inout [LaneAction]) {
        quietToken = nextToken()
        actions.append(LaneAction(lane: Self.gate, action: .wake(afterMs: pauseMs, token: lastToken)))
    }

    private mutating func nextToken() -> Int {
        lastToken += 1
        return lastToken
    }

    private func mayGo(_ lane: Int) -> Bool {
        guard inFlight.count < limit.now, quietToken == nil, !isDisabled else { return false }
        // One asks whether requests are welcome.
        guard isWelcome || inFlight.isEmpty else { return false }
        if account.failuresInARow > 0 { return inFlight.isEmpty && mayTry(lane) }
        if lane == Self.live { return true }
        // One request is kept for new windows.
        return inFlight.subtracting([Self.live]).count < max(1, limit.now - 1)
    }

    /// While the endpoint fails one lane tries: the first of those that would, and one that is stuck only when there is
    /// no other. When its time has come it lets one go first that has not failed yet.
    private func mayTry(_ lane: Int) -> Bool {
        if !hasFailed(lane), held.contains(where: hasFailed) { return true }
        let isStuck = lanes[lane]?.isStuck(account) ?? false
        return !lanes.contains { other, machine in
            guard other != lane, !machine.isStuck(account) else { return false }
            return isStuck
                ? machine.waitsToSend || held.contains(other) : other < lane && machine.waitsToSend
        }
    }
}
