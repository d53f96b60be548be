import GRDB
import Telemetry

extension HistoryStore {
    /// Says what an endpoint wants and how long windows wait for it. Without it, retention takes it that the endpoint
    /// wants all, for `StoreLimits.undeliveredKeepMs`.
    public func describe(endpoint: String, limit: EndpointLimit) {
        onWriter { $0.endpointLimits[endpoint] = limit }
    }

    public func openCursor(
        endpoint: String, fromBeginning: Bool, cut: String,
        reply: @escaping @Sendable (DeliveryCursor?) -> Void
    ) {
        let ticket = ticket()
        onWriter { writer in
            let cursor = writer.openCursor(endpoint, fromBeginning: fromBeginning, cut: cut)
            writer.give(ticket) { reply(cursor) }
        }
    }

    public func advance(
        endpoint: String, to position: DeliveryPosition, through: Int64?, parts: Int, samples: Int,
        dead: [DeadLetter], reply: @escaping @Sendable (Bool) -> Void
    ) {
        let ticket = ticket()
        onWriter { writer in
            let moved = writer.advance(
                endpoint, to: position, through: through, parts: parts, samples: samples, dead: dead)
            writer.give(ticket) { reply(moved) }
        }
    }

    public func leap(
        endpoint: String, from position: DeliveryPosition, through sequence: Int64,
        reply: @escaping @Sendable (Bool) -> Void
    ) {
        let ticket = ticket()
        onWriter { writer in
            let done: Void? = writer.attempt(.cursor) { db in
                try GapRows(db: db, endpoint: endpoint).leap(from: position, through: sequence)
            }
            writer.give(ticket) { reply(done != nil) }
        }
    }

    public func split(
        endpoint: String, gapThrough through: Int64, at sequence: Int64,
        reply: @escaping @Sendable (Bool) -> Void
    ) {
        let ticket = ticket()
        onWriter { writer in
            let done: Void? = writer.attempt(.cursor) { db in
                try GapRows(db: db, endpoint: endpoint).split(through: through, at: sequence)
            }
            writer.give(ticket) { reply(done != nil) }
        }
    }

    public func windows(
        after position: DeliveryPosition, through: Int64?, selection: DeliverySelection, limit: Int,
        reply: @escaping @Sendable ((windows: [StoredWindow], scannedThrough: Int64)?) -> Void
    ) {
        answerInTurn(reply) { reader in
            try Self.windows(after: position, through: through, selection, limit: max(1, limit), reader)
        }
    }

    /// Reads for a delivery, and answers in the order of asking: `nil` when the read failed, which is reported.
    func answerInTurn<Found: Sendable>(
        _ reply: @escaping @Sendable (Found?) -> Void,
        reading read: @escaping @Sendable (borrowing WindowReader) throws -> Found
    ) {
        let ticket = ticket()
        onDelivery { [self] reader in
            let found = try read(reader)
            onWriter { $0.give(ticket) { reply(found) } }
        } failed: { [self] error in
            onWriter { writer in
                writer.report(error, doing: .read)
                writer.give(ticket) { reply(nil) }
            }
        }
    }

    private static func windows(
        after position: DeliveryPosition, through: Int64?, _ selection: DeliverySelection, limit: Int,
        _ reader: borrowing WindowReader
    ) throws -> (windows: [StoredWindow], scannedThrough: Int64) {
        // As a cursor is opened: the newest rows may be gone by now.
        let newest =
            try Int64.fetchOne(reader.db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'windows'") ?? 0
        let streams = try selectedStreams(selection, reader.db)
        // The plus signs keep SQLite on the order of the sequence.
        var condition = "sequence > ? AND +stream IN (\(streams.map(String.init).joined(separator: ",")))"
        condition += StandIns.condition(selection)
        if let through { condition += " AND sequence <= \(through)" }
        if let range = selection.startsMs {
            condition += " AND +start_ms >= \(range.lowerBound) AND +start_ms < \(range.upperBound)"
        }
        if selection.newestRevisions {
            condition += """
                 AND NOT EXISTS (
                    SELECT 1 FROM windows newer WHERE newer.stream = windows.stream
                    AND newer.resolution_ms = windows.resolution_ms AND newer.start_ms = windows.start_ms
                    AND newer.revision > windows.revision)
                """
        }
        let heads = try reader.heads(
            condition + " ORDER BY sequence LIMIT ?", [position.sequence, limit])
        var found: [StoredWindow] = []
        for head in heads {
            found.append(
                try reader.window(
                    head, levels: selection.levels, fields: selection.fields,
                    sketches: selection.sketches ? .history : .none))
        }
        let last = heads.last?.sequence ?? 0
        let end = through ?? max(newest, position.sequence)
        let scannedThrough = heads.count == limit ? last : end
        return (found, scannedThrough)
    }

    static func selectedStreams(_ selection: DeliverySelection, _ db: Database) throws -> [Int64] {
        try streams(db) { selection.streams.contains($0) }
    }

    static func streams(_ db: Database, where isWanted: (StreamID) -> Bool) throws -> [Int64] {
        try Row.fetchAll(db, sql: "SELECT id, name FROM streams").compactMap { row in
            guard let stream = StreamID(try row.value("name") as String), isWanted(stream) else { return nil }
            return try row.value("id")
        }
    }
}

extension HistoryStore {
    public func remember(endpoint: String, form: String) {
        onWriter { writer in
            let nowMs = writer.clock.nowMs()
            _ = writer.attempt(.cursor) { db in
                try db.execute(
                    sql: "UPDATE endpoints SET form = ?, form_ms = ? WHERE name = ?",
                    arguments: [form, nowMs, endpoint])
            }
        }
    }

