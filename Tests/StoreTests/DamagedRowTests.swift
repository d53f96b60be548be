import Foundation
import GRDB
import Telemetry
import TestSupport
import Testing

@testable import Store

/// What SQLite itself takes for a good file, with values in it that nobody wrote.
@Suite(.computing) struct DamagedRowTests {
    private static let stream = StreamID.simulated(run: "a") ?? .measured

    /// A history with a row in each table.
    private static func fill(_ store: HistoryStore) async throws {
        let startMs: Int64 = 1_700_000_040_000
        var maker = CloseMaker(seed: 3, racks: 1, nodesPerRack: 1)
        maker.stream = stream
        maker.fields = [.gpuTemp]
        _ = try await store.openRollups(stream, ladder: [10_000, 60_000])
        for step in 0..<4 { await store.commit(maker.close(at: startMs + Int64(step) * 10_000)) }
        let event = Event(stream: stream, timeMs: startMs, kind: .xid, entity: "n", source: .ingest)
        try await store.save([event], nowMs: startMs)
        try await store.save([SenderRecord(stream: stream, name: "s", seenMs: 1, newestMs: 1)])
        try await store.save(
            SimulationRun(
                name: "a", scenario: "", path: "", seed: 1, speed: "1x", state: "running", startedMs: 1),
            nowMs: startMs)
        try await store.save(
            StoredInjection(timeMs: 1, kind: "node", entity: "n", forMs: nil), run: "a")
        try await store.save(StoredExport(name: "e", run: "a", request: "{}"))
        _ = await store.openCursor("x", fromBeginning: true)
        let dead = DeadLetter(
            endpoint: "x", id: "1", sequence: 1, status: 400, reason: "no", body: [1], timeMs: 9)
        _ = await store.advance("x", to: 1, dead: [dead])
        store.describe(endpoint: "x", events: EventSelection(streams: .all))
        _ = await withCheckedContinuation { continuation in
            store.openEventCursor(endpoint: "x", fromBeginning: true) { continuation.resume(returning: $0) }
        }
        _ = await store.leap("x", from: 1, through: 3)
    }

    /// Asks for everything that a daemon asks for.
    private static func readAll(_ store: HistoryStore) async {
        _ = try? await store.streams()
        _ = try? await store.topology(stream)
        _ = try? await store.checkpoints(stream)
        _ = try? await store.openRollups(stream, ladder: [10_000, 60_000])
        _ = try? await store.resolutions(stream)
        _ = try? await store.window(stream, resolutionMs: 10_000, sketches: true)
        _ = try? await store.timeline(stream)
        _ = try? await store.summaries(SummaryQuery(stream: stream, resolutionMs: 10_000, level: .rack))
        _ = try? await store.events(EventQuery())
        _ = try? await store.newestEvent()
        _ = try? await store.senders(stream)
        _ = try? await store.alerts()
        _ = try? await store.runs()
        _ = try? await store.injections(run: "a")
        _ = try? await store.exports()
        _ = try? await store.deadLetters(DeadLetterQuery(), bodies: true)
        _ = try? await store.deadLetterCounts()
        _ = try? await store.endpointRecords()
        _ = try? await store.eventRecords()
        _ = try? await store.rememberedForms(sinceMs: 0)
        _ = await store.openCursor("x", fromBeginning: true)
        _ = await store.windows(after: 0)
        var maker = CloseMaker(seed: 4, racks: 1, nodesPerRack: 1)
        maker.stream = stream
        maker.fields = [.gpuTemp]
        await store.commit(maker.close(at: 1_700_000_200_000))
    }

    @Test("a value that cannot be in a column is told, and ends nothing")
    func everyColumn() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        try await Self.fill(store)
        await store.close()
        let good = try Data(contentsOf: URL(filePath: sandbox.database))
        let columns = try await DatabaseQueue(path: sandbox.database).read { db in
            try String.fetchAll(
                db,
                sql: """
                    SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'
                    AND name NOT LIKE 'grdb%'
                    """
            ).flatMap { table in try db.columns(in: table).map { (table, $0.name, $0.type == "INTEGER") } }
        }
        #expect(columns.count > 90, "the tables are known")
        var damaged = 0
        for (table, column, isNumber) in columns {
            // Of the wrong kind, and of the right one beyond all reason.
            let extremes = isNumber ? ["9223372036854775807", "-9223372036854775808"] : []
            for value in ["'x'", "x'ff00fe'"] + extremes {
                for file in try sandbox.files() {
                    try FileManager.default.removeItem(atPath: sandbox.path + "/" + file)
                }
                try good.write(to: URL(filePath: sandbox.database))
                let isDone = try? await DatabaseQueue(path: sandbox.database).write { db in
                    try db.execute(sql: "UPDATE \"\(table)\" SET \"\(column)\" = \(value)")
                    return db.changesCount > 0
                }
                guard isDone == true, let store = try? sandbox.open() else { continue }
                damaged += 1
                await Self.readAll(store)
                await store.close()
            }
        }
        #expect(damaged > 300, "that many values were damaged")
    }
}
