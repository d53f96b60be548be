extension EndpointStatus {
    static func table(_ endpoints: [EndpointStatus]) -> Table {
        Table(
            [
                .text("name", "ENDPOINT"), .text("kind", "KIND", rank: 3), .text("state", "STATE"),
                .number("pending", "PENDING"), .number("pending_bytes", "~BYTES", rank: 6),
                .number("delivered", "DELIVERED"),
                .number("dead", "DEAD", rank: 1), .text("oldest", "BEHIND", rank: 2),
                .text("live", "LIVE", rank: 5),
                .text("last_delivered", "LAST DELIVERED (UTC)", rank: 4),
                .text("target", "TARGET", rank: 7, shrinks: true),
                .text("last_error", "LAST ERROR", rank: 8, shrinks: true),
            ],
            rows: endpoints.map {
                [
                    .text($0.name), .text($0.kind), .text($0.state.rawValue), .integer($0.pending),
                    .text($0.pendingBytes.map { Number.bytes($0) } ?? ""), .integer($0.delivered),
                    .integer($0.dead),
                    .text($0.oldestPendingSeconds.map { DurationText.rough(seconds: $0.rounded()) } ?? ""),
                    .text($0.liveSeconds.map { DurationText.rough(seconds: $0.rounded()) } ?? ""),
                    .optional($0.lastDelivered), .text($0.target), .text($0.lastError ?? ""),
                ]
            })
    }
}

extension EndpointsReply: Presented {
    public var blocks: [Block] {
        endpoints.isEmpty ? [.line("no endpoints are configured")] : [.table(EndpointStatus.table(endpoints))]
    }

    public var records: Table {
        Table(
            [
                .text("name", ""), .text("kind", ""), .text("target", ""), .text("state", ""),
                .number("pending", ""), .text("oldest_pending", ""), .number("delivered", ""),
                .number("samples", ""), .number("dead", ""), .text("last_delivered", ""),
                .text("retry_at", ""), .text("last_error", ""), .number("retried", ""),
                .number("dropped", ""),
                .text("in_flight", ""), .number("latency_seconds", ""), .number("oldest_pending_seconds", ""),
                .text("circuit", ""), .text("form", ""), .number("pending_bytes", ""),
                .number("backlog", ""), .number("live_seconds", ""), .number("requests", ""),
                .number("requests_max", ""),
            ],
            rows: endpoints.map {
                [
                    .text($0.name), .text($0.kind), .text($0.target), .text($0.state.rawValue),
                    .integer($0.pending), .optional($0.oldestPending), .integer($0.delivered),
                    .integer($0.samples), .integer($0.dead), .optional($0.lastDelivered),
                    .optional($0.retryAt), .text($0.lastError ?? ""), .integer($0.retried ?? 0),
                    .integer($0.dropped?.values.reduce(0, +) ?? 0), .flag($0.inFlight ?? false),
                    .statistic($0.latencySeconds), .statistic($0.oldestPendingSeconds),
                    .text($0.circuit ?? ""),
                    .text($0.form ?? ""), .optional($0.pendingBytes.map { Int($0) }), .optional($0.backlog),
                    .statistic($0.liveSeconds), .optional($0.requests), .optional($0.requestsMax),
                ]
            })
    }

    public func objects() throws -> [String] { try rowObjects(endpoints) }
}

extension EndpointChangeReply: Presented {
    public var blocks: [Block] { [.line("\(endpoint.name)  \(endpoint.state.rawValue)  \(message)")] }
    public var records: Table { EndpointsReply([endpoint]).records }
}

extension EndpointTestReply: Presented {
    public var blocks: [Block] {
        let status = status.map { "  status \($0)" } ?? ""
        let time = milliseconds.map { "  \(Number.fixed($0, 1)) ms" } ?? ""
        return [.line("\(name)  \(ok ? "ok" : "failed")\(status)\(time)  \(message)")]
    }

    public var records: Table {
        Table(
            [
                .text("name", ""), .text("ok", ""), .number("status", ""), .number("milliseconds", ""),
                .text("message", ""),
            ],
            rows: [[.text(name), .flag(ok), .optional(status), .statistic(milliseconds), .text(message)]])
    }
}

extension ConfigCheckReply: Presented {
    public var blocks: [Block] {
        let findings: [Block] = problems.map { .line($0) } + warnings.map { .line("warning: " + $0) }
        return ok ? findings + [.line("\(path): ok")] : findings
    }

    public var records: Table {
        Table(
            [.text("path", ""), .text("severity", ""), .text("message", "")],
            rows: problems.map { [.text(path), .text("error"), .text($0)] }
                + warnings.map { [.text(path), .text("warning"), .text($0)] })
    }
}

extension ReloadReply: Presented {
    public var blocks: [Block] {
        var blocks: [Block] = [
            .line(
                changed.isEmpty ? "reloaded: nothing changed" : "reloaded: " + changed.joined(separator: ", ")
            )
        ]
        if !needRestart.isEmpty {
            blocks.append(.line("in force after a restart only: " + needRestart.joined(separator: ", ")))
        }
        if let inventory {
            blocks.append(
                .line(
                    "inventory: \(inventory.moved) nodes moved, \(inventory.removed) removed, "
                        + "\(inventory.returned) returned"))
        }
        return blocks
    }

    public var records: Table {
        Table(
            [.text("key", ""), .text("in_force", "")],
            rows: changed.map { [.text($0), .flag(true)] } + needRestart.map { [.text($0), .flag(false)] })
    }
}
