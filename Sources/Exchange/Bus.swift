/// Where a message goes: tokens with dots between; filters may have `*` for one token and `>` for all that follow.
public struct Subject: Hashable, Sendable, CustomStringConvertible {
    public let text: String
    public init(_ text: String) { self.text = text }
    public var description: String { text }
    public var tokens: [Substring] { text.split(separator: ".", omittingEmptySubsequences: false) }

    /// Whether this filter lets a subject through.
    public func matches(_ subject: Subject) -> Bool {
        if text == subject.text { return true }
        let mine = tokens
        let theirs = subject.tokens
        for (index, token) in mine.enumerated() {
            if token == ">" { return theirs.count > index }
            guard index < theirs.count, token == "*" || token == theirs[index] else { return false }
        }
        return mine.count == theirs.count
    }
}

/// A log of the bus. Each numbers its messages from 1 up.
public enum BusStream: String, Sendable, CaseIterable {
    /// Shares of windows; kept for minutes.
    case partials
    /// Closed windows; kept for days.
    case finals
    /// Who owns what, and who lives: the last message of each subject.
    case leases
}

extension BusStream {
    /// That it takes no more, and what to do.
    public var fullWords: String {
        switch self {
        case .partials:
            "the stream of partials is full, and windows wait: there must be a roll-up for each partition, and room for "
                + "the windows that wait (cluster.partials_bytes, limits of the brokers)"
        case .finals:
            "the stream of finals is full, and windows wait: give the brokers more room (their limits and disks), or "
                + "keep finals for less time (cluster.finals_keep)"
        case .leases: "the stream of leases is full: give the brokers more room (their limits and disks)"
        }
    }
}

/// What must hold for a message to be stored.
public enum Expectation: Hashable, Sendable {
    case none
    /// The last message of this subject has this sequence; 0: there is none. What leases and finals rest upon.
    case lastSequence(UInt64)
}

/// A message to publish.
public struct BusMessage: Sendable {
    public var stream: BusStream
    public var subject: Subject
    public var bytes: [UInt8]
    /// Lets the broker drop a copy early. Never what exactness rests upon: a repeated attempt goes without.
    public var id: String?

    public init(stream: BusStream, subject: Subject, bytes: [UInt8], id: String? = nil) {
        self.stream = stream
        self.subject = subject
        self.bytes = bytes
        self.id = id
    }
}

/// A message as the broker keeps it.
public struct StoredMessage: Sendable, Equatable {
    public var subject: Subject
    public var bytes: [UInt8]
    public var sequence: UInt64
    /// When the broker stored it, by its clock (Unix milliseconds).
    public var timestampMs: Int64

    public init(subject: Subject, bytes: [UInt8], sequence: UInt64, timestampMs: Int64) {
        self.subject = subject
        self.bytes = bytes
        self.sequence = sequence
        self.timestampMs = timestampMs
    }
}

/// What became of a request to the bus, when it was not what was asked for.
public enum BusError: Error, Hashable, Sendable {
    /// Somebody else's message is in the place that was expected.
    case conflict
    /// Nobody knows: it may be stored, or be stored yet. Read before concluding anything.
    case ambiguous
    /// The stream takes no more.
    case full
    /// No broker can be reached, or it has no leader now. Nothing is known to be stored.
    case unavailable
    /// The broker refuses by its permissions; says what.
    case denied(String)
    /// What trying again will not heal; says what.
    case failed(String)
}

/// Where reading a stream starts.
public enum BusStart: Hashable, Sendable {
    case sequence(UInt64)
    /// The last message of each subject, then all that follow: how leases are watched.
    case lastOfEachSubject
}

/// What a reader of a stream is told.
public enum BusDelivery: Sendable {
    /// In the order of their sequences; none is left out.
    case messages([StoredMessage])
    /// It ended by itself; open it again behind the last message.
    case ended(BusError)
}

/// A stream that is being read. Reading ends with `close`, or when nobody holds it any more.
public protocol BusCursor: AnyObject, Sendable {
    func close()
}

/// What the protocol between workers and roll-ups needs of a broker. Callbacks come on any thread, also on the calling
/// one before the call returns, and each exactly once (`deliver`: again and again, one after the other).
public protocol Bus: Sendable {
    /// Stores a message; its sequence. Gives up as `ambiguous` within some seconds.
    func publish(
        _ message: BusMessage, expecting: Expectation,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void)

    /// The last message of a subject as the stream's leader has it; `nil` when there is none.
    func last(
        _ stream: BusStream, _ subject: Subject,
        done: @escaping @Sendable (Result<StoredMessage?, BusError>) -> Void)

    /// Reads on, from a place that is there already and then what comes.
    func open(
        _ stream: BusStream, _ filter: Subject, from start: BusStart,
        deliver: @escaping @Sendable (BusDelivery) -> Void
    ) -> any BusCursor

    /// Takes away what nobody needs any more: the messages of these subjects that are stored before `sequence`. How many
    /// they were.
    func trim(
        _ stream: BusStream, _ filter: Subject, before sequence: UInt64,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void)

    /// Asks whoever answers on a subject; one answer.
    func request(
        _ subject: Subject, _ bytes: [UInt8], timeoutMs: Int64,
        done: @escaping @Sendable (Result<[UInt8], BusError>) -> Void)

    /// Answers requests until the cursor is closed. Of several with one `group` each request goes to one.
    func respond(
        _ subject: Subject, group: String?, answer: @escaping @Sendable ([UInt8]) -> [UInt8]
    ) -> any BusCursor
}

extension Bus {
    /// Compare and set: stores `value` if the subject's last message has this sequence (0: none).
    public func compareAndSet(
        _ subject: Subject, _ value: [UInt8], expecting sequence: UInt64,
        done: @escaping @Sendable (Result<UInt64, BusError>) -> Void
    ) {
        publish(
            BusMessage(stream: .leases, subject: subject, bytes: value), expecting: .lastSequence(sequence),
            done: done)
    }

    /// Tells the last value of each subject, and then each new one.
    public func watch(
        _ filter: Subject, deliver: @escaping @Sendable (BusDelivery) -> Void
    ) -> any BusCursor {
        open(.leases, filter, from: .lastOfEachSubject, deliver: deliver)
    }
}

/// Later, on somebody's clock: a queue's, or a test's that runs as fast as it can.
public protocol Scheduler: Sendable {
    /// Milliseconds that never go back. Not the time of day.
    var nowMs: Int64 { get }
    func after(_ delayMs: Int64, _ body: @escaping @Sendable () -> Void)
}
