import GRDB
import Synchronization
import Telemetry

// Where endpoints stand: how far their cursors are, and how many windows wait for them.
extension HistoryStore {
    /// Where all endpoints stand, by name. All that waits is counted: with a long backlog that takes a while.
    public func endpointRecords() async throws -> [EndpointRecord] {
        try await endpointRecords(knowing: [:])
    }

    /// The same for whoever asks again and again. What waits is counted by now where that is soon done; where more windows than
    /// `WaitingWindows.countedSoon` may wait, the count may be `WaitingWindows.keepMs` old.
    public func recentEndpointRecords() async throws -> [EndpointRecord] {
        let nowMs = writer.clock.nowMs()
        // Counted in the future: the clock was set back since.
        let known = waiting.withLock { waiting in
            waiting.filter { (0..<WaitingWindows.keepMs).contains(nowMs - $0.value.countedMs) }
        }
        return try await endpointRecords(knowing: known)
    }

    /// Names of the endpoints that an operator has paused; `#events` may be behind one.
    public func pausedEndpoints() async throws -> Set<String> {
        try await read { reader in
            try String.fetchSet(
                reader.db,
                sql: """
                    SELECT name FROM endpoints WHERE paused UNION SELECT name FROM event_cursors WHERE paused
                    """)
        }
    }

    private func endpointRecords(knowing known: [String: WaitingWindows]) async throws -> [EndpointRecord] {
        let limits = await withCheckedContinuation { continuation in
            onWriter { continuation.resume(returning: $0.endpointLimits) }
        }
        let nowMs = writer.clock.nowMs()
        let found = try await read { reader in
            let newest =
                try Int64.fetchOne(reader.db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'windows'")
                ?? 0
            return try Row.fetchAll(reader.db, sql: "SELECT * FROM endpoints ORDER BY name").map {
                row -> (EndpointRecord, WaitingWindows?) in
                let name: String = try row.value("name")
                let position = try DeliveryPosition(
                    sequence: row.value("sequence"), parts: row.value("parts"))
                let gaps = try GapRows(db: reader.db, endpoint: name).all()
                let selection = limits[name]?.selection
                var waiting = known[name]
                if waiting?.standsFor(position, gaps, selection, newest: newest) != true {
                    waiting = try WaitingWindows(position, gaps, selection, reader.db, nowMs: nowMs)
                }
                return (try Self.record(row, position, gaps, waiting), waiting)
            }
        }
        waiting.withLock { waiting in
            waiting = Dictionary(
                found.compactMap { record, counted in counted.map { (record.endpoint, $0) } },
                uniquingKeysWith: { first, _ in first })
        }
        return found.map { $0.0 }
    }

    private static func record(
        _ row: Row, _ position: DeliveryPosition, _ gaps: [DeliveryGap], _ waiting: WaitingWindows?
    ) throws -> EndpointRecord {
        try EndpointRecord(
            endpoint: row.value("name"), position: position, deliveredParts: row.value("delivered_parts"),
            deliveredSamples: row.value("delivered_samples"), dead: row.value("dead"),
            coarsened: row.value("coarsened"), dropped: row.value("dropped"), pending: waiting?.pending ?? 0,
            oldestPendingMs: waiting?.oldestMs, isPaused: row.value("paused"), gaps: gaps,
            backlog: waiting?.backlog ?? 0, oldestLiveMs: waiting?.oldestLiveMs)
    }
}

/// The windows that wait for an endpoint, as they were counted.
struct WaitingWindows: Sendable {
    /// Rows that are counted soon enough to do it each time.
    static let countedSoon: Int64 = 2_000
    /// For so long the count of more of them stands.
    static let keepMs: Int64 = 10_000

    let countedMs: Int64
    let pending: Int64
    let backlog: Int64
    let oldestMs: Int64?
    let oldestLiveMs: Int64?
    /// Where the endpoint stood, and what it wanted.
    private let position: DeliveryPosition
    private let selection: DeliverySelection?

    init(
        _ position: DeliveryPosition, _ gaps: [DeliveryGap], _ selection: DeliverySelection?, _ db: Database,
        nowMs: Int64
    ) throws {
        let streams = try HistoryStore.selectedStreams(selection ?? DeliverySelection(streams: .all), db)
        var condition =
            "sequence > ? AND sequence <= ? AND +stream IN (\(streams.map(String.init).joined(separator: ",")))"
        if let selection { condition += StandIns.condition(selection) }
        func lacking(after: Int64, through: Int64) throws -> (count: Int64, oldestMs: Int64?) {
            let row = try Row.fetchOne(
                db, sql: "SELECT count(*), min(created_ms) FROM windows WHERE " + condition,
                arguments: [after, through])
            return (try row?.value(0) ?? 0, try row?.value(1))
        }
        let live = try lacking(after: position.sequence, through: .max)
        let behind = try gaps.map { try lacking(after: $0.after.sequence, through: $0.through) }
        backlog = behind.reduce(0) { $0 + $1.count }
        pending = live.count + backlog
        oldestMs = ([live] + behind).compactMap(\.oldestMs).min()
        oldestLiveMs = live.oldestMs
        countedMs = nowMs
        (self.position, self.selection) = (position, selection)
    }

    /// The endpoint has gone on from where it stood, if at all, and there is much to count still.
    func standsFor(
        _ position: DeliveryPosition, _ gaps: [DeliveryGap], _ selection: DeliverySelection?, newest: Int64
    ) -> Bool {
        let behind = gaps.reduce(Int64(0)) { $0 + $1.through - $1.after.sequence }
        return max(0, newest - position.sequence) + behind > Self.countedSoon && position >= self.position
            && selection == self.selection
    }
}
