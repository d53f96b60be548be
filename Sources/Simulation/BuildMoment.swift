/// The parts of the build that have nothing to do with chance, at one time: counts of nodes, and sums of their time.
struct BuildMoment: Sendable, Equatable {
    var installed = 0
    var powered = 0
    var checking = 0
    var burningIn = 0
    var waitingNodeMs: Int64 = 0
    var bringUpNodeMs: Int64 = 0

    static func all(_ plan: FleetPlan, at times: [Int64]) -> [BuildMoment] {
        times.map { BuildMoment(plan, $0) }
    }

    private init(_ plan: FleetPlan, _ timeMs: Int64) {
        for rack in plan.racks where rack.installMs <= timeMs {
            let retireMs = plan.scenario.phases[Int(rack.phase)].retireMs ?? .max
            let until = min(timeMs, retireMs)
            guard until >= rack.installMs else { continue }
            let nodes = Int64(rack.nodeCount)
            waitingNodeMs += nodes * (min(until, rack.powerMs) - rack.installMs)
            if rack.powerMs <= until { bringUpNodeMs += nodes * (min(until, rack.readyMs) - rack.powerMs) }
            guard timeMs < retireMs else { continue }
            installed += Int(nodes)
            if rack.powerMs <= timeMs { powered += Int(nodes) }
            if rack.powerMs <= timeMs, timeMs < rack.burnInMs { checking += Int(nodes) }
            if rack.burnInMs <= timeMs, timeMs < rack.readyMs { burningIn += Int(nodes) }
        }
        let steps = plan.rackSteps.prefix { $0.timeMs <= timeMs }
        for step in steps where step.kind == .off || step.kind == .on {
            let rack = plan.racks[step.rack]
            let retireMs = plan.scenario.phases[Int(rack.phase)].retireMs ?? .max
            guard timeMs < retireMs else { continue }
            powered += step.kind == .on ? Int(rack.nodeCount) : -Int(rack.nodeCount)
        }
    }
}

extension FleetPlan {
    /// Node-milliseconds from the installation of each node to that time, or to its retirement.
    func installedNodeMs(at timeMs: Int64) -> Int64 {
        racks.reduce(0) { sum, rack in
            let until = min(timeMs, scenario.phases[Int(rack.phase)].retireMs ?? .max)
            return sum + Int64(rack.nodeCount) * max(0, until - rack.installMs)
        }
    }
}

/// Makes megawatts of what nodes did with their time.
struct PowerTable: Sendable {
    private let baseMegawatts: Double
    /// MW of one node by kind of time; 0 for the kinds without power.
    private let perNode: [Double]
    private let trainingNode: Double

    init(_ scenario: Scenario, _ timing: JobTiming) {
        let (loads, power) = (scenario.telemetry, scenario.power)
        baseMegawatts = power.baseMegawatts
        func megawatts(_ permille: Int) -> Double {
            let watts =
                Double(loads.idleWatts) + Double(loads.trainingWatts - loads.idleWatts) * Double(permille)
                / 1_000
            return 8 * (watts + power.hostWattsPerGPU) * (1 + power.networkShare) * power.pue / 1e6
        }
        let share: Double = {
            let (check, burn) = (scenario.bringUp.checkHours, scenario.bringUp.burnInHours)
            return check + burn > 0 ? burn / (check + burn) : 0
        }()
        trainingNode = megawatts(loads.training.powerPermille)
        perNode = GPUTime.Kind.allCases.map { kind in
            switch kind {
            case .waitingForPower, .powerTaken, .repair: 0
            case .bringUp: share * megawatts(loads.burnIn.powerPermille) + (1 - share) * megawatts(0)
            case .draining, .idle: megawatts(0)
            // Generation draws less than training: its GPUs wait for memory.
            case .reinforcement, .inference: megawatts(loads.training.powerPermille * 7 / 10)
            case .productive, .lost: megawatts(loads.training.powerPermille)
            case .checkpoint: megawatts(loads.checkpointing.powerPermille)
            // Members that wait for a slow one do so in the exchange, as those of a job that hangs.
            case .detection, .straggling: megawatts(loads.hung.powerPermille)
            case .restart, .stall: megawatts(loads.restarting.powerPermille)
            }
        }
    }

    /// Mean over the time between two states of the books. Work that is thrown away was drawn when it was done, so what moves
    /// from productive to lost does not count again.
    func megawatts(_ now: GPUTime, _ before: GPUTime, elapsedMs: Int64) -> Double {
        guard elapsedMs > 0 else { return baseMegawatts }
        var sum = 0.0
        for kind in GPUTime.Kind.allCases {
            sum += perNode[kind.rawValue] * Double(now[kind] - before[kind])
        }
        return baseMegawatts + sum / Double(elapsedMs)
    }

    /// While all members train.
    func highest(_ build: BuildMoment, members: Int, up: Int) -> Double {
        baseMegawatts + Double(members) * trainingNode
            + Double(up + build.checking) * perNode[GPUTime.Kind.idle.rawValue]
            + Double(build.burningIn) * trainingNode
    }
}
