import Foundation
import GRDB
import Telemetry
import Testing

@testable import Store

/// The tables as released versions made them, in words of their own: a change of a migration that was released shows.
enum ReleasedSchema {
    /// What each migration added to the tables before it, and the identifier under which it was noted.
    static let steps: [(identifier: String, statements: [String])] = [
        ("v1", v1),
        ("v2", ["ALTER TABLE endpoints ADD COLUMN cut TEXT NOT NULL DEFAULT ''"]),
        (
            "v3",
            [
                """
                CREATE TABLE checkpoints (
                    stream INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL,
                    PRIMARY KEY (stream, number))
                """
            ]
        ),
        (
            "v4",
            [
                "ALTER TABLE streams ADD COLUMN log_cut INTEGER",
                "ALTER TABLE streams ADD COLUMN log_keep INTEGER",
            ]
        ),
        (
            "v5 dead letters",
            [
                "ALTER TABLE dead_letters ADD COLUMN response BLOB NOT NULL DEFAULT x''",
                "ALTER TABLE dead_letters ADD COLUMN headers TEXT NOT NULL DEFAULT ''",
                "ALTER TABLE dead_letters ADD COLUMN samples INTEGER NOT NULL DEFAULT 0",
                "ALTER TABLE dead_letters ADD COLUMN body_bytes INTEGER NOT NULL DEFAULT 0",
                "ALTER TABLE dead_letters ADD COLUMN is_whole INTEGER NOT NULL DEFAULT 0",
                "ALTER TABLE dead_letters ADD COLUMN attempts INTEGER NOT NULL DEFAULT 1",
                "ALTER TABLE endpoints ADD COLUMN paused INTEGER NOT NULL DEFAULT 0",
            ]
        ),
        (
            "faults and exports",
            [
                """
                CREATE TABLE injections (
                    number INTEGER PRIMARY KEY, run TEXT NOT NULL, time_ms INTEGER NOT NULL, kind TEXT NOT NULL,
                    entity TEXT NOT NULL, for_ms INTEGER)
                """,
                "CREATE INDEX injections_by_run ON injections (run, number)",
                "CREATE TABLE exports (name TEXT PRIMARY KEY, run TEXT NOT NULL, request TEXT NOT NULL)",
            ]
        ),
        (
            "alerts",
            [
                "CREATE TABLE alerts (id TEXT PRIMARY KEY, state TEXT NOT NULL, data BLOB NOT NULL)",
                "ALTER TABLE events ADD COLUMN alert BLOB",
                """
                CREATE TABLE event_cursors (
                    name TEXT PRIMARY KEY, event INTEGER NOT NULL, delivered INTEGER NOT NULL DEFAULT 0,
                    dead INTEGER NOT NULL DEFAULT 0, paused INTEGER NOT NULL DEFAULT 0,
                    created_ms INTEGER NOT NULL, opened_ms INTEGER NOT NULL)
                """,
            ]
        ),
        (
            "negotiated form",
            [
                "ALTER TABLE endpoints ADD COLUMN form TEXT NOT NULL DEFAULT ''",
                "ALTER TABLE endpoints ADD COLUMN form_ms INTEGER NOT NULL DEFAULT 0",
            ]
        ),
        (
            "delivery gaps",
            [
                """
                CREATE TABLE endpoint_gaps (
                    endpoint TEXT NOT NULL, through INTEGER NOT NULL, sequence INTEGER NOT NULL,
                    parts INTEGER NOT NULL, PRIMARY KEY (endpoint, through))
                """
            ]
        ),
        (
            "stand-ins",
            [
                """
                CREATE TABLE stand_ins (
                    window INTEGER NOT NULL, endpoint TEXT NOT NULL, PRIMARY KEY (window, endpoint)) WITHOUT ROWID
                """
            ]
        ),
        ("standing of nodes", []),
        ("event losses", ["ALTER TABLE event_cursors ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0"]),
    ]

    /// Rows that the first version could write; windows come from a store of today, whose tables for them are the same.
    /// (The body of the dead letter is a zstd frame of the two letters `hi`.)
    static let rows = [
        """
        INSERT INTO events (stream, time_ms, identity, kind, entity, gpu, job, value, message, source, node_count, nodes)
        VALUES (1, 1700000041000, 77, 'xid', 'node-0-0', 3, '', 79, 'XID 79 on GPU 3 of node-0-0', 'ingest', 0, NULL)
        """,
        """
        INSERT INTO endpoints (name, sequence, parts, delivered_parts, delivered_samples, dead, created_ms, opened_ms)
        VALUES ('archive', 2, 1, 4, 40, 1, 1700000000000, 1700000000000)
        """,
        """
        INSERT INTO dead_letters (endpoint, id, sequence, status, reason, time_ms, body)
        VALUES ('archive', 'archive/2/0', 2, 400, 'bad sample', 1700000045000, x'28b52ffd20021100006869')
        """,
        "INSERT INTO runs VALUES ('c', 'colossus', '/c.yaml', 1, '1', 'stopped', 1, 2, NULL)",
        "INSERT INTO senders VALUES (1, 'ingest/127.0.0.1', 1, 2)",
    ]

