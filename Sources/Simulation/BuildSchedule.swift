/// Works out which racks there are and when each is installed, powered, tested and ready.
struct BuildSchedule {
    private(set) var racks: [FleetPlan.Rack] = []
    private(set) var rackOfNode: [Int32] = []
    private(set) var modelOfNode: [UInt8] = []
    private(set) var arrayCount = 0
    /// What happens to racks from readiness on, in order.
    private(set) var steps: [RackStep] = []

    init(scenario: Scenario, phaseBounds: [Int64]) {
        for (number, phase) in scenario.phases.enumerated() {
            addRacks(of: phase, number: number, from: phaseBounds[number], layout: scenario.layout)
            addModels(of: phase, models: scenario.gpuModels)
        }
        energise(scenario)
        for index in steps.indices {
            let rack = racks[steps[index].rack]
            let first = Int(rack.firstNode)
            steps[index].nodes = first..<(first + Int(rack.nodeCount))
        }
        steps.sort { ($0.timeMs, $0.rack, $0.kind.rawValue) < ($1.timeMs, $1.rack, $1.kind.rawValue) }
        setPace(scenario)
    }

    /// The slowest kind of GPU sets the pace of all, or their mean does.
    private mutating func setPace(_ scenario: Scenario) {
        var (sum, nodes, least) = (0.0, 0, Double.infinity)
        for index in steps.indices where steps[index].kind == .ready {
            let peak = scenario.gpuModels[Int(modelOfNode[steps[index].nodes.lowerBound])].peakTFLOPs
            sum += peak * Double(steps[index].nodes.count)
            nodes += steps[index].nodes.count
            least = min(least, peak)
            let mean = sum / Double(max(1, nodes))
            steps[index].pacePeak = scenario.job.isPacedBySlowestKind ? min(least, mean) : mean
        }
    }

    /// A phase starts a new array, and its last rack may be smaller than the others.
    private mutating func addRacks(
        of phase: Scenario.Phase, number: Int, from startMs: Int64, layout: Scenario.Layout
    ) {
        let nodeTotal = phase.gpuCount / Scenario.Layout.gpusPerNode
        let firstArray = arrayCount
        var placed = 0
        var latest = startMs
        while placed < nodeTotal {
            let count = min(layout.nodesPerRack, nodeTotal - placed)
            placed += count
            let share = Double(placed) / Double(nodeTotal)
            latest = max(latest, installTime(share, phase, startMs))
            let inPhase = (placed - 1) / layout.nodesPerRack
            let array = firstArray + inPhase / layout.racksPerArray
            arrayCount = array + 1
            let firstNode = Int32(rackOfNode.count)
            rackOfNode += Array(repeating: Int32(racks.count), count: count)
            racks.append(
                FleetPlan.Rack(
                    firstNode: firstNode, nodeCount: Int32(count), array: Int32(array), phase: Int32(number),
                    installMs: latest, powerMs: .max, burnInMs: .max, readyMs: .max))
        }
    }

    private mutating func addModels(of phase: Scenario.Phase, models: [Scenario.GPUModel]) {
        for group in phase.groups {
            let model = models.firstIndex { $0.key == group.model } ?? 0
            modelOfNode += Array(repeating: UInt8(model), count: group.gpus / Scenario.Layout.gpusPerNode)
        }
    }

    /// When the phase has reached that share of its GPUs.
    private func installTime(_ share: Double, _ phase: Scenario.Phase, _ startMs: Int64) -> Int64 {
        let endMs = startMs + Int64(phase.days) * 86_400_000
        switch phase.curve {
        case .immediate:
            return startMs
        case .steps(let steps):
            let step = steps.first { $0.share >= share - 1e-9 }
            return min(startMs + Int64((step?.day ?? Double(phase.days)) * 86_400_000), endMs)
        case .logistic(let perDay, let midpoint, let waves):
            if share >= 1 { return endMs }
            func logistic(_ day: Double) -> Double {
                1 / (1 + PortableMath.exp(min(-perDay * (day - midpoint), 700)))
            }
            let first = logistic(0)
            let value = first + share * (logistic(Double(phase.days)) - first)
            var day = midpoint + PortableMath.log(value / (1 - value)) / perDay
            if let waves { day = Double(phase.days) - Self.warped(Double(phase.days) - day, waves) }
            return min(max(startMs + Int64(day * 86_400_000), startMs), endMs)
        }
    }

