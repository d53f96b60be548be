import Dispatch
import Foundation
import Logging
import QueueIsolation
import Store
import Telemetry
import Testing

@testable import Reporting

/// Real transfers to a real server, on the real queues.
@Suite struct ReporterTests {
    private static let clock = WallClock { Int64(Date().timeIntervalSince1970 * 1_000) }

    private func reporter(
        _ store: FakeStore, metrics: Metrics = Metrics(), folders: [String] = []
    ) -> Reporter {
        var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .debug
        return Reporter(
            store: store, clock: Self.clock, metrics: metrics, logger: logger, seed: 7, fileFolders: folders)
    }

    private func commit(_ windows: Range<Int>, racks: Int = 4, _ store: FakeStore) {
        store.commit(windows.map { Windows.window($0, racks: racks) }, Windows.topology(racks: racks))
    }

    private func done(_ store: FakeStore, _ endpoint: String, _ sequence: Int64) -> Bool {
        store.cursor(endpoint) == DeliveryPosition(sequence: sequence, parts: 0)
    }

    private func ids(_ windows: Int, parts: Int) -> [String] {
        (0..<windows).flatMap { window in
            (0..<parts).map { "measured/10000/\(Windows.startMs + Int64(window) * 10_000)/0/\($0)" }
        }
    }

    /// What the receiver has taken: ids in order, of requests that were answered with 2xx.
    private final class Receiver: Sendable {
        let taken = Locked<[String]>([])
        let attempts = Locked(0)
        func take(_ request: ScriptedServer.Request) {
            taken.withLock { $0.append(request.headers["ce-id"] ?? "") }
        }
        func next() -> Int {
            attempts.withLock {
                $0 += 1
                return $0
            }
        }
    }

