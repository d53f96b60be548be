import Simulation
import Telemetry
import TestSupport
import Testing

@Suite(.computing) struct SimulatedTickTests {
    static let gpus = 512

    struct Frame {
        var racks: [RackTick]
        /// By GPU: nothing when it does not report.
        var values: [[Double]?]
    }

    static func frame(_ tick: SimulatedTick) -> Frame {
        var racks: [RackTick] = []
        var values: [[Double]?] = []
        var buffer = [Double](repeating: .nan, count: tick.fields.count * 64)
        for rack in 0..<tick.rackCount {
            var span = buffer.mutableSpan
            let result = tick.fill(rack: rack, into: &span)
            racks.append(result)
            for gpu in 0..<64 {
                let reports = result.reporting >> UInt64(gpu) & 1 == 1
                values.append(reports ? tick.fields.indices.map { buffer[$0 * 64 + gpu] } : nil)
            }
        }
        return Frame(racks: racks, values: values)
    }

    static let position: [UInt16: Int] = Dictionary(
        uniqueKeysWithValues: ranges.enumerated().map { ($1.id, $0) })

    static func value(_ id: UInt16, _ values: [Double]) -> Double { values[position[id] ?? 0] }

    /// Bounds of every field in order, the default ones first: what the hardware can say.
    static let ranges: [(id: UInt16, range: ClosedRange<Double>, isInteger: Bool)] = [
        (100, 345...1_980, true), (101, 2_619...2_619, true), (140, 25...75, true), (150, 22...60, true),
        (155, 60...700, false), (156, 0...1e12, true), (202, 0...100, true), (203, 0...100, true),
        (204, 0...100, true), (206, 0...0, true), (207, 0...0, true), (230, 0...172, true),
        (251, 0...81_105, true), (252, 0...81_105, true), (253, 454...454, true), (393, 0...255, true),
        (394, 0...100, true), (395, 0...1, true), (449, 0...900_000, true), (526, 0...0, true),
        (1_001, 0...1, false), (1_004, 0...1, false), (1_005, 0...1, false), (1_009, 0...63e9, true),
        (1_010, 0...63e9, true), (112, 0...32, true), (240, 0...1e18, true), (241, 0...1e18, true),
        (310, 0...1_000, true), (311, 0...255, true), (312, 0...1_000, true), (313, 0...255, true),
        (396, 0...1, true), (409, 0...1e6, true), (419, 0...1e5, true), (429, 0...1e6, true),
        (439, 0...255, true),
    ]
    /// Sums, which have more digits than a Float.
    static let wide: Set<UInt16> = [156, 240, 241]

    @Test(
        "every value is in its physical range, whole where the field is, and of Float precision where it is not a sum"
    )
    func ranges() throws {
        var model = FleetModel(plan: try FleetPlan(.fixture()))
        #expect(model.tick().fields.map(\.field.id) == Self.ranges.map(\.id))
        #expect(Self.ranges.prefix(25).map(\.id) == FieldCatalog.defaults.map(\.field.id))
        // Gathered first: millions of expectations take minutes.
        var wrong: [String] = []
        for minute in stride(from: 0, through: 1_440, by: 31) {
            let frame = Self.frame(model.tick(at: Scenario.fixtureStartMs + Int64(minute) * 60_000))
            for values in frame.values.compactMap(\.self) {
                wrong += zip(values, Self.ranges).compactMap { value, field in
                    let isFine =
                        field.range.contains(value) && (!field.isInteger || value == value.rounded())
                        && (Self.wide.contains(field.id) || Double(Float(value)) == value)
                    return isFine ? nil : "field \(field.id): \(value)"
                }
                let memory = Self.value(251, values) + Self.value(252, values) + Self.value(253, values)
                if memory != 81_559 { wrong.append("memory: \(memory)") }
                if Self.value(100, values).truncatingRemainder(dividingBy: 15) != 0 { wrong.append("clock") }
            }
        }
        #expect(wrong.isEmpty)
    }

    @Test("any GPU at any tick can be computed alone, by a model that was never there before")
    func alone() throws {
        let plan = try FleetPlan(.fixture())
        var model = FleetModel(plan: plan)
        for minute in stride(from: 0, through: 1_440, by: 10) {
            let timeMs = Scenario.fixtureStartMs + Int64(minute) * 60_000 + 1_234
            let frame = Self.frame(model.tick(at: min(timeMs, plan.scenario.endMs)))
            guard minute % 240 == 0 else { continue }
            var fresh = FleetModel(plan: try FleetPlan(.fixture()))
            let tick = fresh.tick(at: timeMs)
            #expect((0..<Self.gpus).map { tick.values(ofGPU: $0) } == frame.values)
        }
    }

