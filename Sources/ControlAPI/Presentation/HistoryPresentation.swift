extension SummaryReply: Presented {
    public var blocks: [Block] {
        var head = "\(stream)  \(level)  \(resolution) window \(windowStart.text) to \(windowEnd.text) UTC"
        if revision > 0 { head += "  revision \(revision)" }
        if coverage < 1 { head += "  coverage \(Number.percent(coverage)) of its senders" }
        var blocks: [Block] = [.line(head)]
        if !rows.isEmpty { blocks += [.blank, .table(statistics)] }
        if !gpus.isEmpty { blocks += [.blank, .table(gpuTable)] }
        if rows.isEmpty && gpus.isEmpty { blocks.append(.line("nothing in this window")) }
        if truncated {
            blocks.append(.line("there is more: raise --limit, or choose an --entity or a --field"))
        }
        return blocks
    }

    private var hasQuantiles: Bool { rows.contains { $0.p50 != nil } }

    private var statistics: Table {
        var columns: [Table.Column] = [
            .text("entity", "ENTITY"), .text("field", "FIELD", shrinks: true), .text("unit", "UNIT"),
            .number("count", "COUNT"), .number("mean", "MEAN"), .number("min", "MIN"), .number("max", "MAX"),
        ]
        let quantiles = hasQuantiles
        if quantiles {
            columns += [
                .number("p50", "P50", rank: 1), .number("p90", "P90", rank: 2),
                .number("p99", "P99", rank: 3),
            ]
        }
        return Table(columns, rows: rows.map { $0.cells(quantiles: quantiles) })
    }

    /// GPU counts alone, for `--gpus`.
    public var gpuTable: Table {
        Table(
            [
                .text("entity", "ENTITY"), .number("expected", "GPUS EXPECTED"),
                .number("reporting", "REPORTING"), .number("silent", "SILENT"), .number("in_job", "IN JOB"),
                .number("faulted", "FAULTED"), .number("maintenance", "MAINTENANCE", rank: 1),
            ],
            rows: gpus.map {
                [
                    .text($0.entity), .integer($0.expected), .integer($0.reporting), .integer($0.silent),
                    .integer($0.inJob), .integer($0.faulted), .integer($0.maintenance ?? 0),
                ]
            })
    }

    /// What `output` gives, for the GPU counts alone.
    public func gpuOutput(_ format: OutputFormat, width: Int? = nil) throws -> [String] {
        switch format {
        case .table: gpus.isEmpty ? ["nothing in this window"] : gpuTable.lines(width: width)
        case .csv: gpuTable.csv
        case .jsonl: try rowObjects(gpus)
        case .json:
            try {
                var counts = self
                counts.rows = []
                return [try ControlJSON.text(counts, pretty: true)]
            }()
        }
    }

    public var records: Table {
        let columns: [Table.Column] = [
            .text("stream", ""), .text("resolution", ""), .text("window_start", ""), .text("window_end", ""),
            .text("level", ""), .text("entity", ""), .text("field", ""), .text("unit", ""),
            .number("count", ""), .number("mean", ""), .number("min", ""), .number("max", ""),
            .number("p50", ""), .number("p90", ""), .number("p99", ""),
        ]
        let front: [Cell] = [
            .text(stream), .text(resolution), .time(windowStart), .time(windowEnd), .text(level),
        ]
        return Table(columns, rows: rows.map { front + $0.cells(quantiles: true) })
    }

    /// A line for each field of each entity; the window is in each.
    public func objects() throws -> [String] {
        try rowObjects(
            rows.map {
                SummaryLine(
                    stream: stream, resolution: resolution, windowStart: windowStart, windowEnd: windowEnd,
                    level: level, row: $0)
            })
    }
}

private struct SummaryLine: Encodable {
    var stream: String
    var resolution: String
    var windowStart: UTCTime
    var windowEnd: UTCTime
    var level: String
    var row: SummaryRow

    private enum CodingKeys: String, CodingKey { case stream, resolution, windowStart, windowEnd, level }

    func encode(to encoder: any Encoder) throws {
        try row.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(stream, forKey: .stream)
        try container.encode(resolution, forKey: .resolution)
        try container.encode(windowStart, forKey: .windowStart)
        try container.encode(windowEnd, forKey: .windowEnd)
        try container.encode(level, forKey: .level)
    }
}

