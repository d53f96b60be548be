import Exchange
import Telemetry
import TestSupport
import Testing

@Suite("Buses", .computing)
struct BusTests {
    static func bytes(_ number: Int) -> [UInt8] { Array(String(number).utf8) }

    @Test(
        "subjects match as NATS matches them",
        arguments: [
            ("a.b.c", "a.b.c", true), ("a.*.c", "a.b.c", true), ("a.>", "a.b.c", true), ("a.>", "a", false),
            ("a.*", "a.b.c", false), ("a.b.c.*", "a.b.c", false), ("*.b.c", "a.b.c", true), (">", "a", true),
        ])
    func subjects(filter: String, subject: String, matches: Bool) {
        #expect(Subject(filter).matches(Subject(subject)) == matches)
    }

    @Test("of many who expect the same last message one is stored")
    func compareAndSet() {
        let bus = MemoryBus(clock: WallClock { 5 })
        let outcomes = Locked<[Result<UInt64, BusError>]>([])
        for value in 0..<5 {
            bus.compareAndSet(Subject("lease.1"), Self.bytes(value), expecting: 0) { outcome in
                outcomes.withLock { $0.append(outcome) }
            }
        }
        #expect(outcomes.withLock { $0 } == [.success(1)] + Array(repeating: .failure(.conflict), count: 4))
        bus.compareAndSet(Subject("lease.1"), [], expecting: 1) { #expect($0 == .success(2)) }
        bus.last(.leases, Subject("lease.1")) { #expect((try? $0.get())?.sequence == 2) }
        bus.last(.leases, Subject("lease.2")) { #expect((try? $0.get()) == .some(nil)) }
    }

    @Test("a reader gets what is there from its place on, then what comes, in order")
    func reading() {
        let bus = MemoryBus(clock: WallClock { 5 })
        func put(_ number: Int) {
            let message = BusMessage(
                stream: .partials, subject: Subject("p.\(number % 2)"), bytes: Self.bytes(number))
            bus.publish(message, expecting: .none) { _ in }
        }
        for number in 1...6 { put(number) }
        let read = Locked<[UInt64]>([])
        let cursor = bus.open(.partials, Subject("p.0"), from: .sequence(3)) { delivery in
            guard case .messages(let messages) = delivery else { return }
            read.withLock { $0 += messages.map(\.sequence) }
        }
        put(7)
        put(8)
        #expect(read.withLock { $0 } == [4, 6, 8])
        cursor.close()
        put(10)
        #expect(read.withLock { $0 } == [4, 6, 8])
    }

    @Test("a watch tells the last value of each subject, then changes")
    func watching() {
        let bus = MemoryBus(clock: WallClock { 5 })
        let read = Locked<[String]>([])
        for value in 1...3 {
            bus.compareAndSet(Subject("l.\(value % 2)"), [], expecting: value == 3 ? 1 : 0) { _ in }
        }
        let cursor = bus.watch(Subject("l.>")) { delivery in
            guard case .messages(let messages) = delivery else { return }
            read.withLock { $0 += messages.map { "\($0.subject)=\($0.sequence)" } }
        }
        bus.compareAndSet(Subject("l.9"), [], expecting: 0) { _ in }
        #expect(read.withLock { $0 } == ["l.0=2", "l.1=3", "l.9=4"])
        cursor.close()
    }

    @Test("requests are answered by whoever answers there; else nobody can be reached")
    func requests() {
        let bus = MemoryBus(clock: WallClock { 5 })
        bus.request(Subject("rpc.any.status"), [], timeoutMs: 10) { #expect($0 == .failure(.unavailable)) }
        let cursor = bus.respond(Subject("rpc.any.*"), group: "any") { [1] + $0 }
        bus.request(Subject("rpc.any.status"), [2], timeoutMs: 10) { #expect($0 == .success([1, 2])) }
        cursor.close()
        bus.request(Subject("rpc.any.status"), [], timeoutMs: 10) { #expect($0 == .failure(.unavailable)) }
    }

    @Test("every request on a bus of faults ends once; one seed has one schedule")
    func chaos() {
        func run(_ seed: UInt64) -> (outcomes: [String], stored: [UInt64]) {
            let time = VirtualTime()
            let memory = MemoryBus(clock: time.wallClock)
            var faults = ChaosBus.Faults()
            faults.lostRequest = 0.2
            faults.lostAcknowledgement = 0.2
            faults.copy = 0.2
            let bus = ChaosBus(memory, scheduler: time, random: SeededRandom(seed: seed), faults: faults)
            let outcomes = Locked<[Int: [String]]>([:])
            for number in 0..<200 {
                let message = BusMessage(stream: .partials, subject: Subject("p"), bytes: Self.bytes(number))
                bus.publish(message, expecting: .none) { outcome in
                    outcomes.withLock { $0[number, default: []].append("\(outcome) at \(time.nowMs)") }
                }
            }
            time.run(untilMs: 10_000)
            let all = outcomes.withLock { $0 }
            #expect(all.count == 200 && all.values.allSatisfy { $0.count == 1 })
            let stored = memory.messages(.partials).map { $0.bytes.reduce(0) { $0 * 10 + UInt64($1) - 48 } }
            return ((0..<200).map { all[$0]?.first ?? "" }, stored)
        }
        let first = run(3)
        let again = run(3)
        #expect(first.outcomes == again.outcomes && first.stored == again.stored)
        #expect(first.stored != run(4).stored)
        #expect(first.stored != first.stored.sorted(), "it reorders")
        #expect(Set(first.stored).count < first.stored.count, "it makes copies")
        #expect(Set(first.stored).count < 200, "it loses requests")
        #expect(first.outcomes.contains { $0.contains("ambiguous") })
    }
}
