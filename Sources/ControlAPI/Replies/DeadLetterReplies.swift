/// `colossusctl deadletter list`.
public struct DeadLettersReply: Reply, Hashable {
    public static let schemaName = "colossus.dead_letters/v1"

    public var schema: String = Self.schemaName
    /// Oldest first.
    public var deadLetters: [DeadLetterRow]
    /// There are more: ask again with `after` the last number.
    public var truncated: Bool

    public init(_ deadLetters: [DeadLetterRow], truncated: Bool = false) {
        self.deadLetters = deadLetters
        self.truncated = truncated
    }
}

/// What an endpoint refused for good.
public struct DeadLetterRow: Codable, Sendable, Hashable {
    public var number: Int64
    public var endpoint: String
    /// The idempotency id: `STREAM/RESOLUTION/START/REVISION/PART`; with `~2` and so on where others had it before.
    public var id: String
    /// When it was refused last.
    public var time: UTCTime
    /// HTTP status; 0 where there was none.
    public var status: Int
    public var reason: String
    /// Numbers in it.
    public var samples: Int
    /// Of the request's body.
    public var bytes: Int
    /// How often it was refused.
    public var attempts: Int
    /// `false` for what was taken in part, and for bodies that were too large to be kept.
    public var replayable: Bool

    public init(number: Int64, endpoint: String, id: String, time: UTCTime, status: Int, reason: String) {
        self.number = number
        self.endpoint = endpoint
        self.id = id
        self.time = time
        self.status = status
        self.reason = reason
        samples = 0
        bytes = 0
        attempts = 1
        replayable = true
    }
}

/// `colossusctl deadletter show NUMBER`.
public struct DeadLetterReply: Reply, Hashable {
    public static let schemaName = "colossus.dead_letter/v1"

    public var schema: String = Self.schemaName
    public var deadLetter: DeadLetterRow
    /// The protocol's own headers; secrets are added when it is sent.
    public var headers: [DeadLetterHeader]
    /// The beginning of what the endpoint said, where it is text.
    public var response: String?
    /// The request's body, where it is text; else `bodyBase64`.
    public var body: String?
    public var bodyBase64: String?

    public init(_ deadLetter: DeadLetterRow, headers: [DeadLetterHeader]) {
        self.deadLetter = deadLetter
        self.headers = headers
    }
}

/// One line of a request's head.
public struct DeadLetterHeader: Codable, Sendable, Hashable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// `colossusctl deadletter replay` and `drop`.
public struct DeadLettersDoneReply: Reply, Hashable {
    public static let schemaName = "colossus.dead_letters_done/v1"

    public var schema: String = Self.schemaName
    /// Sent again and taken.
    public var delivered = 0
    /// Deleted unsent.
    public var dropped = 0
    /// Sent again and not taken: they stay.
    public var refused = 0
    /// Not sent: not replayable, or their endpoint is not in the configuration.
    public var skipped = 0
    /// Why, for the first of them.
    public var problems: [String] = []
    /// There are more than one request works off, or than an endpoint takes now.
    public var truncated = false
    /// The last one that was tried: ask again with it as `after`. Absent when it makes no sense to go on now.
    public var next: Int64?

    public init() {}
}

extension DeadLettersDoneReply {
    /// Problems that a sum of some replies tells of.
    private static var problemsMax: Int { 10 }

    /// Adds what a later request has done, which is also how far all of it is then.
    public mutating func add(_ later: Self) {
        delivered += later.delivered
        dropped += later.dropped
        refused += later.refused
        skipped += later.skipped
        problems = Array((problems + later.problems).prefix(Self.problemsMax))
        truncated = later.truncated
        next = later.next
    }
}
