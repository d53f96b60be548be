import GRDB
import Telemetry

/// What an endpoint may ask of the history, told by whoever knows its configuration.
public struct EndpointLimit: Sendable, Equatable {
    public var selection: DeliverySelection
    /// How long windows that it has not got yet are kept for it, from their commit, on the wall clock.
    public var keepMs: Int64

    public init(selection: DeliverySelection, keepMs: Int64) {
        self.selection = selection
        self.keepMs = keepMs
    }
}

/// Deletes what is over its age or over the size, a few windows a step, so that commits get in between.
struct Retention {
    static let windowsPerStep = 8
    /// Windows of one stream and resolution that a step looks at in search of some that nobody waits for.
    static let looksPerStep = 512

    /// Of one stream and resolution.
    struct Series: Hashable, Sendable {
        var stream: Int64
        var resolutionMs: Int64
    }

    /// A window among those of its series.
    struct Place: Sendable {
        static let first = Place(startMs: .min, revision: .min)

        var startMs: Int64
        var revision: Int64
    }

    let db: Database
    let limits: StoreLimits
    let nowMs: Int64
    let endpoints: [Endpoint]
    /// Rows that the next closings will name.
    let fleetsInUse: Set<Int64>
    /// Where the next step goes on to look for windows that are too old, behind those that endpoints hold back. A series
    /// that is not here is looked at from its oldest window.
    var places: [Series: Place] = [:]
    var looks = Retention.looksPerStep

    struct Endpoint {
        var name: String
        var sequence: Int64
        /// `nil` takes everything.
        var selection: DeliverySelection?
        var keepMs: Int64
        var gaps: [DeliveryGap] = []

        /// It has not got the window of that number.
        func lacks(_ window: Int64) -> Bool {
            window > sequence || gaps.contains { $0.after.sequence < window && window <= $0.through }
        }
    }

    static func endpoints(
        _ db: Database, described: [String: EndpointLimit], limits: StoreLimits
    ) throws -> [Endpoint] {
        try Row.fetchAll(db, sql: "SELECT name, sequence FROM endpoints").map { row throws in
            let limit = described[try row.value("name")]
            return try Endpoint(
                name: row.value("name"), sequence: row.value("sequence"), selection: limit?.selection,
                keepMs: limit?.keepMs ?? limits.undeliveredKeepMs,
                gaps: GapRows(db: db, endpoint: row.value("name")).all())
        }
    }

    struct Window {
        var sequence: Int64
        var stream: Int64
        /// `nil` for a stream that was removed.
        var streamID: StreamID?
        var resolutionMs: Int64
        var startMs: Int64
        var revision: Int64
        var createdMs: Int64
        var topology: Int64

        init(_ row: Row) throws {
            sequence = try row.value("sequence")
            stream = try row.value("stream")
            streamID = try StreamID(row.value("name") as String)
            resolutionMs = try row.value("resolution_ms")
            startMs = try row.value("start_ms")
            revision = try row.value("revision")
            createdMs = try row.value("created_ms")
            topology = try row.value("topology")
        }
    }

    /// Deletes at most `windowsPerStep` windows; true if there may be more to delete.
    mutating func step() throws -> Bool {
        if try removedStreams() { return true }
        for stream in try Row.fetchAll(db, sql: "SELECT id, closed_through_ms FROM streams") {
            if try aged(stream: stream.value("id"), closedThroughMs: stream.value("closed_through_ms")) {
                return true
            }
        }
        return try oversize()
    }

    // MARK: Age

    private mutating func aged(stream: Int64, closedThroughMs: Int64) throws -> Bool {
        for resolution in try resolutions("stream = \(stream)") {
            let keepMs = limits.keepMs(resolutionMs: resolution)
            guard keepMs >= 0, keepMs < closedThroughMs else { continue }
            let series = Series(stream: stream, resolutionMs: resolution)
            let found = try free(series, throughMs: closedThroughMs - keepMs - resolution)
            if try delete(found) { return true }
        }
        return false
    }

