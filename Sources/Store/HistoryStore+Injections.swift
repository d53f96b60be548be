import GRDB

/// A fault that somebody asked for in a simulated run.
public struct StoredInjection: Sendable, Equatable {
    /// Simulated time, Unix milliseconds.
    public var timeMs: Int64
    public var kind: String
    public var entity: String
    /// Until it is over; `nil`: as the kind has it.
    public var forMs: Int64?

    public init(timeMs: Int64, kind: String, entity: String, forMs: Int64?) {
        self.timeMs = timeMs
        self.kind = kind
        self.entity = entity
        self.forMs = forMs
    }
}

/// An export of a run that goes on after a restart.
public struct StoredExport: Sendable, Equatable {
    public var name: String
    public var run: String
    /// The request, as the daemon writes it.
    public var request: String

    public init(name: String, run: String, request: String) {
        self.name = name
        self.run = run
        self.request = request
    }
}

extension HistoryStore {
    /// Keeps an injection; in the order in which they were asked for.
    public func save(_ injection: StoredInjection, run: String) async throws {
        try await write(.run) { db in
            try db.execute(
                sql: "INSERT INTO injections (run, time_ms, kind, entity, for_ms) VALUES (?, ?, ?, ?, ?)",
                arguments: [run, injection.timeMs, injection.kind, injection.entity, injection.forMs])
        }
    }

    public func injections(run: String) async throws -> [StoredInjection] {
        try await read { reader in
            try Row.fetchAll(
                reader.db, sql: "SELECT * FROM injections WHERE run = ? ORDER BY number", arguments: [run]
            ).map {
                try StoredInjection(
                    timeMs: $0.value("time_ms"), kind: $0.value("kind"), entity: $0.value("entity"),
                    forMs: $0.value("for_ms"))
            }
        }
    }

    public func save(_ export: StoredExport) async throws {
        try await write(.run) { db in
            try db.execute(
                sql: "INSERT OR REPLACE INTO exports VALUES (?, ?, ?)",
                arguments: [export.name, export.run, export.request])
        }
    }

    public func exports() async throws -> [StoredExport] {
        try await read { reader in
            try Row.fetchAll(reader.db, sql: "SELECT * FROM exports ORDER BY name").map {
                try StoredExport(
                    name: $0.value("name"), run: $0.value("run"), request: $0.value("request"))
            }
        }
    }

    public func removeExport(name: String) async throws {
        try await write(.run) { db in
            try db.execute(sql: "DELETE FROM exports WHERE name = ?", arguments: [name])
        }
    }
}
