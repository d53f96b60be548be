import Simulation
import Telemetry
import TestSupport
import Testing

@Suite(.computing) struct FleetModelTests {
    static let dayMs: Int64 = 86_400_000

    static func model(_ scenario: Scenario) throws -> FleetModel { FleetModel(plan: try FleetPlan(scenario)) }

    /// Everything that a run shows, over all its days.
    static func story(_ scenario: Scenario, stepMs: Int64) throws -> ([TimelinePoint], [ModelEvent]) {
        var model = try model(scenario)
        var events: [ModelEvent] = []
        var points: [TimelinePoint] = []
        for timeMs in stride(from: scenario.startMs, through: scenario.endMs, by: Int64.Stride(stepMs)) {
            model.advance(to: timeMs, into: &events)
            if (timeMs - scenario.startMs) % 21_600_000 == 0 { points.append(model.timelinePoint()) }
        }
        return (points, events)
    }

    @Test("a phase is complete when its last day ends, and not a millisecond before")
    func exactEnds() throws {
        let scenario = Scenario.growing()
        var model = try Self.model(scenario)
        let end = scenario.startMs + 10 * Self.dayMs
        model.advance(to: end - 1)
        #expect(model.installedGPUs < 1_000)
        model.advance(to: end)
        #expect(model.installedGPUs == 1_000)
        let point = model.timelinePoint()
        #expect((point.day, point.phase, point.phaseDay, point.phaseDays) == (10, "first", 10, 10))
        model.advance(to: end + 1)
        let next = model.timelinePoint()
        #expect((next.day, next.phase, next.phaseDay, next.phaseDays) == (11, "second", 1, 5))
        model.advance(to: .max)
        #expect(model.nowMs == scenario.endMs && model.isFinished)
        #expect(model.installedGPUs == 1_400)
        #expect(model.timelinePoint().phaseDay == 5)
    }

