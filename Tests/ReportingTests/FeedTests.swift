import Foundation
import Logging
import Store
import Telemetry
import Testing

@testable import Reporting

/// Events to webhooks, and alerts to an Alertmanager, over real sockets.
@Suite struct FeedTests {
    private let now = Locked<Int64>(1_725_235_300_000)

    private func reporter(_ store: FakeStore) -> Reporter {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return Reporter(
            store: store, clock: WallClock { now.withLock { $0 } }, metrics: Metrics(), logger: logger,
            seed: 7)
    }

    private func event(_ number: Int, _ kind: EventKind = .xid) -> Event {
        Event(
            stream: .measured, timeMs: 1_725_235_200_000 + Int64(number), kind: kind, entity: "n\(number)",
            gpu: 3, value: 79, source: .ingest)
    }

    static func alert(_ entity: String, _ state: Alert.State, resolvedMs: Int64 = 0) -> Alert {
        var alert = Alert(
            id: "Hot|measured|\(entity)", rule: "Hot", stream: "measured", entity: entity,
            severity: .critical,
            labels: ["rack": entity, "site": "memphis", "job": ""], annotations: ["summary": "it \"burns\""],
            state: state, value: 91, sinceMs: 1_725_235_200_000)
        alert.firedMs = 1_725_235_260_000
        alert.resolvedMs = resolvedMs
        return alert
    }