    private static let v1 = [
        """
        CREATE TABLE streams (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL,
            closed_through_ms INTEGER NOT NULL, ladder TEXT NOT NULL DEFAULT '',
            received INTEGER NOT NULL, aggregated INTEGER NOT NULL, drops TEXT NOT NULL)
        """,
        """
        CREATE TABLE topologies (
            id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL)
        """,
        "CREATE INDEX topologies_by_version ON topologies (stream, version)",
        """
        CREATE TABLE windows (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL,
            resolution_ms INTEGER NOT NULL, start_ms INTEGER NOT NULL, revision INTEGER NOT NULL,
            coverage REAL NOT NULL, topology_version INTEGER NOT NULL, topology INTEGER NOT NULL,
            created_ms INTEGER NOT NULL, parent_end_ms INTEGER, timeline BLOB,
            UNIQUE (stream, resolution_ms, start_ms, revision))
        """,
        "CREATE INDEX windows_by_topology ON windows (topology)",
        "CREATE INDEX windows_by_resolution ON windows (resolution_ms, sequence)",
        """
        CREATE TABLE level_summaries (
            window INTEGER NOT NULL, level TEXT NOT NULL, position INTEGER NOT NULL, jobs BLOB, gpus BLOB NOT NULL,
            PRIMARY KEY (window, level))
        """,
        // `field` is DCGM's id; `position` the order in which the columns were committed.
        """
        CREATE TABLE field_columns (
            window INTEGER NOT NULL, level TEXT NOT NULL, field INTEGER NOT NULL, position INTEGER NOT NULL,
            data BLOB NOT NULL, PRIMARY KEY (window, level, field))
        """,
        """
        CREATE TABLE sketches (
            window INTEGER NOT NULL, level TEXT NOT NULL, field INTEGER NOT NULL, data BLOB NOT NULL,
            PRIMARY KEY (window, level, field))
        """,
        // Sketches that only the parent rollup needs: they go when it closes, at `until_ms` of the stream's clock.
        """
        CREATE TABLE rollup_state (
            window INTEGER NOT NULL, level TEXT NOT NULL, field INTEGER NOT NULL, stream INTEGER NOT NULL,
            until_ms INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (window, level, field))
        """,
        "CREATE INDEX rollup_state_by_end ON rollup_state (stream, until_ms)",
        """
        CREATE TABLE timeline (
            stream INTEGER NOT NULL, time_ms INTEGER NOT NULL, resolution_ms INTEGER NOT NULL,
            day INTEGER NOT NULL, phase TEXT NOT NULL, phase_day INTEGER NOT NULL, phase_days INTEGER NOT NULL,
            announced INTEGER NOT NULL, installed INTEGER NOT NULL, powered INTEGER NOT NULL,
            in_training INTEGER NOT NULL, utilization REAL NOT NULL, megawatts REAL NOT NULL,
            interruptions INTEGER NOT NULL, ettr REAL NOT NULL, PRIMARY KEY (stream, time_ms))
        """,
        // `identity` is a hash of the whole event: the same event is kept once, however often it is told.
        """
        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, time_ms INTEGER NOT NULL,
            identity INTEGER NOT NULL, kind TEXT NOT NULL, entity TEXT NOT NULL, gpu INTEGER, job TEXT NOT NULL,
            value REAL, message TEXT NOT NULL, source TEXT NOT NULL, node_count INTEGER NOT NULL, nodes BLOB,
            UNIQUE (stream, time_ms, identity))
        """,
        "CREATE INDEX events_by_time ON events (time_ms)",
        """
        CREATE TABLE endpoints (
            name TEXT PRIMARY KEY, sequence INTEGER NOT NULL, parts INTEGER NOT NULL,
            delivered_parts INTEGER NOT NULL DEFAULT 0, delivered_samples INTEGER NOT NULL DEFAULT 0,
            dead INTEGER NOT NULL DEFAULT 0, coarsened INTEGER NOT NULL DEFAULT 0,
            dropped INTEGER NOT NULL DEFAULT 0, created_ms INTEGER NOT NULL, opened_ms INTEGER NOT NULL)
        """,
        """
        CREATE TABLE dead_letters (
            number INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, id TEXT NOT NULL,
            sequence INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT NOT NULL, time_ms INTEGER NOT NULL,
            body BLOB NOT NULL, UNIQUE (endpoint, id))
        """,
        """
        CREATE TABLE runs (
            name TEXT PRIMARY KEY, scenario TEXT NOT NULL, path TEXT NOT NULL, seed INTEGER NOT NULL,
            speed TEXT NOT NULL, state TEXT NOT NULL, started_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
            tick_ms INTEGER)
        """,
        """
        CREATE TABLE senders (
            stream INTEGER NOT NULL, name TEXT NOT NULL, seen_ms INTEGER NOT NULL, newest_ms INTEGER NOT NULL,
            PRIMARY KEY (stream, name))
        """,
    ]
}

