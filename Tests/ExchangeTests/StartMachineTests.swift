import Exchange
import Telemetry
import TestSupport
import Testing

/// Members that are asked to start runs for all of a cluster, and a broker that has what became of the runs before.
@Suite("The start of a shared run", .computing)
struct StartMachineTests {
    static let base = ControlCourse.Base(startMs: 0, endMs: 3_600_000, startedMs: 0, speed: 60)

    /// A run as these tests write it down: its number, its name, who asked, and the names before it.
    struct Start: Equatable {
        var number: UInt64
        var name: String
        var earlier: [String]

        init(_ number: UInt64, _ name: String, after earlier: [String]) {
            (self.number, self.name, self.earlier) = (number, name, earlier)
        }

        init(decoding bytes: [UInt8]) {
            let words = String(decoding: bytes, as: UTF8.self).split(separator: " ").map(String.init)
            self.init(UInt64(words[0]) ?? 0, words[1], after: Array(words.dropFirst(2)))
        }

        var bytes: [UInt8] { Array(([String(number), name] + earlier).joined(separator: " ").utf8) }
    }

    static func fleet(_ name: String, _ number: UInt64) throws(StartRefusal) -> FleetMap {
        guard
            let map = FleetMap(
                cluster: "c", stream: "sim/\(name)", slices: 4, partitions: 2, windowMs: 60_000, startMs: 0,
                run: number)
        else { throw .unreadable(name) }
        return map
    }

    /// One that is asked for a run.
    static func member(
        _ name: String, _ bus: any Bus, _ time: VirtualTime, configured: StartedRun? = nil,
        over: OverSince = OverSince(), aheadMs: Int64 = 0
    ) -> NodeShell<StartMachine> {
        let wanted = StartMachine.Wanted(
            cluster: "c", name: name, configured: configured,
            decode: { bytes throws(StartRefusal) in
                let start = Start(decoding: bytes)
                guard !start.name.hasPrefix("later") else {
                    return StartedRun(name: start.name, number: start.number, earlier: start.earlier)
                }
                return StartedRun(
                    name: start.name, map: try fleet(start.name, start.number), endMs: base.endMs,
                    earlier: start.earlier)
            },
            isSame: { Start(decoding: $0).name == name },
            encode: { Start($0, name, after: $1).bytes })
        return NodeShell(
            StartMachine(wanted, over: over, nowMs: { time.nowMs + aheadMs }), bus: bus,
            clock: { time.nowMs })
    }

    /// A good broker that has a first run.
    struct Brokers {
        let time = VirtualTime()
        let memory: MemoryBus
        let over = OverSince()

        init() { memory = ControlMachineTests.bus(time) }

        /// - Parameter aheadMs: the time of day of the member that is asked, against the broker's.
        func ask(
            _ name: String, configured: StartedRun? = nil, aheadMs: Int64 = 0
        ) -> Result<UInt64, StartRefusal>? {
            let shell = StartMachineTests.member(
                name, memory, time, configured: configured, over: over, aheadMs: aheadMs)
            shell.tick()
            return shell.withMachine { $0.answer }
        }

        /// What is written of the control of a run that is played.
        func play(_ map: FleetMap, throughMs: Int64, stops: Bool) throws {
            var log = ControlLog(fleet: map.fingerprint, horizonMs: 0)
            log.extend(to: throughMs)
            if stops {
                _ = try log.append(
                    .stop, from: StartMachineTests.base, by: "w", id: 1, nowMs: throughMs / 60)
            }
            publish(.leases, map.controlSubject, log.bytes)
        }

        /// Windows of both partitions up to this one are final.
        func close(_ map: FleetMap, through window: Int64, partitions: Range<Int> = 0..<2) {
            for partition in partitions {
                let final = FinalRecord(
                    fleet: map.fingerprint, partition: partition, window: window, writer: 1,
                    resumeSequence: 1, slicesPresent: 2, slicesExpected: 2, late: 0, groups: [])
                publish(.finals, map.finalSubject(partition), final.encoded())
            }
        }

        private func publish(_ stream: BusStream, _ subject: Subject, _ bytes: [UInt8]) {
            memory.publish(
                BusMessage(stream: stream, subject: subject, bytes: bytes), expecting: .none, done: { _ in })
        }

        var starts: [Start] {
            memory.messages(.leases).filter { $0.subject == FleetMap.startSubject("c") }
                .map { Start(decoding: $0.bytes) }
        }
    }

