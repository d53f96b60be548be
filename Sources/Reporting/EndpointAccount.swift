/// What an endpoint has done since it was started.
struct EndpointAccount: Sendable, Equatable {
    /// Parts that were taken whole, in pieces, and not at all.
    var partsDelivered = 0
    var partsCut = 0
    var partsDead = 0
    var samples = 0
    /// Dead letters: parts or pieces of them.
    var deadLetters = 0
    var retries = 0
    /// How often a simpler form was taken because the endpoint did not understand the one before.
    var fallbacks = 0
    var dropped: [EndpointStateMachine.DropReason: Int] = [:]
    var failuresInARow = 0
    /// Parts of which nothing was taken, since the last of which something was.
    var refusalsInARow = 0
    /// Status of the last of them.
    var refusedStatus = 0
    /// Final answers, whichever.
    var answers = 0
    var isAnswered: Bool { answers > 0 }
    /// Parts that were set aside since its last answer: nobody knew whether they were to blame.
    var blindAsides = 0
    /// It was said that the endpoint fails.
    var isToldFailing = false
    /// It takes nothing of what was cut for long: cutting more is of no use.
    var isHopeless = false
    /// Refusals of one part that are borne where some of it is taken: less with each part that has many, so that an endpoint which goes
    /// on refusing some of everything does not fall behind for ever.
    var patience = EndpointStateMachine.Limits.refusalsWhenTaken
    /// Said once, and again only after it has been otherwise.
    var isRefusing = false
    /// Secrets were read again because of a refusal, and nothing has been taken since.
    var hasRefreshedCredentials = false
    /// How often.
    var refreshes = 0

    /// One part may be at fault itself; who asks, or where, is at fault for all of them.
    var isRefusedAll: Bool {
        refusalsInARow >= 3 || refusalsInARow > 0 && [401, 402, 403, 404, 405, 407].contains(refusedStatus)
    }
    /// What it said last about something that it took.
    var lastWarning: String?
    var lastError: String?
    var lastErrorMs: Int64?
    var lastDeliveredMs: Int64?

    mutating func failed(_ text: String, _ nowMs: Int64) {
        lastError = text
        lastErrorMs = nowMs
    }

    /// An attempt failed for now.
    ///
    /// - Returns: whether this is to be told.
    mutating func retried(isStuck: Bool, doOthersWork: Bool) -> Bool {
        retries += 1
        // What fails on where others get on says nothing of the endpoint.
        if !isStuck { failuresInARow += 1 }
        guard failuresInARow > 0, !isToldFailing, !doOthersWork else { return false }
        isToldFailing = true
        return true
    }

    /// - Returns: how many attempts had failed before, where that was told.
    mutating func answered() -> Int? {
        answers += 1
        blindAsides = 0
        let attempts = isToldFailing ? failuresInARow : nil
        isToldFailing = false
        failuresInARow = 0
        return attempts
    }

    /// Secrets are read again because of a refusal, once; who had sent before that tries the new ones.
    mutating func refresh(sentAfter known: Int) -> Bool {
        guard hasRefreshedCredentials else {
            hasRefreshedCredentials = true
            refreshes += 1
            return true
        }
        return known < refreshes
    }

    /// All of a part has its answers.
    mutating func finished(_ delivery: EndpointStateMachine.Delivery) {
        let isTaken = delivery.isTaken
        isHopeless = !isTaken && (isHopeless || delivery.refusals > EndpointStateMachine.Limits.refusals)
        let limits = EndpointStateMachine.Limits.refusals...EndpointStateMachine.Limits.refusalsWhenTaken
        if delivery.refusals > limits.lowerBound {
            patience = max(limits.lowerBound, patience / 4)
        } else if delivery.refusals == 0 {
            patience = min(limits.upperBound, patience * 2)
        }
        if isTaken { hasRefreshedCredentials = false }
        isRefusing = !delivery.dead.isEmpty
        refusalsInARow = !isTaken && isRefusing ? refusalsInARow + 1 : 0
        refusedStatus = delivery.dead.last?.status ?? 0
    }

    /// Counts what a durable move of the cursor settled.
    mutating func settle(_ advance: EndpointStateMachine.Advance) {
        samples += advance.samples
        deadLetters += advance.dead.count
        switch (advance.parts > 0, advance.dead.isEmpty) {
        case (true, true): partsDelivered += 1
        case (true, false): partsCut += 1
        case (false, false): partsDead += 1
        case (false, true): break
        }
    }
}

/// How much is finished before a stop.
public enum DrainScope: Sendable, Hashable {
    /// The parts that are on their way.
    case inFlight
    /// Everything that the store holds by now, for endpoints that are up.
    case pending
}
