import Store
import Telemetry
import TestSupport
import Testing

@testable import Reporting

/// Parts that fail again and again make room for others.
@Suite(.computing) struct SetAsideTests {
    private static let ok = MachineDriver.status(204)
    private static let startMs: Int64 = 1_725_300_000_000

    /// Two parts a window.
    private func configuration(_ maxInFlight: Int = 4, capMs: Int64 = 30_000) -> EndpointConfiguration {
        var made = EndpointConfiguration.test(.webhook)
        made.batch.samplesMax = 13
        made.takesAnyOrder = true
        made.maxInFlight = maxInFlight
        made.backoff = BackoffLimits(baseMs: 500, capMs: capMs)
        return made
    }

    private func windows(_ count: Int) -> [StoredWindow] {
        Windows.stored((0..<count).map { Windows.window($0, racks: 2) }, racks: 2)
    }

    /// Windows of which something is missing, among the first so many.
    private func missing(_ driver: LanesDriver, of count: Int) -> Set<Int64> {
        let parts = driver.all.count / max(1, driver.windowCount)
        return Set(
            driver.all.prefix(parts * count).enumerated().filter { !driver.done.contains($1) }.map {
                Int64($0.offset / parts + 1)
            })
    }

    private func expectComplete(_ driver: LanesDriver, _ note: String = "") {
        #expect(driver.problems == [], "\(note)")
        #expect(driver.done.count == driver.all.count && driver.lanes.isIdle, "\(note)")
        #expect(driver.gaps.isEmpty && driver.dead.isEmpty, "\(note)")
        #expect(Set(driver.taken.map(\.id)) == Set(driver.all), "\(note)")
    }

    @Test(
        "new windows that always fail hold no others, one or some in a row, with a backlog or without",
        arguments: [1, 4], [0, 300])
    func live(maxInFlight: Int, backlog: Int) {
        let poisoned: Set<Int64> = [3, 17, 18, 19, 40].map { $0 + Int64(backlog) }.reduce(into: []) {
            $0.insert($1)
        }
        let healsMs = Self.startMs + 1_500_000
        var driver = LanesDriver(
            configuration(maxInFlight), windows(backlog + 100), partsEach: 2, committed: backlog, seed: 21
        ) { part, now, _ in
            let fails = poisoned.contains(part.sequence) && now < healsMs
            return fails ? (false, MachineDriver.status(500)) : (true, Self.ok)
        }
        driver.latencyMs = 50...100
        driver.commit(everyMs: 10_000, from: 1_000)
        driver.start()
        driver.run(forMs: 1_400_000)
        #expect(missing(driver, of: backlog + 100) == poisoned)
        #expect(driver.lanes.account.failuresInARow == 0 && !driver.lanes.isCircuitOpen)
        let status = driver.lanes.status
        #expect(status.state == .retrying && status.nextRetryMs != nil && status.gaps == 5)
        #expect(status.pendingWindows == 5)
        for part in driver.taken where part.sequence > Int64(backlog) && !poisoned.contains(part.sequence) {
            let age = part.atMs - (driver.committedAtMs[part.sequence] ?? 0)
            // Behind one that fails: as long as that is tried; where nobody else gets on, several times over.
            let isBehind = (1...8).contains { poisoned.contains(part.sequence - $0) }
            #expect(age < (isBehind ? 150_000 : 2_000), "window \(part.sequence): \(age) ms")
        }
        let told = driver.notices.filter { if case .setAside = $0 { true } else { false } }
        #expect(told.count == 5, "\(driver.notices)")
        driver.run()
        expectComplete(driver)
        #expect(driver.taken.count == driver.all.count)
    }

    @Test("of a window whose second part always fails the first is sent once, also after a restart")
    func half() {
        let healsMs = Self.startMs + 400_000
        var driver = LanesDriver(configuration(), windows(60), partsEach: 2, committed: 0, seed: 22) {
            part, now, _ in
            let fails = part.sequence == 5 && part.index == 1 && now < healsMs
            return fails ? (false, .failed(.timeout, reason: "slow")) : (true, Self.ok)
        }
        driver.commit(everyMs: 5_000)
        driver.crash(afterMs: 200_000)
        driver.start()
        driver.run(forMs: 390_000)
        #expect(driver.gaps == [DeliveryGap(after: DeliveryPosition(sequence: 4, parts: 1), through: 5)])
        driver.run()
        expectComplete(driver)
        #expect(driver.taken.count == driver.all.count)
    }

