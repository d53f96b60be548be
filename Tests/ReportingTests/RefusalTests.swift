import Foundation
import Logging
import Store
import Telemetry
import Testing

@testable import Reporting

/// What becomes of each status at a real socket, and of what was refused.
@Suite struct RefusalTests {
    private static let clock = WallClock { Int64(Date().timeIntervalSince1970 * 1_000) }

    private func reporter(_ store: FakeStore) -> Reporter {
        Reporter(
            store: store, clock: Self.clock, metrics: Metrics(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, seed: 7)
    }

    /// Some statuses of each row: a status below 200 is no final answer, and is not sent.
    static let rows: [(EndpointKind, Int, Verdict)] = PolicyRow.all.filter { $0.kind != .alertmanager }
        .flatMap { row in
            let statuses = row.statuses.filter { $0 >= 200 }
            let chosen = Set(
                [statuses.first, statuses[statuses.count / 2], statuses.last].compactMap(\.self))
            return chosen.sorted().map { (row.kind, $0, row.verdict) }
        }

    @Test("each row of the policy, at a real socket", arguments: rows)
    func rowsAtASocket(kind: EndpointKind, status: Int, verdict: Verdict) async throws {
        let answers = Locked(0)
        let server = try ScriptedServer { _ in
            let number = answers.withLock {
                $0 += 1
                return $0
            }
            // Whatever is tried again is taken the second time.
            return .status(verdict == .retry && number > 1 ? 204 : status, body: "said \(status)")
        }
        defer { server.stop() }
        let store = FakeStore()
        store.commit([Windows.window(0, racks: 2)], Windows.topology(racks: 2))
        let reporter = reporter(store)
        try await reporter.apply([.test(kind, url: server.url())])
        let end = DeliveryPosition(sequence: 1, parts: 0)
        if verdict == .disable {
            try await eventually("it is disabled") { await reporter.status().first?.state == .disabled }
            #expect(store.cursor("e") == .start && server.requests.count == 1)
            return await reporter.drain(within: .seconds(30))
        }
        try await eventually("the cursor reaches the end") { store.cursor("e") == end }
        let dead = store.snapshot.dead
        switch verdict {
        case .delivered: #expect(server.requests.count == 1 && dead.isEmpty)
        case .retry:
            #expect(server.requests.count == 2 && dead.isEmpty)
            #expect(server.requests[0].body == server.requests[1].body)
        case .dead: #expect(server.requests.count == 1 && dead.count == 1)
        case .renegotiate:
            // Without compression once more, where there was any.
            let isPacked = server.requests.first?.headers["content-encoding"] == "gzip"
            #expect(server.requests.count == (isPacked ? 2 : 1) && dead.count == 1)
        case .partial: #expect(server.requests.count == 1 && dead.map(\.isReplayable) == [false])
        case .bisect:
            // A tree of halves, down to single rows.
            #expect(dead.count > 1 && server.requests.count == 2 * dead.count - 1)
        case .disable: break
        }
        for letter in dead {
            #expect(letter.status == status && letter.response == Array("said \(status)".utf8))
            #expect(letter.reason == "HTTP \(status): said \(status)")
            let sent = try #require(server.requests.first { $0.body == letter.body })
            for header in letter.headers {
                #expect(sent.headers[header.name.lowercased()] == header.value)
            }
            #expect(!letter.headers.isEmpty && letter.samples > 0)
        }
        await reporter.drain(within: .seconds(30))
    }

    @Test("a dead letter is sent again as it was, with the secrets of today and none kept")
    func resend() async throws {
        let token = NSTemporaryDirectory() + "/token-\(UUID().uuidString)"
        try "first".write(toFile: token, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: token) }
        let isMended = Locked(false)
        let server = try ScriptedServer { _ in
            isMended.withLock { $0 } ? .status(204) : .status(400, body: "no")
        }
        defer { server.stop() }
        let store = FakeStore()
        store.commit([Windows.window(0, racks: 1)], Windows.topology(racks: 1))
        let reporter = reporter(store)
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url("/hook"))
        endpoint.secrets.tokenFile = token
        try await reporter.apply([endpoint])
        try await eventually("it is dead") { store.snapshot.dead.count == 1 }
        let letter = try #require(store.snapshot.dead.first)
        #expect(!letter.headers.contains { $0.name.lowercased() == "authorization" })
        #expect(!letter.headers.contains { $0.value.contains("first") })
        try "second".write(toFile: token, atomically: true, encoding: .utf8)
        let refused = try #require(await reporter.resend(letter))
        #expect(!refused.succeeded && refused.status == 400 && refused.response == Array("no".utf8))
        isMended.withLock { $0 = true }
        let taken = try #require(await reporter.resend(letter))
        #expect(taken.succeeded && taken.status == 204)
        let (first, last) = (try #require(server.requests.first), try #require(server.requests.last))
        #expect(first.body == last.body && first.path == last.path)
        #expect(first.headers["authorization"] == "Bearer first")
        #expect(last.headers["authorization"] == "Bearer second")
        #expect(first.headers["ce-id"] == last.headers["ce-id"] && last.headers["ce-id"] != nil)
        var stray = letter
        stray.endpoint = "gone"
        #expect(await reporter.resend(stray) == nil)
        await reporter.drain(within: .seconds(30))
    }

    @Test("of a part with several poisoned rows only those become dead letters", arguments: [1, 2, 3])
    func bisection(seed: UInt64) async throws {
        var random = SplitMix64(seed: seed)
        let poisoned = Set((0..<3).map { _ in Int.random(in: 0..<16, using: &random) })
        let stored = Locked<Set<RemoteWriteReader.Series>>([])
        let server = try ScriptedServer { request in
            guard let series = try? RemoteWriteReader.series(request.body) else { return .status(400) }
            let isBad = series.contains { one in
                one.name == "rack:DCGM_FI_DEV_POWER_USAGE:avg"
                    && poisoned.contains { one.label("rack") == "r\($0)" }
            }
            if isBad { return .status(400, body: "duplicate sample for timestamp") }
            stored.withLock { $0.formUnion(series) }
            return .status(204)
        }
        defer { server.stop() }
        let store = FakeStore()
        store.commit([Windows.window(0, racks: 16)], Windows.topology(racks: 16))
        let reporter = reporter(store)
        try await reporter.apply([.test(.remoteWrite, url: server.url())])
        try await eventually("the cursor reaches the end", { store.cursor("e")?.sequence == 1 })
        let dead = try store.snapshot.dead.flatMap { try RemoteWriteReader.series($0.body) }
        #expect(dead.count == poisoned.count)
        #expect(Set(dead.map { $0.label("rack") }) == Set(poisoned.map { "r\($0)" }))
        #expect(stored.withLock { $0.count } == 16 * 13 - poisoned.count)
        await reporter.drain(within: .seconds(30))
    }
}
