import Exchange
import Telemetry
import TestSupport
import Testing

/// Members on a virtual clock and a bus of faults that share the control of one run.
@Suite("The control of a shared run", .computing)
struct ControlMachineTests {
    /// A worker that plays as far as it may: by its own clock, which is wrong, and not always.
    final class Member {
        let bus: ProcessBus
        let shell: NodeShell<ControlMachine>
        let skewMs: Int64
        private let plays: Bool
        /// What it has played by: the entries that were known when it played each tick.
        private(set) var played: [Int64: [UInt64]] = [:]
        private let position = Locked<Int64?>(nil)
        private let base: ControlCourse.Base

        init(
            _ name: String, _ fleet: FleetMap, _ base: ControlCourse.Base, _ inner: any Bus,
            _ time: VirtualTime, skewMs: Int64, plays: Bool, seed: UInt64
        ) {
            self.base = base
            self.skewMs = skewMs
            self.plays = plays
            bus = ProcessBus(inner)
            let position = position
            let tell: @Sendable () -> Int64? = { position.withLock { $0 } }
            let machine = ControlMachine(
                name: name, fleet: fleet, base: base, clock: WallClock { time.nowMs + skewMs },
                position: plays ? tell : nil, random: SeededRandom(seed: seed))
            shell = NodeShell(machine, bus: bus, clock: { time.nowMs })
        }

        var status: ControlStatus { shell.withMachine { $0.status } }

        /// Plays one tick of 10 s after another, up to the horizon and to what its own clock says is due.
        func play(nowMs: Int64) {
            guard !bus.isStopped else { return }
            shell.tick()
            guard plays, let log = status.log else { return }
            let due = ControlCourse(base, log).dueThrough(nowMs: nowMs + skewMs)
            while true {
                let next = position.withLock { $0 }.map { $0 + 10_000 } ?? base.startMs
                guard next <= min(log.horizonMs, due) else { break }
                // A tick is changed by what was asked before it.
                played[next] = log.entries.filter { $0.atMs < next }.map(\.id)
                position.withLock { $0 = next }
            }
        }
    }

    static let base = ControlCourse.Base(startMs: 0, endMs: 1 << 40, startedMs: 0, speed: 60)

