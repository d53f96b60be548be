import Exchange
import Telemetry
import TestSupport
import Testing

/// Roll-ups that are away for longer than the brokers keep partials.
@Suite("Partials that the brokers let go of", .computing)
struct RetentionTests {
    private let tests = ClusterTests()

    @Test(
        "workers publish again what no final covers: no window lacks a slice, however long nobody closes any",
        arguments: [false, true])
    func simulated(isShortened: Bool) throws {
        let keepMs: Int64 = 20_000
        var limits = ExchangeLimits()
        limits.partialsKeepMs = isShortened ? 86_400_000 : keepMs
        let settled = Locked<Int64>(-1)
        // As a worker that has its fill of windows, and simulates no more before some are closed.
        let windows: Int64 = 60
        let cluster = SimulatedCluster(
            seed: 3, fleet: try fleetMap(slices: 12, partitions: 3), windows: windows, leaseMs: 3_000,
            graceMs: 12_000, faults: ClusterTests.calm, limits: limits,
            kept: { settled.withLock { $0 } + 1 })
        tests.run(cluster, fromMs: 0, untilMs: 10_000)
        for node in cluster.rollups { node.shell.stop() }
        cluster.rollups = []
        // Somebody changes the stream meanwhile.
        if isShortened {
            for node in cluster.workers { node.shell.withMachine { $0.keep(partialsMs: keepMs) } }
        }
        let finals = try cluster.memory.messages(.finals).map { try FinalRecord(decoding: $0.bytes) }
        let closed: [Int64] = (0..<3).map { partition in
            finals.filter { $0.partition == partition }.map(\.window).max() ?? -1
        }
        settled.withLock { $0 = closed.min() ?? -1 }
        for now in stride(from: Int64(10_000), to: 150_000, by: 1_000) {
            tests.run(cluster, fromMs: now, untilMs: now + 1_000)
            cluster.memory.expire(.partials, beforeMs: cluster.time.nowMs - keepMs)
        }
        let repeated = cluster.workers.map { $0.shell.withMachine { $0.status(nowMs: 0).repeated } }
        // Twelve slices of fifty windows, each some fourteen times.
        #expect(repeated.reduce(0, +) > 12 * 50 * 10)
        let kept = cluster.memory.messages(.partials).count
        #expect(kept < 3 * 12 * 55, "\(kept): what is repeated does not grow without end")
        cluster.rollups = [cluster.rollup(0), cluster.rollup(1)]
        #expect(cluster.run(windows: windows, limitMs: 300_000, misfortunes: false))
        #expect(try cluster.faults(windows: windows) == [])
    }

    @Test(
        "when the finals are gone too, a roll-up begins with what is there, and closes no window without",
        arguments: [true, false])
    func finalsGone(areRollupsAway: Bool) throws {
        let windows: Int64 = 40
        let ready = Locked<Int64>(15)
        let settled = Locked<Int64>(-1)
        var limits = ExchangeLimits()
        limits.partialsKeepMs = 20_000
        let cluster = SimulatedCluster(
            seed: 3, fleet: try fleetMap(slices: 12, partitions: 3), windows: windows, leaseMs: 3_000,
            graceMs: 12_000, faults: ClusterTests.calm, limits: limits,
            kept: { settled.withLock { $0 } + 1 }, most: { ready.withLock { $0 } })
        tests.run(cluster, fromMs: 0, untilMs: 20_000)
        let first = try cluster.memory.messages(.finals).map { try FinalRecord(decoding: $0.bytes).window }
        #expect(first.count == 48 && first.max() == 15)
        settled.withLock { $0 = 15 }
        if areRollupsAway {
            for node in cluster.rollups { node.shell.stop() }
            cluster.rollups = []
        }
        // Nothing happens for longer than the brokers keep anything: the run is paused, say.
        tests.run(cluster, fromMs: 20_000, untilMs: 60_000)
        cluster.memory.expire(.partials, beforeMs: 59_000)
        cluster.memory.expire(.finals, beforeMs: 59_000)
        #expect(cluster.memory.messages(.finals).isEmpty)
        ready.withLock { $0 = windows - 1 }
        if areRollupsAway { cluster.rollups = [cluster.rollup(0), cluster.rollup(1)] }
        tests.run(cluster, fromMs: 60_000, untilMs: 110_000)
        let finals = try cluster.memory.messages(.finals).map { try FinalRecord(decoding: $0.bytes) }
        for partition in 0..<3 {
            let own = finals.filter { $0.partition == partition }
            #expect(own.map(\.window) == Array(16..<windows))
            #expect(own.allSatisfy { $0.slicesPresent == $0.slicesExpected })
        }
        let now = cluster.time.nowMs
        let regressions = cluster.rollups.map { $0.shell.withMachine { $0.status(nowMs: now).regressions } }
        #expect(regressions == [0, 0])
    }

