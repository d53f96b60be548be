/// Bounds on what one request may ask for and one reply may hold.
public enum ControlLimits {
    /// Body of a request: a scenario file has some kilobytes.
    public static let requestBytesMax = 1 << 20
    /// Body of a reply, as clients take it.
    public static let replyBytesMax = 64 << 20
    /// Head of a reply.
    public static let headBytesMax = 64 << 10
    public static let rowsMax = 100_000
    public static let rowsDefault = 1000
}

/// Which window to show, and which rows of it.
public struct SummaryRequest: Sendable, Hashable {
    /// Absent: `measured` if it has windows, else the only (or the newest) simulated stream.
    public var stream: String?
    /// Milliseconds; absent: the finest there is.
    public var resolutionMs: Int64?
    public var level = "site"
    /// Exactly this entity.
    public var entity: String?
    /// Exactly this field, by any of its names.
    public var field: String?
    /// The newest window that ends at this moment or before; absent: the newest.
    public var at: UTCTime?
    /// Most rows to return.
    public var limit = ControlLimits.rowsDefault

    public init() {}

    public init(query: QueryString) throws(ControlError) {
        try query.allow(["stream", "resolution", "level", "entity", "field", "at", "limit"])
        stream = query["stream"]
        resolutionMs = try query.duration("resolution")
        level = query["level"] ?? "site"
        entity = query["entity"]
        field = query["field"]
        at = try query.time("at")
        limit = try query.limit(default: limit)
    }

    public var query: QueryString {
        var query = QueryString()
        query.add("stream", stream)
        query.add("resolution", resolutionMs.map(DurationText.text(ms:)))
        query.add("level", level)
        query.add("entity", entity)
        query.add("field", field)
        query.add("at", at?.description)
        query.add("limit", String(limit))
        return query
    }
}

/// Which version of a fleet to show, and which part of it.
public struct InventoryRequest: Sendable, Hashable {
    /// As in `SummaryRequest`.
    public var stream: String?
    /// The fleet of the newest window that ends at this moment or before; absent: as it is now.
    public var at: UTCTime?
    /// The nodes of this rack, array or hall, or this node.
    public var entity: String?
    /// Only nodes that nobody waits for any more.
    public var removed = false
    public var limit = ControlLimits.rowsDefault

    public init() {}

    public init(query: QueryString) throws(ControlError) {
        try query.allow(["stream", "at", "entity", "removed", "limit"])
        stream = query["stream"]
        at = try query.time("at")
        entity = query["entity"]
        removed = query["removed"] == "true"
        limit = try query.limit(default: limit)
    }

    public var query: QueryString {
        var query = QueryString()
        query.add("stream", stream)
        query.add("at", at?.description)
        query.add("entity", entity)
        query.add("removed", removed ? "true" : nil)
        query.add("limit", String(limit))
        return query
    }
}

/// Which stretch of a stream's timeline to show.
public struct TimelineRequest: Sendable, Hashable {
    /// As in `SummaryRequest`.
    public var stream: String?
    /// Milliseconds: the last point of each step. Absent: all points.
    public var resolutionMs: Int64?
    /// Points at this moment or later.
    public var from: UTCTime?
    /// Points at this moment or earlier.
    public var to: UTCTime?
    public var limit = ControlLimits.rowsDefault

    public init() {}

    public init(query: QueryString) throws(ControlError) {
        try query.allow(["stream", "resolution", "from", "to", "limit"])
        stream = query["stream"]
        resolutionMs = try query.duration("resolution")
        from = try query.time("from")
        to = try query.time("to")
        limit = try query.limit(default: limit)
        try Self.check(from, to)
    }

    /// An empty answer to a range that ends before it begins would hide the mistake.
    static func check(_ from: UTCTime?, _ to: UTCTime?) throws(ControlError) {
        guard let from, let to, to < from else { return }
        throw ControlError(
            .badRequest, "The range ends (\(to)) before it begins (\(from)).", hint: "Exchange from and to.")
    }

    public var query: QueryString {
        var query = QueryString()
        query.add("stream", stream)
        query.add("resolution", resolutionMs.map(DurationText.text(ms:)))
        query.add("from", from?.description)
        query.add("to", to?.description)
        query.add("limit", String(limit))
        return query
    }
}

/// Which events to show.
public struct EventsRequest: Sendable, Hashable {
    /// Absent: all streams.
    public var stream: String?
    public var kind: String?
    public var entity: String?
    public var job: String?
    public var from: UTCTime?
    public var to: UTCTime?
    /// Only what was stored after this position, oldest first. Absent: the newest ones.
    public var after: Int64?
    public var limit = 100

    public init() {}

