/// Which dead letters to show.
public struct DeadLettersRequest: Sendable, Hashable {
    /// Absent: of all endpoints.
    public var endpoint: String?
    /// Only those with a greater number.
    public var after: Int64?
    public var limit = 100

    public init() {}

    public init(query: QueryString) throws(ControlError) {
        try query.allow(["endpoint", "after", "limit"])
        endpoint = query["endpoint"]
        after = try query.integer("after").map(Int64.init)
        limit = try query.limit(default: limit)
    }

    public var query: QueryString {
        var query = QueryString()
        query.add("endpoint", endpoint)
        query.add("after", after.map(String.init))
        query.add("limit", String(limit))
        return query
    }
}

/// Body of `POST /v1/deadletters/replay` and `…/drop`: some numbers, an endpoint's, or all.
public struct DeadLetterSelection: Codable, Sendable, Hashable {
    public var numbers: [Int64]?
    public var endpoint: String?
    /// Must be said where nothing else is.
    public var all: Bool?
    /// Only those with a greater number: a replay goes on behind what it has tried.
    public var after: Int64?

    public init() {}

    /// Says what is meant, so that a body that was forgotten does not mean everything.
    public func check() throws(ControlError) {
        guard numbers?.isEmpty ?? true, endpoint == nil, all != true else { return }
        throw ControlError(
            .badRequest, "No dead letter is named.",
            hint: "Give numbers, an endpoint, or all.")
    }
}

/// What can be done to an endpoint.
public enum EndpointAction: Sendable, Hashable {
    /// After what is on its way; also over restarts.
    case pause
    case resume
    /// Sends all there is, and pauses then. One request waits for some seconds only.
    case drain
    case replay(EndpointReplay)
}

/// Body of `POST /v1/endpoints/NAME/replay`: the windows that start in this time.
public struct EndpointReplay: Codable, Sendable, Hashable {
    public var from: UTCTime
    /// Not included.
    public var to: UTCTime

    public init(from: UTCTime, to: UTCTime) {
        self.from = from
        self.to = to
    }
}
