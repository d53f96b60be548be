import CDraws
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

    @Test(
        "draws and logarithms are those of one at a time, bit by bit, on vectors of every width",
        arguments: [0, 1 << 32 - 40, 1 << 40] as [Int64])
    func widths(first: Int64) {
        let philox = Philox(seed: 0xfedc_ba98_7654_3210)
        let count = 2_048
        for width in [16, 32, 64] where width <= Int(cdraws_width()) {
            for isLong in [false, true] {
                var words = [UInt64](repeating: 0, count: 4 * count)
                var logs = [Double](repeating: 0, count: count)
                cdraws_draw(
                    Int32(width), philox.key.0, philox.key.1, Philox.Purpose.rejection.rawValue,
                    UInt64(first), Int32(count), isLong ? 1 : 0, &words, &logs)
                for draw in 0..<count {
                    let expected = philox.draw(.rejection, entity: 0, counter: first + Int64(draw))
                    for word in 0..<4 { #expect(words[word * count + draw] == UInt64(expected[word])) }
                    let unit = isLong ? expected.unit : expected.unit32(0)
                    #expect(logs[draw] == PortableMath.log(unit))
                }
            }
        }
    }

    @Test(
        "as many nodes have come back as a list of all says, on crowded pages too",
        arguments: 1...6 as ClosedRange<UInt64>)
    func tally(seed: UInt64) throws {
        let philox = Philox(seed: seed)
        let (startMs, endMs) = (1_700_000_000_000 as Int64, 1_700_400_000_000 as Int64)
        var tally = ReturnTally(startMs: startMs, endMs: endMs)
        tally.removeAll()
        for run in 0..<2 as Range<Int64> {
            var pages: [ReturnTally.Page] = []
            swap(&pages, &tally.pages)
            var waiting: [Int64] = []
            // Sums are complete only when somebody asks for what is missing.
            var (sum, expected): (Int64, Int64) = (0, 0)
            var nowMs = startMs
            for step in 0..<900 as Range<Int64> {
                let draw = philox.draw(.repair, entity: UInt32(run), counter: step)
                let spanMs: Int64 = draw[1] % 8 == 0 ? 500_000_000 : draw[1] % 8 < 5 ? 600_000 : 9_000_000
                let (timeMs, isWanted) = (nowMs + 1 + Int64(draw[0]) % spanMs, draw[2] % 4 > 0)
                if isWanted, timeMs <= endMs { waiting.append(timeMs - startMs) }
                nowMs += Int64(draw[3] % (step % 300 < 100 ? 20_000 : 700_000))
                let back = waiting.filter { $0 <= nowMs - startMs }
                waiting.removeAll { $0 <= nowMs - startMs }
                expected += back.reduce(0, +)
                try pages.withUnsafeMutableBufferPointer { pages in
                    let pages = try #require(pages.baseAddress)
                    tally.add(isWanted ? 1 : 0, at: timeMs, pages)
                    let (nodes, times) = tally.take(until: nowMs, pages)
                    #expect(nodes == back.count)
                    sum += times
                    guard step % 7 == 0 else { return }
                    sum += tally.settle(nowMs, pages)
                    #expect(sum == expected)
                }
            }
            swap(&pages, &tally.pages)
            // What is left must not come in the next run.
            tally.removeAll()
        }
    }

    /// Trajectories of it are in plain time from the start on: there are nodes enough when the job begins.
    static func plain(seed: UInt64 = 1, change: (inout Scenario) -> Void = { _ in }) -> Scenario {
        .growing(seed: seed) {
            $0.failures.perGPUDay = 0.1
            $0.job.startMs = Scenario.fixtureStartMs + 7 * TrajectoryTests.dayMs
            change(&$0)
        }
    }

    /// Ways in which plain time ends before the scenario does.
    static let ends: [@Sendable (inout Scenario) -> Void] = [
        { scenario in
            scenario.job.workload = [
                .init(
                    timeMs: Scenario.fixtureStartMs + 12 * TrajectoryTests.dayMs, training: 0.5,
                    reinforcement: 0.3, inference: 0.1)
            ]
        },
        { scenario in
            let startMs = Scenario.fixtureStartMs
            scenario.power.curve += [
                .init(timeMs: startMs + 10 * TrajectoryTests.dayMs, megawatts: 1.3 * 1.43),
                .init(timeMs: startMs + 10 * TrajectoryTests.dayMs + 3_600_000, megawatts: 0.6),
                .init(timeMs: startMs + 11 * TrajectoryTests.dayMs, megawatts: 0.6),
                .init(timeMs: startMs + 11 * TrajectoryTests.dayMs + 3_600_000, megawatts: 2),
            ]
        },
        // Sooner or later too few nodes are left.
        { scenario in
            scenario.job.startMs = Scenario.fixtureStartMs + 8 * TrajectoryTests.dayMs
            scenario.job.minimumGPUs = 904
        },
    ]

    @Test("plain time ends when something else begins, and not before", arguments: ends.indices)
    func plainTime(end: Int) throws {
        let plan = try FleetPlan(Self.plain(change: Self.ends[end]))
        let found = Self.plainTimes(plan)
        #expect(found == [true, true, false])
    }

    @Test("plain time does not end where nothing special begins")
    func plainToTheEnd() throws {
        let found = Self.plainTimes(try FleetPlan(Self.plain()))
        #expect(found == [true, true, true])
    }

    @Test("what is looked at day by day is what each day says alone", arguments: -1..<ends.count)
    func samples(end: Int) throws {
        let plan = try FleetPlan(Self.plain(change: end < 0 ? { _ in } : Self.ends[end]))
        var runner = TrajectoryRunner(plan: plan)
        let samples = runner.run(seed: 3).samples
        var core = FleetCore(plan: plan, seed: 3, endMs: plan.scenario.horizonMs)
        for sample in samples {
            core.restart(seed: 3)
            core.advance(to: sample.timeMs)
            #expect(8 * core.memberCount == sample.inTraining)
            #expect(core.job.interruptions == sample.interruptions)
            #expect(core.ettr(at: sample.timeMs) == sample.ettr)
        }
        #expect(samples.count == 15 && samples[14].interruptions > samples[9].interruptions)
    }

    @Test("memory for counting returns is taken when time is plain, and not before")
    func noMemoryInVain() throws {
        let (always, never) = (try FleetPlan(Self.plain()), try FleetPlan(TrajectoryTests.rich()))
        for (plan, isPlain) in [(always, true), (never, false)] {
            var core = FleetCore(plan: plan, seed: 1, endMs: plan.scenario.endMs)
            let before = core.plain.returns.pages.count
            core.restart(seed: 1)
            let after = core.plain.returns.pages.count
            #expect(before == 0 && (after > 0) == isPlain)
        }
    }

    @Test(
        "a share of nodes that do not pass burn-in may be as small as it likes",
        arguments: [1e-15, 1e-16, 1e-17, 1e-300])
    func rareRejections(share: Double) throws {
        let law = FleetLaw(Self.plain { $0.bringUp.rejectedShare = share })
        #expect(abs(law.passedLog / -share - 1) < 0.2)
        var draws = DrawAhead<RejectionDraw>(law, Philox(seed: 1))
        #expect(draws.next().passed == 1_000_000_000)
        var runner = TrajectoryRunner(plan: try FleetPlan(Self.plain { $0.bringUp.rejectedShare = share }))
        var none = TrajectoryRunner(plan: try FleetPlan(Self.plain { $0.bringUp.rejectedShare = 0 }))
        #expect(runner.run(seed: 1).gpuTime == none.run(seed: 1).gpuTime)
    }

    /// Whether time is plain at the start, just after the job began, and at the end.
    private static func plainTimes(_ plan: FleetPlan) -> [Bool] {
        var core = FleetCore(plan: plan, seed: 1, endMs: plan.scenario.endMs)
        core.restart(seed: 1)
        return [plan.scenario.startMs, plan.scenario.job.startMs + 60_000, plan.scenario.endMs].map {
            core.advance(to: $0)
            return core.isPlain
        }
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
