import Dispatch
import GRDB
import Logging
import QueueIsolation
import Telemetry

extension StoreWriter {
    /// Free pages are reused; only a file that is mostly air is made smaller.
    private static let freePagesMin: Int64 = 8_192
    private static let pagesPerStep = 1_024
    /// Small things are looked at every so many passes.
    private static let passesPerSweep = 64

    func planRetention() {
        guard !isRetentionPlanned else { return }
        isRetentionPlanned = true
        executor.queue.async { @Sendable [weak self] in
            self?.assumeIsolated { writer in
                writer.isRetentionPlanned = false
                writer.retain()
            }
        }
    }

    private func retain() {
        guard !isClosed else { return }
        let sweep = Sweep(
            limits: limits, nowMs: clock.nowMs(), opened: openedEndpoints,
            openedEvents: openedEventCursors, eventSelections: eventSelections)
        let isSweep = retentionPasses.isMultiple(of: Self.passesPerSweep)
        retentionPasses += 1
        let fleets = Set(topologies.values.map(\.id))
        let pass = attempt(.retention) { [limits, endpointLimits, retentionPlaces] db in
            let eventsBefore = try RetentionLosses.eventAccounts(db)
            if isSweep { try sweep.run(db) }
            let eventsAfter = try RetentionLosses.eventAccounts(db)
            let before = try RetentionLosses.accounts(db)
            let endpoints = try Retention.endpoints(db, described: endpointLimits, limits: limits)
            var retention = Retention(
                db: db, limits: limits, nowMs: sweep.nowMs, endpoints: endpoints, fleetsInUse: fleets,
                places: retentionPlaces)
            let more = try retention.step()
            return (
                more: more, before: before, after: try RetentionLosses.accounts(db),
                places: retention.places, eventsBefore: eventsBefore, eventsAfter: eventsAfter
            )
        }
        if let pass {
            retentionPlaces = pass.places
            tell(before: pass.before, after: pass.after)
            tell(eventsBefore: pass.eventsBefore, eventsAfter: pass.eventsAfter)
        }
        let shrank = shrink()
        metrics.bytes.set(Double(StateDirectory.bytes(path)))
        if pass?.more == true || shrank { planRetention() }
    }

    /// What endpoints have lost is counted each time, and said once a minute.
    private func tell(before: [String: RetentionLosses.Count], after: [String: RetentionLosses.Count]) {
        let (new, say) = losses.note(after, before: before, nowMs: clock.nowMs())
        for (endpoint, count) in new { metrics.lost(count, endpoint) }
        for (endpoint, count) in say.sorted(by: { $0.key < $1.key }) {
            logger.warning(
                """
                windows that an endpoint has not got had to go; of those that are coarsened, a longer window with their numbers \
                still waits for it
                """,
                metadata: [
                    "endpoint": "\(endpoint)", "coarsened": "\(count.coarsened)",
                    "dropped": "\(count.dropped)",
                ])
        }
    }

    /// The same of events.
    private func tell(
        eventsBefore: [String: RetentionLosses.Count], eventsAfter: [String: RetentionLosses.Count]
    ) {
        let (new, say) = eventLosses.note(eventsAfter, before: eventsBefore, nowMs: clock.nowMs())
        for (cursor, count) in new { metrics.lost(events: count.dropped, cursor) }
        for (cursor, count) in say.sorted(by: { $0.key < $1.key }) {
            logger.warning(
                "events that an endpoint has not got had to go because of their age",
                metadata: ["endpoint": "\(cursor)", "dropped": "\(count.dropped)"])
        }
    }

    /// Gives some free pages back to the file system; true if there are more.
    private func shrink() -> Bool {
        do {
            return try vacuum()
        } catch {
            report(error, doing: .retention)
            return false
        }
    }

