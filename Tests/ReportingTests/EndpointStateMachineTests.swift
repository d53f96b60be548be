import Store
import Telemetry
import Testing

@testable import Reporting

@Suite struct EndpointStateMachineTests {
    private static let ok = MachineDriver.status(200)

    /// Three windows of four racks; 13 numbers a rack (5 GPU counts, 8 statistics).
    private func threeWindows() -> [StoredWindow] {
        Windows.stored((0..<3).map { Windows.window($0, racks: 4) }, racks: 4)
    }

    private func webhook(samplesMax: Int = 26) -> EndpointConfiguration {
        var made = EndpointConfiguration.test(.webhook)
        made.batch.samplesMax = samplesMax
        return made
    }

    private func ids(_ windows: Int, parts: Int) -> [String] {
        (0..<windows).flatMap { window in
            (0..<parts).map { "measured/10000/\(Windows.startMs + Int64(window) * 10_000)/0/\($0)" }
        }
    }

    @Test("windows are cut into parts, sent in order, and the cursor moves after each part")
    func order() {
        var driver = MachineDriver(webhook(), threeWindows()) { _, _ in Self.ok }
        driver.run()
        #expect(driver.accepted == ids(3, parts: 2))
        #expect(
            driver.advances.map(\.to)
                == [(0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)].map {
                    DeliveryPosition(sequence: $0.0, parts: $0.1)
                })
        #expect(driver.machine.account.samples == 3 * 4 * 13)
        #expect(driver.machine.account.partsDelivered == 6)
        #expect(driver.machine.state == .idle)
        #expect(driver.machine.pendingWindows == 0)
    }

    @Test("who waits holds no windows but the one that failed, and then goes on behind it")
    func holdsLittle() {
        // Some were not selected.
        let windows = threeWindows().enumerated().map { index, window in
            StoredWindow(
                sequence: Int64(3 * index + 2), summary: window.summary, topology: window.topology)
        }
        var machine = EndpointStateMachine(webhook(), seed: 1)
        _ = machine.handle(.start, nowMs: 0)
        _ = machine.handle(.cursor(.start), nowMs: 0)
        let first = machine.handle(.windows(windows, scannedThrough: 9), nowMs: 0)
        guard case .send(let part)? = first.first else {
            Issue.record("\(first)")
            return
        }
        let body = machine.body(of: part)
        #expect(machine.fetched.count == 2 && body != nil)
        _ = machine.handle(.attempted(MachineDriver.status(503)), nowMs: 0)
        #expect(machine.fetched.isEmpty && machine.body(of: part) == body)
        guard case .waiting(.send, let token, _) = machine.state else {
            Issue.record("\(machine.state)")
            return
        }
        // Both parts of the window go out; then it looks for what is behind the window, and skips nothing.
        #expect(machine.handle(.timer(token), nowMs: 50) == [.send(part)])
        _ = machine.handle(.attempted(Self.ok), nowMs: 60)
        _ = machine.handle(.advanced(true), nowMs: 70)
        _ = machine.handle(.attempted(Self.ok), nowMs: 80)
        let after = DeliveryPosition(sequence: 2, parts: 0)
        #expect(
            machine.handle(.advanced(true), nowMs: 90) == [.fetch(after: after, through: nil, limit: 4)])
        // The same when an operator lets it rest between two windows, and when it says that it is gone.
        _ = machine.handle(.windows(Array(windows.dropFirst()), scannedThrough: 9), nowMs: 100)
        _ = machine.handle(.pause, nowMs: 100)
        for time in [Int64(110), 120] {
            _ = machine.handle(.attempted(Self.ok), nowMs: time)
            _ = machine.handle(.advanced(true), nowMs: time)
            if machine.state == .paused { _ = machine.handle(.resume, nowMs: time) }
        }
        #expect(machine.fetched.isEmpty)
        #expect(machine.reachedSequence == 5)
        var driver = MachineDriver(webhook(), windows) { _, attempt in
            attempt % 3 == 0 ? Self.ok : MachineDriver.status(503)
        }
        driver.run()
        #expect(driver.accepted == ids(3, parts: 2))
        #expect(driver.cursor == DeliveryPosition(sequence: 8, parts: 0))
    }

    @Test("500, then 200: the same part again under the same id, with growing waits, then the rest")
    func retries() {
        var driver = MachineDriver(webhook(), threeWindows()) { _, attempt in
            attempt <= 5 ? MachineDriver.status(500) : Self.ok
        }
        driver.run()
        #expect(driver.sent.prefix(6).map(\.id) == Array(repeating: ids(1, parts: 1)[0], count: 6))
        #expect(driver.accepted == ids(3, parts: 2))
        #expect(driver.waits.count == 5)
        #expect(driver.waits.allSatisfy { (5...40).contains($0) })
        #expect(driver.machine.account.retries == 5)
        #expect(driver.notices == [.failing("HTTP 500: said"), .recovered(afterAttempts: 5)])
        #expect(driver.machine.account.failuresInARow == 0 && !driver.machine.waitsToSend)
    }

    @Test(
        "Retry-After is waited for when it is longer than the backoff, and capped",
        arguments: EndpointKind.ofWindows)
    func retryAfter(kind: EndpointKind) {
        var configuration = EndpointConfiguration.test(kind)
        configuration.backoff.retryAfterMaxMs = 60_000
        for (said, waited) in [(Int64(30_000), Int64(30_000)), (Int64.max, 60_000)] {
            var driver = MachineDriver(configuration, threeWindows()) { _, attempt in
                attempt == 1 ? MachineDriver.status(429, retryAfterMs: said) : MachineDriver.status(204)
            }
            driver.run()
            #expect(driver.waits == [waited])
            #expect(driver.accepted.count == 3)
        }
    }

    @Test("410 disables a webhook, and nothing is lost")
    func gone() {
        var driver = MachineDriver(webhook(), threeWindows()) { _, attempt in
            attempt == 3 ? MachineDriver.status(410) : Self.ok
        }
        driver.run()
        #expect(driver.machine.state == .disabled)
        #expect(driver.sent.count == 3)
        #expect(driver.cursor == DeliveryPosition(sequence: 1, parts: 0))
        driver.feed(.committed(3))
        #expect(driver.sent.count == 3)
        #expect(driver.machine.pendingWindows == 2)
        // After a restart it goes on with what was refused.
        var again = MachineDriver(webhook(), threeWindows()) { _, _ in Self.ok }
        again.cursor = driver.cursor
        again.run()
        #expect(driver.accepted + again.accepted == ids(3, parts: 2))
    }

    @Test("one poisoned series is found by halving and costs none of the others", arguments: [0, 17, 25, 51])
    func bisect(poison: Int) {
        let window = Windows.stored([Windows.window(0, racks: 4)], racks: 4)
        var taken: Set<Int> = []
        var driver = MachineDriver(.test(.remoteWrite), window) { part, _ in
            if part.rows.contains(poison) { return MachineDriver.status(400) }
            taken.formUnion(part.rows)
            return MachineDriver.status(204)
        }
        driver.run()
        #expect(taken == Set(0..<52).subtracting([poison]))
        #expect(driver.dead.map(\.part.rows) == [poison..<(poison + 1)])
        #expect(driver.dead[0].status == 400)
        #expect(driver.dead[0].part.id == "measured/10000/\(Windows.startMs)/0/0+\(poison)-\(poison)")
        #expect(driver.machine.account.samples == 51)
        #expect(driver.machine.account.partsCut == 1)
        #expect(driver.cursor == DeliveryPosition(sequence: 1, parts: 0))
        // 52 rows: at most two requests for each of six levels.
        #expect(driver.sent.count <= 13)
    }

    @Test("an endpoint that refuses everything costs few requests, and everything is a dead letter")
    func hopeless() {
        let windows = Windows.stored((0..<20).map { Windows.window($0, racks: 40) }, racks: 40)
        var driver = MachineDriver(.test(.remoteWrite), windows) { _, _ in MachineDriver.status(400) }
        driver.run()
        #expect(driver.dead.reduce(0) { $0 + $1.part.samples } == 20 * 40 * 13)
        #expect(driver.machine.account.partsDead == 20)
        let limits = EndpointStateMachine.Limits.self
        #expect(driver.sent.count <= 2 * limits.refusals + 20 + 19 * 6)
        #expect(driver.cursor == DeliveryPosition(sequence: 20, parts: 0))
        // It is said once.
        #expect(driver.notices.count == 1)
    }

    @Test("401 and 404 are final at once for remote write, 400 for a webhook")
    func final() {
        for (kind, status) in [(EndpointKind.remoteWrite, 404), (.remoteWrite, 401), (.webhook, 400)] {
            var driver = MachineDriver(.test(kind), threeWindows()) { _, _ in MachineDriver.status(status) }
            driver.run()
            #expect(driver.sent.count == 3)
            #expect(driver.dead.map(\.part.id) == ids(3, parts: 1))
        }
    }

    @Test("with a token file, the first 401 is tried again with a fresh token")
    func freshToken() {
        var configuration = EndpointConfiguration.test(.webhook)
        configuration.secrets.tokenFile = "/token"
        var driver = MachineDriver(configuration, threeWindows()) { _, attempt in
            attempt == 2 ? MachineDriver.status(401) : Self.ok
        }
        driver.run()
        #expect(driver.accepted == ids(3, parts: 1))
        #expect(driver.dead.isEmpty)
        var refused = MachineDriver(configuration, threeWindows()) { _, _ in MachineDriver.status(401) }
        refused.run()
        #expect(refused.dead.count == 3)
        #expect(refused.sent.count == 4)
    }

    @Test("a webhook that finds a part too large gets it in pieces")
    func tooLarge() {
        var driver = MachineDriver(.test(.webhook), threeWindows()) { part, _ in
            part.samples > 13 ? MachineDriver.status(413) : Self.ok
        }
        driver.run()
        #expect(driver.dead.isEmpty)
        #expect(driver.accepted.count == 12)
        #expect(driver.machine.account.samples == 3 * 52)
    }

    @Test("timeouts and lost connections never give up")
    func timeouts() {
        var driver = MachineDriver(webhook(), threeWindows()) { _, attempt in
            switch attempt % 4 {
            case 0: Self.ok
            case 1: .failed(.timeout, reason: "28")
            case 2: .failed(.connect, reason: "7")
            default: .failed(.transfer, reason: "56")
            }
        }
        driver.run()
        #expect(driver.accepted == ids(3, parts: 2))
        #expect(driver.machine.account.retries == 18)
    }

    @Test("a store that cannot move the cursor is asked again; nothing is sent twice and nothing goes ahead")
    func failingStore() {
        var driver = MachineDriver(webhook(), threeWindows()) { _, _ in Self.ok }
        driver.failAdvances = 4
        driver.failReads = 3
        driver.run()
        #expect(driver.accepted == ids(3, parts: 2))
        #expect(driver.advances.count == 6)
        #expect(driver.notices == [.storeFailing, .storeFailing])
        #expect(driver.waits.count == 7)
    }

    @Test("wherever the process dies, each part arrives, in order, and at most one twice", arguments: 0...6)
    func restart(attempts: Int) {
        var first = MachineDriver(webhook(), threeWindows()) { _, _ in Self.ok }
        first.attemptsMax = attempts
        first.run()
        var second = MachineDriver(webhook(), threeWindows()) { _, _ in Self.ok }
        second.cursor = first.cursor
        second.run()
        #expect(first.accepted + second.accepted == ids(3, parts: 2))
    }

    @Test("a part count in a cursor belongs to the next window only")
    func partCount() {
        var driver = MachineDriver(webhook(), threeWindows()) { _, _ in Self.ok }
        driver.windows.removeFirst()  // The retention took it.
        driver.cursor = DeliveryPosition(sequence: 0, parts: 1)
        driver.run()
        #expect(driver.accepted == Array(ids(3, parts: 2).dropFirst(2)))
    }

    @Test("windows far in the future are not sent by remote write unless that is allowed")
    func future() {
        var windows = threeWindows()
        windows[1].summary.startMs = 1_725_300_000_000 + 600_000
        for (kind, allow, count) in [
            (EndpointKind.remoteWrite, false, 2), (.remoteWrite, true, 3), (.webhook, false, 3),
        ] {
            var configuration = EndpointConfiguration.test(kind)
            configuration.allowFuture = allow
            var driver = MachineDriver(configuration, windows) { _, _ in MachineDriver.status(204) }
            driver.run()
            #expect(driver.accepted.count == count)
            #expect(driver.machine.account.dropped[.future] == (count == 2 ? 52 : nil))
            #expect(driver.cursor == DeliveryPosition(sequence: 3, parts: 0))
        }
    }

    @Test("revisions go to those who can take them")
    func revisions() {
        let windows = Windows.stored(
            [Windows.window(0, racks: 1), Windows.window(0, racks: 1, revision: 1)], racks: 1)
        for (kind, count) in [(EndpointKind.remoteWrite, 1), (.webhook, 2), (.file, 2)] {
            var driver = MachineDriver(.test(kind), windows) { _, _ in MachineDriver.status(204) }
            driver.run()
            #expect(driver.accepted.count == count)
            #expect(driver.machine.account.dropped[.revision] == (count == 1 ? 13 : nil))
        }
    }

    @Test("the cursor moves past windows that bring nothing, at the latest when it stops")
    func nothingToSend() {
        let quiet = (0..<3).map { Windows.window($0, racks: 1, silent: [0], fields: []) }
        var windows = Windows.stored(quiet, racks: 1)
        for index in windows.indices { windows[index].summary.levels = [] }
        var driver = MachineDriver(.test(.webhook), windows) { _, _ in Self.ok }
        driver.run()
        #expect(driver.sent.isEmpty)
        #expect(driver.machine.pendingWindows == 0)
        driver.feed(.drain(.inFlight))
        #expect(driver.isStopped)
        #expect(driver.cursor == DeliveryPosition(sequence: 3, parts: 0))
    }

    @Test("a drain finishes the part on its way and starts no other; a pending one finishes all")
    func drain() {
        for (scope, parts) in [(DrainScope.inFlight, 1), (.pending, 6)] {
            var driver = MachineDriver(webhook(), threeWindows()) { _, _ in Self.ok }
            driver.attemptsMax = 0
            driver.run()
            #expect(driver.machine.state == .sending)
            driver.attemptsMax = 100
            _ = driver.machine.handle(.drain(scope), nowMs: driver.nowMs)
            driver.feed(.attempted(Self.ok))
            #expect(driver.isStopped)
            #expect(driver.machine.account.partsDelivered == parts)
        }
    }

    @Test("a drain does not wait for an endpoint that is down")
    func drainWhileDown() {
        var driver = MachineDriver(webhook(), threeWindows()) { _, _ in MachineDriver.status(503) }
        driver.attemptsMax = 0
        driver.run()
        _ = driver.machine.handle(.drain(.pending), nowMs: driver.nowMs)
        driver.feed(.attempted(MachineDriver.status(503)))
        #expect(driver.isStopped)
        #expect(driver.cursor == .start)
    }

    @Test("events that do not fit the state change nothing")
    func strayEvents() {
        var machine = EndpointStateMachine(webhook(), seed: 1)
        #expect(machine.handle(.attempted(Self.ok), nowMs: 0).isEmpty)
        #expect(machine.handle(.timer(3), nowMs: 0).isEmpty)
        #expect(machine.handle(.advanced(true), nowMs: 0).isEmpty)
        #expect(machine.handle(.windows([], scannedThrough: 9), nowMs: 0).isEmpty)
        #expect(machine.state == .created)
        _ = machine.handle(.start, nowMs: 0)
        #expect(machine.handle(.start, nowMs: 0).isEmpty)
    }

    @Test("any mix of failures still gives every part once, in order", arguments: [1, 2, 3, 4, 5, 6, 7, 8])
    func anyFailures(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let script = (0..<4_000).map { _ in Int.random(in: 0..<10, using: &random) }
        let windows = Windows.stored((0..<12).map { Windows.window($0, racks: 5) }, racks: 5)
        var configuration = webhook(samplesMax: 14 + Int(seed) * 7)
        configuration.backoff = BackoffLimits(baseMs: 1, capMs: 100)
        var expected = MachineDriver(configuration, windows) { _, _ in Self.ok }
        expected.run()
        var accepted: [String] = []
        var cursor: DeliveryPosition?
        // Lives of the process that end after a few attempts each.
        for life in 0..<400 where cursor != DeliveryPosition(sequence: 12, parts: 0) {
            var driver = MachineDriver(configuration, windows, seed: seed) { _, attempt in
                switch script[(life * 7 + attempt) % script.count] {
                case 0...3: Self.ok
                case 4: MachineDriver.status(429, retryAfterMs: 50)
                case 5: .failed(.timeout, reason: "")
                case 6: MachineDriver.status(302)
                default: MachineDriver.status(500)
                }
            }
            driver.cursor = cursor
            driver.failAdvances = script[life] == 0 ? 2 : 0
            driver.failReads = script[life] == 1 ? 1 : 0
            driver.attemptsMax = 1 + script[life * 3 % script.count]
            driver.run()
            accepted += driver.accepted
            cursor = driver.cursor
        }
        #expect(accepted == expected.accepted, "seed \(seed)")
    }
}
