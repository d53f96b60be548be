import Store
import Telemetry
import TestSupport
import Testing

@testable import Reporting

/// New windows beside old ones.
@Suite(.computing) struct EndpointLanesTests {
    private static let ok = MachineDriver.status(204)

    /// Two parts a window.
    private func configuration(_ maxInFlight: Int? = 4) -> EndpointConfiguration {
        var made = EndpointConfiguration.test(.webhook)
        made.batch.samplesMax = 13
        made.takesAnyOrder = maxInFlight != nil
        made.maxInFlight = maxInFlight ?? 4
        return made
    }

    private func windows(_ count: Int) -> [StoredWindow] {
        Windows.stored((0..<count).map { Windows.window($0, racks: 2) }, racks: 2)
    }

    private func isComplete(_ driver: LanesDriver) -> Bool {
        driver.done.count == driver.all.count && driver.lanes.isIdle
    }

    @Test("while a backlog of 1000 windows drains, new ones arrive within two seconds, and each arrives once")
    func liveBesideBacklog() {
        var driver = LanesDriver(
            configuration(), windows(1_060), partsEach: 2, committed: 1_000, seed: 1
        ) { _, _, _ in (true, Self.ok) }
        driver.latencyMs = 100...300
        driver.commit(everyMs: 1_000, from: 500)
        driver.start()
        driver.run()
        #expect(driver.problems == [])
        #expect(isComplete(driver))
        #expect(driver.taken.map(\.id).sorted() == driver.all.sorted())
        for part in driver.taken where part.sequence > 1_000 {
            #expect(part.atMs - (driver.committedAtMs[part.sequence] ?? 0) < 2_000)
        }
        // The backlog took longer than all that came meanwhile.
        #expect(driver.taken.last.map { $0.sequence <= 1_000 } == true)
        #expect(driver.inFlightMax == 4)
        #expect(driver.gaps == [] && driver.gapsMax > 1)
    }

    @Test("in strict order the same backlog comes first, one request at a time")
    func strict() {
        var driver = LanesDriver(
            configuration(nil), windows(60), partsEach: 2, committed: 40, seed: 1
        ) { _, _, _ in (true, Self.ok) }
        driver.latencyMs = 100...300
        driver.commit(everyMs: 1_000, from: 500)
        driver.start()
        driver.run()
        #expect(driver.problems == [])
        #expect(driver.taken.map(\.id) == driver.all)
        #expect(driver.inFlightMax == 1 && driver.gapsMax == 0)
    }

    @Test("after an outage the part that was tried comes first, then what is new, then the rest")
    func outage() {
        var endpoint = configuration()
        endpoint.backoff = BackoffLimits(baseMs: 500, capMs: 5_000)
        let upMs: Int64 = 1_725_300_000_000 + 300_000
        var driver = LanesDriver(endpoint, windows(60), partsEach: 2, committed: 2, seed: 3) { _, now, _ in
            now < upMs ? (false, .failed(.connect, reason: "nobody")) : (true, Self.ok)
        }
        driver.commit(everyMs: 10_000)
        driver.start()
        driver.run()
        #expect(driver.problems == [])
        #expect(driver.taken.map(\.id).sorted() == driver.all.sorted())
        #expect(driver.taken.first?.sequence == 1)
        let new = driver.taken.filter { (driver.committedAtMs[$0.sequence] ?? 0) >= upMs }
        #expect(!new.isEmpty)
        for part in new {
            // One probe may be waiting for up to the cap.
            let limit: Int64 = (driver.committedAtMs[part.sequence] ?? 0) < upMs + 10_000 ? 7_000 : 2_000
            #expect(part.atMs - (driver.committedAtMs[part.sequence] ?? 0) < limit)
        }
        #expect(isComplete(driver))
    }