    @Test("counts are sums over the states of nodes, at all times")
    func sums() throws {
        let scenario = Scenario.growing()
        let plan = try FleetPlan(scenario)
        var model = FleetModel(plan: plan)
        for hour in 0...360 {
            model.advance(to: scenario.startMs + Int64(hour) * 3_600_000)
            var counts: [NodeStatus: Int] = [:]
            for node in 0..<plan.nodeCount { counts[model.status(ofNode: node), default: 0] += 1 }
            for status in NodeStatus.allCases { #expect(model.nodeCount(status) == counts[status] ?? 0) }
            let point = model.timelinePoint()
            #expect(point.installed == 8 * (plan.nodeCount - (counts[.planned] ?? 0)))
            #expect(point.powered == point.installed - 8 * (counts[.installed] ?? 0))
            #expect(point.inTraining == 8 * (counts[.training] ?? 0))
            #expect(point.inTraining <= point.powered && point.powered <= point.installed)
        }
    }

    @Test("no more is powered than the site has megawatts for")
    func power() throws {
        let scenario = Scenario.growing()
        var model = try Self.model(scenario)
        var limited = false
        for hour in 0...360 {
            model.advance(to: scenario.startMs + Int64(hour) * 3_600_000)
            let days = Double(hour) / 24
            let megawatts = 0.4 + (1.3 * 1.43 - 0.4) * min(days / 8, 1)
            #expect(Double(model.poweredGPUs) * 1.43 / 1_000 <= megawatts + 1e-9)
            limited = limited || model.installedGPUs - model.poweredGPUs > 64
        }
        #expect(limited)
        // 1,300 GPUs fit, in racks of 64 (and one of 40): 15 racks, the small one and 5 more.
        #expect(model.poweredGPUs == 15 * 64 + 40 + 4 * 64)
    }

    @Test("the milestones make the count of what is announced, and nothing else")
    func milestones() throws {
        let (with, withEvents) = try Self.story(.growing(), stepMs: 3_600_000)
        let (without, withoutEvents) = try Self.story(.growing { $0.milestones = [] }, stepMs: 3_600_000)
        #expect(with.last?.announced == 512)
        let blind = with.map { point in
            var point = point
            point.announced = 0
            return point
        }
        #expect(blind == without)
        #expect(withEvents.filter { $0.kind != .milestone } == withoutEvents)
        #expect(withEvents.count == withoutEvents.count + 2)
    }

    @Test("the steps in which a model is advanced do not matter", arguments: [1, 7, 42] as [UInt64])
    func granularity(seed: UInt64) throws {
        let (coarse, coarseEvents) = try Self.story(.growing(seed: seed), stepMs: 21_600_000)
        let (fine, fineEvents) = try Self.story(.growing(seed: seed), stepMs: 600_000)
        #expect(coarse == fine)
        #expect(coarseEvents == fineEvents)
        #expect(coarseEvents.map(\.timeMs) == coarseEvents.map(\.timeMs).sorted())
    }

    @Test("another seed is another run of the same build")
    func seeds() throws {
        let (one, oneEvents) = try Self.story(.growing(seed: 1), stepMs: 21_600_000)
        let (two, twoEvents) = try Self.story(.growing(seed: 2), stepMs: 21_600_000)
        #expect(one.map(\.installed) == two.map(\.installed))
        #expect(one.map(\.powered) == two.map(\.powered))
        #expect(oneEvents != twoEvents)
        #expect(Scenario.growing(seed: 1).fingerprint == Scenario.growing(seed: 1).fingerprint)
        #expect(Scenario.growing(seed: 1).fingerprint != Scenario.growing(seed: 2).fingerprint)
    }

    @Test("failures come at the rate of the scenario: within Poisson bounds, seed by seed and together")
    func failureRate() throws {
        var total = 0
        var expectedTotal = 0.0
        for seed in 1...40 as ClosedRange<UInt64> {
            var model = try Self.model(.growing(seed: seed))
            model.advance(to: .max)
            let expected = model.exposedNodeDays * 8 * 0.01
            #expect(abs(Double(model.failures) - expected) < 5 * expected.squareRoot(), "seed \(seed)")
            total += model.failures
            expectedTotal += expected
        }
        #expect(abs(Double(total) - expectedTotal) < 4 * expectedTotal.squareRoot())
    }

    @Test("causes are drawn in proportion to their weights")
    func causes() throws {
        var counts: [String: Int] = [:]
        for seed in 1...40 as ClosedRange<UInt64> {
            var model = try Self.model(.growing(seed: seed))
            var events: [ModelEvent] = []
            model.advance(to: .max, into: &events)
            for event in events where event.kind == .xid {
                counts[model.describe(event, stream: .measured).message, default: 0] += 1
            }
        }
        let total = Double(counts.values.reduce(0, +))
        let expected = [
            "GPU has fallen off the bus": 148.0, "Contained ECC error": 72, "GPU memory page fault": 54,
        ]
        #expect(counts.count == 3)
        for (text, weight) in expected {
            let share = weight / 274
            let deviation = 4 * (share * (1 - share) / total).squareRoot()
            #expect(abs(Double(counts[text] ?? 0) / total - share) < deviation, "\(text)")
        }
    }

    @Test(
        "a failure in the job stops it, throws away what no checkpoint holds, and it goes on without the node"
    )
    func interruption() throws {
        let scenario = Scenario.fixture()
        var model = try Self.model(scenario)
        var events: [ModelEvent] = []
        model.advance(to: .max, into: &events)
        let named = events.map { model.describe($0, stream: .measured) }
        let stops = named.filter { $0.kind == .jobInterrupted && !$0.entity.isEmpty }
        #expect(stops.count == model.interruptions && stops.count > 3)
        #expect(named.first { $0.kind == .jobStart }?.value == 512)
        for stop in stops {
            // Less than an interval is lost.
            #expect((0...600).contains(stop.value ?? -1))
            // Detection and restart take 300 s; a failure in between makes it longer.
            let restart = try #require(
                named.first { $0.kind == .jobRestarted && $0.timeMs > stop.timeMs } ?? named.last)
            #expect(restart.timeMs - stop.timeMs >= 300_000 || restart.kind != .jobRestarted)
            #expect(stop.job == "pretrain" && stop.source == .simulation)
        }
    }

    @Test("the job shrinks when nodes fail and grows when they come back")
    func size() throws {
        let scenario = Scenario.fixture()
        var model = try Self.model(scenario)
        var events: [ModelEvent] = []
        model.advance(to: .max, into: &events)
        let sizes = events.filter { $0.kind == .jobRestarted }.compactMap(\.value)
        #expect(zip(sizes, sizes.dropFirst()).contains { $0 < $1 })
        #expect(zip([512] + sizes, sizes).contains { $0 > $1 })
        #expect(model.plannedStops > 0)
    }

