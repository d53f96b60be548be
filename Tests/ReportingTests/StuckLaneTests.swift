import Store
import Telemetry
import Testing

@testable import Reporting

/// Lanes that fail where others get on, and what lanes of one endpoint share.
@Suite struct StuckLaneTests {
    private static let ok = MachineDriver.status(204)
    private static let startMs: Int64 = 1_725_300_000_000

    /// Two parts a window.
    private func configuration(_ maxInFlight: Int = 4) -> EndpointConfiguration {
        var made = EndpointConfiguration.test(.webhook)
        made.batch.samplesMax = 13
        made.takesAnyOrder = true
        made.maxInFlight = maxInFlight
        return made
    }

    private func windows(_ count: Int) -> [StoredWindow] {
        Windows.stored((0..<count).map { Windows.window($0, racks: 2) }, racks: 2)
    }

    private func isTellingFailure(_ notice: EndpointStateMachine.Notice) -> Bool {
        switch notice {
        case .failing, .recovered: true
        default: false
        }
    }

    @Test(
        "a part that always fails costs the backlog and new windows nothing, and is tried at its own times",
        arguments: [1, 2, 4])
    func poison(maxInFlight: Int) {
        let healsMs = Self.startMs + 600_000
        var tries: [Int64] = []
        var endpoint = configuration(maxInFlight)
        endpoint.backoff = BackoffLimits(baseMs: 500, capMs: 30_000)
        var driver = LanesDriver(
            endpoint, windows(900), partsEach: 2, committed: 500, seed: 11
        ) { part, now, _ in
            guard part.sequence == 30, now < healsMs else { return (true, Self.ok) }
            tries.append(now)
            return (false, MachineDriver.status(500))
        }
        driver.latencyMs = 100...100
        driver.commit(everyMs: 2_000, from: 500)
        driver.start()
        driver.run(forMs: 500_000)
        // All but what was committed last, and the part itself: what is behind it in its piece of the gap, too.
        let missing = driver.all.prefix(2 * 740).filter { !driver.done.contains($0) }
        #expect(Set(missing).isSubset(of: [1, 2].map { driver.all[2 * 29 + $0 - 1] }), "\(missing)")
        for part in driver.taken where part.sequence > 500 {
            #expect(part.atMs - (driver.committedAtMs[part.sequence] ?? 0) < 2_000)
        }
        #expect(tries.count > 10 && tries.count < 100, "\(tries.count) tries")
        #expect(driver.notices.filter(isTellingFailure).count <= 4, "\(driver.notices)")
        #expect(driver.lanes.account.failuresInARow == 0 && !driver.lanes.isCircuitOpen)
        driver.run()
        #expect(driver.problems == [] && driver.dead.isEmpty)
        #expect(driver.done.count == driver.all.count && driver.lanes.isIdle && driver.gaps.isEmpty)
    }

    @Test("an outage is told once, though a lane is stuck and others have requests on their way")
    func outageBesideStuck() {
        let (downMs, upMs) = (Self.startMs + 100_000, Self.startMs + 200_000)
        var driver = LanesDriver(
            configuration(4), windows(900), partsEach: 2, committed: 800, seed: 12
        ) { part, now, _ in
            let fails = part.sequence == 30 && now < upMs + 60_000 || now >= downMs && now < upMs
            return fails ? (false, MachineDriver.status(503)) : (true, Self.ok)
        }
        driver.latencyMs = 100...100
        driver.commit(everyMs: 4_000)
        driver.start()
        driver.run(forMs: 90_000)
        let before = driver.notices.filter(isTellingFailure).count
        driver.run(forMs: 100_000)
        #expect(driver.lanes.account.failuresInARow > 0 && driver.lanes.isCircuitOpen)
        #expect(driver.notices.filter(isTellingFailure).count == before + 1)
        #expect(driver.notices.count <= before + 2, "\(driver.notices)")
        driver.run()
        #expect(driver.notices.filter(isTellingFailure).count == before + 2)
        #expect(driver.done.count == driver.all.count && driver.problems == [])
    }

    @Test("so many requests a minute are for all lanes together, and new windows come first")
    func pace() {
        var asked: [Int64] = []
        var driver = LanesDriver(configuration(8), windows(200), partsEach: 2, committed: 150, seed: 5) {
            _, now, _ in
            asked.append(now)
            return (true, Self.ok)
        }
        driver.latencyMs = 2...2
        driver.welcome(ratePerMinute: 60)
        driver.commit(everyMs: 10_000)
        driver.start()
        driver.run()
        #expect(zip(asked, asked.dropFirst()).allSatisfy { $1 - $0 >= 1_000 })
        #expect(driver.done.count == driver.all.count && driver.problems == [])
        for part in driver.taken where part.sequence > 152 {
            #expect(part.atMs - (driver.committedAtMs[part.sequence] ?? 0) < 4_000)
        }
    }

    @Test("one lane asks whether requests are welcome")
    func handshake() {
        var endpoint = configuration(4)
        endpoint.handshakeOrigin = "here"
        var driver = LanesDriver(endpoint, windows(200), partsEach: 2, committed: 190, seed: 5) { _, _, _ in
            (true, Self.ok)
        }
        driver.latencyMs = 200...200
        driver.commit(everyMs: 1_000)
        driver.start()
        driver.run()
        #expect(driver.inFlightMax == 1 && driver.done.count == driver.all.count)
    }

