import Foundation
import GRDB
import Telemetry
import TestSupport
import Testing

@testable import Store

@Suite struct AlertStoreTests {
    let start: Int64 = 1_700_000_040_000

    private func alert(_ id: String, _ state: Alert.State, value: Double = 1) -> Alert {
        var alert = Alert(
            id: id, rule: "Hot", stream: "measured", entity: "r1", severity: .critical,
            labels: ["rack": "r1"], annotations: ["summary": "s"], state: state, value: value, sinceMs: start)
        alert.untilMs = start + 5
        return alert
    }

    private func firing(_ alert: Alert) -> Event {
        var event = Event(
            stream: .measured, timeMs: start, kind: .alertFiring, entity: alert.entity, value: alert.value,
            message: "s", source: .detected)
        event.alert = alert
        return event
    }

    @Test("alerts and their events are kept with the window, or not at all")
    func transaction() async throws {
        let sandbox = try Sandbox()
        let fails = Locked(true)
        var faults = StoreFaults()
        faults.beforeCommit = { work in
            if work == .commit, fails.withLock({ $0 }) { throw DatabaseError(resultCode: .SQLITE_FULL) }
        }
        var store = try sandbox.open(faults: faults)
        var maker = CloseMaker(seed: 1)
        var close = maker.close(at: start)
        close.alerts.saved = [alert("a", .firing, value: .infinity), alert("b", .pending)]
        close.events = [firing(alert("a", .firing))]
        store.commit(close) {}
        try await Task.sleep(for: .milliseconds(50))
        #expect(try await store.alerts().isEmpty)
        fails.withLock { $0 = false }
        close.alerts.saved = []
        close.alerts.removed = ["b"]
        close.closedThroughMs += 10_000
        await store.commit(close)
        #expect(try await store.alerts() == [alert("a", .firing, value: .infinity)])
        await store.close()
        store = try sandbox.open()
        #expect(try await store.alerts().map(\.id) == ["a"])
        let events = try await store.events(EventQuery(kinds: [.alertFiring]))
        #expect(events.map(\.event) == [firing(alert("a", .firing))])
        await store.close()
    }

