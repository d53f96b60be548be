import Glibc
import Simulation
import Telemetry
import TestSupport
import Testing

/// Trajectories beside the live model, which follows every node: two ways to the same numbers.
@Suite(.computing) struct TrajectoryTests {
    static let dayMs: Int64 = 86_400_000

    /// Everything that can happen, all of it often.
    static func rich(seed: UInt64 = 1, change: (inout Scenario) -> Void = { _ in }) -> Scenario {
        .growing(seed: seed) { scenario in
            scenario.failures.causes += [
                .init(
                    name: "cooling unit", weight: 20, effect: .node, xid: 0, blast: .rack,
                    detectionSeconds: 10),
                .init(name: "throttled", weight: 20, effect: .slow, xid: 0, hiddenHours: 2, slowdown: 0.2),
                .init(name: "corruption", weight: 20, effect: .silent, xid: 0, hiddenHours: 3),
                .init(name: "flap", weight: 30, effect: .stall, xid: 0, stallSeconds: 20),
                .init(
                    name: "spike", weight: 0, effect: .software, xid: 0, perJobDay: 3, rollbackSeconds: 900),
                .init(name: "data", weight: 0, effect: .stall, xid: 0, perJobDay: 10, stallSeconds: 30),
                .init(name: "maintenance", weight: 0, effect: .planned, xid: 0, perJobDay: 1),
            ]
            scenario.failures.spreadSigma = 0.3
            scenario.failures.lemons = .init(share: 0.05, factor: 10)
            scenario.failures.infancy = .init(factor: 5, days: 2)
            scenario.job.spareNodes = 2
            scenario.job.checkpointPolicy = .daly
            scenario.job.restartSecondsPerDoubling = 5
            scenario.job.workload = [
                .init(
                    timeMs: Scenario.fixtureStartMs + 12 * dayMs, training: 0.5, reinforcement: 0.3,
                    inference: 0.1)
            ]
            // Power is taken away for a day.
            scenario.power.curve += [
                .init(timeMs: Scenario.fixtureStartMs + 10 * dayMs, megawatts: 1.3 * 1.43),
                .init(timeMs: Scenario.fixtureStartMs + 10 * dayMs + 3_600_000, megawatts: 0.6),
                .init(timeMs: Scenario.fixtureStartMs + 11 * dayMs, megawatts: 0.6),
                .init(timeMs: Scenario.fixtureStartMs + 11 * dayMs + 3_600_000, megawatts: 2),
            ]
            change(&scenario)
        }
    }

    @Test(
        "one seed has the same failures, interruptions and GPU time in a trajectory and live",
        arguments: 1...12 as ClosedRange<UInt64>)
    func sameLaw(seed: UInt64) throws {
        let plan = try FleetPlan(Self.rich(seed: seed))
        let (trajectory, model) = sameRun(plan, seed: seed)
        #expect(trajectory.failures > 50 && trajectory.interruptions > 10)
        #expect(abs(Double(trajectory.exposedNodeMs) / 86_400_000 / model.exposedNodeDays - 1) < 1e-9)
    }

    @Test(
        "the same where the job takes all that is there, and nothing special happens",
        arguments: 1...12 as ClosedRange<UInt64>)
    func sameLawPlain(seed: UInt64) throws {
        let plan = try FleetPlan(.growing(seed: seed) { $0.failures.perGPUDay = 0.1 })
        let (trajectory, _) = sameRun(plan, seed: seed)
        #expect(trajectory.failures > 500)
        let (later, _) = sameRun(try FleetPlan(TrajectoryPartsTests.plain(seed: seed)), seed: seed)
        #expect(later.failures > 500)
    }

    @Test(
        "the same where something special begins: less training, less power, or too few nodes",
        arguments: 1...12 as ClosedRange<UInt64>, TrajectoryPartsTests.ends.indices)
    func sameLawAfterwards(seed: UInt64, end: Int) throws {
        let plan = try FleetPlan(
            TrajectoryPartsTests.plain(seed: seed, change: TrajectoryPartsTests.ends[end]))
        let (trajectory, _) = sameRun(plan, seed: seed)
        #expect(trajectory.failures > 500)
    }

    /// A trajectory and the live model of one seed, after they were compared.
    private func sameRun(_ plan: FleetPlan, seed: UInt64) -> (Trajectory, FleetModel) {
        var runner = TrajectoryRunner(plan: plan)
        // Another run before must leave nothing behind.
        _ = runner.run(seed: seed &+ 1)
        let trajectory = runner.run(seed: seed)
        var model = FleetModel(plan: plan)
        for sample in trajectory.samples {
            model.advance(to: sample.timeMs)
            #expect(sample.inTraining == model.trainingGPUs && sample.ettr == model.ettr)
            #expect(sample.interruptions == model.interruptions)
        }
        #expect(trajectory.failures == model.failures)
        #expect(trajectory.plannedStops == model.plannedStops)
        #expect(trajectory.gpuTime == model.gpuTime)
        return (trajectory, model)
    }

