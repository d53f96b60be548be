import Testing

@testable import Receivers

@Suite("Rests between the rounds of an event loop")
struct GatheringTests {
    /// So many connections of an event loop; a request takes 50 us of the loop.
    ///
    /// - Parameters:
    ///   - pauseNs: from an answer to the next request, at least.
    ///   - everyNs: and from a request to the next.
    /// - Returns: the mean rest of the last half of the rounds, and requests in each of those.
    private static func play(connections: Int, pauseNs: Int64, everyNs: Int64 = 0, rounds: Int = 4_000) -> (
        restNs: Double, each: Double
    ) {
        var gathering = Gathering()
        var nowNs: Int64 = 1_000_000_000
        var next = (0..<connections).map { nowNs + Int64($0) * max(pauseNs, everyNs) / Int64(connections) }
        var answered = [UInt64?](repeating: nil, count: connections)
        var rests = 0.0
        var requests = 0.0
        for round in 0..<rounds {
            nowNs = max(nowNs, next.min() ?? nowNs)
            gathering.begin(nowNs: nowNs)
            let came = next.indices.filter { next[$0] <= nowNs }
            for connection in came {
                if let round = answered[connection] { gathering.came(answered: round) }
                nowNs += 50_000
            }
            for connection in came {
                answered[connection] = gathering.rounds
                next[connection] = max(nowNs + pauseNs, next[connection] + everyNs)
            }
            let restNs = gathering.end()
            nowNs += restNs
            gathering.rested(nowNs: nowNs)
            guard round >= rounds / 2 else { continue }
            rests += Double(restNs)
            requests += Double(came.count)
        }
        return (rests / Double(rounds / 2), requests / Double(rounds / 2))
    }

    @Test("senders that do not pause are never held up", arguments: [1, 2, 16, 200])
    func busy(connections: Int) {
        #expect(Self.play(connections: connections, pauseNs: 0).restNs == 0)
    }

    @Test("one sender or two have no others to wait for", arguments: [1, 2])
    func few(connections: Int) {
        #expect(Self.play(connections: connections, pauseNs: 3_000_000).restNs == 0)
    }

    @Test("many that pause are gathered, each seen in one round of two or three")
    func many() {
        let (restNs, each) = Self.play(connections: 16, pauseNs: 200_000, everyNs: 16_000_000)
        #expect(restNs > 1_000_000)
        #expect(restNs <= Double(Gathering.restMaxNs))
        #expect((3...9).contains(each))
    }

    @Test("a short pause makes a short rest")
    func short() {
        let (restNs, each) = Self.play(connections: 16, pauseNs: 200_000, everyNs: 1_500_000)
        #expect(restNs < 1_000_000)
        #expect(each > 1)
    }

    @Test("rare requests are handed on and not waited behind")
    func rare() {
        #expect(Self.play(connections: 16, pauseNs: 1_000_000_000).restNs < 100_000)
    }

    @Test("rests end within some dozen rounds when senders do not pause any more")
    func ends() {
        var gathering = Gathering()
        func round(after skipped: UInt64) -> Int64 {
            gathering.begin(nowNs: 0)
            guard gathering.rounds > skipped else { return gathering.end() }
            for _ in 0..<8 { gathering.came(answered: gathering.rounds - skipped) }
            let restNs = gathering.end()
            gathering.rested(nowNs: 0)
            return restNs
        }
        for _ in 0..<100 { _ = round(after: 1) }
        var longest: Int64 = 0
        for _ in 0..<200 { longest = max(longest, round(after: 6)) }
        #expect(longest == Gathering.restMaxNs)
        var rounds = 0
        while round(after: 1) > 0 { rounds += 1 }
        #expect(rounds < 40)
    }
}
