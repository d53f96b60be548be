public import Telemetry

/// The whole fleet at one tick: the state of every node, and how to make values of it.
///
/// An immutable value: shards may fill racks side by side while the model goes on.
public struct SimulatedTick: FleetTick {
    public let timeMs: Int64
    /// Those that `telemetry.fields` asks for; the default ones first.
    public var fields: [FieldIndex] { plan.kernel.fields }
    public let jobs: [String]
    let plan: FleetPlan
    let nodes: [NodeState]
    let timing: JobTiming
    let context: TickContext

    public var rackCount: Int { plan.rackCount }

    public func fill(rack: Int, into values: inout MutableSpan<Double>) -> RackTick {
        precondition(values.count >= plan.kernel.fields.count * 64, "too small for a rack")
        var result = RackTick()
        let range = plan.nodes(ofRack: rack)
        var raw = values.mutableBytes
        for (position, node) in range.enumerated() {
            let state = nodes[node]
            let lane = UInt64(8 * position)
            result.expected |= (state.status.isInstalled ? 0xff : 0) << lane
            result.reporting |= UInt64(Self.reporting(state)) << lane
            result.faulted |= UInt64(Self.faulted(state)) << lane
            if state.status == .training { result.jobOfNode[position] = 0 }
            if state.status.isUp { fill(node, state, column: 8 * position, &raw) }
        }
        return result
    }

    public func reporting(rack: Int) -> UInt64 {
        var result: UInt64 = 0
        for (position, node) in plan.nodes(ofRack: rack).enumerated() {
            result |= UInt64(Self.reporting(nodes[node])) << UInt64(8 * position)
        }
        return result
    }

    /// Ticks share their nodes until one of them changes.
    public func isUnchanged(since earlier: any FleetTick) -> Bool {
        guard let earlier = earlier as? SimulatedTick, earlier.nodes.count == nodes.count else {
            return false
        }
        return nodes.withUnsafeBufferPointer { mine in
            earlier.nodes.withUnsafeBufferPointer { $0.baseAddress == mine.baseAddress }
        }
    }

    public var bytes: Int { nodes.count * MemoryLayout<NodeState>.stride }

    @inline(__always)
    private func fill(_ node: Int, _ state: NodeState, column: Int, _ raw: inout MutableRawSpan) {
        let silicon =
            plan.silicon.isEmpty
            ? plan.kernel.silicon(gpu: UInt32(8 * node), philox: plan.philox) : plan.silicon[node]
        plan.kernel.fill(
            state, silicon: silicon, model: Int(plan.modelOfNode[node]), gpu: UInt32(8 * node),
            fading: fading(state),
            tick: context, philox: plan.philox, column: column, into: &raw)
    }

    /// Most nodes have been in their state for long.
    @inline(__always)
    private func fading(_ state: NodeState) -> Fading {
        guard state.heat != 0 || state.surge != 0 else { return Fading() }
        let elapsed = timeMs - state.sinceMs
        return Fading(
            heat: timing.decay(elapsed), power: timing.powerDecay(elapsed),
            integral: timing.lag(state.surge, elapsed))
    }

    /// The values of one GPU alone, in the order of `fields`; `nil` when it sends nothing.
    public func values(ofGPU gpu: Int) -> [Double]? {
        let node = gpu / Scenario.Layout.gpusPerNode
        let state = nodes[node]
        guard Self.reporting(state) >> (gpu % 8) & 1 == 1 else { return nil }
        var buffer = [Double](repeating: 0, count: plan.kernel.fields.count * 64)
        var span = buffer.mutableSpan
        var raw = span.mutableBytes
        fill(node, state, column: 0, &raw)
        return (0..<plan.kernel.fields.count).map { buffer[$0 * 64 + gpu % 8] }
    }

    /// The job that a node belongs to now.
    public func job(ofNode node: Int) -> String? {
        nodes[node].status == .training ? plan.scenario.job.name : nil
    }

    private static func reporting(_ state: NodeState) -> UInt8 {
        guard state.status.isUp else { return 0 }
        guard state.culprit < 8, state.xids[Int(state.culprit)] == XIDClass.offTheBus else { return 0xff }
        return ~(1 << state.culprit)
    }

    private static func faulted(_ state: NodeState) -> UInt8 {
        switch state.culprit {
        case NodeState.nobody: 0
        case NodeState.wholeNode: 0xff
        default: 1 << state.culprit
        }
    }
}

extension FleetModel {
    /// The fleet as it is now.
    public func tick() -> SimulatedTick {
        SimulatedTick(
            timeMs: nowMs, jobs: [plan.scenario.job.name], plan: plan, nodes: nodes, timing: timing,
            context: context())
    }

    /// Advances to that time, then the fleet as it is then.
    public mutating func tick(at timeMs: Int64) -> SimulatedTick {
        advance(to: timeMs)
        return tick()
    }

    private func context() -> TickContext {
        let numbers = plan.scenario.telemetry
        let load: Scenario.Load
        switch job.phase {
        case .waiting: load = numbers.idle
        case .running: load = timing.isWriting(job, at: nowMs) ? numbers.checkpointing : numbers.training
        case .hung: load = numbers.hung
        case .restarting, .stalled: load = numbers.restarting
        }
        let wave = Self.wave(nowMs, numbers)
        return TickContext(
            timeMs: nowMs, jobLoad: load, member: MemberTick(job, timing, at: nowMs, isSlow: false),
            slow: MemberTick(job, timing, at: nowMs, isSlow: true),
            ambient: numbers.diurnalCelsius * wave, slowing: numbers.diurnalShare * (1 + wave) * 0.5)
    }

    /// Parabolas in place of a cosine: 1 at the warmest hour, -1 twelve hours later.
    private static func wave(_ timeMs: Int64, _ numbers: Scenario.GPUTelemetry) -> Float {
        let hour = Float(timeMs % 86_400_000) / 3_600_000
        let turns = (hour - numbers.warmestHour + 24) / 24
        let x = turns - turns.rounded(.down)
        return 1 - 8 * x * (1 - x)
    }
}