extension SummaryRow {
    fileprivate func cells(quantiles: Bool) -> [Cell] {
        let cells: [Cell] = [
            .text(entity), .text(field), .text(unit), .integer(count), .statistic(mean), .statistic(min),
            .statistic(max),
        ]
        return quantiles ? cells + [.statistic(p50), .statistic(p90), .statistic(p99)] : cells
    }
}

extension TimelineReply: Presented {
    public var blocks: [Block] {
        var blocks: [Block] = [.line("\(stream)  one point every \(resolution)"), .blank]
        // A fleet that never draws a megawatt.
        let isSmall = points.allSatisfy { $0.megawatts < 1 }
        let shown = table(power: isSmall ? "kW" : "MW", per: isSmall ? 1_000 : 1)
        blocks.append(points.isEmpty ? .line("nothing in this range") : .table(shown))
        if truncated { blocks.append(.line("there is more: raise --limit, or shorten the range")) }
        return blocks
    }

    public var records: Table { table(power: "MW", per: 1) }

    private func table(power unit: String, per megawatt: Double) -> Table {
        Table(
            [
                .text("time", "TIME (UTC)"), .number("day", "DAY"),
                .text("phase", "PHASE", rank: 4, shrinks: true),
                .number("phase_day", "PHASE DAY", rank: 6), .number("phase_days", "OF", rank: 6),
                .number("announced", "ANNOUNCED", rank: 3), .number("installed", "INSTALLED"),
                .number("powered", "POWERED"), .number("in_training", "IN TRAINING"),
                .number("utilization", "UTILIZATION", rank: 2), .number("megawatts", unit),
                .number("interruptions", "INTERRUPTIONS", rank: 5), .number("ettr", "ETTR", rank: 1),
            ],
            rows: points.map {
                [
                    .time($0.time), .integer($0.day), .text($0.phase), .integer($0.phaseDay),
                    .integer($0.phaseDays), .integer($0.announced), .integer($0.installed),
                    .integer($0.powered), .integer($0.inTraining), .real($0.utilization, decimals: 3),
                    .real($0.megawatts * megawatt, decimals: 1), .integer($0.interruptions),
                    $0.ettr.map { .real($0, decimals: 3) } ?? .missing,
                ]
            })
    }

    public func objects() throws -> [String] { try rowObjects(points) }
}

extension EventsReply: Presented {
    public var blocks: [Block] {
        events.isEmpty ? [.line("no events")] : [.table(table)]
    }

    /// For people: what matters in a line.
    public var table: Table {
        Table(
            [
                .text("time", "TIME (UTC)"), .text("stream", "STREAM", rank: 1), .text("kind", "KIND"),
                .text("entity", "ENTITY"), .number("gpu", "GPU", rank: 2), .text("job", "JOB", rank: 3),
                .text("message", "MESSAGE", shrinks: true),
            ],
            rows: events.map {
                [
                    .time($0.time), .text($0.stream), .text($0.kind), .text($0.entity), .optional($0.gpu),
                    .text($0.job), .text($0.message),
                ]
            })
    }

    public var records: Table {
        Table(
            [
                .number("sequence", ""), .text("time", ""), .text("stream", ""), .text("kind", ""),
                .text("entity", ""), .number("gpu", ""), .text("job", ""), .number("value", ""),
                .text("source", ""), .text("message", ""),
            ],
            rows: events.map {
                [
                    .integer($0.sequence), .time($0.time), .text($0.stream), .text($0.kind), .text($0.entity),
                    .optional($0.gpu), .text($0.job), .statistic($0.value), .text($0.source),
                    .text($0.message),
                ]
            })
    }

    public func objects() throws -> [String] { try rowObjects(events) }
}

/// Prints events page after page: one header, no columns that jump.
public struct EventFollower: Sendable {
    private let format: OutputFormat
    private var isFirst = true

    /// `json` becomes `jsonl`: one document without an end is of no use.
    public init(format: OutputFormat) { self.format = format }

    public mutating func lines(_ reply: EventsReply) throws -> [String] {
        defer { isFirst = false }
        switch format {
        case .json, .jsonl: return try reply.objects()
        case .csv: return Array(reply.records.csv.dropFirst(isFirst ? 0 : 1))
        case .table:
            return reply.events.map { event in
                let place = [event.entity, event.gpu.map { "gpu \($0)" } ?? "", event.job].filter {
                    !$0.isEmpty
                }
                let parts = [event.time.text, event.stream, event.kind] + place + [event.message]
                return Cell.printable(parts.joined(separator: "  "))
            }
        }
    }
}
