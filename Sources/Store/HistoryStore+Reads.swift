import FoundationEssentials
import GRDB
public import Telemetry

// What status, CLI and web ask for. All of it runs on `colossus.store.read`, on a snapshot.
extension HistoryStore {
    /// All streams, by name.
    public func streams() async throws -> [StreamRecord] {
        try await read { reader in
            try Row.fetchAll(reader.db, sql: "SELECT * FROM streams ORDER BY name").compactMap(Self.record)
        }
    }

    public func stream(_ stream: StreamID) async throws -> StreamRecord? {
        try await read { reader in
            try Row.fetchOne(reader.db, sql: "SELECT * FROM streams WHERE name = ?", arguments: [stream.name])
                .flatMap(Self.record)
        }
    }

    /// Everything before this is closed; `nil` before the first closing. Unix milliseconds of the stream's clock.
    public func closedThrough(_ stream: StreamID) async throws -> Int64? {
        try await self.stream(stream)?.closedThroughMs
    }

    /// Totals at the stream's last closing.
    public func ledger(_ stream: StreamID) async throws -> Ledger? { try await self.stream(stream)?.ledger }

    /// The newest fleet of a stream, to go on with after a restart (`Streams.open(_:restoring:)`).
    public func topology(_ stream: StreamID) async throws -> TopologySnapshot? {
        try await read { reader in
            guard let id = try reader.newestFleet(of: stream) else { return nil }
            let fleet = try reader.topology(id)
            // A revision has all that there is, but where it stood when its window was closed.
            guard let placed = try reader.newestFleet(of: stream, where: "revision = 0"), placed != id else {
                return fleet
            }
            return fleet.arranged(as: try reader.topology(placed))
        }
    }

    /// What the shards remembered at the newest closing that kept it, to go on with (`StreamSpec.checkpoints`).
    public func checkpoints(_ stream: StreamID) async throws -> [[UInt8]] {
        try await read { reader in
            try Row.fetchAll(
                reader.db,
                sql: """
                    SELECT data FROM checkpoints JOIN streams ON streams.id = checkpoints.stream
                    WHERE streams.name = ? ORDER BY number
                    """,
                arguments: [stream.name]
            ).map { try reader.blob($0, "data") }
        }
    }

    /// The closed windows that still open rollups are made of, finest first and then by time, with all their sketches
    /// and only in their newest revision. Remembers the ladder: sketches are kept for the stream's own rollups from
    /// now on.
    ///
    /// - Parameter ladder: the stream's resolutions in milliseconds.
    public func openRollups(_ stream: StreamID, ladder: [Int64]) async throws -> [WindowSummary] {
        let ladder = ladder.sorted()
        try await write { $0.setLadder(ladder, of: stream) }
        return try await read { reader in
            guard
                let row = try Row.fetchOne(
                    reader.db, sql: "SELECT * FROM streams WHERE name = ?", arguments: [stream.name]),
                let closedThrough = try Self.record(row)?.closedThroughMs
            else { return [] }
            var found: [WindowSummary] = []
            for resolution in ladder {
                guard let parent = StoreLimits.parent(of: resolution, in: ladder) else { continue }
                let heads = try reader.heads(
                    """
                    stream = ? AND resolution_ms = ? AND start_ms >= ? AND start_ms < ? AND revision =
                        (SELECT max(revision) FROM windows w WHERE w.stream = windows.stream AND
                        w.resolution_ms = windows.resolution_ms AND w.start_ms = windows.start_ms)
                    ORDER BY start_ms
                    """,
                    [
                        try row.value("id") as Int64, resolution,
                        StoreLimits.windowStart(closedThrough, resolutionMs: parent), closedThrough,
                    ])
                for head in heads {
                    found.append(try reader.window(head, levels: [], fields: [], sketches: .all).summary)
                }
            }
            return found
        }
    }

