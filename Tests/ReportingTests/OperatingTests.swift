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

    @Test(
        "a replay has each window once where a sample cannot be replaced: as it was, or revised where any order is taken",
        arguments: [false, true])
    func replayOfRevised(takesAnyOrder: Bool) async throws {
        let server = try ScriptedServer { _ in .status(204) }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store, Metrics())
        var endpoint = EndpointConfiguration.test(.remoteWrite, url: server.url())
        endpoint.takesAnyOrder = takesAnyOrder
        endpoint.fromBeginning = false
        let racks = 2
        store.commit(
            [
                Windows.window(0, racks: racks, silent: [1]), Windows.window(1, racks: racks, silent: [0]),
                Windows.window(0, racks: racks, revision: 1),
            ], Windows.topology(racks: racks))
        try await reporter.apply([endpoint])
        try await eventually("it rests") { await reporter.status().map(\.state) == [.idle] }
        #expect(await reporter.replay("e", startingIn: Windows.startMs..<(Windows.startMs + 60_000)))
        try await eventually("it is over") { await reporter.status().map(\.name) == ["e"] }
        let sent = try server.requests.map { try RemoteWriteReader.series($0.body) }
        let racksOf = sent.map { series in
            Set(series.filter { $0.name.hasSuffix(":avg") }.compactMap { $0.label("rack") })
        }
        #expect(racksOf == (takesAnyOrder ? [["r1"], ["r0", "r1"]] : [["r0"], ["r1"]]))
        #expect(sent.joined().allSatisfy { !$0.samples[0].value.isNaN })
        await reporter.drain(within: .seconds(30))
    }

    /// Windows and events.
    private func both(_ server: ScriptedServer) -> EndpointConfiguration {
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url())
        endpoint.eventKinds = [.xid]
        return endpoint
    }

    private func event(_ number: Int) -> Event {
        Event(
            stream: .measured, timeMs: Windows.startMs + Int64(number), kind: .xid, entity: "n\(number)",
            gpu: 3, value: 79, source: .ingest)
    }

    @Test("a replay rests with its endpoint, also one that begins meanwhile, and goes on with it")
    func pausedReplay() async throws {
        let mood = Locked(204)
        let server = try ScriptedServer { _ in .status(mood.withLock { $0 }) }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        try await reporter.apply([.test(.webhook, url: server.url())])
        commit(0..<4, store)
        try await eventually("it has all") { store.cursor("e")?.sequence == 4 }
        let range = Windows.startMs..<(Windows.startMs + 40_000)
        func replay() async -> EndpointStatus? {
            await reporter.status().first { $0.name == "e#replay" }
        }
        for isMeanwhile in [true, false] {
            mood.withLock { $0 = 503 }
            if isMeanwhile { _ = await reporter.setPaused("e", true) }
            #expect(await reporter.replay("e", startingIn: range))
            if !isMeanwhile { _ = await reporter.setPaused("e", true) }
            try await eventually("the replay rests") { await replay()?.state == .paused }
            mood.withLock { $0 = 204 }
            let before = server.requests.count
            try await Task.sleep(for: .milliseconds(200))
            #expect(server.requests.count == before)
            _ = await reporter.setPaused("e", false)
            try await eventually("the replay is over") { await replay() == nil }
            #expect(starts(server.requests).suffix(4) == [0, 1, 2, 3])
            // A new one begins with a cursor of its own.
            store.change { $0.cursors["e#replay"] = nil }
        }
        await reporter.drain(within: .seconds(30))
    }

    @Test(
        "Retry-After and 410 count for windows, events and a replay, until an operator says that it goes on",
        arguments: [429, 410])
    func saidOnce(status: Int) async throws {
        let mood = Locked(status)
        let server = try ScriptedServer { _ in
            mood.withLock { $0 == 429 ? .status($0, headers: ["Retry-After: 3600"]) : .status($0) }
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        try await reporter.apply([both(server)])
        commit(0..<2, store)
        try await eventually("it has an answer") {
            await reporter.status().first { $0.name == "e" }?.lastError != nil
        }
        store.store([event(0)])
        #expect(await reporter.replay("e", startingIn: Windows.startMs..<(Windows.startMs + 10_000)))
        try await Task.sleep(for: .milliseconds(300))
        #expect(server.requests.count == 1)
        let states = await reporter.status().map(\.state)
        #expect(states.count == 3 && (status == 429 || states.allSatisfy { $0 == .disabled }))
        mood.withLock { $0 = 204 }
        _ = await reporter.setPaused("e", false)
        try await eventually("all of it is there") {
            await reporter.status().map(\.name) == ["e", "e#events"]
                && store.cursor("e")?.sequence == 2 && store.snapshot.eventCursors["e#events"] == 1
        }
        await reporter.drain(within: .seconds(30))
    }

    @Test("so many requests a minute are for windows and events together")
    func pace() async throws {
        let times = Locked<[ContinuousClock.Instant]>([])
        let server = try ScriptedServer { request in
            if request.method == "OPTIONS" {
                return .status(200, headers: ["WebHook-Allowed-Origin: *", "WebHook-Allowed-Rate: 120"])
            }
            times.withLock { $0.append(ContinuousClock.now) }
            return .status(204)
        }
        defer { server.stop() }
        let store = FakeStore()
        var endpoint = both(server)
        endpoint.handshakeOrigin = "here"
        store.store((0..<3).map(event))
        commit(0..<3, store)
        let reporter = reporter(store)
        try await reporter.apply([endpoint])
        try await eventually("all of it is there") {
            store.cursor("e")?.sequence == 3 && store.snapshot.eventCursors["e#events"] == 3
        }
        let taken = times.withLock { $0 }
        let first = try #require(taken.first)
        let last = try #require(taken.last)
        // Six requests, half a second between two; each for itself, both would be through after a second.
        #expect(taken.count == 6 && first.duration(to: last) > .milliseconds(1_750))
        await reporter.drain(within: .seconds(30))
    }

    @Test("what the receiver has said is forgotten when the endpoint changes")
    func forgotten() async throws {
        let mood = Locked(410)
        let server = try ScriptedServer { _ in .status(mood.withLock { $0 }) }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        try await reporter.apply([both(server)])
        commit(0..<1, store)
        try await eventually("both are disabled") {
            await reporter.status().map(\.state) == [.disabled, .disabled]
        }
        mood.withLock { $0 = 204 }
        var changed = both(server)
        changed.timeoutMs = 29_000
        try await reporter.apply([changed])
        store.store([event(0)])
        try await eventually("all of it is there") {
            store.cursor("e")?.sequence == 1 && store.snapshot.eventCursors["e#events"] == 1
        }
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

    @Test("a response of a gigabyte is cut off, and one that trickles in ends at the time limit")
    func endlessResponses() async throws {
        let taken = Locked(0)
        let server = try ScriptedServer { request in
            if request.path == "/slow" { return .trickle }
            taken.withLock { $0 += 1 }
            return .gigabyte(200)
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