    private nonisolated func vacuum() throws -> Bool {
        try pool.writeWithoutTransaction { db in
            let pages = try Int64.fetchOne(db, sql: "PRAGMA page_count") ?? 0
            let free = try Int64.fetchOne(db, sql: "PRAGMA freelist_count") ?? 0
            guard free > max(Self.freePagesMin, pages / 4) else { return false }
            try db.execute(sql: "PRAGMA incremental_vacuum(\(Self.pagesPerStep))")
            return true
        }
    }
}

/// Old events, the timeline's thinning, cursors that nobody opens any more.
struct Sweep: Sendable {
    let limits: StoreLimits
    let nowMs: Int64
    /// Endpoints that this process knows.
    let opened: Set<String>
    var openedEvents: Set<String> = []
    /// Which events they want, by the name of the cursor.
    var eventSelections: [String: EventSelection] = [:]

    func run(_ db: Database) throws {
        let day: Int64 = 86_400_000
        for stream in try Row.fetchAll(db, sql: "SELECT id, name, closed_through_ms FROM streams") {
            let id: Int64 = try stream.value("id")
            let now: Int64 = try stream.value("closed_through_ms")
            guard now > 0, limits.eventsKeepMs >= 0 else { continue }
            let oldest = now - limits.eventsKeepMs
            // Those of a run that somebody removed are nobody's loss.
            if let name = StreamID(try stream.value("name") as String) {
                try countLosses(id, name, before: oldest, db)
            }
            try db.execute(
                sql: "DELETE FROM events WHERE stream = ? AND time_ms < ?", arguments: [id, oldest])
            try db.execute(
                sql: "DELETE FROM timeline WHERE stream = ? AND time_ms < ?", arguments: [id, oldest])
            for (age, step) in [(7 * day, Int64(600_000)), (90 * day, 3_600_000)] {
                // The first point of each step stays.
                try db.execute(
                    sql:
                        "DELETE FROM timeline WHERE stream = ? AND time_ms < ? AND time_ms % ? >= resolution_ms",
                    arguments: [id, now - age, step])
            }
        }
        // A cursor over events holds nothing back; while it is paused, it says so after a restart.
        for (table, condition) in [("endpoints", ""), ("event_cursors", " AND NOT paused")] {
            for name in try String.fetchAll(
                db, sql: "SELECT name FROM \(table) WHERE opened_ms < ?" + condition,
                arguments: [nowMs - limits.cursorsKeepMs]) where !opened.contains(name)
            {
                try db.execute(sql: "DELETE FROM \(table) WHERE name = ?", arguments: [name])
                guard table == "endpoints" else { continue }
                try GapRows(db: db, endpoint: name).removeAll()
                try StandIns.removeAll(of: name, db)
            }
        }
    }

    /// Counts the events that go now for the cursors that have not passed them: one query a cursor, over those alone
    /// that go.
    private func countLosses(
        _ stream: Int64, _ name: StreamID, before oldestMs: Int64, _ db: Database
    ) throws {
        let newest = try Int64.fetchOne(
            db, sql: "SELECT max(id) FROM events WHERE stream = ? AND time_ms < ?",
            arguments: [stream, oldestMs])
        guard let newest else { return }
        let behind = try String.fetchAll(
            db, sql: "SELECT name FROM event_cursors WHERE event < ?", arguments: [newest])
        for cursor in behind {
            // Nobody waits behind a cursor that nobody opens; it may only say that an endpoint rests.
            let selection = eventSelections[cursor]
            guard openedEvents.contains(cursor) || selection != nil,
                (selection?.streams ?? .all).tellsOf(name)
            else { continue }
            let kinds = selection?.kindCondition ?? ""
            // The plus sign keeps SQLite on the index by stream and time.
            try db.execute(
                sql: """
                    UPDATE event_cursors SET dropped = dropped + (SELECT count(*) FROM events
                        WHERE stream = ?2 AND time_ms < ?3 AND +id > event_cursors.event\(kinds))
                    WHERE name = ?1
                    """,
                arguments: [cursor, stream, oldestMs])
        }
    }
}