    /// Some windows that are too old and that no endpoint holds back. Those that one does are passed by: an endpoint that has
    /// not got old ones keeps no others.
    private mutating func free(_ series: Series, throughMs: Int64) throws -> [Window] {
        var place = places[series] ?? .first
        var found: [Window] = []
        var left = looks
        while left > 0, found.isEmpty {
            let looked = try windows(
                """
                windows.stream = ? AND resolution_ms = ? AND start_ms BETWEEN ? AND ? AND (start_ms, revision) > (?, ?)
                ORDER BY start_ms, revision
                """,
                [series.stream, series.resolutionMs, place.startMs, throughMs, place.startMs, place.revision])
            found = try looked.filter { window in try !endpoints.contains { try holds($0, window) } }
            guard looked.count == Self.windowsPerStep, let last = looked.last else {
                // That was the end; the next step begins with the oldest again.
                places[series] = nil
                return found
            }
            place = Place(startMs: last.startMs, revision: last.revision)
            left -= looked.count
        }
        places[series] = place
        return found
    }

    private func holds(_ endpoint: Endpoint, _ window: Window) throws -> Bool {
        try wants(endpoint, window) && nowMs - window.createdMs <= endpoint.keepMs
    }

    private func wants(_ endpoint: Endpoint, _ window: Window) throws -> Bool {
        guard endpoint.lacks(window.sequence), let stream = window.streamID else { return false }
        guard let selection = endpoint.selection else { return true }
        guard selection.streams.contains(stream) else { return false }
        return try gets(endpoint, window.resolutionMs, window.sequence)
    }

    /// By its resolution, or because it stands in for shorter ones.
    private func gets(_ endpoint: Endpoint, _ resolutionMs: Int64, _ window: Int64) throws -> Bool {
        guard let wanted = endpoint.selection?.resolutions, !wanted.isEmpty, !wanted.contains(resolutionMs)
        else { return true }
        guard endpoint.selection?.standInsOf != nil else { return false }
        return try StandIns.contains(window, of: endpoint.name, db)
    }

    // MARK: Size

    /// The finest windows go first, whoever waits for them; the newest of each resolution stays.
    private func oversize() throws -> Bool {
        guard try Self.usedBytes(db) > limits.bytesMax else { return false }
        for resolution in try resolutions("1") {
            let oldest = try windows(
                """
                resolution_ms = ? AND sequence < (SELECT max(sequence) FROM windows newest WHERE newest.stream = windows.stream
                    AND newest.resolution_ms = windows.resolution_ms)
                ORDER BY sequence
                """, [resolution])
            if try delete(oldest) { return true }
        }
        return false
    }

    static func usedBytes(_ db: Database) throws -> Int64 {
        let pages = try Int64.fetchOne(db, sql: "PRAGMA page_count") ?? 0
        let free = try Int64.fetchOne(db, sql: "PRAGMA freelist_count") ?? 0
        return (pages - free) * (try Int64.fetchOne(db, sql: "PRAGMA page_size") ?? 0)
    }

    // MARK: Streams that were removed

    /// A removed stream keeps its rows under a name that no stream can have, until they are all deleted.
    private mutating func removedStreams() throws -> Bool {
        guard
            let id = try Int64.fetchOne(db, sql: "SELECT id FROM streams WHERE name GLOB 'removed/*' LIMIT 1")
        else { return false }
        if try delete(windows("windows.stream = ?", [id])) { return true }
        for table in ["rollup_state", "timeline", "events", "senders", "topologies", "checkpoints"] {
            try db.execute(sql: "DELETE FROM \(table) WHERE stream = ?", arguments: [id])
        }
        try db.execute(sql: "DELETE FROM streams WHERE id = ?", arguments: [id])
        places = places.filter { $0.key.stream != id }
        return true
    }

    // MARK: Rows

    /// Ascending; steps from one to the next in the index instead of reading all of it.
    private func resolutions(_ condition: String) throws -> [Int64] {
        var found: [Int64] = []
        while let next = try Int64.fetchOne(
            db, sql: "SELECT min(resolution_ms) FROM windows WHERE \(condition) AND resolution_ms > ?",
            arguments: [found.last ?? 0])
        {
            // A text in a damaged row is behind all numbers, and reads as 0.
            guard next > found.last ?? 0 else { break }
            found.append(next)
        }
        return found
    }

