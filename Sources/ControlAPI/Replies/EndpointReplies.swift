/// `colossusctl endpoints list`.
public struct EndpointsReply: Reply, Hashable {
    public static let schemaName = "colossus.endpoints/v1"

    public var schema: String = Self.schemaName
    public var endpoints: [EndpointStatus]

    public init(_ endpoints: [EndpointStatus]) { self.endpoints = endpoints }
}

/// Where summaries are pushed to, and how that goes.
public struct EndpointStatus: Codable, Sendable, Hashable {
    public var name: String
    /// `webhook`, `remote_write` or `file`.
    public var kind: String
    /// URL or path, without secrets.
    public var target: String
    public var state: State
    /// Windows still to be delivered.
    public var pending: Int = 0
    /// End of the oldest of them.
    public var oldestPending: UTCTime?
    /// Parts that were delivered since the endpoint became known.
    public var delivered: Int64 = 0
    public var samples: Int64 = 0
    /// Parts that it refused for good.
    public var dead: Int64 = 0
    public var lastDelivered: UTCTime?
    public var lastError: String?
    public var retryAt: UTCTime?
    /// Since it was configured: attempts that failed and were made again.
    public var retried: Int64?
    /// Windows or samples that it did not get, by reason: `coarsened` and `dropped` windows, `future`, `revision` and `form` samples.
    public var dropped: [String: Int64]?
    /// A request is on its way.
    public var inFlight: Bool?
    /// Duration of the last request.
    public var latencySeconds: Double?
    /// How long the oldest window that it has not got has been there.
    public var oldestPendingSeconds: Double?
    /// `closed`, `open` or `half_open`.
    public var circuit: String?
    /// About as many bytes would be sent for what is pending: windows times the mean of those that were sent lately.
    public var pendingBytes: Int64?
    /// Of an endpoint that takes any order: windows of `pending` that are older than some that it has got.
    public var backlog: Int?
    /// How long the oldest window has been there that the lane of new windows has not got; 0 when it has all.
    public var liveSeconds: Double?
    /// Requests that are on their way.
    public var requests: Int?
    /// How many may be at once, by now.
    public var requestsMax: Int?
    /// Version and compression as they were negotiated.
    public var form: String?

    public enum State: String, Codable, Sendable, Hashable { case ok, retrying, paused, disabled, idle }

    public init(name: String, kind: String, target: String, state: State) {
        self.name = name
        self.kind = kind
        self.target = target
        self.state = state
    }
}

/// `colossusctl endpoints pause|resume|drain|replay NAME`.
public struct EndpointChangeReply: Reply, Hashable {
    public static let schemaName = "colossus.endpoint_change/v1"

    public var schema: String = Self.schemaName
    public var endpoint: EndpointStatus
    /// There is nothing to wait for any more.
    public var done: Bool
    /// In a sentence.
    public var message: String

    public init(_ endpoint: EndpointStatus, done: Bool, message: String) {
        self.endpoint = endpoint
        self.done = done
        self.message = message
    }
}

/// `colossusctl endpoints test NAME`: one harmless request, now.
public struct EndpointTestReply: Reply, Hashable {
    public static let schemaName = "colossus.endpoint_test/v1"

    public var schema: String = Self.schemaName
    public var name: String
    public var ok: Bool
    /// HTTP status, where there is one.
    public var status: Int?
    public var milliseconds: Double?
    /// What happened, in a sentence.
    public var message: String

    public init(
        name: String, ok: Bool, status: Int? = nil, milliseconds: Double? = nil, message: String
    ) {
        self.name = name
        self.ok = ok
        self.status = status
        self.milliseconds = milliseconds
        self.message = message
    }
}