    @Test("a tick does not change when the model goes on")
    func immutable() throws {
        var model = FleetModel(plan: try FleetPlan(.fixture()))
        let tick = model.tick(at: Scenario.fixtureStartMs + 36_000_000)
        let before = Self.frame(tick).values
        model.advance(to: .max)
        #expect(Self.frame(tick).values == before)
    }

    @Test("another seed gives other values")
    func seeds() throws {
        var one = FleetModel(plan: try FleetPlan(.fixture(seed: 1)))
        var two = FleetModel(plan: try FleetPlan(.fixture(seed: 2)))
        let timeMs = Scenario.fixtureStartMs + 10_000
        #expect(Self.frame(one.tick(at: timeMs)).values != Self.frame(two.tick(at: timeMs)).values)
    }

    @Test("counters never fall, and energy grows by the power that is reported")
    func counters() throws {
        var model = FleetModel(plan: try FleetPlan(.fixture()))
        var last: [[Double]?] = Array(repeating: nil, count: Self.gpus)
        var joules = 0.0
        var reported = 0.0
        var falls = 0
        for step in 0...300 {
            let frame = Self.frame(model.tick(at: Scenario.fixtureStartMs + Int64(step) * 10_000))
            for gpu in 0..<Self.gpus {
                guard let now = frame.values[gpu] else { continue }
                if let before = last[gpu] {
                    falls += ([156, 202, 240, 241, 310, 312, 313, 393, 394, 409, 419, 429, 439] as [UInt16])
                        .count {
                            Self.value($0, now) < Self.value($0, before)
                        }
                    joules += (Self.value(156, now) - Self.value(156, before)) / 1_000
                    reported += Self.value(155, now) * 10
                }
                last[gpu] = now
            }
        }
        #expect(falls == 0)
        #expect(abs(joules / reported - 1) < 0.01, "\(joules) J, \(reported) W s")
    }

    @Test("training is busy, hot and fast; rest is not; power follows the tensor pipe")
    func correlation() throws {
        let idle = Scenario.fixture { $0.job.startMs = $0.endMs + 1 }
        var resting = FleetModel(plan: try FleetPlan(idle))
        var training = FleetModel(
            plan: try FleetPlan(
                .fixture {
                    $0.failures.perGPUDay = 0
                    $0.telemetry.stepSeconds = 0
                }))
        let timeMs = Scenario.fixtureStartMs + 580_000
        let rest = Self.frame(resting.tick(at: timeMs)).values.compactMap(\.self)
        let busy = Self.frame(training.tick(at: timeMs)).values.compactMap(\.self)
        func mean(_ id: UInt16, _ values: [[Double]]) -> Double {
            values.reduce(0) { $0 + Self.value(id, $1) } / Double(values.count)
        }
        #expect(abs(mean(155, rest) - 85) < 2 && abs(mean(155, busy) - 650) < 30)
        #expect(abs(mean(150, rest) - 29.5) < 1.5 && abs(mean(150, busy) - 45.5) < 1.5)
        #expect(mean(203, rest) == 0 && mean(203, busy) > 90)
        #expect(mean(100, rest) == 345 && mean(100, busy) > 1_880)
        #expect(mean(449, rest) == 0 && mean(449, busy) > 200_000)
        #expect(mean(140, busy) > mean(150, busy) + 8)
        let (powers, tensors) = (busy.map { Self.value(155, $0) }, busy.map { Self.value(1_004, $0) })
        let (powerMean, tensorMean) = (mean(155, busy), mean(1_004, busy))
        let product = zip(powers, tensors).reduce(0) { $0 + ($1.0 - powerMean) * ($1.1 - tensorMean) }
        let norms =
            powers.reduce(0) { $0 + ($1 - powerMean) * ($1 - powerMean) }
            * tensors.reduce(0) { $0 + ($1 - tensorMean) * ($1 - tensorMean) }
        #expect(product / norms.squareRoot() > 0.5)
    }