@Suite struct MigrationTests {
    /// Windows as a store writes them, row by row, for tables of any version.
    private static let shared = [
        "streams", "topologies", "windows", "level_summaries", "field_columns", "sketches",
    ]

    /// A history of a released version with three windows.
    private func make(_ version: Int, in sandbox: Sandbox) async throws {
        let donor = try Sandbox()
        let store = try donor.open()
        var maker = CloseMaker(seed: 3)
        for step in 0..<3 { await store.commit(maker.close(at: 1_700_000_040_000 + Int64(step) * 10_000)) }
        await store.close()
        let queue = try DatabaseQueue(path: sandbox.database)
        try await queue.writeWithoutTransaction { db in
            try db.execute(sql: "CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY)")
            for step in ReleasedSchema.steps.prefix(version) {
                for statement in step.statements { try db.execute(sql: statement) }
                try db.execute(sql: "INSERT INTO grdb_migrations VALUES (?)", arguments: [step.identifier])
            }
            try db.execute(sql: "ATTACH ? AS donor", arguments: [donor.database])
            for table in Self.shared {
                let columns = try db.columns(in: table).map(\.name).joined(separator: ", ")
                try db.execute(sql: "INSERT INTO \(table) (\(columns)) SELECT \(columns) FROM donor.\(table)")
            }
            try db.execute(sql: "DETACH donor")
            for row in ReleasedSchema.rows { try db.execute(sql: row) }
        }
        try queue.close()
    }

    @Test("the list of released versions is complete")
    func complete() {
        #expect(Schema.migrator.migrations == ReleasedSchema.steps.map(\.identifier))
    }

    @Test(
        "a history of each released version is brought up to date, and keeps what it held", arguments: 1...11)
    func everyVersion(version: Int) async throws {
        let sandbox = try Sandbox()
        try await make(version, in: sandbox)
        let old = try StoreFile.verify(sandbox.database)
        #expect(old.problems == [])
        #expect(old.schemaVersion == version)

        let store = try sandbox.open()
        let windows = try #require(await store.windows(after: 0)?.windows)
        var maker = CloseMaker(seed: 3)
        let made = (0..<3).flatMap { maker.close(at: 1_700_000_040_000 + Int64($0) * 10_000).windows }
        #expect(windows.map(\.summary) == made.map { $0.withoutSketches() })
        let event = try #require(try await store.events(EventQuery()).first)
        #expect(event.event.kind == .xid && event.event.gpu == 3 && event.event.value == 79)
        let endpoint = try #require(try await store.endpointRecords().first)
        #expect(endpoint.position == DeliveryPosition(sequence: 2, parts: 1))
        #expect(endpoint.deliveredSamples == 40 && !endpoint.isPaused)
        let letter = try #require(try await store.deadLetters(DeadLetterQuery(), bodies: true).first)
        #expect(
            letter.letter.body == Array("hi".utf8) && letter.attempts == 1 && letter.letter.response.isEmpty)
        #expect(try await store.runs().map(\.name) == ["c"])
        // It goes on as one of today's.
        await store.commit(maker.close(at: 1_700_000_070_000))
        #expect(await store.windows(after: 3)?.windows.count == 1)
        await store.close()
        let new = try StoreFile.verify(sandbox.database)
        #expect(new.problems == [])
        #expect(new.schemaVersion == ReleasedSchema.steps.count)
        #expect(try await tables(sandbox.database) == (try await tablesOfToday()))
    }

    @Test("a history of a newer version is refused with words, and left as it is")
    func newer() async throws {
        let sandbox = try Sandbox()
        try await make(ReleasedSchema.steps.count, in: sandbox)
        let queue = try DatabaseQueue(path: sandbox.database)
        try await queue.write {
            try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('v99 of the future')")
        }
        try queue.close()
        let error = #expect(throws: StoreError.self) { try sandbox.open() }
        #expect(error?.code == .newerSchema)
        #expect(
            error?.description.contains("was written by a newer colossusd; install that version again")
                == true)
        #expect(try StoreFile.verify(sandbox.database).problems.first?.contains("newer colossusd") == true)
    }

    /// The columns of all tables, as SQLite knows them.
    private func tables(_ path: String) async throws -> [String: [String]] {
        let queue = try DatabaseQueue(path: path)
        return try await queue.read { db in
            var tables: [String: [String]] = [:]
            let names = try String.fetchAll(
                db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            for name in names {
                tables[name] = try db.columns(in: name).map {
                    "\($0.name) \($0.type) \($0.isNotNull) \($0.defaultValueSQL ?? "")"
                }
            }
            return tables
        }
    }

    private func tablesOfToday() async throws -> [String: [String]] {
        let sandbox = try Sandbox()
        await (try sandbox.open()).close()
        return try await tables(sandbox.database)
    }
}
