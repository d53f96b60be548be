import FoundationEssentials
import GRDB
import Telemetry

/// Cuts entities out of windows.
struct SummaryReader {
    /// A query decodes at most this many columns of a thousand entities, so that the read queue stays answerable.
    static let columnsMax = 20_000

    let query: SummaryQuery

    func read(_ reader: borrowing WindowReader) throws -> [EntitySummary] {
        var runs: [[EntitySummary]] = []
        var rows = 0
        var columns = 0
        let heads = try reader.heads(
            """
            streams.name = ? AND resolution_ms = ? AND start_ms >= ? AND start_ms < ?
            ORDER BY start_ms DESC, revision DESC LIMIT ?
            """,
            [query.stream.name, query.resolutionMs, query.fromMs, query.toMs, max(0, query.limit)])
        var lastStart: Int64?
        for head in heads where head.summary.startMs != lastStart {
            lastStart = head.summary.startMs
            guard rows < query.limit, columns < Self.columnsMax else { break }
            let window = try reader.window(head, levels: [query.level], fields: query.fields)
            guard let level = window.summary.level(query.level) else { continue }
            let run = Array(entities(window, level).prefix(query.limit - rows))
            rows += run.count
            columns += level.columns.count * (1 + level.gpus.expected.count / 1_000)
            runs.append(run)
        }
        return runs.reversed().flatMap { $0 }
    }

    private func entities(_ window: StoredWindow, _ level: LevelSummary) -> [EntitySummary] {
        let names = level.level == .job ? level.jobs : window.topology.names(level.level)
        var found: [EntitySummary] = []
        for index in 0..<min(names.count, level.gpus.expected.count)
        where query.entities.isEmpty || query.entities.contains(names[index]) {
            found.append(
                EntitySummary(
                    sequence: window.sequence, startMs: window.summary.startMs, endMs: window.summary.endMs,
                    revision: window.summary.revision, coverage: window.summary.coverage,
                    entity: names[index], gpusExpected: level.gpus.expected[index],
                    gpusReporting: level.gpus.reporting[index], gpusInJob: level.gpus.inJob[index],
                    gpusFaulted: level.gpus.faulted[index],
                    values: level.columns.compactMap { Self.value($0, index) }))
            if found.count == query.limit { break }
        }
        return found
    }

    private static func value(_ column: FieldColumn, _ index: Int) -> EntitySummary.Value? {
        guard index < column.entityCount else { return nil }
        return EntitySummary.Value(
            field: column.field, count: column.count[index], sum: column.sum[index], min: column.min[index],
            max: column.max[index], p50: column.p50.isEmpty ? nil : column.p50[index],
            p90: column.p90.isEmpty ? nil : column.p90[index],
            p99: column.p99.isEmpty ? nil : column.p99[index])
    }
}

/// Reads events.
struct EventReader {
    let query: EventQuery
    /// Rows of streams; `nil` is those of the query.
    var streams: [Int64]?

    func read(_ reader: borrowing WindowReader) throws -> [StoredEvent] {
        var conditions: [String] = []
        var arguments: StatementArguments = []
        // In the order of their numbers, events are read from that number on: a condition that an index serves as well
        // would have SQLite walk all of a stream's history, and sort it.
        let isByID = query.afterID != nil
        if let after = query.afterID {
            conditions.append("events.id > ?")
            arguments += [after]
        }
        if !isByID || query.fromMs != .min || query.toMs != .max {
            conditions.append("time_ms >= ? AND time_ms < ?")
            arguments += [query.fromMs, query.toMs]
        }
        for (column, value) in [("entity", query.entity), ("job", query.job)] {
            guard let value else { continue }
            conditions.append("\(column) = ?")
            arguments += [value]
        }
        if let stream = query.stream {
            conditions.append(
                "\(isByID ? "+" : "")events.stream = (SELECT id FROM streams WHERE name = ?)")
            arguments += [stream.name]
        }
        if let streams {
            conditions.append("+events.stream IN (\(streams.map(String.init).joined(separator: ",")))")
        }
        if !query.kinds.isEmpty {
            let kinds = query.kinds.map { "'\($0.rawValue)'" }.sorted()
            conditions.append("kind IN (\(kinds.joined(separator: ",")))")
        }
        let direction = query.newestFirst ? "DESC" : "ASC"
        let order =
            isByID ? "events.id \(direction)" : "time_ms \(direction), events.id \(direction)"
        let rows = try Row.fetchCursor(
            reader.db,
            sql: """
                SELECT events.*, streams.name AS stream_name FROM events
                CROSS JOIN streams ON streams.id = events.stream
                WHERE \(conditions.joined(separator: " AND ")) ORDER BY \(order) LIMIT ?
                """,
            arguments: arguments + [max(0, query.limit)])
        var found: [StoredEvent] = []
        while let row = try rows.next() {
            if let event = try Self.event(row, reader) { found.append(event) }
        }
        return found
    }

    private static func event(_ row: Row, _ reader: borrowing WindowReader) throws -> StoredEvent? {
        guard let stream = StreamID(try row.value("stream_name") as String),
            let kind = EventKind(rawValue: try row.value("kind") as String),
            let source = Event.Source(rawValue: try row.value("source") as String)
        else { return nil }
        var event = try Event(
            stream: stream, timeMs: row.value("time_ms"), kind: kind, entity: row.value("entity"),
            gpu: row.value("gpu"),
            job: row.value("job"), nodes: reader.names(row, "nodes"), value: row.value("value"),
            message: row.value("message"), source: source)
        if let data = try row.value("alert") as Data? { event.alert = try EncodedAlerts.decode(data) }
        return try StoredEvent(id: row.value("id"), event: event)
    }
}
