import Simulation
import Telemetry
import TestSupport
import Testing

/// Power, energy and clocks as functions of the load, checked by numbers that the kernel did not make.
@Suite(.computing) struct PhysicsTests {
    typealias Ticks = SimulatedTickTests

    static func column(_ id: UInt16, _ tick: SimulatedTick) -> [Double] {
        Ticks.frame(tick).values.compactMap { $0.map { Ticks.value(id, $0) } }
    }

    static func mean(_ id: UInt16, _ tick: SimulatedTick) -> Double {
        let values = column(id, tick)
        return values.reduce(0, +) / Double(values.count)
    }

    /// Everything stands still but what a test is about.
    static func calm(change: (inout Scenario) -> Void = { _ in }) -> Scenario {
        .fixture {
            $0.failures.perGPUDay = 0
            $0.telemetry.diurnalCelsius = 0
            $0.telemetry.diurnalShare = 0
            change(&$0)
        }
    }

    @Test("energy is the integral of power, GPU by GPU, through steps, checkpoints and a failure")
    func energy() throws {
        let plan = try FleetPlan(Self.calm { $0.telemetry.powerSeconds = 3 })
        var model = FleetModel(plan: plan)
        let from = Scenario.fixtureStartMs
        try model.inject(plan.injection("memory", at: "r0001-n3/5", timeMs: from + 700_000, forMs: 900_000))
        // All of the node with the failure, and one of each of some others: each is integrated for itself.
        let failing = try #require(plan.node(named: "r0001-n3")) * 8
        let watched = Array(failing..<failing + 8) + stride(from: 3, to: Ticks.gpus, by: 37)
        func look(_ ms: Int64) -> [[Double]?] {
            let tick = model.tick(at: ms)
            return watched.map { tick.values(ofGPU: $0) }
        }
        var before = look(from)
        let first = before
        var wattSeconds = [Double](repeating: 0, count: watched.count)
        // Trapezia of a quarter of a second: steps have edges.
        for quarter in 1...(4 * 1_500) {
            let now = look(from + Int64(quarter) * 250)
            for place in watched.indices {
                guard let a = before[place], let b = now[place] else { continue }
                wattSeconds[place] += (Ticks.value(155, a) + Ticks.value(155, b)) * 0.125
            }
            before = now
        }
        var worst = 0.0
        var compared = 0
        for place in watched.indices {
            guard let a = first[place], let b = before[place] else { continue }
            let joules = (Ticks.value(156, b) - Ticks.value(156, a)) / 1_000
            worst = max(worst, abs(joules / wattSeconds[place] - 1))
            compared += 1
        }
        #expect(compared == watched.count)
        #expect(worst < 0.002, "\(worst)")
    }

    @Test("power rises from idle to training with its time constant, and never beyond the limit")
    func ramp() throws {
        let plan = try FleetPlan(
            Self.calm {
                $0.job.startMs = Scenario.fixtureStartMs + 60_000
                $0.telemetry.powerSeconds = 10
                $0.telemetry.stepSeconds = 0
            })
        var model = FleetModel(plan: plan)
        func watts(_ second: Int64) -> Double {
            Self.mean(155, model.tick(at: Scenario.fixtureStartMs + second * 1_000))
        }
        #expect(abs(watts(60) - 85) < 1)
        #expect(abs(watts(70) - (85 + 565 * 0.6321)) < 5)
        #expect(abs(watts(80) - (85 + 565 * 0.8647)) < 5)
        #expect(abs(watts(160) - 650) < 5)
    }

    @Test("a step has phases through which all members go together, with the mean of the load")
    func steps() throws {
        let plan = try FleetPlan(Self.calm { $0.telemetry.stepSeconds = 5 })
        var model = FleetModel(plan: plan)
        var powers: [Double] = []
        var tensors: [Double] = []
        // 500 s of training before the first checkpoint: 100 steps.
        for tenth in 0..<4_000 {
            let tick = model.tick(at: Scenario.fixtureStartMs + 100_000 + Int64(tenth) * 100)
            let one = tick.values(ofGPU: 17) ?? []
            powers.append(Ticks.value(155, one))
            tensors.append(Ticks.value(1_004, one))
        }
        let mean = powers.reduce(0, +) / 4_000
        #expect(abs(mean / 650 - 1) < 0.04)
        #expect(abs(tensors.reduce(0, +) / 4_000 - 0.52) < 0.01)
        let low = powers.filter { $0 < mean * 0.85 }.count
        #expect((540...660).contains(low), "\(low) of 4,000 in the exchange of gradients: 15%")
        #expect(powers.max() ?? 0 <= 700)
    }

