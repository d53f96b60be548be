/// Which alerts to show.
public struct AlertsRequest: Sendable, Hashable {
    /// Absent: of all rules.
    public var rule: String?
    /// Absent: of all streams.
    public var stream: String?
    /// `info`, `warning` or `critical`; absent: all.
    public var severity: String?
    /// Those that were resolved in the last hour, too.
    public var all = false
    public var limit = ControlLimits.rowsDefault

    public init() {}

    public init(query: QueryString) throws(ControlError) {
        try query.allow(["rule", "stream", "severity", "all", "limit"])
        rule = query["rule"]
        stream = query["stream"]
        severity = query["severity"]
        if let severity, !["info", "warning", "critical"].contains(severity) {
            throw ControlError(
                .badRequest, "There is no severity \(severity).", hint: "Write info, warning or critical.")
        }
        switch query["all"] {
        case nil, "false": all = false
        case "true", "": all = true
        case let other?:
            throw ControlError(.badRequest, "\(other) is not yes or no.", hint: "Write all=true.")
        }
        limit = try query.limit(default: limit)
    }

    public var query: QueryString {
        var query = QueryString()
        query.add("rule", rule)
        query.add("stream", stream)
        query.add("severity", severity)
        if all { query.add("all", "true") }
        query.add("limit", String(limit))
        return query
    }
}