    @Test("events without a closing bring their alerts, and cursors over events go on after a restart")
    func cursors() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        var changes = AlertChanges()
        changes.saved = [alert("a", .firing)]
        let told = Locked<[Int64]>([])
        store.onEvents { newest in told.withLock { $0.append(newest) } }
        let events = (0..<5).map {
            Event(
                stream: .measured, timeMs: start + Int64($0), kind: $0 == 2 ? .checkpoint : .xid, entity: "n",
                source: .ingest)
        }
        try await store.save(events, alerts: changes, nowMs: start)
        #expect(try await store.alerts().count == 1)
        let selection = EventSelection(streams: .measured, kinds: [.xid])
        store.describe(endpoint: "e", events: selection)
        #expect(await position(store, fromBeginning: true) == 0)
        let first = await page(store, after: 0, selection, limit: 2)
        #expect(first?.events.map(\.id) == [1, 2] && first?.scannedThrough == 2)
        let rest = await page(store, after: 2, selection, limit: 10)
        #expect(rest?.events.map(\.id) == [4, 5] && rest?.scannedThrough == 5)
        #expect(await advance(store, to: 4))
        #expect(await advance(store, to: 3), "a cursor never goes back")
        #expect(told.withLock { $0 } == [5])
        try await store.setPaused(endpoint: "e", true)
        let record = try await store.eventRecords().first
        #expect(record?.position.sequence == 4 && record?.pending == 1 && record?.isPaused == true)
        await store.close()
        store = try sandbox.open()
        #expect(await position(store, fromBeginning: false) == 4)
        let other = EventSelection(streams: .simulated)
        #expect(await page(store, after: 0, other, limit: 10)?.events.isEmpty == true)
        await store.close()
    }

    @Test("undelivered events are counted up to a number")
    func pending() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        #expect(await position(store, fromBeginning: true) == 0)
        let events = (0..<10_100).map {
            Event(stream: .measured, timeMs: start + Int64($0), kind: .xid, entity: "n\($0)", source: .ingest)
        }
        for first in stride(from: 0, to: events.count, by: 2_020) {
            try await store.save(
                Array(events[first..<(first + 2_020)]), alerts: AlertChanges(), nowMs: start)
        }
        #expect(try await store.eventRecords().map(\.pending) == [10_001])
        #expect(await advance(store, to: 10_000))
        #expect(try await store.eventRecords().map(\.pending) == [100])
        await store.close()
    }

    @Test(
        "events of what a member shares go where those of the measured stream go, and its windows nowhere",
        arguments: [
            (DeliverySelection.Streams.measured, 2), (.all, 2), (.simulated, 0), (.named([.measured]), 1),
        ])
    func shared(streams: DeliverySelection.Streams, count: Int) async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        let events = [StreamID.measured, .ingested].map {
            Event(stream: $0, timeMs: start, kind: .xid, entity: "n", source: .ingest)
        }
        try await store.save(events, alerts: AlertChanges(), nowMs: start)
        let selection = EventSelection(streams: streams, kinds: [.xid])
        #expect(await page(store, after: 0, selection, limit: 9)?.events.count == count)
        #expect(!streams.contains(.ingested))
        await store.close()
    }

    @Test("an endpoint that gets summaries besides its events from now on, or no more, goes on where it was")
    func lanes() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        let events = (0..<5).map {
            Event(stream: .measured, timeMs: start + Int64($0), kind: .xid, entity: "n", source: .ingest)
        }
        try await store.save(events, alerts: AlertChanges(), nowMs: start)
        #expect(await position(store, fromBeginning: true) == 0)
        #expect(await advance(store, to: 3))
        try await store.setPaused(endpoint: "e", true)
        #expect(await position(store, of: "e#events", fromBeginning: false) == 3)
        #expect(await advance(store, of: "e#events", to: 4))
        let record = try await store.eventRecords()
        #expect(record.map(\.endpoint) == ["e#events"] && record.first?.isPaused == true)
        #expect(await position(store, fromBeginning: false) == 4)
        #expect(try await store.eventRecords().map(\.endpoint) == ["e"])
        #expect(await position(store, of: "other#events", fromBeginning: false) == 5)
        await store.close()
    }

    @Test(
        "an event that is taken after all is counted with the events, whatever the endpoint gets besides",
        arguments: ["e", "e#events"])
    func eventLetters(cursor: String) async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        _ = await store.openCursor("e", fromBeginning: true)
        #expect(await position(store, of: cursor, fromBeginning: true) == 0)
        func letter(_ id: String, _ samples: Int) -> DeadLetter {
            DeadLetter(
                endpoint: "e", id: id, sequence: 1, status: 400, reason: "no", body: [1], timeMs: 9,
                samples: samples)
        }
        #expect(await store.advance("e", to: 0, delivered: 2, samples: 7, dead: [letter("measured/1", 5)]))
        #expect(
            await advance(store, of: cursor, to: 2, dead: [letter("event/1", 1), letter("event/2", 3)]))
        #expect(try await store.eventRecords().map(\.dead) == [2])
        #expect(try await store.endpointRecords().map(\.dead) == [1])
        // Numbers of letters: the window's, and those of the events.
        try await store.delivered(deadLetter: 3)
        var events = try #require(try await store.eventRecords().first)
        #expect(events.endpoint == cursor && events.dead == 1 && events.deliveredParts == 4)
        try await store.delivered(deadLetter: 1)
        try await store.delivered(deadLetter: 1)
        events = try #require(try await store.eventRecords().first)
        #expect(events.dead == 1 && events.deliveredParts == 4)
        let windows = try #require(try await store.endpointRecords().first)
        #expect(windows.dead == 0 && windows.deliveredParts == 3 && windows.deliveredSamples == 12)
        await store.close()
    }

    @Test("an endpoint without any cursor rests after a restart, too")
    func pausedWithoutCursor() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        try await store.setPaused(endpoint: "am", false)
        #expect(try await store.eventRecords().isEmpty)
        try await store.setPaused(endpoint: "am", true)
        await store.close()
        store = try sandbox.open()
        #expect(try await store.eventRecords().filter(\.isPaused).map(\.endpoint) == ["am"])
        try await store.setPaused(endpoint: "am", false)
        #expect(try await store.eventRecords().filter(\.isPaused).isEmpty)
        await store.close()
    }

    @Test("a history from before alerts is taken over: events have none, and new ones do")
    func migration() async throws {
        let sandbox = try Sandbox()
        let pool = try DatabasePool(path: sandbox.database)
        try Schema.migrator.migrate(pool, upTo: "faults and exports")
        try await pool.write { db in
            try db.execute(
                sql: """
                    INSERT INTO streams (id, name, created_ms, closed_through_ms, received, aggregated, drops)
                    VALUES (1, 'measured', 0, 1000, 0, 0, '');
                    INSERT INTO events (stream, time_ms, identity, kind, entity, job, message, source, node_count)
                    VALUES (1, 500, 7, 'node_down', 'n1', '', '', 'ingest', 0)
                    """)
        }
        try pool.close()
        let store = try sandbox.open()
        #expect(try await store.alerts().isEmpty)
        let old = try await store.events(EventQuery())
        #expect(old.map(\.event.entity) == ["n1"] && old.first?.event.alert == nil)
        var changes = AlertChanges()
        changes.saved = [alert("a", .firing)]
        try await store.save([firing(alert("a", .firing))], alerts: changes, nowMs: 1)
        #expect(try await store.events(EventQuery(kinds: [.alertFiring])).first?.event.alert?.id == "a")
        await store.close()
    }

    private func position(
        _ store: HistoryStore, of endpoint: String = "e", fromBeginning: Bool
    ) async -> Int64? {
        await withCheckedContinuation { continuation in
            store.openEventCursor(endpoint: endpoint, fromBeginning: fromBeginning) {
                continuation.resume(returning: $0?.sequence)
            }
        }
    }

    private func page(
        _ store: HistoryStore, after id: Int64, _ selection: EventSelection, limit: Int
    ) async -> (events: [StoredEvent], scannedThrough: Int64)? {
        await withCheckedContinuation { continuation in
            store.events(after: id, selection: selection, limit: limit) { continuation.resume(returning: $0) }
        }
    }

    private func advance(
        _ store: HistoryStore, of endpoint: String = "e", to id: Int64, dead: [DeadLetter] = []
    ) async -> Bool {
        await withCheckedContinuation { continuation in
            store.advanceEvents(endpoint: endpoint, to: id, delivered: 1, dead: dead) {
                continuation.resume(returning: $0)
            }
        }
    }
}