    @Test("temperatures follow the load with the time constant")
    func warming() throws {
        var model = FleetModel(
            plan: try FleetPlan(
                .fixture {
                    $0.failures.perGPUDay = 0
                    $0.job.startMs = Scenario.fixtureStartMs + 60_000
                    $0.telemetry.diurnalCelsius = 0
                }))
        func mean(_ second: Int64) -> Double {
            let values = Self.frame(model.tick(at: Scenario.fixtureStartMs + second * 1_000)).values
            return values.compactMap(\.self).reduce(0) { $0 + Self.value(150, $1) } / 512
        }
        #expect(abs(mean(60) - 29.5) < 0.2)
        // After one time constant 63% of the way, after two 86%; training is a little below 1 for its checkpoints.
        #expect(abs(mean(90) - (29.5 + 16 * 0.632 * 0.973)) < 0.3)
        #expect(abs(mean(120) - (29.5 + 16 * 0.865 * 0.973)) < 0.3)
        #expect(abs(mean(400) - (29.5 + 16 * 0.973)) < 0.3)
    }

    @Test("the power of all GPUs makes the megawatts of the timeline")
    func megawatts() throws {
        let scenario = Scenario.fixture { $0.failures.perGPUDay = 0 }
        var model = FleetModel(plan: try FleetPlan(scenario))
        var watts = 0.0
        var ticks = 0.0
        for step in stride(from: 361, through: 720, by: 3) {
            let frame = Self.frame(model.tick(at: Scenario.fixtureStartMs + Int64(step) * 10_000))
            watts += frame.values.compactMap(\.self).reduce(0) { $0 + Self.value(155, $1) }
            ticks += 1
        }
        let facility = (watts / ticks + 512 * 319) * 1.1 * 1.12 / 1e6
        #expect(abs(model.timelinePoint().megawatts / facility - 1) < 0.01)
    }

    @Test("a failed node shows its XID, is drained, falls silent and comes back without it")
    func failure() throws {
        let plan = try FleetPlan(.fixture())
        var model = FleetModel(plan: plan)
        var events: [ModelEvent] = []
        model.advance(to: plan.scenario.endMs - 12 * 3_600_000, into: &events)
        let named = events.map { model.describe($0, stream: .measured) }
        let xid = try #require(named.first { $0.kind == .xid && $0.value == 94 })
        let node = try #require((0..<plan.nodeCount).first { plan.nodeName($0) == xid.entity })
        let gpu = 8 * node + (xid.gpu ?? 0)
        let (rack, bit) = (gpu / 64, UInt64(1) << UInt64(gpu % 64))
        var again = FleetModel(plan: plan)
        let shown = again.tick(at: xid.timeMs + 1)
        #expect(shown.values(ofGPU: gpu).map { Self.value(230, $0) } == 94)
        #expect(shown.values(ofGPU: gpu).map { Self.value(393, $0) } == 1)
        let failed = Self.frame(shown).racks[rack]
        #expect(failed.faulted & bit == bit && failed.reporting & bit == bit)
        #expect(failed.jobOfNode[node % 8] == -1)
        let silent = Self.frame(again.tick(at: xid.timeMs + 15 * 60_000 + 1)).racks[rack]
        #expect(silent.faulted & bit == bit && silent.reporting & bit == 0 && silent.expected & bit == bit)
        let back = try #require(
            named.first { $0.kind == .nodeUp && $0.entity == xid.entity && $0.timeMs > xid.timeMs })
        let repaired = again.tick(at: back.timeMs + 1)
        #expect(repaired.values(ofGPU: gpu).map { Self.value(230, $0) } == 0)
        #expect(Self.frame(repaired).racks[rack].faulted & bit == 0)
    }

    @Test("what stands is expected, and partial racks have no more than they have")
    func growth() throws {
        let scenario = Scenario.growing()
        let plan = try FleetPlan(scenario)
        var model = FleetModel(plan: plan)
        for day in 0...15 {
            let frame = Self.frame(model.tick(at: scenario.startMs + Int64(day) * 86_400_000))
            let expected = frame.racks.reduce(0) { $0 + $1.expected.nonzeroBitCount }
            #expect(expected == model.installedGPUs)
            let members = frame.racks.reduce(0) { sum, rack in
                sum + (0..<8).count { rack.jobOfNode[$0] == 0 }
            }
            #expect(8 * members == model.trainingGPUs)
            for rack in frame.racks {
                #expect(rack.reporting & ~rack.expected == 0 && rack.faulted & ~rack.expected == 0)
            }
        }
    }
}
