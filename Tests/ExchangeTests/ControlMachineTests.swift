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

    /// When whatever becomes of requests has become of them.
    static let endMs: Int64 = 120_000
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
                // Who plays nothing may be wrong by hours.
                skewMs: Int64.random(in: -3_000...3_000, using: &random) * (number < 2 ? 1 : 1_200),
                plays: number < 2, seed: random.next())
        }
        var isStopAsked = false
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
                    switch Int.random(in: 0..<5, using: &random) {
                    case 0, 1: .speed(Double.random(in: 20...200, using: &random))
                    case 2: .inject(kind: "hot", entity: "n\(step)", forMs: nil)
                    default: one.status.log?.isPaused == true ? .resume : .pause
                    }
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
        for step in 600...Int(Self.endMs / 100) {
            let nowMs = Int64(step) * 100
            time.run(untilMs: nowMs)
            for member in members { member.play(nowMs: nowMs) }
            guard step < 1_000, step.isMultiple(of: 50), let log = members[2].status.log else { continue }
            // One whose clock is wrong by hours lets it go on; one of three runs is stopped.
            if log.isPaused {
                asked.append((members[2], members[2].shell.withMachine { $0.ask(.resume, nowMs: nowMs) }))
            } else if seed.isMultiple(of: 3), !isStopAsked, log.horizonMs > 1_500_000 {
                isStopAsked = true
                asked.append((members[2], members[2].shell.withMachine { $0.ask(.stop, nowMs: nowMs) }))
            }
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
        // The late one has caught up, and the run goes on: all stand where they should, whatever the clock said of who was asked.
        let course = ControlCourse(Self.base, last)
        #expect(!last.isPaused && last.horizonMs > 1_000_000)
        for worker in workers {
            let due = course.dueThrough(nowMs: Self.endMs - 5_000)
            #expect((worker.played.keys.max() ?? 0) > due - 10_000, "\(last.horizonMs)")
            // Every tick, without a gap.
            #expect(worker.played.count == Int((worker.played.keys.max() ?? 0) / 10_000) + 1)
        }
        // Each was done once, or it was said that it was not.
        for (member, id) in asked {
            let count = last.entries.count { $0.id == id }
            switch member.shell.withMachine({ $0.takeAnswer(id) }) {
            case .success(let entry): #expect(count == 1 && last.entries.contains(entry))
            case .failure(.isUnknown): #expect(count <= 1)
            case .failure(.isNotPlayed), .failure(.isPaused), .failure(.isNotPaused), .failure(.isOver):
                #expect(count == 0)
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
        let time = VirtualTime()
        let fleet = try Self.fleet()
        let chaos = ChaosBus(
            Self.bus(time), scheduler: time, random: SeededRandom(seed: 1), faults: Self.good)
        let member = Member("w", fleet, Self.base, chaos, time, skewMs: 0, plays: true, seed: 1)
        func run(_ range: ClosedRange<Int64>) {
            for nowMs in stride(from: range.lowerBound, through: range.upperBound, by: 100) {
                time.run(untilMs: nowMs)
                member.play(nowMs: nowMs)
            }
        }
        run(0...10_000)
        let log = try #require(member.status.log)
        chaos.pause(forMs: 50_000)
        run(10_100...60_000)
        #expect(member.status.log == log)
        let last = try #require(member.played.keys.max())
        #expect(last == log.horizonMs / 10_000 * 10_000 && last > 600_000)
        // And goes on with them.
        run(60_100...75_000)
        #expect((member.played.keys.max() ?? 0) > 4_000_000)
    }

    static let good: ChaosBus.Faults = {
        var faults = ChaosBus.Faults()
        faults.lostRequest = 0
        faults.lostAcknowledgement = 0
        faults.copy = 0
        faults.staleRead = 0
        faults.endedReader = 0
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

    @Test("a run that is far behind is not promised to be far ahead", arguments: [60.0, 1e6, 1e9])
    func lagging(speed: Double) throws {
        let pair = try Pair()
        var base = Self.base
        base.speed = speed
        let machine = NodeShell(
            ControlMachine(
                name: "slow", fleet: pair.fleet, base: base, clock: WallClock { 3_600_000 },
                position: { 600_000 }, random: SeededRandom(seed: 1)), bus: pair.memory, clock: { 0 })
        for _ in 0..<10 { machine.tick() }
        let horizon = try #require(machine.withMachine { $0.status }.log?.horizonMs)
        #expect((600_000...1_000_000).contains(horizon), "\(horizon)")
    }

    /// One that makes so many windows a second, however fast it should go, and a good broker.
    final class Slow {
        let time = VirtualTime()
        let memory: MemoryBus
        let fleet: FleetMap
        let shell: NodeShell<ControlMachine>
        let position = Locked<Int64>(0)
        private let windowsPerSecond: Int64

        init(windowsPerSecond: Int64, skewMs: Int64 = 0, closed: Int64 = -1) throws {
            self.windowsPerSecond = windowsPerSecond
            fleet = try ControlMachineTests.fleet()
            memory = ControlMachineTests.bus(time)
            let (time, position) = (time, position)
            shell = NodeShell(
                ControlMachine(
                    name: "slow", fleet: fleet, base: ControlMachineTests.base,
                    clock: WallClock { time.nowMs + skewMs }, closed: closed,
                    position: { position.withLock { $0 } }, random: SeededRandom(seed: 1)),
                bus: memory, clock: { time.nowMs })
        }

        var log: ControlLog? { shell.withMachine { $0.status }.log }

        func run(_ range: ClosedRange<Int64>) {
            for nowMs in stride(from: range.lowerBound, through: range.upperBound, by: 100) {
                time.run(untilMs: nowMs)
                shell.tick()
                guard let log else { continue }
                let due = ControlCourse(ControlMachineTests.base, log).dueThrough(nowMs: nowMs)
                let step = windowsPerSecond * fleet.windowMs / 10
                position.withLock { $0 = max($0, min($0 + step, log.horizonMs, due)) }
            }
        }

        func ask(_ deed: ControlEntry.Deed, _ range: ClosedRange<Int64>) -> Result<
            ControlEntry, ControlRefusal
        >? {
            let id = shell.withMachine { $0.ask(deed, nowMs: range.lowerBound) }
            run(range)
            return shell.withMachine { $0.takeAnswer(id) }
        }
    }

    @Test("a run that cannot go as fast as it should is controlled all the same", arguments: [5, 50, 1_000])
    func tooFast(windowsPerSecond: Int64) throws {
        let slow = try Slow(windowsPerSecond: windowsPerSecond)
        slow.run(0...10_000)
        _ = try #require(try slow.ask(.speed(1e9), 10_100...12_000)?.get())
        slow.run(12_100...40_000)
        let reached = slow.position.withLock { $0 }
        // It goes as fast as it can: what is ahead of it does not hold it up.
        #expect(reached > windowsPerSecond * 60_000 * 20, "\(reached)")
        let pause = try #require(try slow.ask(.pause, 40_100...46_500)?.get())
        #expect(slow.position.withLock { $0 } == pause.atMs)
        let stop = try #require(try slow.ask(.stop, 46_600...47_000)?.get())
        #expect(
            stop.atMs < Self.base.endMs && stop.atMs < pause.atMs + 5 * windowsPerSecond * 60_000 + 120_000)
    }

    @Test(
        "what is asked where the clock is wrong holds up nobody", arguments: [3_600_000, 1 << 50, -3_600_000])
    func wrongClock(skewMs: Int64) throws {
        let pair = try Pair()
        let asked = Member(
            "r", pair.fleet, Self.base, pair.memory, pair.time, skewMs: skewMs, plays: false, seed: 2)
        func run(_ range: ClosedRange<Int64>) {
            for nowMs in stride(from: range.lowerBound, through: range.upperBound, by: 100) {
                pair.time.run(untilMs: nowMs)
                pair.member.play(nowMs: nowMs)
                asked.play(nowMs: nowMs)
            }
        }
        run(0...10_000)
        // The last thing that was written is old when this one comes.
        _ = asked.shell.withMachine { $0.ask(.inject(kind: "hot", entity: "n", forMs: nil), nowMs: 10_000) }
        run(10_100...12_000)
        _ = asked.shell.withMachine { $0.ask(.speed(120), nowMs: 12_000) }
        run(12_100...20_000)
        _ = pair.member.shell.withMachine { $0.ask(.pause, nowMs: 20_000) }
        run(20_100...60_000)
        let stands = try #require(pair.member.played.keys.max())
        _ = asked.shell.withMachine { $0.ask(.resume, nowMs: 60_000) }
        run(60_100...80_000)
        let log = try #require(pair.member.status.log)
        #expect(log.entries.count == 4 && log.entries.allSatisfy { $0.dueMs <= 65_000 }, "\(log)")
        // At least 120 simulated seconds in each of the 15 s that follow.
        #expect((pair.member.played.keys.max() ?? 0) >= stands + 15 * 120_000)
    }

    @Test("one that comes while the run stands does not take the time before for lost")
    func resumedByALateOne() throws {
        let pair = try Pair()
        pair.run(fromMs: 0, throughMs: 10_000)
        _ = pair.member.shell.withMachine { $0.ask(.pause, nowMs: 10_000) }
        pair.run(fromMs: 10_100, throughMs: 300_000)
        let late = Member(
            "r", pair.fleet, Self.base, pair.memory, pair.time, skewMs: 0, plays: false, seed: 2)
        for nowMs in stride(from: Int64(300_100), through: 310_000, by: 100) {
            if nowMs == 302_000 { _ = late.shell.withMachine { $0.ask(.resume, nowMs: nowMs) } }
            pair.time.run(untilMs: nowMs)
            pair.member.play(nowMs: nowMs)
            late.play(nowMs: nowMs)
        }
        let entries = try #require(late.status.log).entries
        #expect(entries.count == 2 && (302_000...303_000).contains(entries.last?.dueMs ?? 0), "\(entries)")
    }

    @Test(
        "a log that begins while windows are final begins behind them, and behind what may have been played")
    func lateBeginning() throws {
        let slow = try Slow(windowsPerSecond: 10, closed: 41)
        slow.run(0...500)
        #expect(slow.log?.horizonMs == slow.fleet.windowEndMs(41))
        let later = try Slow(windowsPerSecond: 10, closed: 41)
        later.run(100_000...100_500)
        #expect((104_000 * 60...105_000 * 60).contains(later.log?.horizonMs ?? 0))
    }
}
