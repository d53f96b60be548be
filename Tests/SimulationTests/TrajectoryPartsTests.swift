import TestSupport
import Testing

@testable import Simulation

/// What makes trajectories fast, beside the plain way to the same.
@Suite(.computing) struct TrajectoryPartsTests {
    static let law = FleetLaw(.growing())

    @Test("draws that are worked out ahead say what draws one by one say")
    func drawsAhead() {
        let law = Self.law
        var failures = DrawAhead<FailureDraw>(law, Philox(seed: 3))
        var rejections = DrawAhead<RejectionDraw>(law, Philox(seed: 3))
        for seed in [7, 1 << 40] as [UInt64] {
            let philox = Philox(seed: seed)
            failures.restart(philox)
            rejections.restart(philox)
            for counter in 0..<1_000 as Range<Int64> {
                #expect(failures.count == counter)
                let failure = failures.next()
                let words = philox.draw(.failure, entity: 0, counter: counter)
                #expect(failure.hazard == -PortableMath.log(words.unit32(0)))
                #expect(failure.place == words.unit32(1) && failure.gpu == words[2] & 7)
                let cause = law.cause(words.unit32(2))
                let repair = law.repairs[law.causes[cause].repair]
                #expect(failure.cause == cause && failure.repairMs == repair.milliseconds(words.unit32(3)))
                let rejection = rejections.next()
                let other = philox.draw(.rejection, entity: 0, counter: counter)
                let passed = PortableMath.log(other.unit) / PortableMath.log(1 - law.rejectedShare)
                #expect(rejection.passed == Int(passed))
                #expect(rejection.repairMs == law.repairs[0].milliseconds(other.unit32(3)))
            }
            // Not at the end of what was worked out ahead.
            _ = failures.next()
        }
    }

    @Test("eight logarithms at once are those of one at a time, bit by bit")
    func logarithms() {
        for step in 0..<2_000 {
            let units = (0..<8).map { lane -> Double in
                let unit = Philox(seed: 9).draw(.tick, entity: UInt32(lane), counter: Int64(step)).unit
                return step % 2 == 0 ? unit : unit * 1e-9
            }
            let logs = PortableMath.log8(SIMD8(units))
            for lane in 0..<8 { #expect(logs[lane] == PortableMath.log(units[lane])) }
        }
        // Where the significand goes from one half of its range to the other, and powers of 2.
        let edges = [0.5, 2.0.squareRoot(), 2.0.squareRoot().nextUp, 1, 2, 0.5.squareRoot(), 1.0.nextDown, 3]
        let logs = PortableMath.log8(SIMD8(edges))
        for lane in 0..<8 { #expect(logs[lane] == PortableMath.log(edges[lane])) }
    }

    @Test("a cause is the first whose sum of shares is beyond the number")
    func causes() {
        let weights = Scenario.growing().failures.causes.map(\.weight)
        let total = weights.reduce(0, +)
        for step in 0..<20_000 {
            let unit = (Double(step) + 0.5) / 20_000
            var (cause, sum) = (0, weights[0])
            while unit >= sum / total {
                cause += 1
                sum += weights[cause]
            }
            #expect(Self.law.cause(unit) == cause)
        }
    }

    @Test("counters beyond 32 bits are drawn eight at a time like alone")
    func longCounters() {
        let philox = Philox(seed: 5)
        let first = Int64(1) << 32 - 3
        let (w0, w1, w2, w3) = philox.draw8(.failure, entity: 0, firstCounter: first)
        for lane in 0..<8 {
            let expected = philox.draw(.failure, entity: 0, counter: first + Int64(lane))
            #expect(Philox.Words(w0[lane], w1[lane], w2[lane], w3[lane]) == expected)
        }
    }

    @Test(
        "nodes come back in the order of their times, however they were added",
        arguments: 1...6 as ClosedRange<UInt64>)
    func order(seed: UInt64) {
        let philox = Philox(seed: seed)
        let (startMs, endMs) = (1_700_000_000_000 as Int64, 1_700_400_000_000 as Int64)
        var calendar = ReturnCalendar(startMs: startMs, endMs: endMs)
        for run in 0..<2 as Range<Int64> {
            var waiting: [(timeMs: Int64, node: Int)] = []
            var nowMs = startMs
            for step in 0..<600 as Range<Int64> {
                let draw = philox.draw(.repair, entity: UInt32(run), counter: step)
                // Often many in the same minutes, now and then far away.
                let spanMs: Int64 = draw[1] % 8 == 0 ? 200_000_000 : draw[1] % 8 < 5 ? 600_000 : 20_000_000
                let timeMs = nowMs + 1 + Int64(draw[0]) % spanMs
                let node = Int(draw[2] % 500_000)
                calendar.add(node, at: timeMs)
                if timeMs <= endMs { waiting.append((timeMs, node)) }
                nowMs += Int64(draw[3] % 4_000)
                waiting.sort { ($0.timeMs, $0.node) < ($1.timeMs, $1.node) }
                #expect(calendar.nextMs == waiting.first?.timeMs ?? .max)
                while let (node, timeMs) = calendar.removeFirst(until: nowMs) {
                    let first = waiting.removeFirst()
                    #expect(first.node == node && first.timeMs == timeMs && timeMs <= nowMs)
                }
                #expect((waiting.first?.timeMs ?? .max) > nowMs)
            }
            // What is left must not come in the next run.
            calendar.removeAll()
            #expect(calendar.nextMs == .max)
        }
    }

    @Test("node time is the sum over all changes, in whichever order they are told")
    func nodeTime() {
        var time = NodeTime(startMs: 1_000)
        time.add(5, at: 9_000)
        time.add(3, at: 2_000)
        time.add(-2, at: 4_000)
        #expect(time.count == 6)
        #expect(time.sum(until: 9_500) == 3 * 7_500 - 2 * 5_500 + 5 * 500)
    }

    @Test("candidates come out as they went in, and what did not fit comes first again")
    func candidates() {
        var queue = CandidateQueue()
        queue.append(7)
        queue.append(.init(first: 16, nodes: 0b1010_0001))
        #expect(queue.removeFirst().map { [Int($0.first), Int($0.nodes)] } == [7, 1])
        #expect(queue.removeFirst().map { [Int($0.first), Int($0.nodes)] } == [16, 0b1010_0001])
        queue.putBack(.init(first: 17, nodes: 0b101_0000))
        queue.append(9)
        #expect(queue.removeFirst().map { [Int($0.first), Int($0.nodes)] } == [17, 0b101_0000])
        #expect(queue.removeFirst().map { [Int($0.first), Int($0.nodes)] } == [9, 1])
        #expect(queue.removeFirst() == nil && queue.isEmpty)
    }
}