    /// Windows that no open rollup is made of.
    private func windows(_ condition: String, _ arguments: StatementArguments) throws -> [Window] {
        let sql = """
            SELECT windows.*, streams.name FROM windows JOIN streams ON streams.id = windows.stream
            WHERE (parent_end_ms IS NULL OR parent_end_ms <= closed_through_ms) AND \(condition) LIMIT \(Self.windowsPerStep)
            """
        return try Row.fetchAll(db, sql: sql, arguments: arguments).map(Window.init)
    }

    private func delete(_ windows: [Window]) throws -> Bool {
        for window in windows {
            try charge(window)
            for table in ["field_columns", "level_summaries", "sketches", "rollup_state", "stand_ins"] {
                try db.cachedStatement(sql: "DELETE FROM \(table) WHERE window = ?")
                    .execute(arguments: [window.sequence])
            }
            try db.cachedStatement(sql: "DELETE FROM windows WHERE sequence = ?")
                .execute(arguments: [window.sequence])
            guard !fleetsInUse.contains(window.topology) else { continue }
            try db.cachedStatement(
                sql: """
                    DELETE FROM topologies WHERE id = ?1
                    AND id < (SELECT max(id) FROM topologies WHERE stream = ?2)
                    AND NOT EXISTS (SELECT 1 FROM windows WHERE topology = ?1)
                    """
            ).execute(arguments: [window.topology, window.stream])
        }
        return !windows.isEmpty
    }

    /// Counts a window that goes before an endpoint got it: `coarsened` when a coarser one that the endpoint gets covers it
    /// and still waits, else `dropped`.
    private func charge(_ window: Window) throws {
        let lacking = try endpoints.filter { try wants($0, window) }
        guard !lacking.isEmpty else { return }
        let longer = try covering(window)
        for endpoint in lacking {
            let covering = longer.filter { endpoint.lacks($0.sequence) }
            let isCovered = try covering.contains { try gets(endpoint, $0.resolutionMs, $0.sequence) }
            let account = try isCovered || standIn(covering, endpoint) ? "coarsened" : "dropped"
            try db.execute(
                sql: "UPDATE endpoints SET \(account) = \(account) + 1 WHERE name = ?",
                arguments: [endpoint.name])
        }
    }

    /// Longer windows in which that one lies, the finest first; a few steps in the index, however long the history is.
    private func covering(_ window: Window) throws -> [(sequence: Int64, resolutionMs: Int64)] {
        var found: [(sequence: Int64, resolutionMs: Int64)] = []
        var resolutionMs = window.resolutionMs
        while let next = try Int64.fetchOne(
            db, sql: "SELECT min(resolution_ms) FROM windows WHERE stream = ? AND resolution_ms > ?",
            arguments: [window.stream, resolutionMs])
        {
            guard next > resolutionMs else { break }
            resolutionMs = next
            let endMs = window.startMs + window.resolutionMs
            found += try Int64.fetchAll(
                db,
                sql: """
                    SELECT sequence FROM windows WHERE stream = ? AND resolution_ms = ?
                    AND start_ms BETWEEN ? AND ? ORDER BY sequence
                    """,
                arguments: [window.stream, next, endMs - next, window.startMs]
            ).map { ($0, next) }
        }
        return found
    }

    /// Lets the finest of some windows, in all its revisions, stand in for a shorter one, where the endpoint wants that.
    private func standIn(
        _ covering: [(sequence: Int64, resolutionMs: Int64)], _ endpoint: Endpoint
    ) throws -> Bool {
        guard endpoint.selection?.standInsOf != nil, let finest = covering.first else { return false }
        for one in covering where one.resolutionMs == finest.resolutionMs {
            try StandIns.insert(one.sequence, of: endpoint.name, db)
        }
        return true
    }
}
