import FoundationEssentials
import GRDB
import Glibc
import Synchronization
import Telemetry

/// How far a long piece of work on the history is.
public struct StoreProgress: Sendable, Hashable {
    /// What it does now, in a word or two.
    public var stage: String
    /// Pages, or checks.
    public var done: Int64
    public var total: Int64

    public init(stage: String, done: Int64, total: Int64) {
        self.stage = stage
        self.done = done
        self.total = total
    }
}

/// What a history or a backup of one holds, and what is wrong with it.
public struct StoreVerification: Sendable, Hashable {
    /// Migrations that made the tables what they are; 0 for what is no history.
    public var schemaVersion = 0
    public var streams = 0
    public var windows = 0
    public var events = 0
    public var endpoints = 0
    /// Of the file.
    public var bytes: Int64 = 0
    /// Sentences; none when all is well.
    public var problems: [String] = []

    public var isGood: Bool { problems.isEmpty }

    public init() {}
}

/// Stops a long piece of work from another thread.
final class StoreStop: Sendable {
    private struct State {
        var isStopped = false
        var working: DatabaseQueue?
    }

    private let state = Mutex(State())

    var isStopped: Bool { state.withLock { $0.isStopped } }

    /// Makes what runs on the queue end early when somebody stops it; throws when somebody has.
    func watch(_ queue: DatabaseQueue) throws(StoreError) {
        let isStopped = state.withLock { state in
            state.working = queue
            return state.isStopped
        }
        if isStopped { throw Self.stopped }
    }

    func forget() { state.withLock { $0.working = nil } }

    func stop() {
        state.withLock { state in
            state.isStopped = true
            state.working?.interrupt()
        }
    }

    static let stopped = StoreError(.closed, "the store was closed before the work was done")
}

/// Looks at a file of a history as a whole: `history.sqlite` while it is in use, or a backup of it.
public enum StoreFile {
    /// Schema versions that this program knows: it brings older ones up to date, and refuses newer ones.
    public static var newestSchema: Int { Schema.migrator.migrations.count }

    /// Reads all of a file and says what is wrong with it. Changes nothing, and waits for nobody.
    ///
    /// - Throws: `StoreError` when there is no such file or it cannot be read. What is found is no error.
    public static func verify(
        _ path: String, progress: (StoreProgress) -> Void = { _ in }
    ) throws(StoreError) -> StoreVerification {
        try verify(path, stop: StoreStop(), progress: progress)
    }

    static func verify(
        _ path: String, stop: StoreStop, progress: (StoreProgress) -> Void
    ) throws(StoreError) -> StoreVerification {
        var about = stat()
        guard stat(path, &about) == 0, access(path, R_OK) == 0 else {
            throw StoreError(
                .stateDirectory, "\(path) cannot be read: \(String(cString: strerror(errno)))",
                advice: "name a file that you may read")
        }
        var found = StoreVerification()
        found.bytes = Int64(about.st_size)
        do {
            var configuration = Configuration()
            configuration.readonly = true
            configuration.label = "colossus.store.verify"
            configuration.busyMode = .timeout(5)
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            try stop.watch(queue)
            defer { stop.forget() }
            found = try queue.read { db in
                var checks = StoreChecks(db: db, found: found)
                try checks.run(progress)
                return checks.found
            }
        } catch let error as StoreError {
            throw error
        } catch let error as DatabaseError where error.resultCode == .SQLITE_INTERRUPT {
            throw StoreStop.stopped
        } catch {
            found.problems.append("it cannot be read: \(Self.sentence(error))")
        }
        return found
    }

    static func sentence(_ error: any Error) -> String {
        guard let error = error as? DatabaseError else { return "\(error)" }
        return error.message ?? "\(error.resultCode)"
    }
}

/// What must be so of the rows of a history.
struct StoreChecks {
    let db: Database
    var found: StoreVerification

    private static let problemsMax = 20
    private static let stages = ["integrity", "references", "cursors", "windows"]

