import Exchange
import Telemetry
import TestSupport
import Testing

/// Runs that were started, and that the member which is asked for their end does not play.
@Suite("The end of a shared run that nobody plays", .computing)
struct StopMachineTests {
    typealias Brokers = StartMachineTests.Brokers
    typealias Start = StartMachineTests.Start

    static func shell(
        _ name: String, _ bus: any Bus, _ time: VirtualTime, id: UInt64 = 7
    ) -> NodeShell<StopMachine> {
        NodeShell(
            StopMachine(
                cluster: "c", name: name, member: "m", id: id,
                decode: {
                    let start = Start(decoding: $0)
                    let isKnown = !start.name.hasPrefix("later")
                    let fleet = isKnown ? try? StartMachineTests.fleet(start.name, start.number) : nil
                    return (start.name, start.number, fleet?.fingerprint)
                },
                decodeAgreed: { bytes in
                    let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
                    return words.first.map { (String($0), words.count > 1 ? UInt64(words[1]) : nil) }
                }, nowMs: { time.nowMs }), bus: bus, clock: { time.nowMs })
    }

    func stop(_ name: String, _ brokers: Brokers, id: UInt64 = 7) -> StopRefusal? {
        let shell = Self.shell(name, brokers.memory, brokers.time, id: id)
        shell.tick()
        switch shell.withMachine({ $0.answer }) {
        case .success(let bytes):
            #expect(Start(decoding: bytes).name == name)
            return nil
        case .failure(let refusal): return refusal
        case nil: return .isUnknown(.ambiguous)
        }
    }

    @Test(
        "a run that nobody plays is ended, and the next one follows at once, also where no member knows its fleet",
        arguments: ["a", "later"])
    func nobody(name: String) throws {
        let brokers = Brokers()
        #expect(stop(name, brokers) == .isNotThere)
        #expect(brokers.ask(name) == .success(1))
        #expect(brokers.ask("b") == .failure(.isNotPlayed(name)))
        #expect(stop("b", brokers) == .isNotThere)
        #expect(stop(name, brokers) == nil)
        #expect(stop(name, brokers, id: 8) == .isOver)
        #expect(brokers.ask(name) == .failure(.wasThere(name)))
        #expect(brokers.ask("b") == .success(2))
        #expect(brokers.starts.last == Start(2, "b", after: [name]))
        // Of the second one nothing is known yet.
        #expect(brokers.ask("c") == .failure(.isNotPlayed("b")))
        #expect(stop("b", brokers) == nil)
        #expect(brokers.ask("c") == .success(3))
    }

    @Test("whoever does not know the fleet of a run that others played starts the next one after a minute")
    func others() throws {
        let brokers = Brokers()
        _ = brokers.ask("later")
        try brokers.play(try StartMachineTests.fleet("later", 1), throughMs: 600_000, stops: false)
        #expect(brokers.ask("later") == .success(1))
        #expect(brokers.ask("b") == .failure(.goesOn("later")))
        #expect(stop("later", brokers) == nil)
        let control = FleetMap.controlSubject("c", run: 1)
        let last = try #require(brokers.memory.messages(.leases).last { $0.subject == control })
        let log = try ControlLog(decoding: last.bytes)
        #expect(log.isStopped && !log.isNeverPlayed && log.entries.last?.atMs == 600_000)
        #expect(brokers.ask("b") == .failure(.isClosing("later")))
        brokers.time.run(untilMs: StartMachine.closingMs)
        #expect(brokers.ask("b") == .success(2))
    }

    @Test(
        "a run that the members play under the same number, by their configuration, goes on",
        arguments: [true, false])
    func another(isPlayed: Bool) throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        let configured = try StartMachineTests.fleet("y", 1)
        FormerRunTests.publish(brokers.memory, .leases, configured.agreementSubject, Array("y".utf8))
        if isPlayed { try brokers.play(configured, throughMs: 600_000, stops: false) }
        let before = brokers.memory.messages(.leases)
        #expect(stop("a", brokers) == .isNotThere)
        #expect(brokers.memory.messages(.leases) == before, "nothing was written")
        // Whatever was agreed upon: its name, and the fleet that is played.
        FormerRunTests.publish(brokers.memory, .leases, configured.agreementSubject, Array("a 1".utf8))
        #expect(stop("a", brokers) == (isPlayed ? .isNotThere : nil))
    }

    @Test("without an agreement, what is played is another run where its fleet is")
    func fleet() throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        try brokers.play(try StartMachineTests.fleet("y", 1), throughMs: 600_000, stops: false)
        #expect(stop("a", brokers) == .isNotThere)
        try brokers.play(try StartMachineTests.fleet("a", 1), throughMs: 600_000, stops: false)
        #expect(stop("a", brokers) == nil)
    }

    @Test("members with other limits have another fleet in the same run, which is ended")
    func limits() throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        let other = try #require(
            FleetMap(
                cluster: "c", stream: "sim/a", slices: 8, partitions: 2, windowMs: 60_000, startMs: 0, run: 1)
        )
        FormerRunTests.publish(
            brokers.memory, .leases, other.agreementSubject, Array("a \(other.fingerprint)".utf8))
        try brokers.play(other, throughMs: 600_000, stops: false)
        #expect(stop("a", brokers) == nil)
    }

    @Test("an agreement that nobody can read ends nothing")
    func unreadable() throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        FormerRunTests.publish(brokers.memory, .leases, FleetMap.agreementSubject("c", run: 1), [])
        #expect(stop("a", brokers) == .unreadable("what the cluster has agreed upon cannot be read"))
    }

    @Test("a worker that would begin to play it meanwhile stands still", arguments: 1...40)
    func race(seed: UInt64) throws {
        let brokers = Brokers()
        _ = brokers.ask("a")
        let (one, time) = (try StartMachineTests.fleet("a", 1), brokers.time)
        let chaos = ChaosBus(brokers.memory, scheduler: time, random: SeededRandom(seed: seed))
        let worker = ControlMachineTests.Member(
            "w", one, StartMachineTests.base, chaos, time, skewMs: 0, plays: true, seed: seed)
        let stopper = Self.shell("a", chaos, time)
        for nowMs in stride(from: Int64(0), through: 30_000, by: 20) {
            time.run(untilMs: nowMs)
            if nowMs.isMultiple(of: 100) { worker.play(nowMs: nowMs) }
            if nowMs >= Int64(seed) * 40 { stopper.tick() }
        }
        let control = brokers.memory.messages(.leases).filter { $0.subject == one.controlSubject }
        let log = try ControlLog(decoding: try #require(control.last).bytes)
        switch stopper.withMachine({ $0.answer }) {
        case .success, .failure(.isOver): #expect(log.isStopped)
        case .failure(.isUnknown): break
        // A copy that is behind says that nobody has started anything.
        case .failure(.isNotThere): #expect(!log.isStopped)
        case let other: Issue.record("\(String(describing: other))")
        }
        let playedMs = worker.played.keys.max() ?? -1
        if log.isNeverPlayed { #expect(playedMs <= StartMachineTests.base.startMs) }
        if log.isStopped {
            #expect(playedMs <= log.entries.last?.atMs ?? 0)
            #expect(worker.shell.withMachine { $0.status.log } == log, "it knows of the end")
        }
    }
}
