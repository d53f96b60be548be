public import Store

/// How an endpoint is doing, for `colossusctl endpoints list`.
public struct EndpointStatus: Sendable, Hashable {
    /// The raw value is what users see.
    public enum State: String, Sendable, Hashable {
        /// Its cursor is being read.
        case starting
        /// Everything is delivered.
        case idle
        /// A part is on its way, or its delivery is being recorded.
        case sending
        /// The last attempt failed; the next has its time.
        case retrying
        /// An operator has paused it.
        case paused
        /// It said that it wants nothing any more (410), until its configuration changes or the service starts anew.
        case disabled
        case stopped
    }

    /// The raw value is what users see.
    public enum Circuit: String, Sendable, Hashable {
        /// The last answer was final.
        case closed
        /// It does not work, and nothing is sent for now.
        case open
        /// It did not work, and is being tried.
        case halfOpen = "half_open"
    }

    public var name: String
    public var kind: EndpointKind
    /// Without user, password and query.
    public var destination: String
    public var state: State
    public var circuit: Circuit
    /// The durable cursor; `nil` before the store has answered.
    public var position: DeliveryPosition?
    /// Windows behind the newest known one, selected or not.
    public var pendingWindows: Int64
    /// Since the start of this endpoint in this process:
    public var deliveredParts: Int
    public var deliveredSamples: Int
    public var deadLetters: Int
    public var retries: Int
    /// Samples that were selected and not sent, by reason (`future`, `revision`).
    public var dropped: [String: Int]
    public var failuresInARow: Int
    /// It answers, and takes nothing: some parts in a row, or one because of who asks or where.
    public var isRefusingAll: Bool
    /// There was a final answer since the start of this endpoint in this process.
    public var isAnswered: Bool
    public var lastError: String?
    /// Unix milliseconds.
    public var lastErrorMs: Int64?
    /// Unix milliseconds; while `retrying`.
    public var nextRetryMs: Int64?
    /// Unix milliseconds.
    public var lastDeliveredMs: Int64?
    /// A request is on its way.
    public var isSending: Bool
    /// Duration of the last request.
    public var lastSeconds: Double?
    /// Version and compression, as `2.0 snappy`; empty for files.
    public var form: String
    /// How often a simpler one was taken.
    public var fallbacks: Int
    /// New windows do not wait for old ones.
    public var takesAnyOrder: Bool
    /// Requests that are on their way, and how many may be by now.
    public var inFlight: Int
    public var inFlightMax: Int
    /// Stretches of windows that are sent beside new ones.
    public var gaps: Int
    /// Bytes of a window as they were sent lately; `nil` before the first.
    public var windowBytes: Double?
}

/// What came of `Reporter.test` or `Reporter.resend`.
public struct EndpointTestResult: Sendable, Hashable {
    public var endpoint: String
    public var succeeded: Bool
    /// Another try may end otherwise.
    public var isTemporary: Bool
    /// HTTP status, or 0.
    public var status: Int
    public var seconds: Double
    /// A sentence for people.
    public var message: String
    /// The beginning of the response's body.
    public var response: [UInt8]
}

extension EndpointLanes {
    var status: EndpointStatus {
        EndpointStatus(
            name: configuration.name, kind: configuration.kind, destination: configuration.destination,
            state: visibleState, circuit: circuit, position: lanes[Self.live]?.position,
            pendingWindows: pendingWindows,
            deliveredParts: account.partsDelivered + account.partsCut, deliveredSamples: account.samples,
            deadLetters: account.deadLetters, retries: account.retries,
            dropped: Dictionary(uniqueKeysWithValues: account.dropped.map { ($0.rawValue, $1) }),
            failuresInARow: account.failuresInARow, isRefusingAll: account.isRefusedAll,
            isAnswered: account.isAnswered, lastError: account.lastError,
            lastErrorMs: account.lastErrorMs, nextRetryMs: nextRetryMs,
            lastDeliveredMs: account.lastDeliveredMs, isSending: !inFlight.isEmpty, lastSeconds: nil,
            form: configuration.kind.isRequesting ? form(of: Self.live).description : "",
            fallbacks: account.fallbacks, takesAnyOrder: configuration.takesAnyOrder,
            inFlight: inFlight.count, inFlightMax: limit.now, gaps: gaps.count
        )
    }

    /// Windows that are known and not done, selected or not.
    var pendingWindows: Int64 {
        gaps.reduce(lanes[Self.live]?.pendingWindows ?? 0) { $0 + max(0, $1.through - $1.after.sequence) }
    }

    var isCircuitOpen: Bool { circuit != .closed }

    private var nextRetryMs: Int64? {
        (lanes.values.compactMap(\.nextRetryMs) + aside.values.map(\.untilMs)).min()
    }

    /// What is to be said first.
    private var visibleState: EndpointStatus.State {
        var states = Set(lanes.values.map(\.visibleState))
        if !aside.isEmpty { states.insert(.retrying) }
        if isDisabled, !isStopped { states.insert(.disabled) }
        // The cursor may wait for gaps to be closed.
        if isPaused, states == [.starting] { return .paused }
        let order: [EndpointStatus.State] = [.disabled, .paused, .retrying, .sending, .idle, .starting]
        return order.first { states.contains($0) } ?? .stopped
    }

    private var circuit: EndpointStatus.Circuit {
        if isDisabled { return .open }
        if account.failuresInARow > 0 { return inFlight.isEmpty ? .open : .halfOpen }
        // What fails on where others get on is no fault of the endpoint's.
        return .closed
    }
}

extension EndpointStateMachine {
    /// Windows between what is done and the newest one that is known, or the end of the gap.
    var pendingWindows: Int64 {
        position == nil ? 0 : max(0, (through ?? newestSequence) - reachedSequence)
    }

    var visibleState: EndpointStatus.State {
        switch state {
        case .created, .opening: .starting
        case .idle, .fetching: .idle
        case .sending, .advancing, .leaping: .sending
        case .waiting: .retrying
        case .paused: .paused
        case .disabled: .disabled
        case .stopped: .stopped
        }
    }

    /// It failed, and tries again when its time has come.
    var waitsToSend: Bool { if case .waiting(.send, _, _) = state { true } else { false } }

    /// It has failed, and others got answers since.
    func isStuck(_ account: EndpointAccount) -> Bool { failures > 0 && account.answers > answersAtFailure }

    var nextRetryMs: Int64? {
        if case .waiting(_, _, let untilMs) = state { untilMs } else { nil }
    }
}
