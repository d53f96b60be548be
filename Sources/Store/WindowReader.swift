import FoundationEssentials
import GRDB
import Synchronization
import Telemetry

/// Reads windows back, and of each only the levels and fields that were asked for.
struct WindowReader: ~Copyable {
    struct Head {
        var sequence: Int64
        var topology: Int64
        var summary: WindowSummary

        init?(_ row: Row) throws {
            // The subscripts of rows trap on what is no number.
            func value<Value: DatabaseValueConvertible>(_ column: String) throws -> Value {
                try row.decode(Value.self, forColumn: column)
            }
            guard let stream = StreamID(try value("name") as String) else { return nil }
            sequence = try value("sequence")
            topology = try value("topology")
            summary = WindowSummary(
                stream: stream, resolutionMs: try value("resolution_ms"), startMs: try value("start_ms"),
                revision: try value("revision"), topologyVersion: try value("topology_version"),
                coverage: try value("coverage"), levels: [],
                timeline: try (value("timeline") as Data?).map { try TimelineBlob.decode(Array($0)) })
        }
    }

    enum Sketches {
        case none
        /// What is kept as history.
        case history
        /// That, and what an open rollup needs.
        case all
    }

    /// A head's columns, for `FROM windows JOIN streams`.
    static let headSQL = """
        SELECT windows.*, streams.name FROM windows JOIN streams ON streams.id = windows.stream
        """

    let db: Database
    let topologies: TopologyCache
    private let zstd: Zstd

    init(_ db: Database, topologies: TopologyCache) throws {
        self.db = db
        self.topologies = topologies
        zstd = try Zstd()
    }

    func heads(_ condition: String, _ arguments: StatementArguments) throws -> [Head] {
        try Row.fetchAll(db, sql: Self.headSQL + " WHERE " + condition, arguments: arguments)
            .compactMap(Head.init)
    }

    func window(
        _ head: Head, levels: Set<Level>, fields: Set<FieldIndex>, sketches: Sketches = .none
    ) throws -> StoredWindow {
        var summary = head.summary
        summary.levels = try self.levels(head.sequence, levels)
        for index in summary.levels.indices {
            let level = summary.levels[index].level
            summary.levels[index].columns = try columns(head.sequence, level, fields, sketches)
        }
        return StoredWindow(
            sequence: head.sequence, summary: summary, topology: try topology(head.topology))
    }

    /// Row of the fleet of a stream's newest window.
    func newestFleet(of stream: StreamID, where condition: String = "TRUE") throws -> Int64? {
        try Int64.fetchOne(
            db,
            sql: """
                SELECT topology FROM windows JOIN streams ON streams.id = windows.stream
                WHERE streams.name = ? AND \(condition) ORDER BY sequence DESC LIMIT 1
                """,
            arguments: [stream.name])
    }

    func topology(_ id: Int64) throws -> TopologySnapshot {
        if let known = topologies.find(id) { return known }
        let row = try Row.fetchOne(db, sql: "SELECT data FROM topologies WHERE id = ?", arguments: [id])
        guard let row else { throw ByteReader.damage("fleet \(id) is missing") }
        let topology = try TopologyBlob.decode(try unpack(row, 0))
        topologies.keep(topology, id: id)
        return topology
    }

    /// None for NULL.
    func names(_ row: Row, _ column: String) throws -> [String] {
        (row[column] as DatabaseValue).isNull ? [] : try SummaryBlob.names(blob(row, column))
    }

    func blob(_ row: Row, _ column: String) throws -> [UInt8] {
        try row.withUnsafeData(named: column) { try unpack($0) }
    }

    private func levels(_ sequence: Int64, _ wanted: Set<Level>) throws -> [LevelSummary] {
        var found: [LevelSummary] = []
        let rows = try Row.fetchCursor(
            db.cachedStatement(
                sql: "SELECT level, jobs, gpus FROM level_summaries WHERE window = ? ORDER BY position"),
            arguments: [sequence])
        while let row = try rows.next() {
            guard let level = Level(rawValue: try row.decode(String.self, atIndex: 0)),
                wanted.isEmpty || wanted.contains(level)
            else { continue }
            found.append(
                LevelSummary(
                    level: level, jobs: try names(row, "jobs"), columns: [],
                    gpus: try SummaryBlob.gpus(try unpack(row, 2))))
        }
        return found
    }

    private func columns(
        _ sequence: Int64, _ level: Level, _ wanted: Set<FieldIndex>, _ sketches: Sketches
    ) throws -> [FieldColumn] {
        var sql = "SELECT field, data FROM field_columns WHERE window = ? AND level = ?"
        if !wanted.isEmpty {
            let ids = wanted.map { String($0.field.id) }.sorted()
            sql += " AND field IN (\(ids.joined(separator: ",")))"
        }
        let rows = try Row.fetchCursor(
            db.cachedStatement(sql: sql + " ORDER BY position"), arguments: [sequence, level.rawValue])
        var found: [FieldColumn] = []
        while let row = try rows.next() {
            guard
                let field = FieldCatalog.find(
                    id: UInt16(truncatingIfNeeded: try row.decode(Int64.self, atIndex: 0)))
            else {
                continue
            }
            var column = try SummaryBlob.column(try unpack(row, 1), field: field)
            try addSketches(to: &column, sequence, level, sketches)
            found.append(column)
        }
        return found
    }

    private func addSketches(
        to column: inout FieldColumn, _ sequence: Int64, _ level: Level, _ sketches: Sketches
    ) throws {
        let tables: [String] =
            switch sketches {
            case .none: []
            case .history: ["sketches"]
            case .all: ["sketches", "rollup_state"]
            }
        for table in tables {
            let row = try Row.fetchOne(
                db.cachedStatement(
                    sql: "SELECT data FROM \(table) WHERE window = ? AND level = ? AND field = ?"),
                arguments: [sequence, level.rawValue, column.field.field.id])
            guard let row else { continue }
            return try SummaryBlob.sketches(try unpack(row, 0), into: &column)
        }
    }

    private func unpack(_ row: Row, _ index: Int) throws -> [UInt8] {
        try row.withUnsafeData(atIndex: index) { try unpack($0) }
    }

    /// Unsafe because zstd reads SQLite's own copy, which stays until the row moves on.
    private func unpack(_ data: Data?) throws -> [UInt8] {
        guard let data else { throw ByteReader.damage("it is missing") }
        if data.isEmpty { return [] }
        return try data.withUnsafeBytes { try zstd.decompress($0) }
    }
}

/// The fleets that were decoded last: every window names one, and they seldom change.
final class TopologyCache: Sendable {
    private static let entriesMax = 8
    private let entries = Mutex<[(id: Int64, topology: TopologySnapshot)]>([])

    func find(_ id: Int64) -> TopologySnapshot? {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.id == id }) else { return nil }
            let entry = entries.remove(at: index)
            entries.append(entry)
            return entry.topology
        }
    }

    func keep(_ topology: TopologySnapshot, id: Int64) {
        entries.withLock { entries in
            entries.removeAll { $0.id == id }
            entries.append((id, topology))
            if entries.count > Self.entriesMax { entries.removeFirst() }
        }
    }
}