    static func fleet() throws -> FleetMap {
        try #require(
            FleetMap(cluster: "c", stream: "sim/x", slices: 4, partitions: 1, windowMs: 60_000, startMs: 0))
    }

    /// It keeps each log that there was.
    static func bus(_ time: VirtualTime) -> MemoryBus {
        var limits = MemoryBus.Limits()
        limits.messagesMax[.leases] = 10_000
        return MemoryBus(clock: time.wallClock, limits: limits)
    }

    static func logs(_ memory: MemoryBus, _ fleet: FleetMap) throws -> [ControlLog] {
        try memory.messages(.leases).filter { $0.subject == fleet.controlSubject }
            .map { try ControlLog(decoding: $0.bytes) }
    }

    @Test(
        "whatever becomes of requests, all play every tick by the same entries",
        arguments: 1...60)
    func agree(seed: UInt64) throws {
        let fleet = try Self.fleet()
        let time = VirtualTime()
        let memory = Self.bus(time)
        let chaos = ChaosBus(memory, scheduler: time, random: SeededRandom(seed: seed))
        var random = SeededRandom(seed: seed &* 31)
        var members = (0..<3).map { number in
            Member(
                "w\(number)", fleet, Self.base, chaos, time,
                skewMs: Int64.random(in: -3_000...3_000, using: &random), plays: number < 2,
                seed: random.next())
        }
        var asked: [(member: Member, id: UInt64)] = []
        for step in 0..<600 {
            let nowMs = Int64(step) * 100
            time.run(untilMs: nowMs)
            for member in members { member.play(nowMs: nowMs) }
            // One that comes late plays from the beginning.
            if step == 300 {
                members.append(
                    Member(
                        "late", fleet, Self.base, chaos, time, skewMs: 500, plays: true, seed: random.next()))
            }
            let one = members[Int.random(in: 0..<members.count, using: &random)]
            switch Int.random(in: 0..<120, using: &random) {
            case 0 where step < 400:
                let deed: ControlEntry.Deed =
                    Bool.random(using: &random)
                    ? .speed(Double.random(in: 20...200, using: &random))
                    : .inject(kind: "hot", entity: "n\(step)", forMs: nil)
                asked.append((one, one.shell.withMachine { $0.ask(deed, nowMs: nowMs) }))
            case 1:
                one.bus.stop()
                let bus = one.bus
                time.after(Int64.random(in: 200...4_000, using: &random)) { bus.go() }
            case 2: chaos.pause(forMs: Int64.random(in: 100...1_500, using: &random))
            default: break
            }
        }
        for member in members { member.bus.go() }
        for step in 600..<900 {
            time.run(untilMs: Int64(step) * 100)
            for member in members { member.play(nowMs: Int64(step) * 100) }
        }
        let logs = try Self.logs(memory, fleet)
        let last = try #require(logs.last)
        for (earlier, later) in zip(logs, logs.dropFirst()) { #expect(later.follows(earlier)) }
        for member in members {
            #expect(member.status.refused == 0)
            #expect(member.status.log?.entries == last.entries)
            for (tick, ids) in member.played {
                #expect(ids == last.entries.filter { $0.atMs < tick }.map(\.id), "tick \(tick)")
            }
        }
        let workers = members.filter { !$0.played.isEmpty }
        #expect(workers.count == 3)
        let ends = workers.map { $0.played.count }
        // The late one has caught up, and the run goes on.
        #expect((ends.min() ?? 0) > 100 && (ends.max() ?? 0) - (ends.min() ?? 0) < 150, "\(ends)")
        // Each was done once, or it was said that it was not.
        for (member, id) in asked {
            let count = last.entries.count { $0.id == id }
            switch member.shell.withMachine({ $0.takeAnswer(id) }) {
            case .success(let entry): #expect(count == 1 && last.entries.contains(entry))
            case .failure(.isUnknown): #expect(count <= 1)
            case .failure(.isNotPlayed): #expect(count == 0)
            case let other: Issue.record("\(String(describing: other))")
            }
        }
    }

    /// One member and a good broker.
    struct Pair {
        let time = VirtualTime()
        let memory: MemoryBus
        let fleet: FleetMap
        let member: Member

        init(plays: Bool = true) throws {
            fleet = try ControlMachineTests.fleet()
            memory = ControlMachineTests.bus(time)
            member = Member(
                "w", fleet, ControlMachineTests.base, memory, time, skewMs: 0, plays: plays, seed: 1)
        }

        func run(fromMs: Int64, throughMs: Int64) {
            for nowMs in stride(from: fromMs, through: throughMs, by: 100) {
                time.run(untilMs: nowMs)
                member.play(nowMs: nowMs)
            }
        }
    }

    @Test("the horizon goes some seconds ahead of what is due, and not all the time")
    func horizon() throws {
        let pair = try Pair()
        pair.run(fromMs: 0, throughMs: 30_000)
        let log = try #require(pair.member.status.log)
        #expect(log.horizonMs > 30_000 * 60 && log.horizonMs <= 34_000 * 60)
        let writes = try Self.logs(pair.memory, pair.fleet).count
        #expect((10...20).contains(writes), "\(writes)")
        #expect(pair.member.played.keys.max() == 1_800_000)
    }

    @Test("without brokers a member plays to the horizon, and stands there")
    func standsAlone() throws {
        let pair = try Pair()
        pair.run(fromMs: 0, throughMs: 10_000)
        let log = try #require(pair.member.status.log)
        let deaf = ChaosBus(
            pair.memory, scheduler: pair.time, random: SeededRandom(seed: 1), faults: Self.deaf)
        let silent = Member(
            "x", pair.fleet, Self.base, deaf, pair.time, skewMs: 0, plays: true, seed: 2)
        for nowMs in stride(from: Int64(10_100), through: 60_000, by: 100) {
            pair.time.run(untilMs: nowMs)
            silent.play(nowMs: nowMs)
        }
        #expect(silent.played.isEmpty)
        #expect(pair.member.status.log == log)
    }

    static let deaf: ChaosBus.Faults = {
        var faults = ChaosBus.Faults()
        faults.lostRequest = 1
        faults.endedReader = 1
        return faults
    }()

    @Test("who plays nothing begins nothing, and says so when asked")
    func notPlayed() throws {
        let pair = try Pair(plays: false)
        pair.run(fromMs: 0, throughMs: 1_000)
        let id = pair.member.shell.withMachine { $0.ask(.pause, nowMs: 1_000) }
        pair.run(fromMs: 1_100, throughMs: 14_000)
        #expect(pair.member.shell.withMachine { $0.takeAnswer(id) } == .failure(.isNotPlayed))
        #expect(try Self.logs(pair.memory, pair.fleet).isEmpty)
    }

    @Test("a log that somebody else has broken is not played by, and it is told")
    func broken() throws {
        for text in ["clsd1 control 1 99\n", "nonsense\n", "clsd2 control 1 99\n"] {
            let pair = try Pair()
            pair.run(fromMs: 0, throughMs: 10_000)
            let log = try #require(pair.member.status.log)
            pair.memory.publish(
                BusMessage(stream: .leases, subject: pair.fleet.controlSubject, bytes: Array(text.utf8)),
                expecting: .none, done: { _ in })
            pair.run(fromMs: 10_100, throughMs: 40_000)
            #expect(pair.member.status.log == log)
            #expect(pair.member.status.refused > 0)
            #expect(pair.member.status.problem?.contains("control log") == true)
            #expect((pair.member.played.keys.max() ?? 0) <= log.horizonMs)
        }
    }

    @Test("a run that is far behind is not promised to be far ahead")
    func lagging() throws {
        let pair = try Pair()
        let base = Self.base
        let machine = NodeShell(
            ControlMachine(
                name: "slow", fleet: pair.fleet, base: base, clock: WallClock { 3_600_000 },
                position: { 600_000 }, random: SeededRandom(seed: 1)), bus: pair.memory, clock: { 0 })
        for _ in 0..<10 { machine.tick() }
        let horizon = try #require(machine.withMachine { $0.status }.log?.horizonMs)
        #expect((600_000...1_000_000).contains(horizon), "\(horizon)")
    }
}