    public init(query: QueryString) throws(ControlError) {
        try query.allow(["stream", "kind", "entity", "job", "from", "to", "after", "limit"])
        stream = query["stream"]
        kind = query["kind"]
        entity = query["entity"]
        job = query["job"]
        from = try query.time("from")
        to = try query.time("to")
        try TimelineRequest.check(from, to)
        after = try query.integer("after").map(Int64.init)
        limit = try query.limit(default: limit)
    }

    public var query: QueryString {
        var query = QueryString()
        query.add("stream", stream)
        query.add("kind", kind)
        query.add("entity", entity)
        query.add("job", job)
        query.add("from", from?.description)
        query.add("to", to?.description)
        query.add("after", after.map(String.init))
        query.add("limit", String(limit))
        return query
    }
}

/// Whose series to show.
public struct TopSeriesRequest: Sendable, Hashable {
    /// Absent: all kinds.
    public var by: TopSeriesRow.Kind?
    /// Most rows of each kind.
    public var limit = 10

    public init() {}

    public init(query: QueryString) throws(ControlError) {
        try query.allow(["by", "limit"])
        if let text = query["by"] {
            guard let kind = TopSeriesRow.Kind(rawValue: text) else {
                throw ControlError(
                    .badRequest, "by=\(text) is nothing that has series.",
                    hint: "Write \(TopSeriesRow.Kind.allCases.map(\.rawValue).joined(separator: ", ")).")
            }
            by = kind
        }
        limit = try query.limit(default: limit)
    }

    public var query: QueryString {
        var query = QueryString()
        query.add("by", by?.rawValue)
        query.add("limit", String(limit))
        return query
    }
}

/// Starts a simulated run: either a file that the daemon can read, or the text of one.
public struct SimulationStart: Codable, Sendable, Hashable {
    /// Path of a scenario file, read by the daemon; or, beside `scenarioText`, the name for error messages.
    public var scenario: String?
    public var scenarioText: String?
    /// Absent: the scenario's name.
    public var run: String?
    /// `1`, `86400`, `1d/s`, `max`; absent: the scenario's own.
    public var speed: String?
    public var seed: UInt64?
    /// One tick of telemetry in simulated time: `10s`, `1h`, `1d`. Absent: follows the speed.
    public var tick: String?
    /// For all members of the daemon's cluster.
    public var isShared: Bool?

    public init() {}
}

/// What can be done to a run that was started.
public enum SimulationAction: Sendable, Hashable {
    case stop, pause, resume
    case speed(String)
}

/// Body of `POST /v1/simulations/RUN/speed`.
public struct SpeedChange: Codable, Sendable, Hashable {
    public var speed: String
    public init(speed: String) { self.speed = speed }
}

/// Body of `POST /v1/config/check`. Empty: the files that the daemon runs on.
public struct ConfigCheckRequest: Codable, Sendable, Hashable {
    public var path: String?
    public init() {}
}

extension QueryString {
    /// A misspelt parameter would otherwise be an answer to another question.
    func allow(_ names: [String]) throws(ControlError) {
        guard let odd = items.first(where: { !names.contains($0.name) }) else { return }
        throw ControlError(
            .badRequest, "There is no parameter \(odd.name).", hint: "Use \(names.joined(separator: ", ")).")
    }

    func duration(_ name: String) throws(ControlError) -> Int64? {
        guard let text = self[name] else { return nil }
        guard let ms = DurationText.milliseconds(text), ms > 0 else {
            throw ControlError(
                .badRequest, "\(name)=\(text) is not a length of time.", hint: "Write 10s, 1m, 10m or 1h.")
        }
        return ms
    }

    func time(_ name: String) throws(ControlError) -> UTCTime? {
        guard let text = self[name] else { return nil }
        guard let time = UTCTime(text) else {
            throw ControlError(
                .badRequest, "\(name)=\(text) is not a time.",
                hint: "Write 2024-09-02T14:00:00Z, or 2024-09-02 for the end of that day (UTC).")
        }
        return time
    }

    func integer(_ name: String) throws(ControlError) -> Int? {
        guard let text = self[name] else { return nil }
        guard let number = Int(text), number >= 0 else {
            throw ControlError(
                .badRequest, "\(name)=\(text) is not a number.", hint: "Write a whole number from 0.")
        }
        return number
    }

    func limit(default fallback: Int) throws(ControlError) -> Int {
        let limit = try integer("limit") ?? fallback
        guard (1...ControlLimits.rowsMax).contains(limit) else {
            throw ControlError(
                .badRequest, "limit=\(limit) is out of range.", hint: "Write 1 to \(ControlLimits.rowsMax).")
        }
        return limit
    }
}
