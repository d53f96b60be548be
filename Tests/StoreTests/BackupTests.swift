import Foundation
import GRDB
import Synchronization
import Telemetry
import Testing

@testable import Store

@Suite struct BackupTests {
    /// A history of some windows, with an endpoint that got half of them.
    func history(_ sandbox: Sandbox, windows: Int = 6) async throws -> HistoryStore {
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 7)
        for step in 0..<windows {
            await store.commit(maker.close(at: 1_700_000_040_000 + Int64(step) * 10_000))
        }
        _ = await store.openCursor("archive", fromBeginning: true)
        _ = await store.advance("archive", to: Int64(windows / 2))
        return store
    }

    @Test("a backup that is made while closings go on is one moment of the history, and a store opens on it")
    func whileRunning() async throws {
        let sandbox = try Sandbox()
        let store = try await history(sandbox)
        let file = sandbox.path + "/copy.sqlite"
        let steps = Mutex<[StoreProgress]>([])
        async let bytes = store.backup(to: file) { step in steps.withLock { $0.append(step) } }
        var maker = CloseMaker(seed: 8)
        for step in 6..<12 { await store.commit(maker.close(at: 1_700_000_040_000 + Int64(step) * 10_000)) }
        #expect(try await bytes > 0)
        let last = steps.withLock { $0.last }
        #expect(last?.done == last?.total)
        #expect(last?.stage == "copying")
        #expect(await store.windows(after: 0)?.windows.count == 12)
        await store.close()

        let found = try StoreFile.verify(file)
        #expect(found.problems == [])
        #expect((6...12).contains(found.windows))
        #expect(found.streams == 1 && found.endpoints == 1)
        #expect(found.schemaVersion == StoreFile.newestSchema)
        // One file, for its owner and group alone.
        #expect(try sandbox.files().filter { $0.hasPrefix("copy.sqlite") } == ["copy.sqlite"])
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
        #expect(mode == 0o640)

        let restored = try Sandbox()
        try FileManager.default.copyItem(atPath: file, toPath: restored.database)
        let again = try restored.open()
        #expect(await again.windows(after: 0)?.windows.count == found.windows)
        #expect(try await again.endpointRecords().first?.position == DeliveryPosition(sequence: 3, parts: 0))
        await again.close()
    }

    @Test("nothing is overwritten, and a backup that cannot be made leaves nothing behind")
    func refusals() async throws {
        let sandbox = try Sandbox()
        let store = try await history(sandbox)
        let there = sandbox.path + "/there"
        try Data("mine".utf8).write(to: URL(fileURLWithPath: there))
        await #expect { try await store.backup(to: there) } throws: { ($0 as? StoreError)?.code == .exists }
        #expect(try String(contentsOfFile: there, encoding: .utf8) == "mine")
        await #expect { try await store.backup(to: "copy.sqlite") } throws: {
            ($0 as? StoreError)?.code == .stateDirectory
        }
        await #expect { try await store.backup(to: "/no/such/folder/copy") } throws: {
            ($0 as? StoreError)?.code == .stateDirectory
        }
        let before = try sandbox.files()
        // Somebody takes the name while the copy is made.
        await #expect {
            try await store.backup(to: sandbox.path + "/late") { _ in
                _ = FileManager.default.createFile(
                    atPath: sandbox.path + "/late", contents: Data("mine".utf8))
            }
        } throws: {
            ($0 as? StoreError)?.code == .exists
        }
        #expect(try String(contentsOfFile: sandbox.path + "/late", encoding: .utf8) == "mine")
        #expect(try sandbox.files().filter { $0 != "late" } == before)
        await store.close()
        await #expect(throws: (any Error).self) { try await store.backup(to: sandbox.path + "/after") }
        #expect(try sandbox.files().contains { $0.hasPrefix("after") } == false)
    }

    @Test("a history in use is verified beside closings")
    func verifyRunning() async throws {
        let sandbox = try Sandbox()
        let store = try await history(sandbox)
        let found = try await store.verify()
        #expect(found.problems == [])
        #expect(found.windows == 6)
        await store.close()
    }

    @Test(
        "what does not fit together is told",
        arguments: [
            (
                "UPDATE endpoints SET sequence = 99",
                "endpoint archive stands at window 99, but the newest is 6"
            ),
            (
                "INSERT INTO event_cursors (name, event, created_ms, opened_ms) VALUES ('hook', 7, 1, 1)",
                "endpoint hook stands at event 7, but the newest is 0"
            ),
            ("DELETE FROM streams", "6 rows of windows belong to no row of streams"),
            ("DELETE FROM topologies", "6 rows of windows belong to no row of topologies"),
            ("DELETE FROM windows WHERE sequence = 2", "belong to no row of windows"),
            (
                "UPDATE streams SET closed_through_ms = 1700000050000",
                "but is closed through 2023-11-14T22:14:10Z"
            ),
            (
                "UPDATE field_columns SET data = x'00ff' WHERE window = 6",
                "window 6 of measured cannot be read"
            ),
            ("UPDATE endpoints SET sequence = 'six'", "endpoint archive: sequence is"),
            ("UPDATE endpoints SET name = NULL", "an endpoint has no name"),
            ("UPDATE streams SET closed_through_ms = 'late'", "stream measured: closed_through_ms is"),
            ("UPDATE windows SET coverage = 'full' WHERE sequence = 6", "windows cannot be checked"),
            (
                "INSERT INTO event_cursors (name, event, created_ms, opened_ms) VALUES ('hook', 'x', 1, 1)",
                "endpoint hook: event is"
            ),
            ("INSERT INTO grdb_migrations VALUES ('v99')", "written by a newer colossusd"),
            ("DROP TABLE grdb_migrations", "it holds no history of colossusd"),
        ])
    func inconsistent(change: String, problem: String) async throws {
        let sandbox = try Sandbox()
        await (try await history(sandbox)).close()
        let queue = try DatabaseQueue(path: sandbox.database)
        try await queue.write { try $0.execute(sql: change) }
        try queue.close()
        let found = try StoreFile.verify(sandbox.database)
        #expect(!found.isGood)
        #expect(found.problems.contains { $0.contains(problem) }, "\(found.problems)")
    }

    @Test("damaged bytes, a text and a missing file are told apart")
    func damaged() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 1, racks: 50)
        for step in 0..<20 { await store.commit(maker.close(at: 1_700_000_040_000 + Int64(step) * 10_000)) }
        await store.close()
        try sandbox.damageMiddle()
        #expect(try !StoreFile.verify(sandbox.database).isGood)
        let text = sandbox.path + "/text"
        try Data(repeating: 0x41, count: 5_000).write(to: URL(fileURLWithPath: text))
        #expect(try StoreFile.verify(text).problems.first?.contains("not a database") == true)
        #expect(throws: StoreError.self) { try StoreFile.verify(sandbox.path + "/nothing") }
    }
}
