extension AlertsReply: Presented {
    public var blocks: [Block] {
        var blocks: [Block] = alerts.isEmpty ? [.line("no alerts")] : [.table(records)]
        if suppressed > 0 { blocks.append(.line("\(suppressed) more are not opened: there are too many")) }
        if truncated { blocks.append(.line("there are more: --limit, --rule, --severity")) }
        return blocks
    }

    public var records: Table {
        Table(
            [
                .text("state", "STATE"), .text("severity", "SEVERITY"), .text("alert", "ALERT"),
                .text("entity", "ENTITY"), .text("stream", "STREAM", rank: 3),
                .text("since", "SINCE (UTC)", rank: 1), .text("resolved", "RESOLVED (UTC)", rank: 4),
                .number("value", "VALUE", rank: 2), .text("summary", "SUMMARY", shrinks: true),
            ],
            rows: alerts.map { row in
                [
                    .text(row.state), .text(row.severity), .text(row.alert), .text(row.entity),
                    .text(row.stream), .time(row.since), .optional(row.resolved),
                    .statistic(row.value), .text(row.summary),
                ]
            })
    }

    public func objects() throws -> [String] { try rowObjects(alerts) }
}

extension AlertRulesReply: Presented {
    public var blocks: [Block] { [.line("streams watched: \(streams)"), .blank, .table(records)] }

    public var records: Table {
        Table(
            [
                .text("name", "ALERT"), .text("builtin", "BUILT-IN", rank: 3),
                .text("enabled", "ENABLED", rank: 2), .text("level", "LEVEL"),
                .text("condition", "CONDITION", shrinks: true), .text("for", "FOR"),
                .text("window", "WINDOW", rank: 4), .text("severity", "SEVERITY", rank: 1),
                .number("firing", "FIRING"), .number("pending", "PENDING"),
            ],
            rows: rules.map { row in
                [
                    .text(row.name), .flag(row.builtin), .flag(row.enabled),
                    row.level.map { .text($0) } ?? .missing, .text(row.condition),
                    .text(DurationText.text(ms: row.forMs)),
                    row.windowMs.map { .text(DurationText.text(ms: $0)) } ?? .missing, .text(row.severity),
                    .integer(row.firing), .integer(row.pending),
                ]
            })
    }

    public func objects() throws -> [String] { try rowObjects(rules) }
}
