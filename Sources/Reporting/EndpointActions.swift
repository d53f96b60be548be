import Store
import Telemetry

// What the state machine of an endpoint is told, what it asks for, and where it can be.

extension EndpointStateMachine {
    enum Event: Sendable {
        case start
        /// Replies of the store; `nil` and `false` when it failed.
        case cursor(DeliveryPosition?)
        case windows([StoredWindow]?, scannedThrough: Int64)
        case fetched([Consignment]?, scannedThrough: Int64)
        case advanced(Bool)
        case leaped(Bool)
        /// For `EndpointLanes`: where the endpoint stands, and whether a gap was split.
        case opened(DeliveryCursor?)
        case split(Bool)
        /// New windows were committed, this is the newest.
        case committed(Int64)
        /// The newest of the windows that were there before.
        case known(Int64)
        /// What was to be sent has not been, and will not be for now.
        case withdrawn
        case attempted(AttemptOutcome)
        /// The time of a `wake` has come.
        case timer(Int)
        case drain(DrainScope)
        /// An operator wants it to rest, or to go on; going on also wakes one that is disabled or waits.
        case pause
        case resume
        /// Nobody is to wait for more windows to come along.
        case hurry
        /// For `EndpointLanes`: the receiver has said elsewhere that it wants no requests for so long, or none any more.
        case quiet(forMs: Int64)
        case gone(String)
    }

    enum Action: Sendable, Equatable {
        case openCursor(fromBeginning: Bool)
        case fetch(after: DeliveryPosition, through: Int64?, limit: Int)
        case send(Part)
        case advance(Advance)
        /// A durable move of the cursor that leaves a gap behind.
        case leap(from: DeliveryPosition, through: Int64)
        /// Makes two gaps of one.
        case split(gapThrough: Int64, at: Int64)
        case wake(afterMs: Int64, token: Int)
        case report(Notice)
        case stopped
    }

    /// A durable move of the cursor, and what it settles.
    struct Advance: Sendable, Equatable {
        var to: DeliveryPosition
        /// The last window of the gap in which it is; `nil` for the cursor.
        var through: Int64?
        var parts = 0
        var samples = 0
        var dead: [Refusal] = []
    }

    /// A part that is being delivered, possibly in pieces.
    struct Delivery: Sendable {
        var part: Part
        /// What is left of it; the last is sent next.
        var pieces: [Part]
        var accepted = 0
        var refusals = 0
        /// Attempts that failed because of secrets that may have been replaced.
        var refreshes = 0
        var dead: [Refusal] = []

        /// Some of it was taken, whether it is known how much or not.
        var isTaken: Bool { accepted > 0 || dead.contains(where: \.isPartial) }
    }

    /// A part, or a piece of one, that was refused for good.
    struct Refusal: Sendable, Equatable {
        var part: Part
        var status: Int
        var reason: String
        /// The beginning of what the endpoint said.
        var response: [UInt8] = []
        /// Some of it was taken.
        var isPartial = false
    }

    /// What an operator may want to read in the journal.
    enum Notice: Sendable, Equatable {
        case failing(String)
        case recovered(afterAttempts: Int)
        case refused(samples: Int, reason: String)
        case disabled(String)
        case dropped(samples: Int, DropReason)
        case storeFailing
        /// A part makes room for others, and is tried on beside them.
        case setAside(id: String, attempts: Int, reason: String)
        case simplified(from: WireForm, to: WireForm, because: String)
        /// It took everything, and has something to say.
        case warned(String)
    }

    /// Why samples are not sent although they were selected. The raw value is the label of a metric.
    enum DropReason: String, CaseIterable, Sendable {
        case future, revision
        /// The endpoint does not understand the form that would have them.
        case form
    }

    enum Step: Sendable, Equatable { case open, fetch, send, advance }

    enum State: Sendable, Equatable {
        case created, opening, idle, fetching, sending, advancing, leaping, paused, disabled, stopped
        /// Until the timer of that token.
        case waiting(Step, token: Int, untilMs: Int64)
    }

    /// Named limits.
    enum Limits {
        /// Windows held in memory.
        static let fetchedWindows = 4
        /// Refusals of one part before what is left is no longer cut, while nothing of it was taken; and where some was:
        /// enough to find a hundred bad rows among five thousand.
        static let refusals = 64
        static let refusalsWhenTaken = 1_024
        /// The same after a part of which nothing was accepted: an endpoint that refuses everything costs little.
        static let refusalsWhenHopeless = 2
        /// Attempts of one part that a replaced token may cost; with several lanes another one may find it first.
        static let refreshes = 2
        /// How far the cursor may be behind in windows that were not selected, before it is moved for their sake.
        static let skippedWindows: Int64 = 64
        static let skippedMs: Int64 = 5_000
        /// How long windows stay new: after it they make room for newer ones, where the endpoint takes any order.
        static let liveMs: Int64 = 1_000
        /// Windows of a gap that one lane takes.
        static let gapWindows: Int64 = 64
        /// Failed attempts of a part before it makes room for others.
        static let attempts = 3
        /// Gaps up to which parts make room: what is left of `DeliveryGap.countMax` is for outages.
        static let gapsAside = 48
        /// Windows of remote write may end this much after now.
        static let futureMs: Int64 = 600_000
    }
}

extension EndpointConfiguration {
    /// Why a window is not sent although it was selected; `nil` when it is.
    func dropReason(_ window: StoredWindow, _ nowMs: Int64) -> EndpointStateMachine.DropReason? {
        if window.summary.revision > 0, !sendsRevisions { return .revision }
        if kind.refusesFuture, !allowFuture,
            window.summary.endMs > nowMs + EndpointStateMachine.Limits.futureMs
        {
            return .future
        }
        return nil
    }
}
