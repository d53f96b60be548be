import FoundationEssentials
import GRDB
import Telemetry

/// The names of a closing's fleet: a row that is there, or the blob of one that may be new.
enum TopologyRow: Sendable {
    case known(Int64)
    case packed(Data)
}

/// Writes one closing. Everything here happens inside one transaction.
struct CommitTransaction {
    let db: Database
    let nowMs: Int64

    struct Outcome: Sendable {
        /// Of the windows that were new, ascending.
        var sequences: [Int64] = []
        /// Row of the fleet's names.
        var topology: Int64
    }

    func write(_ close: EncodedClose, topology: TopologyRow) throws -> Outcome {
        let stream = try streamID(close.stream)
        let topology = try self.topology(topology, version: close.topology.version, stream: stream)
        var outcome = Outcome(topology: topology)
        var finest: EncodedClose.Window?
        for window in close.windows {
            if window.timeline != nil, window.resolutionMs <= finest?.resolutionMs ?? .max { finest = window }
            guard let sequence = try insert(window, stream: stream, topology: topology) else { continue }
            outcome.sequences.append(sequence)
        }
        if let finest, let point = finest.timeline {
            try insert(point, resolutionMs: finest.resolutionMs, stream: stream)
        }
        for event in close.events {
            let own = event.event.stream == close.stream ? stream : try streamID(event.event.stream)
            try insert(event, stream: own)
        }
        try keep(close.alerts)
        try keep(close.checkpoints, stream: stream)
        try settle(close, stream: stream)
        return outcome
    }

    private func keep(_ checkpoints: [Data], stream: Int64) throws {
        guard !checkpoints.isEmpty else { return }
        try db.execute(sql: "DELETE FROM checkpoints WHERE stream = ?", arguments: [stream])
        for (number, checkpoint) in checkpoints.enumerated() {
            try db.cachedStatement(sql: "INSERT INTO checkpoints VALUES (?, ?, ?)")
                .execute(arguments: [stream, number, checkpoint])
        }
    }

    func keep(_ alerts: EncodedAlerts) throws {
        for alert in alerts.saved {
            try db.cachedStatement(sql: "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)")
                .execute(arguments: [alert.id, alert.state, alert.data])
        }
        for id in alerts.removed {
            try db.cachedStatement(sql: "DELETE FROM alerts WHERE id = ?").execute(arguments: [id])
        }
    }

    /// The row of a stream, made when it is new.
    func streamID(_ stream: StreamID) throws -> Int64 {
        if let known = try Int64.fetchOne(
            db.cachedStatement(sql: "SELECT id FROM streams WHERE name = ?"), arguments: [stream.name])
        {
            return known
        }
        try db.execute(
            sql: """
                INSERT INTO streams (name, created_ms, closed_through_ms, received, aggregated, drops)
                VALUES (?, ?, ?, 0, 0, '')
                """,
            arguments: [stream.name, nowMs, Int64.min])
        return db.lastInsertedRowID
    }

    /// The row of a fleet. Versions alone do not identify it: a process that lost its state counts again from 0.
    private func topology(_ row: TopologyRow, version: Int, stream: Int64) throws -> Int64 {
        let data: Data
        switch row {
        case .known(let id): return id
        case .packed(let packed): data = packed
        }
        let same = try Int64.fetchOne(
            db, sql: "SELECT id FROM topologies WHERE stream = ? AND version = ? AND data = ?",
            arguments: [stream, version, data])
        if let same { return same }
        try db.execute(
            sql: "INSERT INTO topologies (stream, version, data) VALUES (?, ?, ?)",
            arguments: [stream, version, data])
        return db.lastInsertedRowID
    }

