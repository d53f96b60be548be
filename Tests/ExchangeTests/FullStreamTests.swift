import Exchange
import Telemetry
import TestSupport
import Testing

/// Streams that take no more. The broker refuses; nobody may lose a window for it.
@Suite("Full streams", .computing)
struct FullStreamTests {
    private let tests = ClusterTests()

    private func full(_ cluster: SimulatedCluster) -> (workers: Int, rollups: Int) {
        let now = cluster.time.nowMs
        return (
            cluster.workers.reduce(0) { $0 + $1.shell.withMachine { $0.status(nowMs: now).full } },
            cluster.rollups.reduce(0) { $0 + $1.shell.withMachine { $0.status(nowMs: now).full } }
        )
    }

    @Test(
        "a stream of partials that is full for longer than the grace costs no window",
        arguments: [0, 400, 1_500, 4_000])
    func partials(room: Int) throws {
        let cluster = try tests.cluster(windows: 90)
        tests.run(cluster, fromMs: 0, untilMs: 6_400)
        // Some slices' shares of a window find room, and others' do not.
        cluster.memory.limit(.partials, toBytes: room)
        tests.run(cluster, fromMs: 6_400, untilMs: 40_000)
        #expect(full(cluster).workers > 0)
        let told = cluster.workers.compactMap { $0.shell.withMachine { $0.status(nowMs: 40_000).problem } }
        #expect(told.contains { $0.contains("partials is full") && $0.contains("partials_bytes") })
        // Whoever takes over does not know it from the stream.
        cluster.killRollup(0)
        cluster.killRollup(1)
        tests.run(cluster, fromMs: 40_000, untilMs: 70_000)
        cluster.memory.limit(.partials, toBytes: nil)
        #expect(cluster.run(windows: 90, limitMs: 200_000, misfortunes: false))
        #expect(try cluster.faults(windows: 90) == [])
        #expect(full(cluster) == (0, 0))
    }

    @Test("one slice that finds no room is waited for, although time passes with what others say")
    func oneSlice() throws {
        let cluster = try tests.cluster(windows: 90)
        tests.run(cluster, fromMs: 0, untilMs: 6_400)
        cluster.memory.limit(.partials, toBytes: 0, only: cluster.fleet.partialSubject(4))
        tests.run(cluster, fromMs: 6_400, untilMs: 40_000)
        cluster.killRollup(0)
        cluster.killRollup(1)
        tests.run(cluster, fromMs: 40_000, untilMs: 60_000)
        cluster.memory.limit(.partials, toBytes: nil)
        #expect(cluster.run(windows: 90, limitMs: 200_000, misfortunes: false))
        #expect(try cluster.faults(windows: 90) == [])
    }

    @Test("a full stream is asked for room twice a second by a slice, not with all that waits")
    func probes() throws {
        let cluster = try tests.cluster(windows: 90)
        tests.run(cluster, fromMs: 0, untilMs: 6_400)
        cluster.memory.limit(.partials, toBytes: 0)
        tests.run(cluster, fromMs: 6_400, untilMs: 20_000)
        func retried() -> UInt64 {
            cluster.workers.reduce(0) { $0 + $1.shell.withMachine { $0.status(nowMs: 0).retried } }
        }
        let before = retried()
        tests.run(cluster, fromMs: 20_000, untilMs: 30_000)
        let perSliceAndSecond = Double(retried() - before) / 12 / 10
        #expect((0.5...2).contains(perSliceAndSecond))
    }

    @Test("finals that find no room wait, are told of, and nothing is closed twice")
    func finals() throws {
        let cluster = try tests.cluster(windows: 90)
        tests.run(cluster, fromMs: 0, untilMs: 6_400)
        cluster.memory.limit(.finals, toBytes: 0)
        tests.run(cluster, fromMs: 6_400, untilMs: 40_000)
        #expect(full(cluster).rollups == 3)
        let told = cluster.rollups.compactMap { $0.shell.withMachine { $0.status(nowMs: 40_000).problem } }
        #expect(told.contains { $0.contains("finals is full") && $0.contains("finals_keep") })
        cluster.killRollup(0)
        tests.run(cluster, fromMs: 40_000, untilMs: 70_000)
        cluster.memory.limit(.finals, toBytes: nil)
        #expect(cluster.run(windows: 90, limitMs: 200_000, misfortunes: false))
        #expect(try cluster.faults(windows: 90) == [])
        #expect(full(cluster) == (0, 0))
    }