    /// What endpoints were found to understand since that time (wall clock, Unix milliseconds), by name.
    public func rememberedForms(sinceMs: Int64) async throws -> [String: String] {
        try await read { reader in
            let rows = try Row.fetchAll(
                reader.db, sql: "SELECT name, form FROM endpoints WHERE form != '' AND form_ms >= ?",
                arguments: [sinceMs])
            return Dictionary(
                try rows.map { (try $0.value(0) as String, try $0.value(1) as String) },
                uniquingKeysWith: { first, _ in first })
        }
    }

    /// Lets an endpoint rest, also after a restart, or go on.
    public func setPaused(endpoint: String, _ isPaused: Bool) async throws {
        let nowMs = writer.clock.nowMs()
        try await write(.cursor) { db in
            var rows = 0
            for table in ["endpoints", "event_cursors"] {
                try db.execute(
                    sql: "UPDATE \(table) SET paused = ?1 WHERE name IN (?2, ?2 || '#events')",
                    arguments: [isPaused, endpoint])
                rows += db.changesCount
            }
            guard isPaused, rows == 0 else { return }
            // An Alertmanager has no cursor: the row only says that it rests.
            try db.execute(
                sql: """
                    INSERT INTO event_cursors (name, event, paused, created_ms, opened_ms)
                    VALUES (?1, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0), TRUE, ?2, ?2)
                    """, arguments: [endpoint, nowMs])
        }
    }

    /// Removes a cursor, so that an endpoint of that name begins anew.
    public func removeCursor(endpoint: String) async throws {
        try await write(.cursor) { db in
            try db.execute(sql: "DELETE FROM endpoints WHERE name = ?", arguments: [endpoint])
            try GapRows(db: db, endpoint: endpoint).removeAll()
            try StandIns.removeAll(of: endpoint, db)
        }
    }
}

extension StoreWriter {
    func openCursor(_ endpoint: String, fromBeginning: Bool, cut: String) -> DeliveryCursor? {
        openedEndpoints.insert(endpoint)
        let nowMs = clock.nowMs()
        return attempt(.cursor) { db in
            let newest =
                try Int64.fetchOne(db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'windows'") ?? 0
            let gaps = GapRows(db: db, endpoint: endpoint)
            try gaps.beginAgain(unlessCut: cut)
            try db.execute(
                sql: """
                    INSERT INTO endpoints (name, sequence, parts, cut, created_ms, opened_ms)
                    VALUES (?1, ?2, 0, ?4, ?3, ?3)
                    ON CONFLICT (name) DO UPDATE SET opened_ms = excluded.opened_ms, cut = excluded.cut,
                        parts = CASE WHEN cut = excluded.cut THEN parts ELSE 0 END
                    """,
                arguments: [endpoint, fromBeginning ? 0 : newest, nowMs, cut])
            let row = try Row.fetchOne(
                db, sql: "SELECT sequence, parts FROM endpoints WHERE name = ?", arguments: [endpoint])
            let position = try row.map {
                try DeliveryPosition(sequence: $0.value("sequence"), parts: $0.value("parts"))
            }
            return DeliveryCursor(position: position ?? .start, gaps: try gaps.all(), newest: newest)
        }
    }

    func advance(
        _ endpoint: String, to position: DeliveryPosition, through: Int64?, parts: Int, samples: Int,
        dead: [DeadLetter]
    ) -> Bool {
        let nowMs = clock.nowMs()
        let letters = DeadLetterRows(letters: dead, limits: limits, zstd: zstd)
        let cut = attempt(.cursor) { db in
            let kept = try letters.insert(db)
            try db.execute(
                sql: """
                    UPDATE endpoints SET delivered_parts = delivered_parts + ?, delivered_samples =
                        delivered_samples + ?, opened_ms = ? WHERE name = ?
                    """,
                arguments: [parts, samples, nowMs, endpoint])
            guard db.changesCount == 1 else {
                throw StoreError(.malformed, "endpoint \(endpoint) has no cursor", advice: "open it first")
            }
            // Those of a replay are its endpoint's: when they are delivered after all, they are taken off there.
            for (owner, count) in kept.new {
                try db.execute(
                    sql: "UPDATE endpoints SET dead = dead + ? WHERE name = ?", arguments: [count, owner])
            }
            if let through {
                try GapRows(db: db, endpoint: endpoint).advance(through: through, to: position)
                return kept.cut
            }
            // A cursor never goes back.
            try db.execute(
                sql: """
                    UPDATE endpoints SET sequence = ?1, parts = ?2 WHERE name = ?3
                    AND (sequence < ?1 OR (sequence = ?1 AND parts < ?2))
                    """,
                arguments: [position.sequence, position.parts, endpoint])
            return kept.cut
        }
        if let cut { tell(ofCut: cut) }
        return cut != nil
    }
}