    @Test(
        "of windows that go in one request the one to blame is found, and the others arrive",
        arguments: [8, 64])
    func batches(windowsMax: Int) {
        var endpoint = configuration()
        endpoint = EndpointConfiguration.test(.remoteWrite)
        endpoint.takesAnyOrder = true
        endpoint.backoff = BackoffLimits(baseMs: 500, capMs: 30_000)
        endpoint.batch.windowsMax = windowsMax
        let healsMs = Self.startMs + 900_000
        var driver = LanesDriver(endpoint, windows(400), partsEach: 1, committed: 200, seed: 23) {
            part, now, _ in
            let holds = [77, 230].contains {
                (part.sequence - Int64(part.windows)..<part.sequence).contains($0 - 1)
            }
            return holds && now < healsMs ? (false, MachineDriver.status(500)) : (true, Self.ok)
        }
        driver.latencyMs = 50...100
        driver.commit(everyMs: 2_000)
        driver.start()
        driver.run(forMs: 800_000)
        #expect(missing(driver, of: 400) == [77, 230])
        driver.run()
        #expect(driver.problems == [] && driver.done.count == 400 && driver.gaps.isEmpty)
        #expect(driver.taken.reduce(0) { $0 + $1.windows } == 400)
    }

    @Test(
        "very many parts that fail cost little memory, and when there is no more room new windows wait for one of them"
    )
    func many() {
        let limit = EndpointStateMachine.Limits.gapsAside
        let healsMs = Self.startMs + 6_000_000
        // Every second window.
        var driver = LanesDriver(configuration(2), windows(200), partsEach: 2, committed: 0, seed: 24) {
            part, now, _ in
            let fails = part.sequence % 2 == 0 && now < healsMs
            return fails ? (false, MachineDriver.status(500)) : (true, Self.ok)
        }
        driver.commit(everyMs: 10_000)
        driver.start()
        driver.run(forMs: 5_900_000)
        #expect(driver.gaps.count == limit)
        #expect(
            missing(driver, of: 200) == Set((1...limit).map { Int64(2 * $0) } + (Int64(2 * limit + 2)...200)))
        #expect(driver.lanesMax <= 5)
        driver.run()
        expectComplete(driver)
        #expect(driver.taken.count == driver.all.count)
    }

    @Test("an outage of a day that looks like refusals costs a dozen gaps, and no more requests than it did")
    func outage() {
        let upMs = Self.startMs + 86_400_000
        func outage(_ endpoint: EndpointConfiguration) -> (LanesDriver, tries: Int) {
            var tries = 0
            var driver = LanesDriver(endpoint, windows(300), partsEach: 2, committed: 10, seed: 25) {
                _, now, _ in
                guard now < upMs else { return (true, Self.ok) }
                tries += 1
                return (false, MachineDriver.status(500))
            }
            driver.commit(everyMs: 300_000)
            driver.start()
            driver.run(forMs: 86_400_000)
            return (driver, tries)
        }
        var strict = configuration()
        strict.takesAnyOrder = false
        let before = outage(strict).tries
        var (driver, tries) = outage(configuration())
        #expect(before > 4_000 && tries <= before + before / 20, "\(tries) requests after \(before)")
        #expect(driver.gapsMax <= 16, "\(driver.gapsMax) gaps")
        driver.run(forMs: 3_000_000)
        for part in driver.taken where (driver.committedAtMs[part.sequence] ?? 0) > upMs + 30_000 {
            #expect(part.atMs - (driver.committedAtMs[part.sequence] ?? 0) < 2_000)
        }
        driver.run()
        expectComplete(driver)
        #expect(driver.taken.count == driver.all.count)
    }

    @Test(
        "who asks for time, or is not reached, blames no part",
        arguments: [
            MachineDriver.status(429), MachineDriver.status(503, retryAfterMs: 1_000),
            .failed(.connect, reason: "nobody"), .failed(.resolve, reason: "no name"),
        ])
    func blameless(outcome: AttemptOutcome) {
        let upMs = Self.startMs + 200_000
        var driver = LanesDriver(configuration(), windows(20), partsEach: 2, committed: 1, seed: 26) {
            _, now, _ in
            now < upMs ? (false, outcome) : (true, Self.ok)
        }
        driver.commit(everyMs: 30_000)
        driver.start()
        driver.run(forMs: 190_000)
        #expect(driver.gaps.isEmpty && driver.cursor == .start)
        driver.run()
        expectComplete(driver)
    }

    @Test("what is partly answered stays where it is, and nothing of it comes twice")
    func pieces() {
        let healsMs = Self.startMs + 100_000
        var rows: [Int] = []
        var endpoint = configuration()
        endpoint.batch.samplesMax = 26
        var driver = LanesDriver(endpoint, windows(30), partsEach: 1, committed: 1, seed: 27) {
            part, now, _ in
            guard part.sequence == 1 else { return (true, Self.ok) }
            if !part.isPiece { return (false, MachineDriver.status(413)) }
            if part.rows.lowerBound > 0, now < healsMs { return (false, MachineDriver.status(500)) }
            rows += part.rows
            return (true, Self.ok)
        }
        driver.commit(everyMs: 1_000)
        driver.start()
        driver.run()
        #expect(driver.problems == [] && driver.dead.isEmpty)
        #expect(driver.done.count == driver.all.count)
        #expect(rows.count == Set(rows).count)
    }

    @Test("a drain delivers what it can, and leaves what is set aside for the next start")
    func drain() {
        var driver = LanesDriver(configuration(), windows(300), partsEach: 2, committed: 200, seed: 28) {
            part, _, _ in
            part.sequence == 7 || part.sequence == 250 ? (false, MachineDriver.status(500)) : (true, Self.ok)
        }
        driver.latencyMs = 50...100
        driver.commit(everyMs: 1_000)
        driver.start()
        driver.run(forMs: 120_000)
        #expect(driver.lanes.status.gaps == 2)
        driver.tell(.drain(.pending))
        driver.run()
        #expect(driver.isStopped && driver.problems == [])
        #expect(missing(driver, of: 300) == [7, 250])
    }

    @Test("resumed by an operator, what is set aside is tried at once")
    func resume() {
        var isUp = false
        var driver = LanesDriver(
            configuration(4, capMs: 3_600_000), windows(20), partsEach: 2, committed: 5, seed: 29
        ) { part, _, _ in part.sequence == 2 && !isUp ? (false, MachineDriver.status(500)) : (true, Self.ok) }
        driver.commit(everyMs: 1_000)
        driver.start()
        driver.run(forMs: 3_600_000)
        #expect(missing(driver, of: 20) == [2])
        isUp = true
        driver.tell(.pause)
        driver.tell(.resume)
        driver.run(forMs: 1_000)
        expectComplete(driver)
    }

    /// As `EndpointLanesTests.anything`, and some windows fail until late.
    @Test(
        "whatever happens, poisoned windows hold no others, and every part arrives once its window is healed",
        arguments: sized(Array(0..<40)))
    func anything(round: Int) {
        let seed = UInt64(20_261_201 + round)
        var random = SplitMix64(seed: seed)
        let count = Int.random(in: 20...200, using: &random)
        let early = Int.random(in: 0...count, using: &random)
        let maxInFlight = Int.random(in: 1...8, using: &random)
        var endpoint = configuration(maxInFlight)
        endpoint.backoff = BackoffLimits(baseMs: 20, capMs: 500)
        let everyMs = Int64.random(in: 1...500, using: &random)
        let poisoned = Set(
            (0..<Int.random(in: 1...12, using: &random)).map { _ in
                Int64.random(in: 1...Int64(count), using: &random)
            })
        // All that is committed has had its time, and much more.
        let calmMs = Self.startMs + Int64(count) * everyMs + 60_000
        let healsMs = calmMs + 200_000
        var weather = Weather()
        weather.calmMs = calmMs
        if round.isMultiple(of: 3) { weather.outage = MachineDriver.status(503) }
        var driver = LanesDriver(endpoint, windows(count), partsEach: 2, committed: early, seed: seed) {
            part, now, random in
            let fails = poisoned.contains(part.sequence) && now < healsMs
            let how =
                part.index == 0 ? MachineDriver.status(500) : AttemptOutcome.failed(.timeout, reason: "slow")
            return weather.answer(part.id, at: now, &random, failure: fails ? how : nil)
        }
        driver.latencyMs = 1...Int64.random(in: 1...200, using: &random)
        if round.isMultiple(of: 2) { driver.storeFailsOneIn = 20 }
        driver.commit(everyMs: everyMs)
        for _ in 0..<Int.random(in: 0...8, using: &random) {
            driver.crash(afterMs: Int64.random(in: 1...(healsMs - Self.startMs), using: &random))
        }
        driver.start()
        driver.run(forMs: healsMs - Self.startMs - 1_000)
        #expect(missing(driver, of: count).isSubset(of: poisoned), "seed \(seed)")
        driver.run()
        expectComplete(driver, "seed \(seed)")
        #expect(driver.inFlightMax <= maxInFlight && driver.lanesMax <= 2 * maxInFlight + 1, "seed \(seed)")
        weather.expectOnce(driver, lanes: maxInFlight, "seed \(seed)")
    }
}
