import Store

/// A part that fails again and again where others may get on, and makes room for them. What it is in becomes a gap of its own:
///
/// - In the lane of new windows, the cursor leaps over it.
/// - In the lane of a gap, what is behind it is split off and goes on in another lane; of several windows in one request the
///   halves go on for themselves, until the one to blame is alone.
///
/// When others have got answers since it began to fail, that is after `Limits.attempts`. When nobody has, the endpoint may be
/// down, and other windows find out: then each part has to fail twice as often as the one before, so that an outage of a
/// day costs a dozen gaps. What is set aside comes after all others, and of it one at a time.
///
/// Then nobody holds it, it costs no memory, and whoever takes it up when its time has come goes on counting. A part of which
/// some is answered already is not set aside: its pieces are known to its lane only.
struct SetAside: Sendable {
    var partID: String
    /// As in the lane that had it.
    var failures: Int
    var suspicions: Int
    var answersAtFailure: Int
    var backoff: Backoff
    /// Nobody else got an answer.
    var isBlind: Bool
    /// When it is tried again; by the clock of the events.
    var untilMs: Int64
    var because: String
    /// The last windows of the gaps in which it is.
    var throughs: [Int64] = []
    /// It was said that it fails: once, and not while the endpoint as a whole may be to blame.
    var isTold: Bool
    /// Rings when its time has come; `nil` afterwards.
    var token: Int?
}

extension SetAside {
    init(_ machine: EndpointStateMachine, isBlind: Bool, untilMs: Int64, because: String) {
        self.init(
            partID: machine.delivery?.part.id ?? "", failures: machine.failures,
            suspicions: machine.suspicions,
            answersAtFailure: machine.answersAtFailure, backoff: machine.sendBackoff, isBlind: isBlind,
            untilMs: untilMs, because: because, isTold: machine.isAsideTold)
    }
}

extension EndpointStateMachine {
    /// The part has failed so often that others go first.
    var isToMakeRoom: Bool {
        guard configuration.takesAnyOrder, let progress, let delivery, delivery.isWhole else { return false }
        let isAlone =
            through == progress.consignment.sequence && progress.consignment.middleSequence == nil
        if isAlone, isTakenUp { return true }
        guard isAlone || hasRoomForGap else { return false }
        let doublings = isStuck(account) ? 0 : min(account.blindAsides, 20)
        return suspicions >= Limits.attempts << doublings
    }

    /// A part that has failed again and again makes room for others, if it may.
    ///
    /// - Returns: whether it does.
    mutating func makeRoom(
        _ outcome: AttemptOutcome, _ delayMs: Int64, _ nowMs: Int64, _ actions: inout [Action]
    ) -> Bool {
        guard let consignment = progress?.consignment, isToMakeRoom else { return false }
        var aside = SetAside(
            self, isBlind: !isStuck(account), untilMs: nowMs + delayMs, because: outcome.text)
        state = .leaping
        guard let through else {
            // If nobody gets on, windows that have waited for long come along, and one gap holds them all.
            let old = aside.isBlind ? waitedFor(nowMs) : nil
            let end = max(consignment.sequence, old ?? 0)
            // What is between was not wanted.
            let from = max(reached, DeliveryPosition(sequence: consignment.firstSequence - 1, parts: 0))
            leap = (from, end)
            aside.throughs = [end]
            settingAside = aside
            actions.append(.leap(from: from, through: end))
            return true
        }
        aside.throughs = [consignment.sequence]
        if consignment.sequence < through {
            actions.append(.split(gapThrough: through, at: consignment.sequence))
        } else if let middle = consignment.middleSequence {
            aside.throughs = [middle, through]
            actions.append(.split(gapThrough: through, at: middle))
        } else {
            letGo(aside, &actions, isDurable: false)
            stopNow(&actions)
            return true
        }
        settingAside = aside
        return true
    }

    /// Newer windows go on, and what is set aside is in a gap.
    mutating func madeRoom(_ done: Bool, _ nowMs: Int64, _ actions: inout [Action]) {
        guard done, let aside = settingAside, let leap else { return keep(nowMs, &actions) }
        storeAnswered()
        land(leap.through, nowMs)
        letGo(aside, &actions)
        delivery = nil
        // Series that end in what is set aside have ended for this lane: once is enough to fail.
        finishWindow()
        proceed(nowMs, &actions)
    }

    /// What is set aside is in a gap of its own, and this lane has nothing left to do.
    mutating func wasSplit(_ done: Bool, _ nowMs: Int64, _ actions: inout [Action]) {
        guard done, let aside = settingAside else { return keep(nowMs, &actions) }
        storeAnswered()
        letGo(aside, &actions)
        stopNow(&actions)
    }

    /// It could not be set aside: it is tried again here.
    private mutating func keep(_ nowMs: Int64, _ actions: inout [Action]) {
        let untilMs = settingAside?.untilMs ?? nowMs
        settingAside = nil
        storeFailed(.send, nowMs, &actions, delayMs: untilMs - nowMs)
    }

    /// The store knows of it, and this lane has it no more.
    private mutating func letGo(
        _ aside: SetAside, _ actions: inout [Action], isDurable: Bool = true
    ) {
        var aside = aside
        if !aside.isBlind, !aside.isTold {
            aside.isTold = true
            actions.append(
                .report(.setAside(id: aside.partID, attempts: aside.failures, reason: aside.because)))
        }
        if aside.isBlind, isDurable { account.blindAsides += 1 }
        sendBackoff.reset()
        (failures, suspicions, isAsideTold) = (0, 0, false)
        settingAside = nil
        setAside = aside
    }

    /// Goes on with what another lane has set aside.
    mutating func takeUp(_ aside: SetAside) {
        (failures, suspicions, answersAtFailure) = (aside.failures, aside.suspicions, aside.answersAtFailure)
        sendBackoff = aside.backoff
        isAsideTold = aside.isTold
        isTakenUp = true
    }
}

extension EndpointStateMachine.Delivery {
    /// Nothing of it is answered.
    var isWhole: Bool { pieces == [part] && accepted == 0 && refusals == 0 && dead.isEmpty }
}