    mutating func run(_ progress: (StoreProgress) -> Void) throws {
        guard try schema() else { return }
        for (done, stage) in Self.stages.enumerated() {
            progress(StoreProgress(stage: stage, done: Int64(done), total: Int64(Self.stages.count)))
            do {
                try look(stage)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_INTERRUPT {
                throw error
            } catch {
                // What is damaged hides nothing of the other stages.
                problem("\(stage) cannot be checked: \(StoreFile.sentence(error))")
            }
        }
        progress(
            StoreProgress(
                stage: "done", done: Int64(Self.stages.count), total: Int64(Self.stages.count)))
        try count()
    }

    private mutating func look(_ stage: String) throws {
        switch stage {
        case "integrity": try integrity()
        case "references": try references()
        case "cursors":
            try endpointCursors()
            try endpointGaps()
            try eventCursors()
            try streamEnds()
        default: try newestWindows()
        }
    }

    /// A number of a row; `nil`, with a problem, where something else is stored: the subscripts of GRDB trap on it.
    private mutating func number(_ row: Row, _ index: Int, _ whose: String) -> Int64? {
        let value: DatabaseValue = row[index]
        if case .int64(let number) = value.storage { return number }
        problem("\(whose): \(row.columnNames.dropFirst(index).first ?? "?") is \(value), which is no number")
        return nil
    }

    /// How a row calls itself, whatever is stored there.
    private static func name(_ row: Row) -> String {
        let value: DatabaseValue = row[0]
        return String.fromDatabaseValue(value) ?? "\(value)"
    }

    private mutating func problem(_ sentence: String) {
        if found.problems.count < Self.problemsMax { found.problems.append(sentence) }
    }

    /// False when there is no sense in going on.
    private mutating func schema() throws -> Bool {
        guard try db.tableExists("grdb_migrations"), try db.tableExists("windows") else {
            problem("it holds no history of colossusd")
            return false
        }
        found.schemaVersion = try Schema.migrator.completedMigrations(db).count
        guard try !Schema.migrator.hasBeenSuperseded(db) else {
            found.schemaVersion = try Schema.migrator.appliedIdentifiers(db).count
            problem(
                "it was written by a newer colossusd: this one knows schema \(StoreFile.newestSchema); verify it with that version"
            )
            return false
        }
        return true
    }

    private mutating func integrity() throws {
        let lines = try String.fetchAll(db, sql: "PRAGMA integrity_check(\(Self.problemsMax))")
        for line in lines where line != "ok" { problem("SQLite: \(line)") }
    }

    /// The tables have no foreign keys of SQLite's own: rows of a window go with it, in one transaction.
    private mutating func references() throws {
        for violation in try Row.fetchAll(db, sql: "PRAGMA foreign_key_check") {
            problem("SQLite: a row of \(Self.name(violation)) refers to nothing")
        }
        let arrows = [
            ("level_summaries", "window", "windows", "sequence"),
            ("field_columns", "window", "windows", "sequence"),
            ("sketches", "window", "windows", "sequence"), ("rollup_state", "window", "windows", "sequence"),
            ("windows", "topology", "topologies", "id"), ("windows", "stream", "streams", "id"),
            ("events", "stream", "streams", "id"), ("timeline", "stream", "streams", "id"),
        ]
        for (table, column, target, key) in arrows {
            let lost =
                try Int.fetchOne(
                    db,
                    sql: "SELECT count(*) FROM \(table) WHERE \(column) NOT IN (SELECT \(key) FROM \(target))"
                )
                ?? 0
            if lost > 0 { problem("\(lost) rows of \(table) belong to no row of \(target)") }
        }
    }

    /// Where endpoints and streams say that they stand, there must be something to stand on.
    private mutating func endpointCursors() throws {
        let newest =
            try Int64.fetchOne(db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'windows'") ?? 0
        for row in try Row.fetchAll(db, sql: "SELECT name, sequence, parts FROM endpoints ORDER BY name") {
            let name = Self.name(row)
            if (row[0] as DatabaseValue).isNull { problem("an endpoint has no name") }
            guard let sequence = number(row, 1, "endpoint \(name)"),
                let parts = number(row, 2, "endpoint \(name)")
            else { continue }
            if sequence > newest {
                problem("endpoint \(name) stands at window \(sequence), but the newest is \(newest)")
            }
            if sequence < 0 || parts < 0 { problem("endpoint \(name) stands before the first window") }
        }
    }

    /// Gaps lie before the cursor of their endpoint, and beside each other.
    private mutating func endpointGaps() throws {
        guard try db.tableExists("endpoint_gaps") else { return }
        var last: (name: String, through: Int64) = ("", 0)
        for row in try Row.fetchAll(
            db,
            sql: """
                SELECT endpoint, endpoint_gaps.sequence, endpoint_gaps.parts, through, endpoints.sequence AS cursor
                FROM endpoint_gaps LEFT JOIN endpoints ON name = endpoint ORDER BY endpoint, through
                """)
        {
            let name = Self.name(row)
            let whose = "a gap of endpoint \(name)"
            guard !(row[4] as DatabaseValue).isNull else {
                problem("\(whose) belongs to no cursor")
                continue
            }
            guard let sequence = number(row, 1, whose), let parts = number(row, 2, whose),
                let through = number(row, 3, whose), let cursor = number(row, 4, whose)
            else { continue }
            if sequence < 0 || parts < 0 || sequence >= through { problem("\(whose) ends before it begins") }
            if through > cursor { problem("\(whose) ends at window \(through), behind its cursor") }
            if last.name == name, sequence < last.through {
                problem("\(whose) begins at window \(sequence), within the one before")
            }
            last = (name, through)
        }
    }

    private mutating func streamEnds() throws {
        for row in try Row.fetchAll(
            db,
            sql: """
                SELECT streams.name, max(start_ms + resolution_ms) AS end_ms, closed_through_ms FROM windows
                JOIN streams ON streams.id = windows.stream GROUP BY streams.id
                HAVING max(start_ms + resolution_ms) > closed_through_ms OR typeof(closed_through_ms) <> 'integer'
                """)
        {
            let name = Self.name(row)
            guard let end = number(row, 1, "stream \(name)"), let closed = number(row, 2, "stream \(name)")
            else { continue }
            problem(
                "stream \(name) has a window up to \(UTC.timestamp(end)), but is closed through \(UTC.timestamp(closed))"
            )
        }
    }

    private mutating func eventCursors() throws {
        guard try db.tableExists("event_cursors") else { return }
        let newest =
            try Int64.fetchOne(db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'events'") ?? 0
        for row in try Row.fetchAll(
            db,
            sql:
                "SELECT name, event FROM event_cursors WHERE event > ? OR typeof(event) <> 'integer' ORDER BY name",
            arguments: [newest])
        {
            let name = Self.name(row)
            guard let event = number(row, 1, "endpoint \(name)") else { continue }
            problem("endpoint \(name) stands at event \(event), but the newest is \(newest)")
        }
    }

    /// The newest window of each stream and length, down to the last number.
    private mutating func newestWindows() throws {
        let reader = try WindowReader(db, topologies: TopologyCache())
        let heads = try reader.heads(
            "sequence IN (SELECT max(sequence) FROM windows GROUP BY stream, resolution_ms)", [])
        for head in heads {
            do {
                _ = try reader.window(head, levels: [], fields: [], sketches: .all)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_INTERRUPT {
                throw error
            } catch {
                problem(
                    "window \(head.sequence) of \(head.summary.stream) cannot be read: \(StoreFile.sentence(error))"
                )
            }
        }
    }

    private mutating func count() throws {
        func rows(_ table: String) throws -> Int {
            try Int.fetchOne(db, sql: "SELECT count(*) FROM \(table)") ?? 0
        }
        found.streams = try rows("streams")
        found.windows = try rows("windows")
        found.events = try rows("events")
        found.endpoints = try rows("endpoints")
    }
}