    @Test(
        "a roll-up that finds a partition of ingested telemetry left alone for too long says what may be lost",
        arguments: [(30, false), (100, true)])
    func ingested(awayS: Int64, isTold: Bool) throws {
        let fleet = try IngestedFleet()
        let time = VirtualTime()
        let bus = MemoryBus(clock: WallClock { 1_700_000_000_000 + time.nowMs })
        var record = FinalRecord(
            fleet: fleet.map.fingerprint, partition: 0, window: 7, writer: 9, resumeSequence: 1,
            slicesPresent: 1, slicesExpected: 1, late: 0, groups: [])
        record.ingest = IngestedFinal(
            closed: 7, revision: 0, coverage: 1, consumed: 0, isExact: false, origins: [])
        bus.publish(
            BusMessage(stream: .finals, subject: fleet.map.finalSubject(0), bytes: record.encoded()),
            expecting: .none
        ) { _ in }
        time.run(untilMs: awayS * 1_000)
        var limits = ExchangeLimits()
        limits.partialsKeepMs = 60_000
        let machine = RollupMachine(
            name: "u", incarnation: 5, fleet: fleet.map, leaseMs: 3_000, graceMs: 12_000, reviseMs: 10_000,
            clock: WallClock { 1_700_000_000_000 + time.nowMs }, limits: limits)
        let shell = NodeShell(machine, bus: bus, clock: { time.nowMs })
        for _ in 0..<100 {
            time.run(untilMs: time.nowMs + 100)
            shell.tick()
        }
        let status = shell.withMachine { $0.status(nowMs: time.nowMs) }
        #expect(status.partitions.count == 1)
        #expect(status.lapses == (isTold ? 1 : 0))
        #expect((status.problem ?? "").contains("cluster.partials_keep") == isTold)
        #expect(shell.withMachine { $0.status(nowMs: time.nowMs + 3_700_000) }.problem == nil)
    }

    @Test("a night in which nothing was ingested is no lapse where a roll-up had the partition all the time")
    func idleNight() throws {
        let fleet = try IngestedFleet()
        let time = VirtualTime()
        let clock = WallClock { 1_700_000_000_000 + time.nowMs }
        let bus = MemoryBus(clock: clock)
        var record = FinalRecord(
            fleet: fleet.map.fingerprint, partition: 0, window: 7, writer: 9, resumeSequence: 1,
            slicesPresent: 1, slicesExpected: 1, late: 0, groups: [])
        record.ingest = IngestedFinal(
            closed: 7, revision: 0, coverage: 1, consumed: 0, isExact: false, origins: [])
        bus.publish(
            BusMessage(stream: .finals, subject: fleet.map.finalSubject(0), bytes: record.encoded()),
            expecting: .none
        ) { _ in }
        var limits = ExchangeLimits()
        limits.partialsKeepMs = 60_000
        /// A roll-up that is there for so long; what it says in the end.
        func rollup(_ incarnation: UInt64, forMs: Int64) -> RollupStatus {
            let machine = RollupMachine(
                name: "u\(incarnation)", incarnation: incarnation, fleet: fleet.map, leaseMs: 3_000,
                graceMs: 12_000, reviseMs: 10_000, clock: clock, limits: limits)
            let shell = NodeShell(machine, bus: bus, clock: { time.nowMs })
            for _ in 0..<forMs / 100 {
                time.run(untilMs: time.nowMs + 100)
                shell.tick()
            }
            defer { shell.stop() }
            return shell.withMachine { $0.status(nowMs: time.nowMs) }
        }
        #expect(rollup(5, forMs: 300_000).lapses == 0)
        let second = rollup(6, forMs: 30_000)
        #expect(second.partitions.count == 1)
        #expect(second.lapses == 0 && second.problem == nil, "\(second)")
        time.run(untilMs: time.nowMs + 70_000)
        #expect(rollup(7, forMs: 30_000).lapses == 1, "then nobody had it")
    }
}