    @Test("a job that starts or stops moves the power of its site by tens of megawatts within seconds")
    func swing() throws {
        let scenario = Scenario.fixture {
            $0.phases[0].groups[0].gpus = 65_536
            $0.power.curve[0].megawatts = 1_000
            $0.failures.perGPUDay = 0
        }
        let plan = try FleetPlan(scenario)
        var model = FleetModel(plan: plan)
        let at = Scenario.fixtureStartMs + 300_000
        try model.inject(plan.injection("software", at: "r0001-n1", timeMs: at, forMs: nil))
        let before = Self.column(155, model.tick(at: at - 1_000)).reduce(0, +) / 1e6
        let after = Self.column(155, model.tick(at: at + 5_000)).reduce(0, +) / 1e6
        #expect(before > 30 && before - after > 20, "\(before) MW, then \(after) MW")
    }

    @Test("the warmth of the day takes one or two percent off clocks and throughput")
    func diurnal() throws {
        let plan = try FleetPlan(
            Self.calm {
                $0.telemetry.diurnalShare = 0.015
                $0.telemetry.stepSeconds = 0
            })
        var model = FleetModel(plan: plan)
        // Coldest at 8:00, warmest at 20:00.
        let cold = model.tick(at: Scenario.fixtureStartMs + 8 * 3_600_000 + 60_000)
        let warm = model.tick(at: Scenario.fixtureStartMs + 20 * 3_600_000 + 60_000)
        let throughput = Self.mean(1_004, warm) / Self.mean(1_004, cold)
        #expect(abs(throughput - 0.985) < 0.004, "\(throughput)")
        let clocks = Self.mean(100, warm) / Self.mean(100, cold)
        #expect((0.98...0.99).contains(clocks), "\(clocks)")
    }

    @Test("a GPU whose silicon asks for more than the limit is held back, and says so")
    func limited() throws {
        let plan = try FleetPlan(Self.calm())
        var model = FleetModel(plan: plan)
        let values = Ticks.frame(model.tick(at: Scenario.fixtureStartMs + 580_000)).values.compactMap(\.self)
        let held = values.filter { Ticks.value(240, $0) > 0 }
        #expect((5...150).contains(held.count), "\(held.count) of 512")
        for one in values {
            #expect(Ticks.value(155, one) <= 700)
            #expect((Ticks.value(112, one) == 4) == (Ticks.value(240, one) > 0))
            #expect(Ticks.value(241, one) == 0)
            // Less than the time that has passed.
            #expect(Ticks.value(240, one) <= 580e9)
        }
    }
}

/// An injected fault shows in the fields that it should, and nowhere else.
@Suite(.computing) struct FaultSignTests {
    typealias Ticks = SimulatedTickTests

    static let gpu = 8 * 11 + 5
    static let at = Scenario.fixtureStartMs + 200_000

    /// The fields of each GPU that differ from those of a fleet without the fault.
    static func difference(
        _ kind: String, after ms: Int64, isTraining: Bool = false
    ) throws -> (fields: [Int: Set<UInt16>], silent: Set<Int>, values: [Double]?) {
        let plan = try FleetPlan(
            PhysicsTests.calm {
                // Where a step stands is no sign of a fault.
                $0.telemetry.stepSeconds = 0
                if !isTraining { $0.job.startMs = $0.endMs }
            })
        var sound = FleetModel(plan: plan)
        var broken = FleetModel(plan: plan)
        try broken.inject(plan.injection(kind, at: "r0002-n4/5", timeMs: at, forMs: 3_600_000))
        let (a, b) = (
            Ticks.frame(sound.tick(at: at + ms)).values, Ticks.frame(broken.tick(at: at + ms)).values
        )
        var fields: [Int: Set<UInt16>] = [:]
        var silent: Set<Int> = []
        for gpu in a.indices {
            guard let x = a[gpu], let y = b[gpu] else {
                if a[gpu] != nil { silent.insert(gpu) }
                continue
            }
            let ids = Ticks.ranges.indices.filter { x[$0] != y[$0] }.map { Ticks.ranges[$0].id }
            if !ids.isEmpty { fields[gpu] = Set(ids) }
        }
        return (fields, silent, b[gpu])
    }

    @Test("a memory error: its XID, a double-bit error, a remapped row that waits for a reset")
    func memory() throws {
        let found = try Self.difference("memory", after: 1_000)
        #expect(found.fields == [Self.gpu: [230, 311, 313, 393, 396]] && found.silent.isEmpty)
        #expect(found.values.map { Ticks.value(230, $0) } == 94)
    }

    @Test("an NVLink that fails: its XID and errors of the link")
    func link() throws {
        let found = try Self.difference("nvlink", after: 1_000)
        #expect(found.fields == [Self.gpu: [230, 409, 419, 429, 439]] && found.silent.isEmpty)
    }