    private func json(_ body: [UInt8]) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any])
    }

    @Test(
        "events arrive once each, in order, of the kinds that are wanted, over a time of failures and a new start"
    )
    func events() async throws {
        let attempts = Locked(0)
        let server = try ScriptedServer { _ in
            let attempt = attempts.withLock {
                $0 += 1
                return $0
            }
            return attempt <= 3 ? .status(503) : .status(200)
        }
        defer { server.stop() }
        let store = FakeStore()
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url())
        endpoint.eventKinds = [.xid]
        endpoint.hasSummaries = false
        store.store([event(0), event(1, .checkpoint), event(2)])
        var reporter = reporter(store)
        try await reporter.apply([endpoint])
        try await eventually("the first events are there") { store.snapshot.eventCursors["e"] == 3 }
        store.store([event(3)])
        try await eventually("one that comes later") { store.snapshot.eventCursors["e"] == 4 }
        await reporter.drain(within: .seconds(30))
        store.store([event(4)])
        reporter = self.reporter(store)
        try await reporter.apply([endpoint])
        try await eventually("one from between two starts") { store.snapshot.eventCursors["e"] == 5 }
        await reporter.drain(within: .seconds(30))
        let taken = server.requests.dropFirst(3)
        #expect(taken.map { $0.headers["ce-id"] } == ["event/1", "event/3", "event/4", "event/5"])
        let first = try #require(taken.first)
        #expect(first.headers["ce-type"] == "colossus.event.xid")
        #expect(first.headers["ce-time"] == "2024-09-02T00:00:00Z")
        let body = try json(first.body)
        #expect(body["schema"] as? String == "colossus.event/v1" && body["kind"] as? String == "xid")
        #expect(
            body["entity"] as? String == "n0" && body["gpu"] as? Int == 3 && body["value"] as? Double == 79)
        #expect(body["message"] as? String == "XID 79 on GPU 3 of n0")
        #expect(store.snapshot.windows.isEmpty && store.snapshot.cursors.isEmpty)
    }

    @Test(
        "summaries and events of one endpoint have a lane each; CloudEvents in batches; an alert has its labels"
    )
    func lanes() async throws {
        let server = try ScriptedServer { _ in .status(200) }
        defer { server.stop() }
        let store = FakeStore()
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url())
        endpoint.eventKinds = Set(EventKind.allCases)
        endpoint.format = .batch
        endpoint.labels.added = ["cluster": "c1"]
        var firing = event(1, .alertFiring)
        firing.alert = Self.alert("r1", .firing)
        store.store([event(0), firing])
        store.commit([Windows.window(0, racks: 2)], Windows.topology(racks: 2))
        let reporter = reporter(store)
        try await reporter.apply([endpoint])
        try await eventually("both lanes are done") {
            store.snapshot.eventCursors["e#events"] == 2
                && store.cursor("e") == DeliveryPosition(sequence: 1, parts: 0)
        }
        #expect(await reporter.status().map(\.name) == ["e", "e#events"])
        let batches = try server.requests.compactMap {
            try JSONSerialization.jsonObject(with: Data($0.body)) as? [[String: Any]]
        }
        let events = try #require(batches.first { $0.first?["type"] as? String == "colossus.event.xid" })
        #expect(events.map { $0["id"] as? String } == ["event/1", "event/2"])
        let data = try #require(events.last?["data"] as? [String: Any])
        let alert = try #require(data["alert"] as? [String: Any])
        #expect(alert["name"] as? String == "Hot" && alert["state"] as? String == "firing")
        #expect((alert["labels"] as? [String: String])?["cluster"] == "c1")
        // Without events, the lane goes.
        endpoint.eventKinds = []
        try await reporter.apply([endpoint])
        #expect(await reporter.status().map(\.name) == ["e"])
        await reporter.drain(within: .seconds(30))
    }

    @Test("an event that is refused for good becomes a dead letter, and the next ones arrive")
    func refused() async throws {
        let server = try ScriptedServer {
            $0.headers["ce-id"] == "event/2" ? .status(422, body: "no") : .status(200)
        }
        defer { server.stop() }
        let store = FakeStore()
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url())
        endpoint.eventKinds = [.xid]
        endpoint.hasSummaries = false
        store.store((0..<3).map { event($0) })
        let reporter = reporter(store)
        try await reporter.apply([endpoint])
        try await eventually("all are settled") { store.snapshot.eventCursors["e"] == 3 }
        #expect(store.snapshot.dead.map(\.id) == ["event/2"])
        #expect(store.snapshot.dead.first?.status == 422)
        await reporter.drain(within: .seconds(30))
    }

    @Test("events go in batches that fit, one at least")
    func batches() async throws {
        let server = try ScriptedServer { _ in .status(200) }
        defer { server.stop() }
        let store = FakeStore()
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url())
        endpoint.eventKinds = Set(EventKind.allCases)
        endpoint.hasSummaries = false
        endpoint.format = .batch
        endpoint.batch.bytesMax = 16_384
        var large = event(30, .jobStart)
        large.nodes = (0..<5_000).map { "node-\($0)" }
        store.store((0..<30).map { event($0) } + [large, event(31)])
        let reporter = reporter(store)
        try await reporter.apply([endpoint])
        try await eventually("all are there") { store.snapshot.eventCursors["e"] == 32 }
        let batches = try server.requests.map { request in
            let events = try JSONSerialization.jsonObject(with: Data(request.body)) as? [[String: Any]]
            return (ids: events?.compactMap { $0["id"] as? String } ?? [], bytes: request.body.count)
        }
        #expect(batches.flatMap(\.ids) == (1...32).map { "event/\($0)" })
        #expect(batches.count > 3 && batches.count < 20)
        #expect(batches.filter { $0.bytes > 16_384 }.map(\.ids) == [["event/31"]])
        await reporter.drain(within: .seconds(30))
    }

    @Test("who refuses everything is said to: at once because of who asks, else after some parts")
    func refusingAll() async throws {
        let status = Locked(422)
        let server = try ScriptedServer { _ in .status(status.withLock { $0 }) }
        defer { server.stop() }
        let store = FakeStore()
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url())
        endpoint.eventKinds = [.xid]
        endpoint.hasSummaries = false
        let reporter = reporter(store)
        try await reporter.apply([endpoint])
        #expect(await reporter.status().map(\.isAnswered) == [false])
        func isRefusing(after events: Int, status code: Int) async throws -> Bool {
            status.withLock { $0 = code }
            let before = Int64(store.snapshot.events.count)
            store.store((0..<events).map { event($0) })
            try await eventually("they are settled") {
                await reporter.status()[0].position?.sequence == before + Int64(events)
            }
            let now = await reporter.status()[0]
            #expect(now.isAnswered && now.failuresInARow == 0)
            return now.isRefusingAll
        }
        #expect(try await !isRefusing(after: 2, status: 422))
        #expect(try await isRefusing(after: 1, status: 422))
        #expect(try await !isRefusing(after: 1, status: 200))
        #expect(try await isRefusing(after: 1, status: 404))
        await reporter.drain(within: .seconds(30))
    }

    @Test("an Alertmanager hears of changes at once and of what fires again and again, as it is by then")
    func alertmanager() async throws {
        let isDown = Locked(false)
        let server = try ScriptedServer { _ in isDown.withLock { $0 } ? .status(503) : .status(200) }
        defer { server.stop() }
        let reporter = reporter(FakeStore())
        var endpoint = EndpointConfiguration.test(.alertmanager, url: server.url("/api/v2/alerts"))
        endpoint.resendMs = 1_000
        endpoint.generatorURL = "http://us/"
        endpoint.labels = LabelChanges(added: ["cluster": "c1"], renamed: ["rack": "rack_name"])
        try await reporter.apply([endpoint])
        reporter.show(alerts: [Self.alert("r1", .firing), Self.alert("r2", .pending)])
        try await eventually("it is said") { server.requests.count >= 1 }
        try await eventually("it is said again") { server.requests.count >= 2 }
        let request = try #require(server.requests.first)
        #expect(request.method == "POST" && request.path == "/api/v2/alerts")
        #expect(request.headers["content-type"] == "application/json")
        let all = try #require(try JSONSerialization.jsonObject(with: Data(request.body)) as? [[String: Any]])
        #expect(all.count == 1)
        #expect(
            all.first?["labels"] as? [String: String] == [
                "alertname": "Hot", "severity": "critical", "rack_name": "r1", "site": "memphis",
                "cluster": "c1",
            ])
        #expect(all.first?["annotations"] as? [String: String] == ["summary": "it \"burns\""])
        #expect(all.first?["startsAt"] as? String == "2024-09-02T00:00:00Z")
        #expect(all.first?["endsAt"] as? String == "2024-09-02T00:01:44Z", "four times the pause ahead")
        #expect(all.first?["generatorURL"] as? String == "http://us/")
        // While it is down things change: it hears how they are when it is back, and nothing else.
        isDown.withLock { $0 = true }
        let before = server.requests.count
        reporter.show(alerts: [Self.alert("r3", .firing)])
        try await eventually("it is tried") { server.requests.count > before + 2 }
        let resolvedMs = now.withLock { $0 }
        reporter.show(alerts: [
            Self.alert("r3", .resolved, resolvedMs: resolvedMs), Self.alert("r4", .firing),
        ])
        try await eventually("the next tries are told") {
            server.requests.last.map { String(decoding: $0.body, as: UTF8.self).contains("r4") } ?? false
        }
        isDown.withLock { $0 = false }
        try await eventually("it is up again") { await reporter.status()[0].failuresInARow == 0 }
        let last = String(decoding: server.requests.last?.body ?? [], as: UTF8.self)
        #expect(last.contains("r3") && last.contains("r4") && !last.contains("r1"))
        #expect(last.contains("\"endsAt\":\"\(UTC.timestamp(resolvedMs))\""))
        // After five minutes nobody needs to hear of what is over.
        now.withLock { $0 += 300_000 }
        try await eventually("it is not said any more") {
            server.requests.last.map { !String(decoding: $0.body, as: UTF8.self).contains("r3") } ?? false
        }
        await reporter.drain(within: .seconds(30))
    }

    @Test("an alert that an Alertmanager calls malformed costs no dead letter, and the round goes on")
    func malformed() async throws {
        let server = try ScriptedServer { _ in .status(400, body: "bad") }
        defer { server.stop() }
        let store = FakeStore()
        let reporter = reporter(store)
        var endpoint = EndpointConfiguration.test(.alertmanager, url: server.url())
        endpoint.resendMs = 1_000
        try await reporter.apply([endpoint])
        reporter.show(alerts: [Self.alert("r1", .firing)])
        try await eventually("it comes again") { server.requests.count >= 2 }
        #expect(store.snapshot.dead.isEmpty)
        #expect(await reporter.status()[0].deadLetters >= 1)
        await reporter.drain(within: .seconds(30))
    }

    @Test(
        "what a receiver was found to understand is tried first after a restart, until the configuration changes"
    )
    func rememberedForm() async throws {
        let server = try ScriptedServer { request in
            request.headers["x-prometheus-remote-write-version"] == "2.0.0" ? .status(415) : .status(200)
        }
        defer { server.stop() }
        let store = FakeStore()
        var endpoint = EndpointConfiguration.test(.remoteWrite, url: server.url())
        endpoint.protocolVersion = 2
        store.commit([Windows.window(0, racks: 2)], Windows.topology(racks: 2))
        var reporter = reporter(store)
        try await reporter.apply([endpoint])
        try await eventually("it has fallen back") { store.cursor("e")?.sequence == 1 }
        await reporter.drain(within: .seconds(30))
        #expect(store.snapshot.forms == ["e": "2.0 snappy -> 1.0 snappy"])
        let before = server.requests.count
        store.commit([Windows.window(1, racks: 2)], Windows.topology(racks: 2))
        reporter = self.reporter(store)
        try await reporter.apply([endpoint], forms: store.snapshot.forms)
        try await eventually("the next one is there") { store.cursor("e")?.sequence == 2 }
        await reporter.drain(within: .seconds(30))
        let versions = server.requests.dropFirst(before).map {
            $0.headers["x-prometheus-remote-write-version"]
        }
        #expect(versions == ["0.1.0"])
        // Something else is meant now.
        let first = WireForm(compression: .zstd, version: 2)
        #expect(WireForm(kept: "2.0 snappy -> 1.0 snappy", insteadOf: first) == nil)
        #expect(WireForm(kept: "nonsense", insteadOf: first) == nil)
    }

    @Test(
        "each row of the policy of an Alertmanager, at a real socket",
        arguments: [
            (200, Verdict.delivered), (299, .delivered), (300, .retry), (400, .dead), (401, .retry),
            (403, .retry), (404, .retry), (405, .dead), (407, .retry), (413, .bisect),
            (422, .dead), (429, .retry), (500, .retry), (599, .retry),
        ])
    func policy(status: Int, verdict: Verdict) async throws {
        let server = try ScriptedServer { _ in .status(status) }
        defer { server.stop() }
        let reporter = reporter(FakeStore())
        try await reporter.apply([.test(.alertmanager, url: server.url())])
        reporter.show(alerts: [Self.alert("r1", .firing), Self.alert("r2", .firing)])
        try await eventually("it is said") {
            let status = await reporter.status()[0]
            switch verdict {
            case .delivered: return status.deliveredSamples == 2
            case .retry: return status.retries >= 2
            case .bisect: return status.deadLetters == 2 && server.requests.count == 3
            default: return status.deadLetters == 1 && server.requests.count == 1
            }
        }
        await reporter.drain(within: .seconds(30))
    }
}