    @Test(
        "GPU time adds up to the time that nodes stand, to the millisecond",
        arguments: 1...12 as ClosedRange<UInt64>)
    func exactSum(seed: UInt64) throws {
        let plan = try FleetPlan(Self.rich(seed: seed))
        var runner = TrajectoryRunner(plan: plan)
        let time = runner.run(seed: seed).gpuTime
        let trajectory = runner.run(seed: seed)
        #expect(time.total == trajectory.installedNodeMs)
        for kind in GPUTime.Kind.allCases { #expect(time[kind] >= 0) }
        #expect(time[.powerTaken] > 0 && time[.reinforcement] > 0 && time[.lost] > 0 && time[.stall] > 0)
    }

    @Test("GPU time is what the statuses of all nodes say, minute by minute")
    func statuses() throws {
        let plan = try FleetPlan(Self.rich())
        var model = FleetModel(plan: plan)
        var sums: [NodeStatus: Double] = [:]
        let stepMs: Int64 = 10_000
        var timeMs = plan.scenario.startMs
        while timeMs < plan.scenario.endMs {
            model.advance(to: timeMs + stepMs / 2)
            for status in NodeStatus.allCases {
                sums[status, default: 0] += Double(model.nodeCount(status)) * Double(stepMs)
            }
            timeMs += stepMs
        }
        model.advance(to: plan.scenario.endMs)
        let time = model.gpuTime
        func near(_ kinds: [GPUTime.Kind], _ statuses: [NodeStatus]) -> Bool {
            let exact = kinds.reduce(0.0) { $0 + Double(time[$1]) }
            let sampled = statuses.reduce(0.0) { $0 + (sums[$1] ?? 0) }
            return abs(sampled / exact - 1) < 0.002
        }
        #expect(near([.waitingForPower, .powerTaken], [.installed]))
        #expect(near([.bringUp], [.powered, .burnIn]))
        #expect(near([.idle, .reinforcement, .inference], [.ready]))
        #expect(near([.repair, .draining], [.inRepair, .failed]))
        #expect(near(GPUTime.Kind.allCases.filter(\.isJob), [.training]))
    }

    @Test("energy is the integral of the power of what nodes do")
    func energy() throws {
        let scenario = Scenario.fixture { $0.failures.perGPUDay = 0 }
        var runner = TrajectoryRunner(plan: try FleetPlan(scenario))
        let trajectory = runner.run(seed: 1)
        // 512 GPUs of 650 W, less in checkpoints (15% of what is above 85 W, 20 of 620 s); hosts, network, PUE; no
        // failures, and no stops: every node is there from the start.
        let watts = 650 * 600.0 / 620 + (85 + 565 * 0.15) * 20 / 620 + 319
        let expected = 512 * watts * 1.1 * 1.12 * 24 / 1e6
        #expect(abs(trajectory.energyMWh / expected - 1) < 1e-3)
    }

    @Test("racks beyond the power that is left go off, the last first, and come back with it")
    func powerTaken() throws {
        let scenario = Self.rich { $0.failures.perGPUDay = 0 }
        var model = FleetModel(plan: try FleetPlan(scenario))
        model.advance(to: Scenario.fixtureStartMs + 10 * Self.dayMs)
        let before = model.poweredGPUs
        model.advance(to: Scenario.fixtureStartMs + 10 * Self.dayMs + 4_000_000)
        // 0.6 MW are 419 GPUs of 1.43 kW: six racks of 64.
        #expect(before > 384 && model.poweredGPUs == 384)
        #expect(model.trainingGPUs <= 384)
        model.advance(to: Scenario.fixtureStartMs + 12 * Self.dayMs - 1)
        #expect(model.poweredGPUs >= before)
    }

    @Test("a phase that is retired leaves, and its time ends then")
    func retirement() throws {
        let scenario = Self.rich { $0.phases[0].retireMs = Scenario.fixtureStartMs + 13 * Self.dayMs }
        let plan = try FleetPlan(scenario)
        var model = FleetModel(plan: plan)
        model.advance(to: scenario.endMs)
        #expect(model.installedGPUs == 400)
        var runner = TrajectoryRunner(plan: plan)
        let trajectory = runner.run(seed: scenario.seed)
        #expect(trajectory.gpuTime.total == trajectory.installedNodeMs)
        #expect(trajectory.gpuTime == model.gpuTime)
    }

    /// Power for some of the first phase only; the rest comes after it has been taken away, and the second one has all.
    static func retiredInTheDark(seed: UInt64, change: (inout Scenario) -> Void = { _ in }) -> Scenario {
        rich(seed: seed) { scenario in
            scenario.phases[0].retireMs = Scenario.fixtureStartMs + 11 * dayMs
            scenario.power.curve = [
                .init(timeMs: Scenario.fixtureStartMs, megawatts: 0.4),
                .init(timeMs: Scenario.fixtureStartMs + 12 * dayMs, megawatts: 0.4),
                .init(timeMs: Scenario.fixtureStartMs + 12 * dayMs + 60_000, megawatts: 3),
            ]
            scenario.bringUp.rejectedShare = 0.2
            scenario.job.isPacedBySlowestKind = false
            change(&scenario)
        }
    }

    @Test(
        "a phase that is retired before part of it has power: the next one comes up all the same",
        arguments: 1...12 as ClosedRange<UInt64>)
    func retiredInTheDark(seed: UInt64) throws {
        let scenario = Self.retiredInTheDark(seed: seed)
        let plan = try FleetPlan(scenario)
        var runner = TrajectoryRunner(plan: plan)
        _ = runner.run(seed: seed &+ 1)
        let trajectory = runner.run(seed: seed)
        var model = FleetModel(plan: plan)
        for sample in trajectory.samples {
            model.advance(to: sample.timeMs)
            #expect(sample.inTraining == model.trainingGPUs && sample.ettr == model.ettr)
            #expect(sample.interruptions == model.interruptions)
        }
        #expect(trajectory.gpuTime == model.gpuTime)
        #expect(trajectory.gpuTime.total == trajectory.installedNodeMs)
        #expect(model.installedGPUs == 400 && model.trainingGPUs > 100)
    }

    @Test("racks behind those that never had power are powered and tested like any other")
    func behindTheDark() throws {
        let plan = try FleetPlan(Self.retiredInTheDark(seed: 1) { $0.failures.perGPUDay = 0 })
        var model = FleetModel(plan: plan)
        let powerMs = Scenario.fixtureStartMs + 12 * Self.dayMs + 60_000
        model.advance(to: powerMs + 3_600_000)
        #expect(model.nodeCount(.powered) > 0 && model.nodeCount(.ready) == 0)
        model.advance(to: powerMs + 3 * 3_600_000)
        #expect(model.nodeCount(.burnIn) > 0 && model.nodeCount(.ready) == 0)
    }

    @Test("lemons fail as many times as often as the scenario says, and the mean stays")
    func lemons() throws {
        let scenario = Scenario.fixture {
            $0.failures.lemons = .init(share: 1.0 / 16, factor: 20)
            $0.failures.perGPUDay = 0.5
            $0.failures.repair = .init(medianHours: 0.01, sigma: 0, minHours: 0, maxHours: 1)
            // A lemon that is away for long cannot fail, and the mean would fall.
            $0.failures.drainMinutes = 0
        }
        var counts: [String: Int] = [:]
        var total = 0
        var exposure = 0.0
        for seed in 1...20 as ClosedRange<UInt64> {
            var model = FleetModel(plan: try FleetPlan(scenario.seeded(seed)))
            var events: [ModelEvent] = []
            model.advance(to: .max, into: &events)
            for event in events where event.kind == .nodeDown {
                counts["\(seed)" + model.describe(event, stream: .measured).entity, default: 0] += 1
            }
            total += model.failures
            exposure += model.exposedNodeDays
        }
        let sorted = counts.values.sorted(by: >)
        // 4 of 64 nodes in each of 20 runs are lemons: the 80 with most failures.
        let lemons = sorted.prefix(80).reduce(0, +)
        let others = sorted.dropFirst(80).reduce(0, +)
        let ratio = Double(lemons) / 80 / (Double(others) / 1_200)
        #expect((16...24).contains(ratio), "\(ratio)")
        // All causes together, at the mean rate of 0.5 a GPU and day.
        #expect(abs(Double(total) / (exposure * 8 * 0.5) - 1) < 0.05)
    }

    @Test("the spread between clusters has the standard deviation that the scenario gives")
    func spread() throws {
        let scenario = Scenario.fixture {
            $0.failures.spreadSigma = 0.85
            $0.failures.perGPUDay = 0.5
        }
        var runner = TrajectoryRunner(plan: try FleetPlan(scenario))
        let logs = (1...600).map { seed in
            let run = runner.run(seed: UInt64(seed))
            return log(Double(max(1, run.failures)) / Double(run.exposedNodeMs))
        }
        let mean = logs.reduce(0, +) / 600
        let deviation = (logs.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 599).squareRoot()
        #expect(abs(deviation - 0.85) < 0.09, "\(deviation)")
    }

    @Test("a target is reached when the useful FLOP are there")
    func target() throws {
        let scenario = Scenario.fixture {
            $0.failures.perGPUDay = 0
            $0.gpuModels[0].peakTFLOPs = 1_000
            $0.gpuModels[1].peakTFLOPs = 1_000
            $0.job.mfu = [.init(gpus: 512, mfu: 0.4)]
            // 512 GPUs of 400 TFLOP/s for 6 h, 600 s of 620.
            $0.job.targetFLOP = 512 * 400e12 * 6 * 3_600 * 600 / 620
        }
        var runner = TrajectoryRunner(plan: try FleetPlan(scenario))
        let run = runner.run(seed: 1)
        let hours = Double(try #require(run.targetMs) - scenario.startMs) / 3_600_000
        #expect(abs(hours - 6) < 0.01)
        #expect(abs(run.flop / scenario.job.targetFLOP - 4) < 0.01)
    }
}

extension Scenario {
    func seeded(_ seed: UInt64) -> Scenario {
        var scenario = self
        scenario.seed = seed
        return scenario
    }
}