    @Test("a GPU that is lost: it says nothing any more, and its neighbours go on until the node is drained")
    func lost() throws {
        let found = try Self.difference("gpu_lost", after: 1_000)
        #expect(found.fields.isEmpty && found.silent == [Self.gpu])
        let drained = try Self.difference("gpu_lost", after: 15 * 60_000 + 1)
        #expect(drained.silent == Set(88..<96))
    }

    @Test("a node that is down: all eight are silent, and nothing else changes")
    func node() throws {
        let found = try Self.difference("node_down", after: 1_000)
        #expect(found.fields.isEmpty && found.silent == Set(88..<96))
    }

    @Test("software: an XID, and nothing on a node that is not in the job")
    func software() throws {
        let found = try Self.difference("software", after: 1_000)
        #expect(found.fields == [Self.gpu: [230]] && found.silent.isEmpty)
    }

    @Test("silent corruption: not a single value")
    func silent() throws {
        for isTraining in [false, true] {
            let found = try Self.difference("silent", after: 60_000, isTraining: isTraining)
            #expect(found.fields.isEmpty && found.silent.isEmpty)
        }
    }

    @Test("a hot GPU: its temperatures, clock and throttling; the others wait for it, and rest meanwhile")
    func hot() throws {
        let rest = try Self.difference("hot", after: 60_000)
        #expect(rest.fields.isEmpty)
        let found = try Self.difference("hot", after: 120_000, isTraining: true)
        let slower: Set<UInt16> = [204, 449, 1_004, 1_005, 1_009, 1_010]
        let node = Self.gpu / 8 * 8..<Self.gpu / 8 * 8 + 8
        // Those that wait draw less, and so are cooler, clock higher and are held back less.
        let resting = slower.union([100, 140, 150, 155, 156, 240])
        for (gpu, fields) in found.fields where gpu != Self.gpu {
            #expect(fields.isSubset(of: node.contains(gpu) ? slower : resting))
            if !node.contains(gpu) { #expect(fields.isSuperset(of: [155, 156, 1_004])) }
        }
        #expect(found.fields.count == Ticks.gpus)
        #expect(
            found.fields[Self.gpu] == slower.union([100, 112, 140, 150, 241]) && found.silent.isEmpty)
        let values = try #require(found.values)
        #expect(Ticks.value(150, values) > 87 && Ticks.value(100, values) < 1_900)
        #expect(Ticks.value(112, values) == 32)
        // It has been at full load for two minutes.
        #expect(abs(Ticks.value(241, values) / 120e9 - 1) < 0.02)
    }

    @Test(
        "who waits for a slow node draws as much less as it waits, and energy is the integral of power throughout",
        arguments: [0, 5.779])
    func waiting(stepSeconds: Double) throws {
        let plan = try FleetPlan(
            PhysicsTests.calm {
                $0.telemetry.powerSeconds = 3
                $0.telemetry.stepSeconds = stepSeconds
                $0.job.checkpointSeconds = 100_000
            })
        let at = Scenario.fixtureStartMs + 700_000
        var (model, other) = (FleetModel(plan: plan), FleetModel(plan: plan))
        try model.inject(plan.injection("hot", at: "r0001-n3/5", timeMs: at, forMs: 600_000))
        let slow = try #require(plan.node(named: "r0001-n3")) * 8
        let watched = [slow, slow + 5, 3, 100, 411]
        func look(_ ms: Int64) -> [[Double]] {
            let tick = model.tick(at: ms)
            return watched.compactMap { tick.values(ofGPU: $0) }
        }
        // From well before to when the node is taken out.
        let fromMs = at - 60_000
        let first = look(fromMs)
        var (before, last) = (first, first)
        var wattSeconds = [Double](repeating: 0, count: watched.count)
        for eighth in 1...(8 * 659) as ClosedRange<Int64> {
            let now = look(fromMs + eighth * 125)
            #expect(now.count == watched.count)
            for place in watched.indices {
                wattSeconds[place] +=
                    (Ticks.value(155, before[place]) + Ticks.value(155, now[place])) * 0.0625
                #expect(Ticks.value(156, now[place]) >= Ticks.value(156, before[place]))
            }
            (before, last) = (now, now)
        }
        for place in watched.indices {
            let joules = (Ticks.value(156, last[place]) - Ticks.value(156, first[place])) / 1_000
            #expect(abs(joules / wattSeconds[place] - 1) < 0.002, "\(watched[place])")
        }
        // Of ten minutes members wait two, at 300 thousandths of the power of training; the slow one is busy throughout.
        let (begin, end) = (at + 60_000, at + 560_000)
        func joules(_ model: inout FleetModel) -> [Double] {
            let values = [begin, end].map { ms in
                let tick = model.tick(at: ms)
                return watched.map { gpu in tick.values(ofGPU: gpu).map { Ticks.value(156, $0) } ?? 0 }
            }
            return zip(values[0], values[1]).map { ($1 - $0) / 1_000 }
        }
        var again = FleetModel(plan: plan)
        try again.inject(plan.injection("hot", at: "r0001-n3/5", timeMs: at, forMs: 600_000))
        let (with, without) = (joules(&again), joules(&other))
        for place in watched.indices {
            let idle = 85.0 * 500
            let share = (with[place] - idle) / (without[place] - idle)
            #expect(abs(share - (place < 2 ? 1 : 0.86)) < 0.02, "\(watched[place]): \(share)")
        }
    }