    @Test("a roll-up that is told to wait closes nothing, however much time passes within one delivery")
    func oneDelivery() throws {
        let tests = try WindowMergeTests()
        let time = VirtualTime()
        let bus = MemoryBus(clock: time.wallClock)
        func publish(slice: Int) {
            for window in Int64(0)..<40 {
                let partial = tests.message(slice: slice, window: window, sequence: 0)
                let message = BusMessage(stream: .partials, subject: partial.subject, bytes: partial.bytes)
                bus.publish(message, expecting: .none) { _ in }
                time.run(untilMs: time.nowMs + 1_000)
            }
        }
        // The other slice finds no room.
        publish(slice: 0)
        let machine = RollupMachine(
            name: "u", incarnation: 5, fleet: tests.fleet, leaseMs: 3_000, graceMs: 12_000)
        let shell = NodeShell(machine, bus: bus, clock: { time.nowMs })
        shell.withMachine { $0.hold(true) }
        func run(forMs: Int64) {
            for _ in 0..<(forMs / 100) {
                time.run(untilMs: time.nowMs + 100)
                shell.tick()
            }
        }
        run(forMs: 60_000)
        #expect(shell.withMachine { $0.status(nowMs: time.nowMs).partitions }.map(\.open) == [40])
        #expect(bus.messages(.finals).isEmpty)
        publish(slice: 1)
        shell.withMachine { $0.hold(false) }
        run(forMs: 2_000)
        let finals = try bus.messages(.finals).map { try FinalRecord(decoding: $0.bytes) }
        #expect(finals.map(\.window) == Array(0..<40) && finals.allSatisfy { $0.slicesPresent == 2 })
    }

    @Test(
        "brokers that do not let partials be taken away are asked again after a minute, and why is told",
        arguments: [true, false])
    func refusedTrim(isDenied: Bool) throws {
        let tests = try WindowMergeTests()
        let time = VirtualTime()
        let memory = MemoryBus(clock: time.wallClock)
        let bus = KeepsAll(memory)
        let error = isDenied ? BusError.denied("Permissions Violation") : .failed("no space on the disk")
        bus.refusal.withLock { $0 = error }
        let machine = RollupMachine(
            name: "u", incarnation: 5, fleet: tests.fleet, leaseMs: 3_000, graceMs: 12_000)
        let shell = NodeShell(machine, bus: bus, clock: { time.nowMs })
        var window: Int64 = 0
        func run(forMs: Int64) -> RollupStatus {
            for tick in 0..<(forMs / 100) {
                time.run(untilMs: time.nowMs + 100)
                shell.tick()
                guard tick % 10 == 0 else { continue }
                for slice in 0..<2 {
                    let partial = tests.message(slice: slice, window: window, sequence: 0)
                    let message = BusMessage(
                        stream: .partials, subject: partial.subject, bytes: partial.bytes)
                    memory.publish(message, expecting: .none) { _ in }
                }
                window += 1
            }
            return shell.withMachine { $0.status(nowMs: time.nowMs) }
        }
        var status = run(forMs: 50_000)
        #expect(bus.asked.withLock { $0 } == 1 && status.trimmed == 0)
        let word = isDenied ? "$JS.API.STREAM.PURGE.CLSD_PART_test" : "no space on the disk"
        #expect(status.problem?.contains(word) == true, "\(status.problem ?? "")")
        status = run(forMs: 60_000)
        #expect(bus.asked.withLock { $0 } == 2 && status.trimmed == 0 && status.problem != nil)
        bus.refusal.withLock { $0 = nil }
        status = run(forMs: 100_000)
        #expect(status.trimmed > 200 && status.problem == nil)
        #expect(memory.messages(.partials).count < 50)
    }

    @Test("what is in finals gives its room to others, and whoever takes over misses nothing")
    func trim() throws {
        let cluster = try tests.cluster(windows: 60)
        tests.run(cluster, fromMs: 0, untilMs: 30_000)
        // Ten seconds of windows, and those since the last time.
        #expect(cluster.memory.messages(.partials).count < 12 * 25)
        let trimmed = cluster.rollups.map { $0.shell.withMachine { $0.status(nowMs: 0).trimmed } }
        #expect(trimmed.reduce(0, +) > 100)
        cluster.killRollup(0)
        cluster.killRollup(1)
        #expect(cluster.run(windows: 60, limitMs: 200_000, misfortunes: false))
        #expect(try cluster.faults(windows: 60) == [])
    }
}
