extension StatusReply: Presented {
    public var blocks: [Block] {
        var blocks: [Block] = [
            .line(
                "colossusd \(version)  \(state.rawValue)\(ready ? ", ready" : ", not ready")  pid \(pid)  up "
                    + DurationText.rough(seconds: uptimeSeconds))
        ]
        if let reason, !ready { blocks.append(.line("waiting: \(reason)")) }
        if !streams.isEmpty { blocks += [.blank, .table(streamTable)] }
        for stream in streams where stream.samples.droppedTotal > 0 {
            blocks.append(.line("dropped in \(stream.stream): " + stream.samples.dropText))
            blocks += (stream.samples.hints ?? [:]).sorted { $0.key < $1.key }.map {
                .line("  \($0.key): \($0.value)")
            }
        }
        if !simulations.isEmpty { blocks += [.blank, .table(SimulationStatus.table(simulations))] }
        if !endpoints.isEmpty { blocks += [.blank, .table(EndpointStatus.table(endpoints))] }
        blocks += footer.isEmpty ? [] : [.blank] + footer
        return blocks + warnings.map { .line("warning: " + $0) }
    }

    private var footer: [Block] {
        var lines: [Block] = []
        if let store {
            let limit = store.bytesMax.map { " of " + Number.bytes($0) } ?? ""
            let windows = store.windows.map { ", \(Number.grouped($0)) windows" } ?? ""
            lines.append(.line("store   \(Number.bytes(store.bytes))\(limit)\(windows)  \(store.path)"))
        }
        if let ingestLog { lines.append(.line("log     " + ingestLog.text)) }
        if let cluster { lines.append(.line("cluster " + cluster.text)) }
        if !shards.isEmpty {
            let credit = shards.map { "\($0.creditFree)/\($0.creditTotal)" }.joined(separator: "  ")
            lines.append(.line("shards  \(shards.count), credit free \(credit)"))
        }
        return lines + maintenanceLines
    }

    /// More lines of this kind than these say less.
    private static let maintenanceLinesMax = 8

    private var maintenanceLines: [Block] {
        guard let maintenance, !maintenance.isEmpty else { return [] }
        let shown = maintenance.prefix(Self.maintenanceLinesMax).map { row in
            let until = row.until.map { " until \($0.text)" } ?? ""
            let reason = row.reason.map { ": \($0)" } ?? ""
            return Block.line("maintenance  \(row.entity) since \(row.since.text)\(until)\(reason)")
        }
        let more = maintenance.count - shown.count
        let rest =
            more > 0 ? [Block.line("maintenance  \(more) more: `colossusctl maintenance list`")] : []
        return shown + rest
    }

    private var streamTable: Table {
        Table(
            [
                .text("stream", "STREAM"), .text("verdict", "VERDICT", shrinks: true),
                .text("closed_through", "CLOSED THROUGH"), .number("lag_seconds", "LAG"),
                .number("gpus_reporting", "GPUS"), .number("gpus_expected", "OF", rank: 1),
                .number("series", "SERIES", rank: 3), .number("samples_per_second", "SAMPLES/S"),
                .number("received", "RECEIVED", rank: 4), .number("dropped", "DROPPED", rank: 2),
                .number("in_flight", "IN FLIGHT", rank: 5),
            ],
            rows: streams.map { stream in
                [
                    .text(stream.stream), .text(stream.verdict), .optional(stream.closedThrough),
                    stream.lagSeconds.map { .text(DurationText.rough(seconds: $0)) } ?? .missing,
                    .integer(stream.gpusReporting), .integer(stream.gpusExpected), .integer(stream.series),
                    .real(stream.samplesPerSecond, decimals: 0), .integer(stream.samples.received),
                    .integer(stream.samples.droppedTotal), .integer(stream.samples.inFlight),
                ]
            })
    }

    /// One row a stream: the account of each.
    public var records: Table {
        Table(
            [
                .text("stream", ""), .text("kind", ""), .text("verdict", ""), .text("keeping_up", ""),
                .text("watermark", ""), .text("closed_through", ""), .number("lag_seconds", ""),
                .number("series", ""), .number("gpus_expected", ""), .number("gpus_reporting", ""),
                .number("samples_per_second", ""), .number("received", ""), .number("aggregated", ""),
                .number("dropped", ""), .number("in_flight", ""),
            ],
            rows: streams.map { stream in
                [
                    .text(stream.stream), .text(stream.kind.rawValue), .text(stream.verdict),
                    .flag(stream.keepingUp), .optional(stream.watermark), .optional(stream.closedThrough),
                    .statistic(stream.lagSeconds), .integer(stream.series), .integer(stream.gpusExpected),
                    .integer(stream.gpusReporting), .real(stream.samplesPerSecond, decimals: 0),
                    .integer(stream.samples.received), .integer(stream.samples.aggregated),
                    .integer(stream.samples.droppedTotal), .integer(stream.samples.inFlight),
                ]
            })
    }
}

extension IngestLogStatus {
    /// `12 MB of 10 GB, repeated 1,234 requests`.
    var text: String {
        var pieces = ["\(Number.bytes(bytes)) of \(Number.bytes(bytesMax))"]
        if replayed < 1 {
            pieces.append("repeating \(Number.percent(replayed)), \(Number.grouped(records)) requests so far")
        } else if records > 0 {
            pieces.append("repeated \(Number.grouped(records)) requests")
        }
        if unreadable > 0 { pieces.append("\(Number.grouped(unreadable)) unreadable") }
        if let obstacle { pieces.append("takes nothing: \(obstacle)") }
        return pieces.joined(separator: ", ")
    }
}

extension SampleAccount {
    /// `late 12, duplicate 4`: the most frequent first.
    var dropText: String {
        dropped.filter { $0.value > 0 }
            .sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { "\($0.key) \(Number.grouped($0.value))" }
            .joined(separator: ", ")
    }
}

extension ReadyReply: Presented {
    public var blocks: [Block] {
        [.line(ready ? "ready" : "not ready: " + (reason ?? state.rawValue))]
    }

    public var records: Table {
        Table(
            [.text("ready", ""), .text("state", ""), .text("reason", "")],
            rows: [[.flag(ready), .text(state.rawValue), .text(reason ?? "")]])
    }
}
