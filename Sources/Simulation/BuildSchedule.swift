/// Works out which racks there are and when each is installed, powered, tested and ready.
struct BuildSchedule {
    private(set) var racks: [FleetPlan.Rack] = []
    private(set) var rackOfNode: [Int32] = []
    private(set) var modelOfNode: [UInt8] = []
    private(set) var arrayCount = 0

    init(scenario: Scenario, phaseBounds: [Int64]) {
        for (number, phase) in scenario.phases.enumerated() {
            addRacks(of: phase, number: number, from: phaseBounds[number], layout: scenario.layout)
            addModels(of: phase, models: scenario.gpuModels)
        }
        energise(scenario.power, scenario.bringUp)
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
    private mutating func energise(_ power: Scenario.SitePower, _ bringUp: Scenario.BringUp) {
        func hours(_ value: Double) -> Int64 { Int64(value * 3_600_000) }
        var gpus = 0
        var latest = Int64.min
        for index in racks.indices {
            gpus += Int(racks[index].nodeCount) * Scenario.Layout.gpusPerNode
            let megawatts = power.baseMegawatts + Double(gpus) * power.kilowattsPerGPU / 1_000
            guard let powered = Self.time(of: megawatts, power.curve) else { return }
            latest = max(latest, racks[index].installMs + hours(bringUp.energiseHours), powered)
            racks[index].powerMs = latest
            racks[index].burnInMs = latest + hours(bringUp.checkHours)
            racks[index].readyMs = racks[index].burnInMs + hours(bringUp.burnInHours)
        }
    }

    /// When the site first has so much power; `nil` for never.
    private static func time(of megawatts: Double, _ curve: [Scenario.SitePower.Point]) -> Int64? {
        guard let after = curve.firstIndex(where: { $0.megawatts >= megawatts }) else { return nil }
        guard after > 0 else { return .min }
        let left = curve[after - 1]
        let right = curve[after]
        let share = (megawatts - left.megawatts) / (right.megawatts - left.megawatts)
        return left.timeMs + Int64((share * Double(right.timeMs - left.timeMs)).rounded(.up))
    }
}