    @Test("while it fails one lane tries; requests grow by one and halve")
    func concurrency() {
        var limit = InFlightLimit(max: 8)
        #expect(limit.now == 2)
        for _ in 0..<10 { limit.succeeded() }
        #expect(limit.now == 8)
        limit.failed()
        #expect(limit.now == 4)
        for _ in 0..<5 { limit.failed() }
        #expect(limit.now == 1)
        limit.succeeded()
        #expect(limit.now == 2)

        let (downMs, upMs): (Int64, Int64) = (1_725_300_000_000 + 20_000, 1_725_300_000_000 + 60_000)
        var tries: [Int64] = []
        var endpoint = configuration(8)
        endpoint.backoff = BackoffLimits(baseMs: 1_000, capMs: 1_000)
        var driver = LanesDriver(endpoint, windows(1_500), partsEach: 2, committed: 1_500, seed: 3) {
            _, now, _ in
            if now >= downMs, now < upMs {
                tries.append(now)
                return (false, MachineDriver.status(503))
            }
            return (true, Self.ok)
        }
        driver.latencyMs = 200...200
        driver.start()
        driver.run()
        #expect(driver.problems == [])
        #expect(isComplete(driver))
        // One of the eight is kept for new windows.
        #expect(driver.inFlightMax == 7)
        // Those on their way fail together; then one tries each 1.2 s or so.
        #expect(tries.filter { $0 > downMs + 1_000 }.count <= 36)
        #expect(driver.taken.count == driver.all.count)
    }

    @Test("Retry-After is for all lanes")
    func quiet() {
        var quietMs: Int64?
        var early = 0
        var driver = LanesDriver(
            configuration(), windows(400), partsEach: 2, committed: 390, seed: 5
        ) { part, now, _ in
            if part.sequence == 30, quietMs == nil {
                quietMs = now + 60_000
                return (false, MachineDriver.status(429, retryAfterMs: 60_000))
            }
            // Others were on their way.
            if let until = quietMs, now < until, now > until - 60_000 + 300 { early += 1 }
            return (true, Self.ok)
        }
        driver.latencyMs = 200...200
        driver.commit(everyMs: 1_000)
        driver.start()
        driver.run()
        #expect(quietMs != nil && early == 0)
        #expect(isComplete(driver) && driver.problems == [])
    }

    @Test("an endpoint that becomes strict closes its gaps first, oldest first")
    func strictAgain() {
        var driver = LanesDriver(
            configuration(), windows(500), partsEach: 2, committed: 490, seed: 7
        ) { _, _, _ in (true, Self.ok) }
        driver.latencyMs = 50...100
        driver.commit(everyMs: 1_000)
        driver.start()
        driver.run(forMs: 6_000)
        #expect(!driver.gaps.isEmpty)
        let before = driver.taken.count
        var strict = LanesDriver(
            configuration(nil), windows(500), partsEach: 2, committed: 500, seed: 7, standingAs: driver
        ) { _, _, _ in (true, Self.ok) }
        strict.start()
        strict.run()
        #expect(strict.problems == [])
        #expect(isComplete(strict))
        let order = strict.taken.dropFirst(before).map(\.sequence)
        #expect(order == order.sorted())
        #expect(strict.inFlightMax == 1)
    }

    @Test("paused, nothing goes out; resumed, all of it; drained, all is delivered before the stop")
    func operating() {
        var driver = LanesDriver(
            configuration(), windows(700), partsEach: 2, committed: 690, seed: 9
        ) { _, _, _ in (true, Self.ok) }
        driver.latencyMs = 20...50
        driver.commit(everyMs: 500)
        driver.start()
        driver.run(forMs: 2_000)
        driver.tell(.pause)
        driver.run(forMs: 1_000)
        let taken = driver.taken.count
        #expect(driver.lanes.status.state == .paused)
        driver.run(forMs: 5_000)
        #expect(driver.taken.count == taken && taken < driver.all.count)
        driver.tell(.resume)
        driver.run(forMs: 1_000)
        driver.tell(.drain(.pending))
        driver.run()
        #expect(driver.isStopped && driver.done.count == driver.all.count)
        #expect(driver.taken.count == driver.all.count && driver.problems == [])
    }

    @Test("a drain ends at once when the endpoint is down, with gaps or without", arguments: [true, false])
    func drainWhileDown(anyOrder: Bool) {
        var isUp = true
        var driver = LanesDriver(
            configuration(anyOrder ? 4 : nil), windows(400), partsEach: 2, committed: 390, seed: 9
        ) { _, _, _ in isUp ? (true, Self.ok) : (false, MachineDriver.status(500)) }
        driver.commit(everyMs: 100)
        driver.start()
        driver.run(forMs: 2_000)
        isUp = false
        driver.tell(.drain(.pending))
        driver.run()
        #expect(driver.isStopped && driver.problems == [])
    }