    /// `nil` when the window is there already: a closing that is committed again after a crash.
    private func insert(_ window: EncodedClose.Window, stream: Int64, topology: Int64) throws -> Int64? {
        let statement = try db.cachedStatement(
            sql: """
                INSERT OR IGNORE INTO windows (stream, resolution_ms, start_ms, revision, coverage,
                    topology_version, topology, created_ms, parent_end_ms, timeline)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """)
        try statement.execute(arguments: [
            stream, window.resolutionMs, window.startMs, window.revision, window.coverage,
            window.topologyVersion, topology, nowMs, window.parentEndMs,
            window.timeline.map { Data(TimelineBlob.encode($0)) },
        ])
        guard db.changesCount == 1 else { return nil }
        let sequence = db.lastInsertedRowID
        for (position, level) in window.levels.enumerated() {
            try insert(level, position: position, sequence: sequence)
            for blob in level.rollupState {
                guard let parentEndMs = window.parentEndMs else { break }
                try db.cachedStatement(sql: "INSERT INTO rollup_state VALUES (?, ?, ?, ?, ?, ?)")
                    .execute(arguments: [sequence, level.name, blob.field, stream, parentEndMs, blob.data])
            }
        }
        if window.revision > 0 {
            // Only the newest revision goes into the rollup that is still open.
            try db.execute(
                sql: """
                    DELETE FROM rollup_state WHERE window IN (SELECT sequence FROM windows
                        WHERE stream = ? AND resolution_ms = ? AND start_ms = ? AND revision < ?)
                    """,
                arguments: [stream, window.resolutionMs, window.startMs, window.revision])
        }
        return sequence
    }

    private func insert(_ level: EncodedClose.Level, position: Int, sequence: Int64) throws {
        try db.cachedStatement(sql: "INSERT INTO level_summaries VALUES (?, ?, ?, ?, ?)")
            .execute(arguments: [sequence, level.name, position, level.jobs, level.gpus])
        let columns = try db.cachedStatement(sql: "INSERT INTO field_columns VALUES (?, ?, ?, ?, ?)")
        for (position, blob) in level.columns.enumerated() {
            try columns.execute(arguments: [sequence, level.name, blob.field, position, blob.data])
        }
        let sketches = try db.cachedStatement(sql: "INSERT INTO sketches VALUES (?, ?, ?, ?)")
        for blob in level.sketches {
            try sketches.execute(arguments: [sequence, level.name, blob.field, blob.data])
        }
    }

    private func insert(_ point: TimelinePoint, resolutionMs: Int64, stream: Int64) throws {
        try db.cachedStatement(
            sql: "INSERT OR REPLACE INTO timeline VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        ).execute(arguments: [
            stream, point.timeMs, resolutionMs, point.day, point.phase, point.phaseDay, point.phaseDays,
            point.announced, point.installed, point.powered, point.inTraining, point.utilization,
            point.megawatts, point.interruptions, point.ettr,
        ])
    }

    func insert(_ encoded: EncodedEvent, stream: Int64) throws {
        let event = encoded.event
        try db.cachedStatement(
            sql: """
                INSERT OR IGNORE INTO events (stream, time_ms, identity, kind, entity, gpu, job, value, message,
                    source, node_count, nodes, alert) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            stream, event.timeMs, encoded.identity, event.kind.rawValue, event.entity, event.gpu, event.job,
            event.value, event.message, event.source.rawValue, event.nodes.count, encoded.nodes,
            encoded.alert,
        ])
    }

    /// Where the stream stands now, and what no open rollup waits for any more.
    private func settle(_ close: EncodedClose, stream: Int64) throws {
        try db.cachedStatement(
            sql: """
                UPDATE streams SET closed_through_ms = ?1, received = ?2, aggregated = ?3, drops = ?4,
                    log_cut = coalesce(?6, log_cut), log_keep = coalesce(?7, log_keep)
                WHERE id = ?5 AND closed_through_ms <= ?1
                """
        ).execute(arguments: [
            close.closedThroughMs, close.ledger.received, close.ledger.aggregated,
            LedgerText.encode(close.ledger), stream, close.log?.cut.rawValue, close.log?.keepFrom.rawValue,
        ])
        try db.cachedStatement(sql: "DELETE FROM rollup_state WHERE stream = ? AND until_ms <= ?")
            .execute(arguments: [stream, close.closedThroughMs])
    }
}

/// Counts by reason as `late=3 blank=7`: names, not positions, so that a new reason changes nothing that is stored.
enum LedgerText {
    static func encode(_ ledger: Ledger) -> String {
        DropReason.allCases.filter { ledger[$0] != 0 }
            .map { "\($0.label)=\(ledger[$0])" }.joined(separator: " ")
    }

    static func decode(_ text: String, into ledger: inout Ledger) {
        for part in text.split(separator: " ") {
            let pair = part.split(separator: "=")
            guard pair.count == 2, let count = Int64(pair[1]),
                let reason = DropReason.allCases.first(where: { $0.label == pair[0] })
            else { continue }
            ledger[reason] = count
        }
    }
}
