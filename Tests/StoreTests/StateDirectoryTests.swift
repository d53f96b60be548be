import Dispatch
import Foundation
import GRDB
import Logging
import Telemetry
import Testing

@testable import Store

@Suite struct StateDirectoryTests {
    func code(_ open: () throws -> HistoryStore) -> StoreError.Code? {
        do {
            _ = try open()
            return nil
        } catch {
            return (error as? StoreError)?.code
        }
    }

    @Test("a missing directory, and a file in its place, are plain errors that say what to do")
    func missing() throws {
        let sandbox = try Sandbox()
        try FileManager.default.removeItem(atPath: sandbox.path)
        #expect(code { try sandbox.open() } == .stateDirectory)
        try Data().write(to: URL(fileURLWithPath: sandbox.path))
        #expect(code { try sandbox.open() } == .stateDirectory)
        let error = #expect(throws: StoreError.self) { try sandbox.open() }
        #expect(error?.description.contains(sandbox.path) == true)
        #expect(error?.advice.isEmpty == false)
    }

    @Test("a read-only directory is a plain error", .enabled(if: getuid() != 0))
    func readOnly() throws {
        let sandbox = try Sandbox()
        try FileManager.default.setAttributes([.posixPermissions: 0o555], ofItemAtPath: sandbox.path)
        #expect(code { try sandbox.open() } == .stateDirectory)
    }

    @Test("a second store on the same directory is refused until the first one lets go")
    func second() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        #expect(code { try sandbox.open() } == .inUse)
        await store.close()
        let next = try sandbox.open()
        await next.close()
    }

    @Test("a second process is kept out, and keeps us out")
    func secondProcess() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        let lock = sandbox.path + "/history.lock"
        let flock = URL(fileURLWithPath: "/usr/bin/flock")
        let other = try Process.run(flock, arguments: ["--nonblock", lock, "true"])
        other.waitUntilExit()
        #expect(other.terminationStatus == 1)
        await store.close()
        let output = Pipe()
        let holder = Process()
        holder.executableURL = flock
        holder.arguments = [lock, "sh", "-c", "echo held; cat"]
        holder.standardOutput = output
        let input = Pipe()
        holder.standardInput = input
        try holder.run()
        #expect(output.fileHandleForReading.availableData == Data("held\n".utf8))
        #expect(code { try sandbox.open() } == .inUse)
        try input.fileHandleForWriting.close()
        holder.waitUntilExit()
        let next = try sandbox.open()
        await next.close()
    }

    @Test("commits wait for somebody else's lock on the file, and a reader of it does not stop them")
    func otherConnections() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 1)
        await store.commit(maker.close(at: 1_700_000_040_000))
        let second = maker.close(at: 1_700_000_050_000)
        let third = maker.close(at: 1_700_000_060_000)
        let fourth = maker.close(at: 1_700_000_070_000)
        var patient = Configuration()
        patient.busyMode = .timeout(60)
        let other = try DatabaseQueue(path: sandbox.database, configuration: patient)
        let windows = { @Sendable (db: Database) throws -> Int in
            try Int.fetchOne(db, sql: "SELECT count(*) FROM windows") ?? 0
        }
        try await other.write { db in
            store.commit(second) {}
            let seen = try windows(db)
            #expect(seen == 1)
        }
        await store.commit(third)
        #expect(try await other.read(windows) == 3)
        try await other.read { db in
            let seen = try windows(db)
            #expect(seen == 3)
            let done = DispatchSemaphore(value: 0)
            store.commit(fourth) { done.signal() }
            done.wait()
            let still = try windows(db)
            #expect(still == 3)
        }
        #expect(await store.windows(after: 0)?.windows.count == 4)
        await store.close()
    }

    @Test(
        "a file that is not a database is put aside, loudly, and a new history begins",
        arguments: [
            "this is not a database, it is a text that is long enough to be looked at",
            "SQLite format 3\u{0}",
        ])
    func damaged(text: String) async throws {
        let sandbox = try Sandbox()
        let bytes = Data(text.utf8) + Data(repeating: 0xA5, count: 20_000)
        try bytes.write(to: URL(fileURLWithPath: sandbox.database))
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 1)
        await store.commit(maker.close(at: 1_700_000_040_000))
        #expect(await store.windows(after: 0)?.windows.count == 1)
        await store.close()
        let aside = sandbox.database + ".damaged-20231114T221320Z"
        #expect(try Data(contentsOf: URL(fileURLWithPath: aside)) == bytes)
        #expect(sandbox.log.lines.contains { $0.level == .critical && $0.text.contains(aside) })
    }

    @Test("damage in the middle that the last process met is found by looking at the whole file")
    func suspect() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        var maker = CloseMaker(seed: 1, racks: 50)
        for step in 0..<20 { await store.commit(maker.close(at: 1_700_000_040_000 + Int64(step) * 10_000)) }
        await store.close()
        try sandbox.damageMiddle()
        try Data().write(to: URL(fileURLWithPath: sandbox.database + ".suspect"))
        store = try sandbox.open()
        #expect(await store.windows(after: 0)?.windows.count == 0)
        await store.close()
        let files = try sandbox.files()
        #expect(files.contains { $0.hasPrefix("history.sqlite.damaged-") })
        #expect(!files.contains("history.sqlite.suspect"))
    }

    @Test("a file of a newer version is left alone")
    func newer() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        try await store.write(.run) { db in
            try db.execute(sql: "INSERT INTO grdb_migrations VALUES ('v99')")
        }
        await store.close()
        // A look at the file may leave an empty log beside it.
        let files = { try sandbox.files().filter { !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm") } }
        let before = try files()
        #expect(code { try sandbox.open() } == .newerSchema)
        #expect(code { try sandbox.open() } == .newerSchema)
        #expect(try files() == before)
    }
}