    /// One life after another, with outages, lost answers, a store that fails, and crashes at any moment.
    @Test(
        "whatever happens, every part arrives, and again only when its answer or the process was lost",
        arguments: sized(Array(0..<50)))
    func anything(round: Int) {
        let seed = UInt64(20_261_122 + round)
        var random = SplitMix64(seed: seed)
        let count = Int.random(in: 20...400, using: &random)
        let early = Int.random(in: 0...count, using: &random)
        let inFlight: Int? = round % 5 == 4 ? nil : Int.random(in: 1...8, using: &random)
        var endpoint = configuration(inFlight)
        endpoint.backoff = BackoffLimits(baseMs: 20, capMs: 500)
        var weather = Weather()
        var driver = LanesDriver(endpoint, windows(count), partsEach: 2, committed: early, seed: seed) {
            part, now, random in
            weather.answer(part.id, at: now, &random)
        }
        driver.latencyMs = 1...Int64.random(in: 1...200, using: &random)
        if round.isMultiple(of: 2) { driver.storeFailsOneIn = 20 }
        driver.commit(everyMs: Int64.random(in: 1...500, using: &random))
        for _ in 0..<Int.random(in: 0...12, using: &random) {
            driver.crash(afterMs: Int64.random(in: 1...60_000, using: &random))
        }
        driver.start()
        driver.run()
        #expect(driver.problems == [], "seed \(seed)")
        #expect(isComplete(driver), "seed \(seed)")
        #expect(driver.dead.isEmpty && driver.gaps.isEmpty, "seed \(seed)")
        #expect(driver.inFlightMax <= (inFlight ?? 1), "seed \(seed)")
        #expect(Set(driver.taken.map(\.id)) == Set(driver.all), "seed \(seed)")
        weather.expectOnce(driver, lanes: inFlight ?? 1, "seed \(seed)")
        if inFlight == nil {
            let firsts = driver.taken.enumerated().filter { index, part in
                driver.taken.firstIndex { $0.id == part.id } == index
            }.map { $0.element.id }
            #expect(firsts == driver.all, "seed \(seed)")
        }
    }

    @Test("commits of long ago are told from new ones, also when the clock was set back")
    func commitTimes() {
        var times = CommitTimes()
        #expect(times.newest(beforeMs: 5) == nil)
        times.note(7, atMs: .min)
        times.note(9, atMs: 10_000)
        times.note(10, atMs: 10_100)
        times.note(12, atMs: 11_000)
        times.note(3, atMs: 12_000)
        #expect(times.newest(beforeMs: 9_999) == 7)
        #expect(times.newest(beforeMs: 10_000) == 10)
        #expect(times.newest(beforeMs: 20_000) == 12)
        times.note(13, atMs: 5_000)
        #expect(times.newest(beforeMs: 4_999) == 7)
        #expect(times.newest(beforeMs: 5_000) == 13)
        for step in 0..<100 { times.note(Int64(100 + step), atMs: 10_000 + Int64(step) * 1_000) }
        #expect(times.newest(beforeMs: 10_000 + 90_500) == 190)
    }

    @Test("the bytes of a window are a mean of those sent lately; what is sent again counts once")
    func windowBytes() {
        func part(_ sequence: Int64, _ index: Int) -> Part {
            Part(
                id: "\(sequence)/\(index)", sequence: sequence, index: index, rows: 0..<1, samples: 1,
                endMs: 0)
        }
        var bytes = WindowBytes()
        #expect(bytes.mean == nil)
        for _ in 0..<3 { bytes.sent(100, of: part(1, 0), lane: 0) }
        bytes.sent(50, of: part(1, 1), lane: 0)
        #expect(bytes.mean == 150)
        for sequence in Int64(2)..<200 { bytes.sent(1_000, of: part(sequence, 0), lane: Int(sequence)) }
        #expect(abs((bytes.mean ?? 0) - 1_000) < 1)
    }
}
