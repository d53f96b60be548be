import GRDB

/// The tables of `history.sqlite`. A migration that was released is never changed: add another.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("v1") { db in
            for statement in v1 { try db.execute(sql: statement) }
        }
        migrator.registerMigration("v2") { db in
            // How the endpoint's settings cut a window into parts: `parts` counts only under the same ones.
            try db.execute(sql: "ALTER TABLE endpoints ADD COLUMN cut TEXT NOT NULL DEFAULT ''")
        }
        migrator.registerMigration("v3") { db in
            // What the shards remember of series, as of the closing that wrote it: one row a shard, only the newest.
            try db.execute(
                sql: """
                    CREATE TABLE checkpoints (
                        stream INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL,
                        PRIMARY KEY (stream, number))
                    """)
        }
        migrator.registerMigration("v4") { db in
            // What of the ingest log is in the last closing: see `LogMark`.
            try db.execute(sql: "ALTER TABLE streams ADD COLUMN log_cut INTEGER")
            try db.execute(sql: "ALTER TABLE streams ADD COLUMN log_keep INTEGER")
        }
        migrator.registerMigration("v5 dead letters") { db in
            // What the endpoint said, and what is needed to send the body again.
            for column in [
                "response BLOB NOT NULL DEFAULT x''", "headers TEXT NOT NULL DEFAULT ''",
                "samples INTEGER NOT NULL DEFAULT 0", "body_bytes INTEGER NOT NULL DEFAULT 0",
                "is_whole INTEGER NOT NULL DEFAULT 0", "attempts INTEGER NOT NULL DEFAULT 1",
            ] {
                try db.execute(sql: "ALTER TABLE dead_letters ADD COLUMN \(column)")
            }
            try db.execute(sql: "ALTER TABLE endpoints ADD COLUMN paused INTEGER NOT NULL DEFAULT 0")
        }
        migrator.registerMigration("faults and exports") { db in
            // Faults that somebody asked for, so that a run that goes on has them again; and what is exported.
            try db.execute(
                sql: """
                    CREATE TABLE injections (
                        number INTEGER PRIMARY KEY, run TEXT NOT NULL, time_ms INTEGER NOT NULL, kind TEXT NOT NULL,
                        entity TEXT NOT NULL, for_ms INTEGER)
                    """)
            try db.execute(sql: "CREATE INDEX injections_by_run ON injections (run, number)")
            try db.execute(
                sql: "CREATE TABLE exports (name TEXT PRIMARY KEY, run TEXT NOT NULL, request TEXT NOT NULL)")
        }
        migrator.registerMigration("alerts") { db in
            // What the alerts' state machine remembers; the row is the alert as JSON.
            try db.execute(
                sql: "CREATE TABLE alerts (id TEXT PRIMARY KEY, state TEXT NOT NULL, data BLOB NOT NULL)")
            try db.execute(sql: "ALTER TABLE events ADD COLUMN alert BLOB")
            // How far endpoints have got events: `event` is the id of the last.
            try db.execute(
                sql: """
                    CREATE TABLE event_cursors (
                        name TEXT PRIMARY KEY, event INTEGER NOT NULL, delivered INTEGER NOT NULL DEFAULT 0,
                        dead INTEGER NOT NULL DEFAULT 0, paused INTEGER NOT NULL DEFAULT 0,
                        created_ms INTEGER NOT NULL, opened_ms INTEGER NOT NULL)
                    """)
        }
        migrator.registerMigration("negotiated form") { db in
            // What the endpoint was found to understand, in the reporter's words, and when.
            try db.execute(sql: "ALTER TABLE endpoints ADD COLUMN form TEXT NOT NULL DEFAULT ''")
            try db.execute(sql: "ALTER TABLE endpoints ADD COLUMN form_ms INTEGER NOT NULL DEFAULT 0")
        }
        migrator.registerMigration("delivery gaps") { db in
            // What an endpoint that takes windows in any order has not got although it has got later ones: the windows
            // after `sequence` (and after the first `parts` of the next one), up to and including `through`.
            try db.execute(
                sql: """
                    CREATE TABLE endpoint_gaps (
                        endpoint TEXT NOT NULL, through INTEGER NOT NULL, sequence INTEGER NOT NULL,
                        parts INTEGER NOT NULL, PRIMARY KEY (endpoint, through))
                    """)
        }
        migrator.registerMigration("stand-ins") { db in
            // Windows that an endpoint gets although it has not selected their resolution: shorter ones within them had to go
            // before it got them. A row goes with its window.
            try db.execute(
                sql: """
                    CREATE TABLE stand_ins (
                        window INTEGER NOT NULL, endpoint TEXT NOT NULL, PRIMARY KEY (window, endpoint)) WITHOUT ROWID
                    """)
        }
        // No tables change: fleets may be kept in a form that has the standing of nodes (`TopologyBlob`), which those
        // before do not read.
        migrator.registerMigration("standing of nodes") { _ in }
        migrator.registerMigration("event losses") { db in
            // Events that went because of their age before the endpoint had got them.
            try db.execute(sql: "ALTER TABLE event_cursors ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0")
        }
        return migrator
    }

    /// `sequence`, the order of committing, is never used twice: hence AUTOINCREMENT.
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
