import FoundationEssentials
import GRDB
public import Telemetry

// Simulated runs, senders, and events that come without a closing.
extension HistoryStore {
    /// Keeps a run, new or changed.
    public func save(_ run: SimulationRun, nowMs: Int64) async throws {
        try await write(.run) { db in
            try db.execute(
                sql: """
                    INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
                    scenario = excluded.scenario, path = excluded.path, seed = excluded.seed,
                    speed = excluded.speed, state = excluded.state, started_ms = excluded.started_ms,
                    updated_ms = excluded.updated_ms, tick_ms = excluded.tick_ms
                    """,
                arguments: [
                    run.name, run.scenario, run.path, Int64(bitPattern: run.seed), run.speed, run.state,
                    run.startedMs, nowMs, run.tickMs,
                ])
        }
    }

    /// All runs, oldest first.
    public func runs() async throws -> [SimulationRun] {
        try await read { reader in
            try Row.fetchAll(reader.db, sql: "SELECT * FROM runs ORDER BY started_ms, name").map { row in
                try SimulationRun(
                    name: row.value("name"), scenario: row.value("scenario"), path: row.value("path"),
                    seed: UInt64(bitPattern: row.value("seed")), speed: row.value("speed"),
                    state: row.value("state"),
                    startedMs: row.value("started_ms"), tickMs: row.value("tick_ms"))
            }
        }
    }

    /// Removes a stream and all that is kept of it; its name is free at once, its rows go in small steps. For a run
    /// that begins anew under the same name. Closings of the old run must not come after this.
    public func remove(_ stream: StreamID) async throws { try await write { $0.remove(stream) } }

    public func save(_ senders: [SenderRecord]) async throws {
        try await write(.senders) { db in
            for sender in senders {
                let stream = try CommitTransaction(db: db, nowMs: sender.seenMs).streamID(sender.stream)
                try db.execute(
                    sql: """
                        INSERT INTO senders VALUES (?, ?, ?, ?) ON CONFLICT (stream, name) DO UPDATE SET
                        seen_ms = max(seen_ms, excluded.seen_ms), newest_ms = max(newest_ms, excluded.newest_ms)
                        """,
                    arguments: [stream, sender.name, sender.seenMs, sender.newestMs])
            }
        }
    }

    /// Who was heard on a stream, the latest first.
    public func senders(_ stream: StreamID) async throws -> [SenderRecord] {
        try await read { reader in
            try Row.fetchAll(
                reader.db,
                sql: """
                    SELECT senders.* FROM senders JOIN streams ON streams.id = senders.stream
                    WHERE streams.name = ? ORDER BY seen_ms DESC, senders.name
                    """,
                arguments: [stream.name]
            ).map { row in
                try SenderRecord(
                    stream: stream, name: row.value("name"), seenMs: row.value("seen_ms"),
                    newestMs: row.value("newest_ms"))
            }
        }
    }

    /// Keeps events that belong to no closing, for example of a stream that is quiet.
    public func save(_ events: [Event], nowMs: Int64) async throws {
        try await save(events, alerts: AlertChanges(), nowMs: nowMs)
    }

    /// The same, with alerts that they caused, in one transaction.
    public func save(_ events: [Event], alerts: AlertChanges, nowMs: Int64) async throws {
        let changes = try EncodedAlerts(alerts)
        let zstd = try Zstd()
        var encoded: [EncodedEvent] = []
        for event in events { encoded.append(try EncodedEvent(event, zstd: zstd)) }
        let rows = encoded
        try await write(.events) { db in
            let transaction = CommitTransaction(db: db, nowMs: nowMs)
            for row in rows {
                try transaction.insert(row, stream: transaction.streamID(row.event.stream))
            }
            try transaction.keep(changes)
        }
        if !events.isEmpty { onWriter { $0.tellOfEvents() } }
    }

    /// Alerts as they were kept last: pending, firing and some that are over, by id. One that cannot be read any more is
    /// left out.
    public func alerts() async throws -> [Alert] {
        try await read { reader in
            try Data.fetchAll(reader.db, sql: "SELECT data FROM alerts ORDER BY id").compactMap {
                try? EncodedAlerts.decode($0)
            }
        }
    }
}
