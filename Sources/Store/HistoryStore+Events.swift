import GRDB
import Telemetry

// Events on their way to endpoints: cursors by event id.
extension HistoryStore {
    public func openEventCursor(
        endpoint: String, fromBeginning: Bool, reply: @escaping @Sendable (DeliveryPosition?) -> Void
    ) {
        let ticket = ticket()
        onWriter { writer in
            let position = writer.openEventCursor(endpoint, fromBeginning: fromBeginning)
            writer.give(ticket) { reply(position) }
        }
    }

    public func events(
        after id: Int64, selection: EventSelection, limit: Int,
        reply: @escaping @Sendable ((events: [StoredEvent], scannedThrough: Int64)?) -> Void
    ) {
        answerInTurn(reply) { reader in
            try Self.events(after: id, selection, limit: max(1, limit), reader)
        }
    }

    private static func events(
        after id: Int64, _ selection: EventSelection, limit: Int, _ reader: borrowing WindowReader
    ) throws -> (events: [StoredEvent], scannedThrough: Int64) {
        let newest = try Int64.fetchOne(reader.db, sql: "SELECT max(id) FROM events") ?? 0
        let streams = try Self.streams(reader.db) { selection.streams.tellsOf($0) }
        let query = EventQuery(kinds: selection.kinds, afterID: id, limit: limit)
        let found = try EventReader(query: query, streams: streams).read(reader)
        return (found, found.count == limit ? found.last?.id ?? newest : max(newest, id))
    }

    public func advanceEvents(
        endpoint: String, to id: Int64, delivered: Int, dead: [DeadLetter],
        reply: @escaping @Sendable (Bool) -> Void
    ) {
        let ticket = ticket()
        onWriter { writer in
            let moved = writer.advanceEvents(endpoint, to: id, delivered: delivered, dead: dead)
            writer.give(ticket) { reply(moved) }
        }
    }

    public func onEvents(_ handler: @escaping @Sendable (_ newestID: Int64) -> Void) {
        onWriter { $0.eventHandlers.append(handler) }
    }

    /// Says which events an endpoint wants, for its account.
    public func describe(endpoint: String, events: EventSelection) {
        onWriter { $0.eventSelections[endpoint] = events }
    }

    /// More undelivered events of an endpoint than these are counted as one more.
    static let pendingCountedMax: Int64 = 10_000

    /// Where all endpoints stand that get events, by name: the position is the id of an event. `pending` is 10,001 at most.
    public func eventRecords() async throws -> [EndpointRecord] {
        let selections = await withCheckedContinuation { continuation in
            onWriter { continuation.resume(returning: $0.eventSelections) }
        }
        return try await read { reader in
            try Row.fetchAll(reader.db, sql: "SELECT * FROM event_cursors ORDER BY name").map { row in
                try Self.record(row, selections[row.value("name")], reader.db)
            }
        }
    }

    private static func record(
        _ row: Row, _ selection: EventSelection?, _ db: Database
    ) throws -> EndpointRecord {
        let position = try DeliveryPosition(sequence: row.value("event"), parts: 0)
        let wanted = selection?.streams ?? .all
        let streams = try Self.streams(db) { wanted.tellsOf($0) }
        var condition = "id > ? AND +stream IN (\(streams.map(String.init).joined(separator: ",")))"
        condition += selection?.kindCondition ?? ""
        // It is asked for every two seconds: beyond some number it is only "many".
        let pending =
            try Int64.fetchOne(
                db, sql: "SELECT count(*) FROM (SELECT 1 FROM events WHERE \(condition) LIMIT ?)",
                arguments: [position.sequence, pendingCountedMax + 1])
            ?? 0
        let delivered: Int64 = try row.value("delivered")
        return try EndpointRecord(
            endpoint: row.value("name"), position: position, deliveredParts: delivered,
            deliveredSamples: delivered, dead: row.value("dead"), coarsened: 0, dropped: row.value("dropped"),
            pending: pending, oldestPendingMs: nil, isPaused: row.value("paused"))
    }
}

extension StoreWriter {
    func openEventCursor(_ endpoint: String, fromBeginning: Bool) -> DeliveryPosition? {
        openedEndpoints.insert(endpoint)
        openedEventCursors.insert(endpoint)
        let nowMs = clock.nowMs()
        return attempt(.cursor) { db in
            let start =
                fromBeginning
                ? 0
                : try Int64.fetchOne(db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'events'") ?? 0
            try Self.takeOverEventCursor(endpoint, db)
            try db.execute(
                sql: """
                    INSERT INTO event_cursors (name, event, created_ms, opened_ms) VALUES (?1, ?2, ?3, ?3)
                    ON CONFLICT (name) DO UPDATE SET opened_ms = excluded.opened_ms
                    """,
                arguments: [endpoint, start, nowMs])
            let id = try Int64.fetchOne(
                db, sql: "SELECT event FROM event_cursors WHERE name = ?", arguments: [endpoint])
            return DeliveryPosition(sequence: id ?? 0, parts: 0)
        }
    }

    /// The cursor of an endpoint that gets events alone has the endpoint's name, that of one that gets summaries, too, has
    /// `#events` behind it: when its settings change from one to the other, it goes on where it was.
    private static func takeOverEventCursor(_ endpoint: String, _ db: Database) throws {
        let mark = "#events"
        let other =
            endpoint.hasSuffix(mark) ? String(endpoint.dropLast(mark.count)) : endpoint + mark
        try db.execute(
            sql: """
                UPDATE OR IGNORE event_cursors SET name = ?1 WHERE name = ?2
                """, arguments: [endpoint, other])
        guard db.changesCount == 0 else { return }
        // Both are there: one was left behind earlier, and is behind.
        try db.execute(
            sql: """
                UPDATE event_cursors SET event = max(event, (SELECT event FROM event_cursors WHERE name = ?2))
                WHERE name = ?1 AND EXISTS (SELECT 1 FROM event_cursors WHERE name = ?2)
                """, arguments: [endpoint, other])
        try db.execute(sql: "DELETE FROM event_cursors WHERE name = ?", arguments: [other])
    }

    func advanceEvents(_ endpoint: String, to id: Int64, delivered: Int, dead: [DeadLetter]) -> Bool {
        let nowMs = clock.nowMs()
        let letters = DeadLetterRows(letters: dead, limits: limits, zstd: zstd)
        let cut = attempt(.cursor) { db in
            let kept = try letters.insert(db)
            // A cursor never goes back.
            try db.execute(
                sql: """
                    UPDATE event_cursors SET delivered = delivered + ?, dead = dead + ?, opened_ms = ?,
                        event = max(event, ?) WHERE name = ?
                    """,
                arguments: [delivered, kept.newCount, nowMs, id, endpoint])
            guard db.changesCount == 1 else {
                throw StoreError(.malformed, "endpoint \(endpoint) has no cursor", advice: "open it first")
            }
            return kept.cut
        }
        if let cut { tell(ofCut: cut) }
        return cut != nil
    }
}