    /// The newest window that starts at that time or before, in its newest revision; the newest of all when no time is given. Empty sets mean "all".
    public func window(
        _ stream: StreamID, resolutionMs: Int64, startMs: Int64? = nil, levels: Set<Level> = [],
        fields: Set<FieldIndex> = [], sketches: Bool = false
    ) async throws -> StoredWindow? {
        try await read { reader in
            var condition = "streams.name = ? AND resolution_ms = ?"
            var arguments: StatementArguments = [stream.name, resolutionMs]
            if let startMs {
                condition += " AND start_ms <= ?"
                arguments += [startMs]
            }
            let head = try reader.heads(
                condition + " ORDER BY start_ms DESC, revision DESC LIMIT 1", arguments
            ).first
            return try head.map {
                try reader.window($0, levels: levels, fields: fields, sketches: sketches ? .history : .none)
            }
        }
    }

    /// Resolutions of which a stream has windows, ascending, in milliseconds.
    public func resolutions(_ stream: StreamID) async throws -> [Int64] {
        try await read { reader in
            try Int64.fetchAll(
                reader.db,
                sql: """
                    SELECT DISTINCT resolution_ms FROM windows JOIN streams ON streams.id = windows.stream
                    WHERE streams.name = ? ORDER BY resolution_ms
                    """,
                arguments: [stream.name])
        }
    }

    /// Entities of one level over time, oldest window first, entities in the fleet's order. When there are more rows
    /// than the limit, those of the newest windows are given.
    public func summaries(_ query: SummaryQuery) async throws -> [EntitySummary] {
        try await read { try SummaryReader(query: query).read($0) }
    }

    /// Points in `fromMs ... toMs`, oldest first. With a step, the last point of each `(k * step, (k + 1) * step]`.
    /// When there are more than the limit, the newest are given.
    public func timeline(
        _ stream: StreamID, fromMs: Int64 = .min, toMs: Int64 = .max, stepMs: Int64? = nil,
        limit: Int = 10_000
    ) async throws -> [TimelinePoint] {
        try await read { reader in
            let grouping =
                stepMs.map { "GROUP BY (time_ms + \($0) - 1) / \($0) HAVING max(time_ms) NOTNULL" } ?? ""
            let rows = try Row.fetchAll(
                reader.db,
                sql: """
                    SELECT timeline.*\(stepMs == nil ? "" : ", max(time_ms)") FROM timeline
                    JOIN streams ON streams.id = timeline.stream
                    WHERE streams.name = ? AND time_ms BETWEEN ? AND ? \(grouping)
                    ORDER BY time_ms DESC LIMIT ?
                    """,
                arguments: [stream.name, fromMs, toMs, max(0, limit)])
            return try rows.reversed().map(Self.point)
        }
    }

    public func events(_ query: EventQuery) async throws -> [StoredEvent] {
        try await read { try EventReader(query: query).read($0) }
    }

    /// The number of the event that was stored last; 0 when there is none.
    public func newestEvent() async throws -> Int64 {
        try await read { reader in try Int64.fetchOne(reader.db, sql: "SELECT max(id) FROM events") ?? 0 }
    }

    /// Size of the history's files.
    public var sizeBytes: Int64 { StateDirectory.bytes(writer.path) }

    private static func record(_ row: Row) throws -> StreamRecord? {
        guard let stream = StreamID(try row.value("name") as String) else { return nil }
        var ledger = Ledger()
        ledger.received = try row.value("received")
        ledger.aggregated = try row.value("aggregated")
        try LedgerText.decode(row.value("drops"), into: &ledger)
        let closed: Int64 = try row.value("closed_through_ms")
        var record = StreamRecord(
            stream: stream, closedThroughMs: closed == .min ? nil : closed, ledger: ledger)
        if let cut = try row.value("log_cut") as Int64?, let keepFrom = try row.value("log_keep") as Int64? {
            record.log = LogMark(
                cut: LogPosition(rawValue: cut), keepFrom: LogPosition(rawValue: keepFrom))
        }
        return record
    }

    private static func point(_ row: Row) throws -> TimelinePoint {
        var point = try TimelinePoint(timeMs: row.value("time_ms"))
        point.day = try row.value("day")
        point.phase = try row.value("phase")
        point.phaseDay = try row.value("phase_day")
        point.phaseDays = try row.value("phase_days")
        point.announced = try row.value("announced")
        point.installed = try row.value("installed")
        point.powered = try row.value("powered")
        point.inTraining = try row.value("in_training")
        point.utilization = try row.value("utilization")
        point.megawatts = try row.value("megawatts")
        point.interruptions = try row.value("interruptions")
        point.ettr = try row.value("ettr")
        return point
    }
}
