import Telemetry
import Testing

@testable import Exchange

@Suite("Reading of finals")
struct FinalsReaderTests {
    /// Notes what it is given.
    struct Notes: FinalsBook {
        var sequences: [UInt64] = []
        var isFull = false
        var again: UInt64?
        mutating func add(_ message: StoredMessage) { sequences.append(message.sequence) }
        mutating func takeReread() -> UInt64? {
            defer { again = nil }
            return again
        }
    }

    let bus = ScriptedBus()
    let reader: FinalsReader<Notes>
    let told = Locked(0)

    init() throws { reader = FinalsReader(Notes(), of: try fleetMap(), from: 5, bus: bus) }

    var read: [UInt64] { reader.withBook { book, _ in book.sequences } }

    func tick() { reader.tick { [told] in told.withLock { $0 += 1 } } }

    static func messages(_ sequences: UInt64...) -> BusDelivery {
        .messages(
            sequences.map {
                StoredMessage(subject: Subject("f"), bytes: [], sequence: $0, timestampMs: 0)
            })
    }

    @Test("it opens once, from the first that is wanted, and hands on what comes, also within the call")
    func opens() {
        bus.whileOpening { $0.deliver(Self.messages(5, 7)) }
        for _ in 0..<3 { tick() }
        bus.opened[0].deliver(Self.messages(8))
        #expect(bus.starts == [.sequence(5)] && bus.closed == [0])
        #expect(read == [5, 7, 8] && told.withLock { $0 } == 2)
        #expect(reader.withBook { $1.next } == 9)
    }

    @Test(
        "reading from nowhere is reading from the first",
        arguments: [(0, 1), (1, 1), (9, 9)] as [(UInt64, UInt64)])
    func first(asked: UInt64, opened: UInt64) throws {
        FinalsReader(Notes(), of: try fleetMap(), from: asked, bus: bus).tick {}
        #expect(bus.starts == [.sequence(opened)])
    }

    @Test("what cannot be opened is tried again, once a tick and at the same place")
    func failsToOpen() {
        for _ in 0..<3 {
            bus.whileOpening { $0.deliver(.ended(.unavailable)) }
            tick()
        }
        #expect(bus.starts == [.sequence(5), .sequence(5), .sequence(5)])
        #expect(bus.closed == [1, 1, 1], "nothing is left open behind")
        tick()
        bus.opened[3].deliver(Self.messages(5))
        #expect(bus.starts.count == 4 && bus.closed == [1, 1, 1, 0] && read == [5])
    }

    @Test("a stream that is lost is opened again behind the last message, with the next tick")
    func lost() {
        tick()
        bus.opened[0].deliver(Self.messages(6, 9))
        bus.opened[0].deliver(.ended(.unavailable))
        #expect(bus.opened.count == 1, "not at once: a broker that refuses is asked once a tick")
        tick()
        #expect(bus.starts == [.sequence(5), .sequence(10)] && bus.closed == [1, 0])
        bus.opened[1].deliver(Self.messages(10))
        #expect(read == [6, 9, 10])
    }

    @Test("what an earlier opening still says counts no more")
    func earlier() {
        tick()
        bus.opened[0].deliver(Self.messages(5))
        bus.opened[0].deliver(.ended(.unavailable))
        bus.opened[0].deliver(Self.messages(6))
        tick()
        bus.opened[0].deliver(Self.messages(6, 7))
        bus.opened[0].deliver(.ended(.unavailable))
        tick()
        #expect(read == [5] && bus.opened.count == 2)
        #expect(told.withLock { $0 } == 2, "one for the message, one for the end")
    }

    @Test("who is stopped while it opens closes what it gets")
    func stopWhileOpening() {
        bus.whileOpening { [reader] opened in
            reader.stop()
            opened.deliver(Self.messages(5))
        }
        tick()
        tick()
        #expect(bus.closed == [1] && read == [] && told.withLock { $0 } == 0)
    }

    @Test("who is stopped before it opens never does; stopping twice closes once")
    func stopTwice() throws {
        let other = FinalsReader(Notes(), of: try fleetMap(), from: 1, bus: bus)
        other.stop()
        other.tick {}
        #expect(bus.opened.isEmpty)
        tick()
        for _ in 0..<2 { reader.stop() }
        tick()
        #expect(bus.closed == [1] && bus.opened.count == 1)
        #expect(reader.withBook { $1.isStopped })
    }

    @Test("nothing is handed on after stopping, and nothing opens again, whatever is wanted")
    func nothingAfterStop() {
        tick()
        bus.opened[0].deliver(Self.messages(5))
        reader.stop()
        bus.opened[0].deliver(Self.messages(6))
        bus.opened[0].deliver(.ended(.unavailable))
        reader.withBook { book, _ in book.again = 2 }
        for _ in 0..<2 { tick() }
        #expect(read == [5] && told.withLock { $0 } == 1 && bus.opened.count == 1)
    }

    @Test("what is wanted again is read from there, in the place of what was open")
    func rereads() {
        tick()
        bus.opened[0].deliver(Self.messages(5, 6, 7))
        reader.withBook { book, _ in book.again = 6 }
        tick()
        bus.opened[0].deliver(Self.messages(8))
        bus.opened[1].deliver(Self.messages(6))
        bus.opened[1].deliver(.ended(.unavailable))
        tick()
        #expect(bus.starts == [.sequence(5), .sequence(6), .sequence(7)] && bus.closed == [1, 1, 0])
        #expect(read == [5, 6, 7, 6])
    }

    @Test("while its book is full it rests, closed; then it goes on behind the last message")
    func rests() {
        tick()
        bus.opened[0].deliver(Self.messages(5))
        reader.withBook { book, _ in book.isFull = true }
        bus.opened[0].deliver(Self.messages(6))
        #expect(bus.closed == [1] && read == [5, 6])
        bus.opened[0].deliver(Self.messages(7))
        for _ in 0..<3 { tick() }
        #expect(bus.opened.count == 1 && read == [5, 6])
        reader.withBook { book, _ in book.isFull = false }
        tick()
        #expect(bus.starts == [.sequence(5), .sequence(7)] && bus.closed == [1, 0])
    }

    @Test("who rests is woken by what is wanted again; who rests and is stopped stays so")
    func restsAndRereads() {
        bus.whileOpening { [reader] opened in
            reader.withBook { book, _ in book.isFull = true }
            opened.deliver(Self.messages(5, 6))
        }
        tick()
        #expect(bus.closed == [1], "it became full within the call")
        reader.withBook { book, _ in book.again = 6 }
        tick()
        #expect(bus.starts == [.sequence(5), .sequence(6)])
        bus.opened[1].deliver(Self.messages(6))
        reader.stop()
        reader.withBook { book, _ in book.isFull = false }
        tick()
        #expect(bus.opened.count == 2 && bus.closed == [1, 1])
    }
}