    @Test("injected faults are the truth, misses included, and the seed's own failures stay what they were")
    func truth() throws {
        let plan = try FleetPlan(.fixture())
        func story(_ inject: Bool) throws -> (faults: [TrueFault], failures: Int) {
            var model = FleetModel(plan: plan)
            model.keepsTruth = true
            if inject {
                let at = Self.at
                try model.inject(plan.injection("node_down", at: "r0003", timeMs: at, forMs: 60_000))
                try model.inject(plan.injection("memory", at: "r0003-n1/2", timeMs: at + 1, forMs: nil))
                #expect(throws: ScenarioProblem.self) {
                    try plan.injection("witchcraft", at: "r0003", timeMs: at, forMs: nil)
                }
                #expect(throws: ScenarioProblem.self) {
                    try plan.injection("memory", at: "r9999-n1", timeMs: at, forMs: nil)
                }
            }
            model.advance(to: Self.at + 3_600_000)
            return (model.faults, model.failures)
        }
        let (without, count) = try story(false)
        let (with, more) = try story(true)
        #expect(without.count == count && count > 0)
        #expect(with.filter { !$0.isInjected }.map(\.timeMs) == without.map(\.timeMs))
        let injected = with.filter(\.isInjected)
        #expect(injected.map(\.hasMissed) == [false, true])
        #expect(injected.map { plan.entity(of: $0) } == ["r0003-n1", "r0003-n1"])
        #expect(more == count + 1)
    }

    @Test("an injection that comes while the model runs gives what one that was there from the start gives")
    func late() throws {
        let plan = try FleetPlan(.fixture())
        let injection = try plan.injection("gpu_lost", at: "r0001-n2/1", timeMs: Self.at, forMs: nil)
        var early = FleetModel(plan: plan)
        let isTaken = early.inject(injection)
        var late = FleetModel(plan: plan)
        late.advance(to: Self.at - 1)
        let isTakenLate = late.inject(injection)
        let past = try plan.injection("memory", at: "r0001-n2", timeMs: Self.at - 1, forMs: nil)
        let isTakenAfter = late.inject(past)
        #expect(isTaken && isTakenLate && !isTakenAfter)
        let end = plan.scenario.endMs
        #expect(Ticks.frame(early.tick(at: end)).values == Ticks.frame(late.tick(at: end)).values)
        #expect(early.failures == late.failures)
    }

    @Test(
        "a seed's failures are the same in a trajectory and in what telemetry shows",
        arguments: [3, 8] as [UInt64])
    func telemetryAndTrajectory(seed: UInt64) throws {
        let plan = try FleetPlan(TrajectoryTests.rich(seed: seed))
        var runner = TrajectoryRunner(plan: plan)
        let trajectory = runner.run(seed: seed)
        var model = FleetModel(plan: plan)
        model.keepsTruth = true
        model.advance(to: .max)
        for (position, cause) in plan.scenario.failures.causes.enumerated() {
            let count = model.faults.count { plan.cause(of: $0).name == cause.name }
            #expect(count == trajectory.failuresByCause[position], "\(cause.name)")
        }
        // Each XID of the truth is on its GPU at the millisecond of the fault, unless the GPU is off the bus.
        var shown = FleetModel(plan: plan)
        var looked = 0
        for fault in model.faults {
            let xid = plan.cause(of: fault).xid
            guard xid > 0, xid != 79, let gpu = plan.gpu(of: fault) else { continue }
            let node = try #require(
                (0..<plan.nodeCount).first { plan.nodeName($0) == plan.entity(of: fault) })
            let values = try #require(shown.tick(at: fault.timeMs).values(ofGPU: 8 * node + gpu))
            #expect(Ticks.value(230, values) == Double(xid))
            looked += 1
        }
        #expect(looked > 20)
    }
}
