import Telemetry
import TestSupport
import Testing

@testable import Aggregation

@Suite(.computing) struct PendingEventsTests {
    private static func events(_ numbers: Range<Int>) -> [Event] {
        numbers.map {
            Event(stream: .measured, timeMs: Int64($0), kind: .checkpoint, job: "j", source: .ingest)
        }
    }

    @Test("events stay in order, and of too many the oldest go", arguments: [1, 7, 1_000, 5_000])
    func overflow(size: Int) {
        var random = SeededRandom(seed: UInt64(size))
        var pending = PendingEvents()
        var next = 0
        var forgotten = 0
        for _ in 0..<max(20, 20_000 / size) {
            let count = Int.random(in: 0...size, using: &random)
            pending.append(Self.events(next..<next + count))
            next += count
            forgotten += pending.forget(beyond: 3_000)
            #expect(pending.count == next - forgotten)
            // A piece more than the limit stays at most: the newest.
            #expect(pending.count <= max(3_000, count + 1_024))
        }
        #expect(pending.all.map { Int($0.timeMs) } == Array(forgotten..<next))
        #expect(forgotten > 0)
    }

    @Test("what could not be stored goes before the others")
    func prepend() {
        var pending = PendingEvents()
        #expect(pending.isEmpty && pending.all.isEmpty)
        pending.append(Self.events(5..<8))
        pending.prepend(Self.events(0..<5))
        pending.prepend([])
        #expect(pending.all.map(\.timeMs) == Array(0..<8) && pending.count == 8)
    }
}