    @Test("the first run of a cluster is number 1, and whoever asks for the same has it")
    func first() throws {
        let brokers = Brokers()
        #expect(brokers.ask("a") == .success(1))
        #expect(brokers.ask("a") == .success(1))
        #expect(brokers.ask("b") == .failure(.isNotPlayed("a")))
        try brokers.play(try Self.fleet("a", 1), throughMs: 600_000, stops: false)
        #expect(brokers.ask("a") == .success(1))
        #expect(brokers.ask("b") == .failure(.goesOn("a")))
        #expect(brokers.starts == [Start(1, "a", after: [])])
    }

    @Test("another one follows once all windows of the one before are closed, under a name that none has had")
    func follows() throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        let one = try Self.fleet("a", 1)
        try brokers.play(one, throughMs: 600_000, stops: true)
        #expect(brokers.ask("b") == .failure(.isClosing("a")))
        brokers.close(one, through: 8)
        brokers.close(one, through: 9, partitions: 0..<1)
        #expect(brokers.ask("b") == .failure(.isClosing("a")))
        #expect(brokers.ask("a") == .failure(.wasThere("a")))
        brokers.close(one, through: 9)
        #expect(brokers.ask("b") == .success(2))
        let two = try Self.fleet("b", 2)
        try brokers.play(two, throughMs: 60_000, stops: true)
        // What is final of the first run is nothing of the second.
        #expect(brokers.ask("c") == .failure(.isClosing("b")))
        brokers.close(two, through: 0)
        #expect(brokers.ask("a") == .failure(.wasThere("a")))
        #expect(brokers.ask("c") == .success(3))
        #expect(brokers.starts.last == Start(3, "c", after: ["a", "b"]))
    }

    @Test("a run that has come to its own end is followed, too")
    func ended() throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        let one = try Self.fleet("a", 1)
        try brokers.play(one, throughMs: Self.base.endMs - 1, stops: false)
        #expect(brokers.ask("b") == .failure(.goesOn("a")))
        try brokers.play(one, throughMs: Self.base.endMs, stops: false)
        #expect(brokers.ask("b") == .failure(.isClosing("a")))
        brokers.close(one, through: 59)
        #expect(brokers.ask("b") == .success(2))
    }

    @Test("where finals are gone, or never came, a run that was stopped is followed after a minute")
    func finalsGone() throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        try brokers.play(try Self.fleet("a", 1), throughMs: 600_000, stops: true)
        #expect(brokers.ask("b") == .failure(.isClosing("a")))
        brokers.time.run(untilMs: StartMachine.closingMs - 1)
        #expect(brokers.ask("b") == .failure(.isClosing("a")))
        brokers.time.run(untilMs: StartMachine.closingMs)
        #expect(brokers.ask("b") == .success(2))
    }

    @Test("a clock that is ahead of the broker's, or behind, does not make that minute shorter")
    func clocksApart() throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        let one = try Self.fleet("a", 1)
        try brokers.play(one, throughMs: 600_000, stops: true)
        #expect(brokers.ask("b", aheadMs: 3_600_000) == .failure(.isClosing("a")))
        brokers.time.run(untilMs: StartMachine.closingMs - 1)
        #expect(brokers.ask("b", aheadMs: 3_600_000) == .failure(.isClosing("a")))
        brokers.time.run(untilMs: StartMachine.closingMs)
        #expect(brokers.ask("b", aheadMs: -1_000) == .failure(.isClosing("a")))
        #expect(brokers.ask("b", aheadMs: 3_600_000) == .success(2))
        try brokers.play(try Self.fleet("b", 2), throughMs: 600_000, stops: true)
        #expect(
            brokers.ask("c", aheadMs: 3_600_000) == .failure(.isClosing("b")), "each run has its own minute")
    }

    @Test("the run of the configuration is the first one, and only its members know when it is over")
    func configured() throws {
        let brokers = Brokers()
        let one = try Self.fleet("a", 1)
        let known = StartedRun(name: "a", map: one, endMs: Self.base.endMs)
        #expect(brokers.ask("b", configured: known) == .failure(.isNotPlayed("a")))
        brokers.memory.publish(
            BusMessage(stream: .leases, subject: one.agreementSubject, bytes: [1]), expecting: .none,
            done: { _ in })
        try brokers.play(one, throughMs: 600_000, stops: false)
        #expect(brokers.ask("b", configured: known) == .failure(.goesOn("a")))
        try brokers.play(one, throughMs: 600_000, stops: true)
        brokers.close(one, through: 9)
        #expect(brokers.ask("b") == .failure(.isConfigured))
        #expect(brokers.ask("b", configured: known) == .success(2))
        #expect(brokers.starts == [Start(2, "b", after: ["a"])])
    }

    @Test(
        "of two that are asked for at a time one is started, whatever becomes of requests", arguments: 1...120
    )
    func race(seed: UInt64) throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        let one = try Self.fleet("a", 1)
        try brokers.play(one, throughMs: 600_000, stops: true)
        brokers.close(one, through: 9)
        let chaos = ChaosBus(brokers.memory, scheduler: brokers.time, random: SeededRandom(seed: seed))
        let names = ["b", "c"]
        let shells = names.map { Self.member($0, chaos, brokers.time) }
        for nowMs in stride(from: Int64(0), through: 2 * StartMachine.patienceMs, by: 20) {
            brokers.time.run(untilMs: nowMs)
            for shell in shells { shell.tick() }
        }
        let second = brokers.starts.dropFirst()
        #expect(second.count <= 1, "\(brokers.starts)")
        var won = 0
        for (name, shell) in zip(names, shells) {
            switch shell.withMachine({ $0.answer }) {
            case .success(let number):
                won += 1
                #expect(number == 2 && second.first == Start(2, name, after: ["a"]))
            case .failure(.isNotPlayed(let other)):
                // The other one's, or what a copy that is behind says of the run before.
                #expect(other != name && (other == "a" || second.first?.name == other))
            case .failure(.goesOn("a")), .failure(.isClosing("a")), .failure(.isUnknown): break
            case let other: Issue.record("\(String(describing: other))")
            }
        }
        #expect(won <= 1)
    }

    @Test("of two that are asked for at the same moment of a good broker one is told that the other is there")
    func sameMoment() throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        let one = try Self.fleet("a", 1)
        try brokers.play(one, throughMs: 600_000, stops: true)
        brokers.close(one, through: 9)
        let chaos = ChaosBus(
            brokers.memory, scheduler: brokers.time, random: SeededRandom(seed: 1),
            faults: ControlMachineTests.good)
        let shells = ["b", "c"].map { Self.member($0, chaos, brokers.time) }
        for nowMs in stride(from: Int64(0), through: 5_000, by: 20) {
            brokers.time.run(untilMs: nowMs)
            for shell in shells { shell.tick() }
        }
        let answers = shells.map { $0.withMachine { $0.answer } }
        let name = try #require(brokers.starts.last?.name)
        #expect(brokers.starts.count == 2 && answers.contains(.success(2)))
        #expect(answers.contains(.failure(.isNotPlayed(name))))
    }

    @Test("a start that races a stop comes behind it, or not at all", arguments: 1...20)
    func stopRace(seed: UInt64) throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        let (one, time) = (try Self.fleet("a", 1), brokers.time)
        let chaos = ChaosBus(brokers.memory, scheduler: time, random: SeededRandom(seed: seed))
        let worker = ControlMachineTests.Member(
            "w", one, Self.base, chaos, time, skewMs: 0, plays: true, seed: seed)
        var asked: [NodeShell<StartMachine>] = []
        let stopsMs = 5_000 + Int64(seed) * 111
        for nowMs in stride(from: Int64(0), through: 40_000, by: 20) {
            time.run(untilMs: nowMs)
            if nowMs.isMultiple(of: 100) { worker.play(nowMs: nowMs) }
            if nowMs == stopsMs / 20 * 20 { _ = worker.shell.withMachine { $0.ask(.stop, nowMs: nowMs) } }
            // All that is played is closed at once.
            if nowMs.isMultiple(of: 1_000), let last = worker.played.keys.max() {
                brokers.close(one, through: one.lastWindow(endedMs: last))
            }
            if nowMs.isMultiple(of: 300), nowMs < 20_000 {
                asked.append(Self.member("b", chaos, time))
            }
            for shell in asked { shell.tick() }
        }
        let control = brokers.memory.messages(.leases).filter { $0.subject == one.controlSubject }
        let last = try #require(control.last)
        #expect(try ControlLog(decoding: last.bytes).isStopped)
        let started = brokers.memory.messages(.leases).filter {
            $0.subject == FleetMap.startSubject("c") && Start(decoding: $0.bytes).number == 2
        }
        #expect(started.count == 1, "it is started in the end")
        let stop = try #require(
            control.first { (try? ControlLog(decoding: $0.bytes))?.isStopped == true })
        let start = try #require(started.first)
        #expect(start.sequence > stop.sequence)
        // Nobody was told that it is started while the other went on.
        for shell in asked {
            if case .success(let number) = shell.withMachine({ $0.answer }) { #expect(number == 2) }
        }
    }
}
