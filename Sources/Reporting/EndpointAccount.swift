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
    /// There was a final answer, whichever.
    var isAnswered = false

    /// One part may be at fault itself; who asks, or where, is at fault for all of them.
    var isRefusedAll: Bool {
        refusalsInARow >= 3 || refusalsInARow > 0 && [401, 402, 403, 404, 405, 407].contains(refusedStatus)
    }
    var lastError: String?
    var lastErrorMs: Int64?
    var lastDeliveredMs: Int64?

    mutating func failed(_ text: String, _ nowMs: Int64) {
        lastError = text
        lastErrorMs = nowMs
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