    @Test("a replaced token costs no part, though all lanes had the old one; a lasting refusal is final")
    func credentials() {
        var account = EndpointAccount()
        let answers = [0, 0, 1].map { account.refresh(sentAfter: $0) }
        #expect(answers == [true, true, false])
        var endpoint = configuration(4)
        endpoint.secrets.tokenFile = "/token"
        let replacedMs = Self.startMs + 10_000
        var refused = 0
        var driver = LanesDriver(endpoint, windows(400), partsEach: 2, committed: 390, seed: 6) {
            part, now, _ in
            if part.sequence == 380, part.id.hasSuffix("/1") { return (false, MachineDriver.status(403)) }
            guard now >= replacedMs, now < replacedMs + 150 else { return (true, Self.ok) }
            refused += 1
            return (false, MachineDriver.status(401))
        }
        driver.latencyMs = 200...200
        driver.commit(everyMs: 1_000)
        driver.start()
        driver.run()
        #expect(refused > 1 && driver.problems == [])
        #expect(driver.dead.map(\.part.sequence) == [380])
    }

    @Test("of each lane no more is held than what is likely to fit into a request")
    func held() {
        var endpoint = EndpointConfiguration.test(.remoteWrite)
        endpoint.batch.windowsMax = 64
        for (isAnyOrder, limit) in [(true, EndpointStateMachine.Limits.fetchedWindows), (false, 64)] {
            endpoint.takesAnyOrder = isAnyOrder
            var lanes = EndpointLanes(endpoint, seed: 1)
            _ = lanes.handle(.start, nowMs: 0)
            let actions = lanes.handle(.opened(DeliveryCursor(position: .start, newest: 100)), nowMs: 0)
            #expect(actions.map(\.action) == [.fetch(after: .start, through: nil, limit: limit)])
        }
    }

    @Test("times reach back far enough for the longest wait", arguments: [0, 2_000, 60_000] as [Int64])
    func horizon(waitMs: Int64) {
        let horizon = EndpointStateMachine.Limits.liveMs + waitMs
        var times = CommitTimes(horizonMs: horizon)
        times.note(1, atMs: .min)
        for index in Int64(1)...5_000 {
            times.note(index + 1, atMs: index * 50)
            let old = times.newest(beforeMs: index * 50 - horizon)
            let expected = max(1, index - horizon / 50 + 1)
            #expect((expected - 20...expected + 20).contains(old ?? -100), "at \(index)")
        }
    }

    @Test("a batch of other windows has another id, though it begins with the same one and has as many")
    func ids() {
        let all = windows(4)
        let ids = [[0, 1, 2], [0, 1, 3], [0, 1]].map { chosen in
            Consignment.windows(chosen.map { all[$0] }).id(part: 0)
        }
        let first = "measured/10000/\(Windows.startMs)/0/0"
        #expect(ids == [first + "x3@3", first + "x3@4", first + "x2@2"])
        #expect(Consignment.window(all[0]).id(part: 0) == first)
    }

    @Test("a batch counts as many windows as it has; what is gone on with in the middle counts for none")
    func windowBytes() {
        func part(_ sequence: Int64, _ index: Int, windows: Int = 1) -> Part {
            Part(
                id: "\(sequence)/\(index)", sequence: sequence, index: index, rows: 0..<1, samples: 1,
                endMs: 0, windows: windows)
        }
        var bytes = WindowBytes()
        bytes.sent(50, of: part(1, 1), lane: 0)
        bytes.sent(50, of: part(1, 2), lane: 0)
        #expect(bytes.mean == nil)
        bytes.sent(800, of: part(9, 0, windows: 8), lane: 0)
        #expect(bytes.mean == 100)
        bytes.sent(200, of: part(10, 0), lane: 0)
        bytes.sent(10, of: part(2, 1), lane: 1)
        #expect(abs((bytes.mean ?? 0) - (0.9 * 800 + 200) / (0.9 * 8 + 1)) < 1e-9)
    }

    @Test("windows do not wait for others when somebody is in a hurry", arguments: [true, false])
    func hurry(isResumed: Bool) {
        var endpoint = EndpointConfiguration.test(.remoteWrite)
        endpoint.batch.windowsMax = 8
        endpoint.batch.waitMs = 60_000
        var machine = EndpointStateMachine(endpoint, seed: 1)
        _ = machine.handle(.start, nowMs: 0)
        _ = machine.handle(.cursor(.start), nowMs: 0)
        _ = machine.handle(.windows([], scannedThrough: 0), nowMs: 0)
        let early = machine.handle(isResumed ? .resume : .hurry, nowMs: 500)
        #expect(early.isEmpty)
        _ = machine.handle(.committed(1), nowMs: 1_000)
        #expect(machine.state == .idle)
        _ = machine.handle(isResumed ? .resume : .hurry, nowMs: 1_100)
        #expect(machine.state == .fetching)
    }

    @Test("a series can be taken away, and the others stay")
    func series() {
        let metrics = Metrics()
        for name in ["a", "b"] { metrics.gauge("waits", "Help.", ["endpoint": name]).set(1) }
        metrics.remove("waits", ["endpoint": "a"])
        metrics.remove("nothing", ["endpoint": "a"])
        #expect(!metrics.exposition().contains("\"a\"") && metrics.exposition().contains("\"b\""))
    }
}