    @Test("below its minimum the job waits, and starts again when enough nodes are back")
    func minimum() throws {
        let scenario = Scenario.fixture {
            $0.job.minimumGPUs = 504
            $0.failures.perGPUDay = 0.05
        }
        var model = try Self.model(scenario)
        var sizes: Set<Int> = []
        for minute in 0...1_440 {
            model.advance(to: scenario.startMs + Int64(minute) * 60_000)
            sizes.insert(model.trainingGPUs)
        }
        #expect(sizes.contains(0))
        #expect(model.ettr < 0.9 && model.ettr > 0)
    }

    @Test("without failures the ETTR is what checkpoints leave: 600 of 620 seconds")
    func steady() throws {
        let scenario = Scenario.fixture {
            $0.failures.perGPUDay = 0
            $0.job.resizeShare = 1
        }
        var model = try Self.model(scenario)
        model.advance(to: scenario.startMs + 62_000 * 1_000)
        #expect(abs(model.ettr - 600.0 / 620) < 1e-12)
        #expect(model.checkpoints == 100)
        #expect(model.interruptions == 0 && model.failures == 0)
        #expect(abs(model.timelinePoint().utilization - (0.97 * 600 + 0.1 * 20) / 620) < 0.002)
    }

    @Test("checkpoints are events when they are asked for, from any time on")
    func checkpointEvents() throws {
        let scenario = Scenario.fixture { $0.failures.perGPUDay = 0 }
        var always = try Self.model(scenario)
        always.reportsCheckpoints = true
        var all: [ModelEvent] = []
        always.advance(to: scenario.startMs + 10_000_000, into: &all)
        var late = try Self.model(scenario)
        late.advance(to: scenario.startMs + 5_000_000)
        late.reportsCheckpoints = true
        var some: [ModelEvent] = []
        late.advance(to: scenario.startMs + 10_000_000, into: &some)
        let checkpoints = all.filter { $0.kind == .checkpoint }
        #expect(checkpoints.map(\.timeMs) == (1...16).map { scenario.startMs + Int64($0) * 620_000 })
        #expect(
            some.filter { $0.kind == .checkpoint }
                == checkpoints.filter { $0.timeMs > scenario.startMs + 5_000_000 })
    }

    @Test(
        "parts that do not fit together are named",
        arguments: [
            ("phases[0].groups[0].gpus", { @Sendable in $0.phases[0].groups[0].gpus = 12 }),
            ("phases[0].groups[0].model", { @Sendable in $0.phases[0].groups[0].model = "B200" }),
            ("job.maximum_gpus", { @Sendable in $0.job.maximumGPUs = 8 }),
            ("job.target_flop", { @Sendable in $0.job.targetFLOP = 1e20 }),
            ("failures.lemons.factor", { @Sendable in $0.failures.lemons.factor = 0.5 }),
            ("power.curve[1].at", { @Sendable in $0.power.curve.append($0.power.curve[0]) }),
            ("failures.causes", { @Sendable in $0.failures.causes = [] }),
            ("layout.nodes_per_rack", { @Sendable in $0.layout.nodesPerRack = 9 }),
            ("failures.repair", { @Sendable in $0.failures.repair.maxHours = 87_601 }),
            ("failures.repair", { @Sendable in $0.failures.repair.minHours = -1 }),
            ("failures.repair", { @Sendable in $0.failures.repair.sigma = .nan }),
            (
                "failures.causes[0].repair",
                { @Sendable in
                    $0.failures.causes[0].repair = $0.failures.repair
                    $0.failures.causes[0].repair?.maxHours = 1e20
                }
            ),
            ("phases", { @Sendable in $0.phases = [.century, .century] }),
            ("plan_until", { @Sendable in $0.planUntilMs = $0.startMs + 36_526 * 86_400_000 }),
        ] as [(String, @Sendable (inout Scenario) -> Void)])
    func problems(_ key: String, _ change: @Sendable (inout Scenario) -> Void) {
        let problem = #expect(throws: ScenarioProblem.self) {
            try FleetPlan(.fixture(change: { change(&$0) }))
        }
        #expect(problem?.key == key)
    }
}

extension Scenario.Phase {
    fileprivate static let century = Scenario.Phase(
        name: "century", days: 36_500, groups: [.init(model: "H100", gpus: 512)], curve: .immediate)
}
