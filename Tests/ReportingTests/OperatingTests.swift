import Foundation
import Logging
import Store
import Telemetry
import Testing

@testable import Reporting

/// What an operator does to endpoints, at real sockets.
@Suite struct OperatingTests {
    private static let clock = WallClock { Int64(Date().timeIntervalSince1970 * 1_000) }

    private func reporter(
        _ store: FakeStore, _ metrics: Metrics = Metrics(), folders: [String] = []
    ) -> Reporter {
        Reporter(
            store: store, clock: Self.clock, metrics: metrics,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, seed: 7, fileFolders: folders)
    }

    private func commit(_ windows: Range<Int>, _ store: FakeStore) {
        store.commit(windows.map { Windows.window($0, racks: 1) }, Windows.topology(racks: 1))
    }

    private func starts(_ requests: [ScriptedServer.Request]) -> [Int] {
        requests.compactMap { request in
            let parts = (request.headers["ce-id"] ?? "").split(separator: "/")
            return parts.count > 2 ? Int64(parts[2]).map { Int(($0 - Windows.startMs) / 10_000) } : nil
        }
    }

    @Test("a paused endpoint gets nothing, others go on; resumed, it gets all of it in order")
    func pause() async throws {
        let server = try ScriptedServer { _ in .status(204) }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        try await reporter.apply([
            .test(.webhook, name: "a", url: server.url("/a")),
            .test(.webhook, name: "b", url: server.url("/b")),
        ])
        commit(0..<2, store)
        try await eventually("a has two") { store.cursor("a")?.sequence == 2 }
        #expect(await reporter.setPaused("a", true))
        #expect(await !reporter.setPaused("nobody", true))
        commit(2..<5, store)
        try await eventually("b has all") { store.cursor("b")?.sequence == 5 }
        #expect(starts(server.requests.filter { $0.path == "/a" }) == [0, 1])
        let status = try #require(await reporter.status().first { $0.name == "a" })
        #expect(status.state == .paused && status.pendingWindows == 3)
        // A reload that changes it leaves it at rest.
        var changed = EndpointConfiguration.test(.webhook, name: "a", url: server.url("/a"))
        changed.timeoutMs = 29_000
        try await reporter.apply([changed, .test(.webhook, name: "b", url: server.url("/b"))])
        try await eventually("it rests") {
            await reporter.status().first { $0.name == "a" }?.state == .paused
        }
        _ = await reporter.setPaused("a", false)
        try await eventually("a has all") { store.cursor("a")?.sequence == 5 }
        #expect(starts(server.requests.filter { $0.path == "/a" }) == [0, 1, 2, 3, 4])
        await reporter.drain(within: .seconds(30))
    }

    @Test("resuming wakes what was disabled by 410, and what waits for an hour")
    func resume() async throws {
        let mood = Locked(410)
        let server = try ScriptedServer { _ in
            .status(mood.withLock { $0 }, headers: mood.withLock { $0 } == 503 ? ["Retry-After: 3600"] : [])
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        try await reporter.apply([.test(.webhook, url: server.url())])
        commit(0..<2, store)
        try await eventually("it is disabled") { await reporter.status()[0].state == .disabled }
        mood.withLock { $0 = 503 }
        _ = await reporter.setPaused("e", false)
        try await eventually("it waits") { await reporter.status()[0].nextRetryMs != nil }
        let wait = try #require(await reporter.status()[0].nextRetryMs) - Self.clock.nowMs()
        #expect(wait > 3_500_000 && wait <= 3_600_000)
        mood.withLock { $0 = 200 }
        _ = await reporter.setPaused("e", false)
        try await eventually("it has all") { store.cursor("e")?.sequence == 2 }
        await reporter.drain(within: .seconds(30))
    }

    @Test("a replay sends the windows of a time once more, in order, beside the live ones, and is gone then")
    func replay() async throws {
        let server = try ScriptedServer { _ in .status(204) }
        defer { server.stop() }
        let store = FakeStore()
        let metrics = Metrics()
        let reporter = reporter(store, metrics)
        try await reporter.apply([.test(.webhook, url: server.url())])
        commit(0..<8, store)
        try await eventually("it has all") { store.cursor("e")?.sequence == 8 }
        let range = (Windows.startMs + 20_000)..<(Windows.startMs + 50_000)
        #expect(await reporter.replay("e", startingIn: range))
        #expect(await !reporter.replay("nobody", startingIn: range))
        commit(8..<9, store)
        try await eventually("it is over") { await reporter.status().map(\.name) == ["e"] }
        try await eventually("the live one is there") { store.cursor("e")?.sequence == 9 }
        let again = starts(Array(server.requests.dropFirst(8)))
        #expect(again.filter { $0 < 8 } == [2, 3, 4] && again.sorted() == [2, 3, 4, 8])
        #expect(!metrics.exposition().contains("#replay"))
        await reporter.drain(within: .seconds(30))
    }

    @Test("a replay to a file writes its lines once more, and leaves the endpoint's alone")
    func replayToFile() async throws {
        let folder = NSTemporaryDirectory() + "/reporting-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let store = FakeStore()
        let reporter = reporter(store, folders: [folder])
        try await reporter.apply([.test(.file)])
        commit(0..<3, store)
        try await eventually("it has all") { store.cursor("e")?.sequence == 3 }
        #expect(await reporter.replay("e", startingIn: Windows.startMs..<(Windows.startMs + 20_000)))
        try await eventually("it is over") { await reporter.status().map(\.name) == ["e"] }
        commit(3..<4, store)
        try await eventually("the live one is there") { store.cursor("e")?.sequence == 4 }
        await reporter.drain(within: .seconds(30))
        let lines = try String(contentsOfFile: folder + "/out.jsonl", encoding: .utf8)
            .split(separator: "\n")
        try #require(lines.count == 6)
        #expect(lines[3] == lines[0] && lines[4] == lines[1] && Set(lines).count == 4)
    }

    @Test("a response without end is cut off, and one that trickles in ends at the time limit")
    func endlessResponses() async throws {
        let taken = Locked(0)
        let server = try ScriptedServer { request in
            if request.path == "/slow" { return .silence }
            taken.withLock { $0 += 1 }
            return .status(200, body: String(repeating: "x", count: 64 << 20))
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        var slow = EndpointConfiguration.test(.webhook, name: "slow", url: server.url("/slow"))
        slow.timeoutMs = 200
        try await reporter.apply([.test(.webhook, name: "large", url: server.url("/large")), slow])
        commit(0..<3, store)
        // The head says that it was taken: what comes behind it is not read, and costs no memory.
        try await eventually("the large one has all") { store.cursor("large")?.sequence == 3 }
        #expect(taken.withLock { $0 } == 3)
        try await eventually("the slow one is left") {
            await reporter.status().first { $0.name == "slow" }?.lastError?.hasPrefix("timed out") == true
        }
        await reporter.drain(within: .milliseconds(100))
    }
}