    @Test("an endpoint that answers 500 for a while gets everything, in order, once")
    func failingForAWhile() async throws {
        let receiver = Receiver()
        let server = try ScriptedServer { request in
            if receiver.next() <= 8 { return .status(500, body: "not yet") }
            receiver.take(request)
            return .status(204)
        }
        defer { server.stop() }
        let store = FakeStore()
        let metrics = Metrics()
        let reporter = reporter(store, metrics: metrics)
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url("/hook"))
        endpoint.batch.samplesMax = 26
        commit(0..<5, store)
        try await reporter.apply([endpoint])
        commit(5..<10, store)
        try await eventually("the cursor reaches the end") { done(store, "e", 10) }
        #expect(receiver.taken.withLock { $0 } == ids(10, parts: 2))
        let first = try #require(server.requests.first)
        #expect(first.method == "POST" && first.path == "/hook")
        #expect(first.headers["ce-specversion"] == "1.0")
        #expect(first.headers["ce-type"] == "colossus.summary")
        #expect(first.headers["ce-source"] == "/colossusd")
        #expect(first.headers["ce-time"] == "2024-09-02T00:00:10Z")
        #expect(first.headers["content-type"] == "application/json")
        #expect(first.headers["idempotency-key"] == first.headers["ce-id"])
        #expect(first.headers["expect"] == nil)
        // One part at a time needs one connection, kept open.
        #expect(Set(server.requests.map(\.connection)).count == 1)
        try await eventually("the status has settled") { await reporter.status().first?.state == .idle }
        let status = try #require(await reporter.status().first)
        #expect(status.deliveredParts == 20 && status.retries == 8 && status.pendingWindows == 0)
        #expect(status.lastError == "HTTP 500: not yet")
        let text = metrics.exposition()
        #expect(text.contains("colossus_report_parts_total{endpoint=\"e\",result=\"delivered\"} 20\n"))
        #expect(text.contains("colossus_report_retries_total{endpoint=\"e\"} 8\n"))
        #expect(text.contains("colossus_report_pending_windows{endpoint=\"e\"} 0\n"))
        await reporter.drain(within: .seconds(30))
    }

    @Test("nobody listens at first: everything arrives when somebody does")
    func refusedThenUp() async throws {
        let port = try ScriptedServer.freePort()
        let store = FakeStore()
        let reporter = reporter(store)
        commit(0..<3, store)
        try await reporter.apply([.test(.webhook, url: "http://127.0.0.1:\(port)/")])
        try await eventually("it is tried several times") { await reporter.status()[0].retries >= 3 }
        let status = await reporter.status()[0]
        #expect(status.state != .idle && status.circuit != .closed)
        #expect(status.lastError?.hasPrefix("not connected") == true)
        let receiver = Receiver()
        let server = try ScriptedServer(port: port) { request in
            receiver.take(request)
            return .status(200)
        }
        defer { server.stop() }
        try await eventually("the cursor reaches the end") { done(store, "e", 3) }
        #expect(receiver.taken.withLock { $0 } == ids(3, parts: 1))
        await reporter.drain(within: .seconds(30))
    }

    @Test("a server that does not answer is left at the timeout, and the part goes on waiting")
    func silence() async throws {
        let receiver = Receiver()
        let server = try ScriptedServer { request in
            if request.path == "/silent" { return .silence }
            receiver.take(request)
            return .status(200)
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url("/silent"))
        endpoint.timeoutMs = 150
        commit(0..<2, store)
        try await reporter.apply([endpoint])
        try await eventually("the timeout is seen") {
            await reporter.status()[0].lastError?.hasPrefix("timed out") == true
        }
        #expect(store.cursor("e") == .start)
        endpoint.timeoutMs = 30_000
        endpoint.url = server.url("/answering")
        try await reporter.apply([endpoint])
        try await eventually("the cursor reaches the end") { done(store, "e", 2) }
        #expect(receiver.taken.withLock { $0 } == ids(2, parts: 1))
        await reporter.drain(within: .seconds(30))
    }

    @Test("connections that break off before, in and after the response's head")
    func brokenConnections() async throws {
        let receiver = Receiver()
        let server = try ScriptedServer { request in
            switch receiver.next() {
            case 1: return .close
            case 2: return .cutHead
            case 3: return .cutBody(500)
            // The head says that it was taken; that the body breaks off changes nothing.
            case 4:
                receiver.take(request)
                return .cutBody(200)
            default:
                receiver.take(request)
                return .status(200, body: "thanks")
            }
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        commit(0..<3, store)
        try await reporter.apply([.test(.webhook, url: server.url())])
        try await eventually("the cursor reaches the end") { done(store, "e", 3) }
        #expect(receiver.taken.withLock { $0 } == ids(3, parts: 1))
        await reporter.drain(within: .seconds(30))
    }

    @Test("many endpoints at once, each with its own pace, failures and order")
    func manyEndpoints() async throws {
        let taken = Locked<[String: [String]]>([:])
        let attempts = Locked<[String: Int]>([:])
        let server = try ScriptedServer { request in
            let attempt = attempts.withLock {
                $0[request.path, default: 0] += 1
                return $0[request.path] ?? 0
            }
            let number = Int(request.path.dropFirst(2)) ?? 0
            if number % 3 == 0, attempt % 3 == 0 { return .status(503) }
            if number % 5 == 1, attempt % 4 == 0 { return .close }
            taken.withLock { $0[request.path, default: []].append(request.headers["ce-id"] ?? "") }
            return .status(200, body: String(repeating: "x", count: number * 100))
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        let endpoints = (0..<16).map {
            EndpointConfiguration.test(.webhook, name: "e\($0)", url: server.url("/e\($0)"))
        }
        try await reporter.apply(endpoints)
        for index in 0..<20 { commit(index..<(index + 1), store) }
        try await eventually("all cursors reach the end") {
            endpoints.allSatisfy { done(store, $0.name, 20) }
        }
        for endpoint in endpoints { #expect(taken.withLock { $0["/\(endpoint.name)"] } == ids(20, parts: 1)) }
        await reporter.drain(within: .seconds(30))
    }

    @Test("remote write: protocol headers, and a poisoned series becomes a dead letter alone")
    func remoteWrite() async throws {
        let stored = Locked<[RemoteWriteReader.Series]>([])
        let server = try ScriptedServer { request in
            guard let series = try? RemoteWriteReader.series(request.body) else {
                return .status(400, body: "corrupt")
            }
            if series.contains(where: {
                $0.label("rack") == "r2" && $0.name == "rack:DCGM_FI_DEV_POWER_USAGE:max"
            }) {
                return .status(400, body: "out of bounds")
            }
            stored.withLock { $0 += series }
            return .status(204)
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        commit(0..<2, store)
        try await reporter.apply([.test(.remoteWrite, url: server.url("/api/v1/write"))])
        try await eventually("the cursor reaches the end") { done(store, "e", 2) }
        let all = stored.withLock { $0 }
        #expect(all.count == 2 * 51)
        #expect(Set(all).count == all.count)
        let average = all.filter { $0.name == "rack:DCGM_FI_DEV_POWER_USAGE:avg" && $0.label("rack") == "r3" }
        #expect(average.flatMap(\.samples).map(\.value) == [300, 301])
        let dead = store.snapshot.dead
        #expect(dead.map(\.status) == [400, 400])
        #expect(dead.map(\.reason) == Array(repeating: "HTTP 400: out of bounds", count: 2))
        // The body is kept as it was refused.
        let refused = try dead.flatMap { try RemoteWriteReader.series($0.body) }
        #expect(refused.map(\.name) == Array(repeating: "rack:DCGM_FI_DEV_POWER_USAGE:max", count: 2))
        #expect(refused.flatMap(\.samples).map(\.value) == [200.5, 201.5])
        #expect(store.snapshot.samples["e"] == 102)
        let first = try #require(server.requests.first)
        #expect(first.headers["content-type"] == "application/x-protobuf")
        #expect(first.headers["content-encoding"] == "snappy")
        #expect(first.headers["x-prometheus-remote-write-version"] == "0.1.0")
        #expect(first.headers["user-agent"]?.hasPrefix("colossusd/") == true)
        await reporter.drain(within: .seconds(30))
    }

    @Test("the file holds each line once, though the store failed to record some of them")
    func file() async throws {
        let folder = NSTemporaryDirectory() + "/reporting-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let store = FakeStore()
        commit(0..<4, store)
        // The first life writes a line whose delivery is never recorded.
        store.change { $0.failingAdvances = 1_000_000 }
        let first = reporter(store, folders: [folder])
        try await first.apply([.test(.file)])
        try await eventually("a line is written") {
            FileManager.default.contents(atPath: folder + "/out.jsonl")?.last == UInt8(ascii: "\n")
        }
        await first.drain(within: .milliseconds(50))
        #expect(store.cursor("e") == .start)
        store.change { $0.failingAdvances = 0 }
        let second = reporter(store, folders: [folder])
        try await second.apply([.test(.file)])
        try await eventually("the cursor reaches the end") { done(store, "e", 4) }
        await second.drain(within: .seconds(30))
        let lines = try String(contentsOfFile: folder + "/out.jsonl", encoding: .utf8).split(separator: "\n")
        let written = try lines.map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])["id"]
                as? String
        }
        #expect(written == ids(4, parts: 1))
    }

    @Test("a reload restarts what changed and nothing else; a bad one changes nothing")
    func reload() async throws {
        let server = try ScriptedServer { _ in .status(200) }
        defer { server.stop() }
        let store = FakeStore()
        let metrics = Metrics()
        let reporter = reporter(store, metrics: metrics)
        let kept = EndpointConfiguration.test(.webhook, name: "kept", url: server.url("/kept"))
        var changed = EndpointConfiguration.test(.webhook, name: "changed", url: server.url("/one"))
        let dropped = EndpointConfiguration.test(.webhook, name: "dropped", url: server.url("/dropped"))
        try await reporter.apply([kept, changed, dropped])
        commit(0..<2, store)
        try await eventually("all have two windows") {
            ["kept", "changed", "dropped"].allSatisfy { done(store, $0, 2) }
        }
        try await eventually("their status says so") {
            await reporter.status().allSatisfy { $0.deliveredParts == 2 }
        }
        changed.url = server.url("/two")
        try await reporter.apply([kept, changed])
        commit(2..<3, store)
        try await eventually("the new one goes on") { done(store, "changed", 3) && done(store, "kept", 3) }
        #expect(server.requests.filter { $0.path == "/two" }.count == 1)
        #expect(server.requests.filter { $0.path == "/dropped" }.count == 2)
        try await eventually("it was not restarted") {
            await reporter.status().first { $0.name == "kept" }?.deliveredParts == 3
        }
        #expect(await reporter.status().map(\.name) == ["changed", "kept"])
        #expect(!metrics.exposition().contains("endpoint=\"dropped\""))
        changed.url = "ftp://x/"
        await #expect(throws: EndpointConfigurationError.self) { try await reporter.apply([changed]) }
        #expect(await reporter.status().count == 2)
        await reporter.drain(within: .seconds(30))
    }

    @Test("a test touches no cursor and says what came of it")
    func testing() async throws {
        let server = try ScriptedServer { request in
            request.path == "/no" ? .status(403, body: "who?") : .status(204)
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store, folders: [NSTemporaryDirectory()])
        try await reporter.apply([
            .test(.webhook, name: "hook", url: server.url("/hook")),
            .test(.remoteWrite, name: "write", url: server.url("/write")),
            .test(.webhook, name: "refusing", url: server.url("/no")),
            .test(.webhook, name: "down", url: "http://127.0.0.1:\(try ScriptedServer.freePort())/"),
            .test(.webhook, name: "unknown", url: "http://nothing.invalid/"),
            .test(.file, name: "file", path: "reporting-\(UUID().uuidString)"),
            .test(.file, name: "outside", path: "/etc/x"),
        ])
        #expect(await reporter.test("nobody") == nil)
        for (name, succeeded, status) in [
            ("hook", true, 204), ("write", true, 204), ("refusing", false, 403), ("down", false, 0),
            ("unknown", false, 0), ("file", true, 0), ("outside", false, 0),
        ] {
            let result = try #require(await reporter.test(name))
            #expect(result.succeeded == succeeded && result.status == status, "\(result)")
        }
        let requests = server.requests
        #expect(requests[0].headers["ce-type"] == "colossus.test")
        #expect(try RemoteWriteReader.series(requests[1].body).isEmpty)
        #expect(store.snapshot.advances == 0)
        await reporter.drain(within: .seconds(30))
    }

    @Test("a bearer token comes from its file, follows it, and is shown nowhere")
    func bearer() async throws {
        let path = NSTemporaryDirectory() + "/token-\(UUID().uuidString)"
        try Data("first\n".utf8).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let server = try ScriptedServer { request in
            request.headers["authorization"] == "Bearer second" ? .status(200) : .status(401)
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        var endpoint = EndpointConfiguration.test(
            .webhook, url: server.url("/?key=hidden").replacing("http://", with: "http://user:secret@"))
        endpoint.secrets.tokenFile = path
        endpoint.backoff = BackoffLimits(baseMs: 200, capMs: 200)
        endpoint.headers = ["X-Api-Key": "hidden"]
        try Data("second\n".utf8).write(to: URL(fileURLWithPath: path))
        commit(0..<2, store)
        try await reporter.apply([endpoint])
        try await eventually("the cursor reaches the end") { done(store, "e", 2) }
        #expect(server.requests.last?.headers["x-api-key"] == "hidden")
        #expect(store.snapshot.dead.isEmpty)
        for text in ["\(endpoint)", String(reflecting: endpoint), "\(await reporter.status())"] {
            #expect(!text.contains("secret") && !text.contains("hidden"))
        }
        await reporter.drain(within: .seconds(30))
    }

    @Test("a drain ends what is on its way")
    func drain() async throws {
        let gate = Locked(false)
        let server = try ScriptedServer { _ in
            while !gate.withLock({ $0 }) { usleep(1_000) }
            return .status(200)
        }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        try await reporter.apply([.test(.webhook, name: "slow", url: server.url("/slow"))])
        commit(0..<3, store)
        try await eventually("it is asked") { server.requests.count == 1 }
        async let drained: Void = reporter.drain(within: .seconds(120))
        gate.withLock { $0 = true }
        await drained
        // Whatever it has answered is recorded.
        let answered = server.requests.count
        #expect(answered >= 1 && done(store, "slow", Int64(answered)))
    }

    @Test("a drain gives up at its deadline")
    func drainDeadline() async throws {
        let server = try ScriptedServer { _ in .silence }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        try await reporter.apply([.test(.webhook, name: "silent", url: server.url("/silent"))])
        commit(0..<3, store)
        try await eventually("it is asked") { server.requests.count == 1 }
        await reporter.drain(within: .milliseconds(200))
        #expect(store.cursor("silent") == .start)
    }

    @Test("a queue that is busy with many transfers still answers the watchdog")
    func heartbeat() async throws {
        let server = try ScriptedServer { _ in .silence }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        try await reporter.apply(
            (0..<8).map { .test(.webhook, name: "e\($0)", url: server.url("/\($0)")) }
                + [.test(.webhook, name: "unknown", url: "http://nothing.invalid/")])
        commit(0..<1, store)
        try await eventually("all hang") { server.requests.count == 8 }
        for monitored in reporter.monitoredQueues {
            await withCheckedContinuation { continuation in
                monitored.queue.async { @Sendable in continuation.resume() }
            }
        }
        await reporter.drain(within: .milliseconds(10))
    }
}