    /// Shifts a time (days before the end) to and fro: the third Bernoulli polynomial is smooth where periods meet,
    /// zero there, and its slope lies between -1/2 and 1, so that the order of racks never changes.
    private static func warped(_ days: Double, _ waves: Scenario.Waves) -> Double {
        let turns = days / waves.periodDays
        let x = turns - turns.rounded(.down)
        return days + waves.strength * waves.periodDays * x * (1 - x) * (1 - 2 * x)
    }

    /// Racks are switched on in the order in which they were installed, each as soon as there is power for it.
    private mutating func energise(_ scenario: Scenario) {
        let (power, bringUp) = (scenario.power, scenario.bringUp)
        func hours(_ value: Double) -> Int64 { Int64(value * 3_600_000) }
        let (check, burnIn) = (hours(bringUp.checkHours), hours(bringUp.burnInHours))
        var gpus = 0
        var latest = Int64.min
        for index in racks.indices {
            gpus += Int(racks[index].nodeCount) * Scenario.Layout.gpusPerNode
            let retireMs = scenario.phases[Int(racks[index].phase)].retireMs ?? .max
            if retireMs < .max { steps.append(RackStep(timeMs: retireMs, rack: index, kind: .retired)) }
            let megawatts = power.baseMegawatts + Double(gpus) * power.kilowattsPerGPU / 1_000
            let supplied = Self.supplied(megawatts, power.curve)
            let earliest = max(latest, racks[index].installMs + hours(bringUp.energiseHours))
            guard
                let first = supplied.firstIndex(where: {
                    $0.untilMs == .max || $0.untilMs - check - burnIn > max(earliest, $0.fromMs)
                })
            else { continue }
            latest = max(earliest, supplied[first].fromMs)
            guard latest + check + burnIn < retireMs else { continue }
            racks[index].powerMs = latest
            racks[index].burnInMs = latest + check
            racks[index].readyMs = racks[index].burnInMs + burnIn
            addSteps(index, supplied[first...], retireMs)
        }
    }

    /// A rack that is ready loses its power where the supply ends and has it back where the next one begins.
    private mutating func addSteps(_ rack: Int, _ supplied: ArraySlice<Supply>, _ retireMs: Int64) {
        steps.append(RackStep(timeMs: racks[rack].readyMs, rack: rack, kind: .ready))
        for (position, supply) in supplied.enumerated() {
            if position > 0, supply.fromMs < retireMs {
                steps.append(RackStep(timeMs: supply.fromMs, rack: rack, kind: .on))
            }
            if supply.untilMs < retireMs {
                steps.append(RackStep(timeMs: supply.untilMs, rack: rack, kind: .off))
            }
        }
    }

    /// A time in which there is power enough.
    private struct Supply {
        var fromMs: Int64
        var untilMs: Int64
    }

    /// When the site has so much power.
    private static func supplied(_ megawatts: Double, _ curve: [Scenario.SitePower.Point]) -> [Supply] {
        var result: [Supply] = []
        for (index, point) in curve.enumerated() {
            let isOn = result.last?.untilMs == .max
            if point.megawatts >= megawatts, !isOn {
                let from = index == 0 ? .min : crossing(megawatts, curve[index - 1], point, .up)
                result.append(Supply(fromMs: from, untilMs: .max))
            } else if point.megawatts < megawatts, isOn {
                result[result.count - 1].untilMs = crossing(megawatts, curve[index - 1], point, .down)
            }
        }
        return result
    }

    private static func crossing(
        _ megawatts: Double, _ left: Scenario.SitePower.Point, _ right: Scenario.SitePower.Point,
        _ rule: FloatingPointRoundingRule
    ) -> Int64 {
        let share = (megawatts - left.megawatts) / (right.megawatts - left.megawatts)
        return left.timeMs + Int64((share * Double(right.timeMs - left.timeMs)).rounded(rule))
    }
}

/// Something that happens to a rack after it was brought up.
struct RackStep: Sendable {
    enum Kind: UInt8, Sendable {
        case ready
        /// Power is taken away, and given back.
        case off, on
        case retired
    }

    var timeMs: Int64
    var rack: Int
    var kind: Kind
    /// Nodes of the rack, and TFLOP/s of the GPU that sets the pace of all that were ready once, when it becomes ready: beside
    /// the rest, because a trajectory reads all steps.
    var nodes = 0..<0
    var pacePeak = 0.0
}
