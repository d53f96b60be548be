import Telemetry
import TestSupport
import Testing

@testable import Exchange

/// What is left at the brokers of runs that are over.
@Suite("What is left of former runs", .computing)
struct FormerRunTests {
    static func publish(_ bus: any Bus, _ stream: BusStream, _ subject: Subject, _ bytes: [UInt8] = [1]) {
        bus.publish(BusMessage(stream: stream, subject: subject, bytes: bytes), expecting: .none) { _ in }
    }

    /// What three runs and what is ingested leave behind.
    static func fill(_ bus: any Bus, runs: ClosedRange<UInt64>) throws -> (
        gone: Set<Subject>, kept: Set<Subject>
    ) {
        var (gone, kept): (Set<Subject>, Set<Subject>) = ([], [])
        for run in runs {
            let map = try RunsTests.map(run)
            var leases = Set((0..<map.slices).map { map.sliceLease($0) })
            leases.formUnion((0..<map.partitions).map { map.partitionLease($0) })
            for role in ["worker", "rollup"] {
                leases.formUnion(["w1", "r2"].map { map.memberSubject(role, $0) })
            }
            if run < runs.upperBound { gone.formUnion(leases) } else { kept.formUnion(leases) }
            kept.formUnion([map.agreementSubject, map.controlSubject, map.noteSubject("r2")])
        }
        let ingested = try #require(
            FleetMap(
                cluster: "test", stream: "measured", slices: 12, partitions: 3, windowMs: 1_000, startMs: 0))
        kept.formUnion((0..<3).map { ingested.partitionLease($0) })
        kept.formUnion([ingested.memberSubject("mrollup", "u"), ingested.originSubject("w1")])
        kept.insert(FleetMap.startSubject("test"))
        for subject in gone.union(kept) { publish(bus, .leases, subject) }
        return (gone, kept)
    }

    static func subjects(_ memory: MemoryBus) -> Set<Subject> { Set(memory.messages(.leases).map(\.subject)) }

    @Test(
        "once all members have gone over, the leases of the runs before are gone, and nothing else",
        arguments: [2, 3, 9])
    func leases(run: UInt64) throws {
        let time = VirtualTime()
        let memory = ControlMachineTests.bus(time)
        let (gone, kept) = try Self.fill(memory, runs: 1...run)
        let shell = NodeShell(FormerRunMachine(try RunsTests.map(run)), bus: memory, clock: { time.nowMs })
        for _ in 0..<50 { shell.tick() }
        #expect(Self.subjects(memory) == gone.union(kept), "somebody may still renew them")
        shell.withMachine { $0.follow(areAllHere: true) }
        for _ in 0..<50 { shell.tick() }
        #expect(Self.subjects(memory) == kept)
        #expect(shell.withMachine { $0.isDone && $0.leases == gone.count && $0.failures == 0 })
    }

    @Test("partials of the run before are taken away at once, and again until it worked", arguments: 1...20)
    func partials(seed: UInt64) throws {
        let time = VirtualTime()
        let memory = ControlMachineTests.bus(time)
        let (one, two) = (try RunsTests.map(1), try RunsTests.map(2))
        for slice in 0..<12 {
            Self.publish(memory, .partials, one.partialSubject(slice))
            Self.publish(memory, .partials, two.partialSubject(slice))
        }
        let (gone, kept) = try Self.fill(memory, runs: 1...2)
        var faults = ChaosBus.Faults()
        faults.lostRequest = 0.7
        let chaos = ChaosBus(memory, scheduler: time, random: SeededRandom(seed: seed), faults: faults)
        let shell = NodeShell(FormerRunMachine(two), bus: chaos, clock: { time.nowMs })
        shell.withMachine { $0.follow(areAllHere: true) }
        for nowMs in stride(from: Int64(0), through: 3_600_000, by: 500) {
            time.run(untilMs: nowMs)
            shell.tick()
        }
        #expect(
            memory.messages(.partials).allSatisfy {
                two.partialSubjects(in: 0).matches($0.subject)
                    || two.partialSubjects(in: 1).matches($0.subject)
                    || two.partialSubjects(in: 2).matches($0.subject)
            })
        #expect(memory.messages(.partials).count == 12)
        #expect(Self.subjects(memory).isSuperset(of: kept))
        #expect(shell.withMachine { $0.isDone })
        #expect(Self.subjects(memory).isDisjoint(with: gone))
    }

    @Test("a broker that refuses is asked less and less often, and for leases no more in the end")
    func refused() throws {
        var machine = FormerRunMachine(try RunsTests.map(3))
        machine.follow(areAllHere: true)
        var asked: [BusStream: [Int64]] = [:]
        for nowMs in stride(from: Int64(0), through: 3_600_000, by: 100) {
            var actions = machine.handle(.tick, nowMs: nowMs)
            while case .trim(let stream, _, _, let token)? = actions.first {
                asked[stream, default: []].append(nowMs)
                actions = machine.handle(.published(token: token, .failure(.denied("no"))), nowMs: nowMs)
            }
        }
        // The leases of the second run, and four words of the first one.
        #expect(asked[.leases]?.count == 5 * FormerRunMachine.leaseRefusalsMax)
        let partials = try #require(asked[.partials])
        #expect(
            zip(partials, partials.dropFirst()).map { $1 - $0 }.prefix(7)
                == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000])
        #expect(try #require(partials.last) > 3_500_000 && !machine.isDone)
    }
}
