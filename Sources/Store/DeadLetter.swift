/// What an endpoint refused for good.
public struct DeadLetter: Sendable, Hashable {
    /// Ids of events begin with it; no stream is named like that.
    public static let eventPrefix = "event/"

    public var endpoint: String
    /// The idempotency id of the part.
    public var id: String
    public var sequence: Int64
    /// HTTP status; 0 where there was none.
    public var status: Int
    /// One line for people.
    public var reason: String
    /// The request's body as it was sent.
    public var body: [UInt8]
    public var timeMs: Int64
    /// The beginning of the response's body.
    public var response: [UInt8]
    /// The protocol's own headers of the request, without any secret: what sending it again needs.
    public var headers: [Header]
    /// Numbers that are in it.
    public var samples: Int
    /// The body is all there, and refused: it can be sent again. What was taken in part is kept to be looked at.
    public var isReplayable: Bool

    public struct Header: Sendable, Hashable {
        public var name: String
        public var value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    public init(
        endpoint: String, id: String, sequence: Int64, status: Int, reason: String, body: [UInt8],
        timeMs: Int64, response: [UInt8] = [], headers: [Header] = [], samples: Int = 0,
        isReplayable: Bool = true
    ) {
        self.endpoint = endpoint
        self.id = id
        self.sequence = sequence
        self.status = status
        self.reason = reason
        self.body = body
        self.timeMs = timeMs
        self.response = response
        self.headers = headers
        self.samples = samples
        self.isReplayable = isReplayable
    }
}

/// A dead letter as it is kept.
public struct StoredDeadLetter: Sendable, Hashable {
    /// Grows, without reuse.
    public var number: Int64
    public var letter: DeadLetter
    /// Of the body as it was sent.
    public var bodyBytes: Int
    /// How often it has been refused.
    public var attempts: Int
}

/// Which dead letters. Empty means all.
public struct DeadLetterQuery: Sendable, Hashable {
    public var endpoint: String?
    public var numbers: Set<Int64>
    public var afterNumber: Int64
    public var limit: Int

    public init(endpoint: String? = nil, numbers: Set<Int64> = [], afterNumber: Int64 = 0, limit: Int = 100) {
        self.endpoint = endpoint
        self.numbers = numbers
        self.afterNumber = afterNumber
        self.limit = limit
    }
}
