import Telemetry

/// The single nodes of a live fleet: what `FleetCore` does to them, and what happens to racks before they are ready.
struct FleetView: FleetObserver, Sendable {
    static var isLive: Bool { true }

    let plan: FleetPlan
    let timing: JobTiming
    var nodes: [NodeState]
    var statusCounts = [Int](repeating: 0, count: NodeStatus.allCases.count)
    var usage: FleetUsage
    var announced = 0
    var events: [ModelEvent] = []
    var isRecording = false
    /// What really failed, when it is wanted.
    static let faultsMax = 100_000
    var keepsTruth = false
    var faults: [TrueFault] = []

    /// Nodes with a broken GPU, until they are taken out.
    private var drains = NodeTimers()
    /// The next rack to be installed, powered, put under load.
    private var nextRack = (install: 0, power: 0, burnIn: 0)
    private var nextMark = 0
    /// When the next rack or date is due.
    private var nextPlannedMs = Int64.max
    private let burnInPermille: Int64

    init(plan: FleetPlan, timing: JobTiming) {
        self.plan = plan
        self.timing = timing
        let scenario = plan.scenario
        nodes = Array(repeating: NodeState(), count: plan.nodeCount)
        statusCounts[Int(NodeStatus.planned.rawValue)] = plan.nodeCount
        usage = FleetUsage(scenario, timing: timing)
        burnInPermille = Int64(scenario.telemetry.burnIn.powerPermille)
        let earlier = scenario.milestones.last { $0.timeMs < scenario.startMs && $0.announced != nil }
        announced = earlier?.announced ?? 0
        nextPlannedMs = plannedMs()
    }

    // MARK: What is due without chance

    var nextMs: Int64 { min(drains.nextMs, usage.nextHourMs, nextPlannedMs) }

    mutating func step(_ timeMs: Int64, _ job: JobState) {
        if timeMs == nextPlannedMs { build(timeMs, job) }
        while drains.nextMs == timeMs, let node = drains.removeFirst() {
            if nodes[node].status == .failed { moved(node, to: .inRepair, at: timeMs, job) }
        }
    }

    private mutating func plannedMs() -> Int64 {
        let racks = plan.racks
        var next = Int64.max
        // A rack that is retired before there is power for it holds up none behind it.
        while nextRack.power < racks.count, racks[nextRack.power].powerMs == .max { nextRack.power += 1 }
        while nextRack.burnIn < racks.count, racks[nextRack.burnIn].burnInMs == .max { nextRack.burnIn += 1 }
        if nextRack.install < racks.count { next = min(next, racks[nextRack.install].installMs) }
        if nextRack.power < racks.count { next = min(next, racks[nextRack.power].powerMs) }
        if nextRack.burnIn < racks.count { next = min(next, racks[nextRack.burnIn].burnInMs) }
        if nextMark < plan.marks.count { next = min(next, plan.marks[nextMark].timeMs) }
        return next
    }

    private mutating func build(_ timeMs: Int64, _ job: JobState) {
        while nextRack.install < plan.rackCount, plan.racks[nextRack.install].installMs == timeMs {
            for node in plan.nodes(ofRack: nextRack.install) {
                moved(node, to: .installed, at: timeMs, job)
            }
            nextRack.install += 1
        }
        while nextRack.power < plan.rackCount, plan.racks[nextRack.power].powerMs == timeMs {
            for node in plan.nodes(ofRack: nextRack.power) { moved(node, to: .powered, at: timeMs, job) }
            nextRack.power += 1
        }
        while nextRack.burnIn < plan.rackCount, plan.racks[nextRack.burnIn].burnInMs == timeMs {
            for node in plan.nodes(ofRack: nextRack.burnIn) { moved(node, to: .burnIn, at: timeMs, job) }
            nextRack.burnIn += 1
        }
        while nextMark < plan.marks.count, plan.marks[nextMark].timeMs == timeMs {
            pass(plan.marks[nextMark])
        }
        nextPlannedMs = plannedMs()
    }

    private mutating func pass(_ mark: Mark) {
        nextMark += 1
        let scenario = plan.scenario
        var event = ModelEvent(timeMs: mark.timeMs, kind: mark.kind, reason: .entry(mark.entry))
        switch mark.kind {
        case .milestone:
            let milestone = scenario.milestones[mark.entry]
            if let gpus = milestone.announced { announced = gpus }
            event.value = milestone.claim.map { Double($0.gpus) }
        case .phaseStart: event.value = Double(scenario.phases[mark.entry].gpuCount)
        case .phaseEnd: event.value = Double(8 * (plan.nodeCount - statusCounts[0]))
        default: event.value = scenario.power.curve[mark.entry].megawatts
        }
        record(event)
    }

    // MARK: What the core does

    /// Changes a node's status and closes the books of the one before.
    mutating func moved(_ node: Int, to status: NodeStatus, at timeMs: Int64, _ job: JobState) {
        changed(node, to: status, isSlow: nodes[node].isSlow, at: timeMs, job)
    }

    mutating func slowed(_ node: Int, _ isSlow: Bool, at timeMs: Int64, _ job: JobState) {
        guard nodes[node].isSlow != isSlow else { return }
        changed(node, to: nodes[node].status, isSlow: isSlow, at: timeMs, job)
    }

    private mutating func changed(
        _ node: Int, to status: NodeStatus, isSlow: Bool, at timeMs: Int64, _ job: JobState
    ) {
        var state = nodes[node]
        let elapsed = timeMs - state.sinceMs
        if state.status.isUp { state.upMs += elapsed }
        let warmth = tendency(state.status, state.isSlow, timeMs, job) + state.heat * timing.decay(elapsed)
        let level =
            state.status.isUp
            ? power(state.status, state.isSlow, timeMs, job) + state.surge * timing.powerDecay(elapsed) : 0
        state.load += timing.lag(state.surge, elapsed)
        if state.status == .burnIn {
            state.load += elapsed * burnInPermille
        }
        let (was, becomes) = (state.status == .training, status == .training)
        if was != becomes || isSlow != state.isSlow {
            if was { state.load += timing.load(job, at: timeMs, isSlow: state.isSlow) }
            if becomes { state.load -= timing.load(job, at: timeMs, isSlow: isSlow) }
        }
        state.heat = warmth - tendency(status, isSlow, timeMs, job)
        state.surge = status.isUp ? level - power(status, isSlow, timeMs, job) : 0
        state.isSlow = isSlow
        statusCounts[Int(state.status.rawValue)] -= 1
        statusCounts[Int(status.rawValue)] += 1
        state.sinceMs = timeMs
        state.status = status
        nodes[node] = state
    }

    /// What the temperature of a node in that status tends to.
    private func tendency(_ status: NodeStatus, _ isSlow: Bool, _ timeMs: Int64, _ job: JobState) -> Float {
        switch status {
        case .training: timing.heat(job, at: timeMs, isSlow: isSlow)
        case .burnIn: Float(burnInPermille) / 1_000
        default: 0
        }
    }

    /// And its power.
    private func power(_ status: NodeStatus, _ isSlow: Bool, _ timeMs: Int64, _ job: JobState) -> Float {
        switch status {
        case .training: timing.power(job, at: timeMs, isSlow: isSlow)
        case .burnIn: Float(burnInPermille) / 1_000
        default: 0
        }
    }

    mutating func broke(_ node: Int, culprit: UInt8, drainMs: Int64, at timeMs: Int64) {
        nodes[node].culprit = culprit
        if culprit == NodeState.nobody {
            // The driver is loaded anew.
            nodes[node].xids = SIMD8(repeating: 0)
            nodes[node].fresh = SIMD8(repeating: 0)
            nodes[node].loadedMs = nodes[node].upMs
        } else if drainMs > 0 {
            drains.add(node, at: timeMs + drainMs)
        }
    }

    mutating func reported(_ node: Int, gpu: Int, xid: UInt8) {
        nodes[node].xids[gpu] = xid
        if XIDClass.remapsRows(Int(xid)) {
            nodes[node].remaps[gpu] &+= 1
            nodes[node].fresh[gpu] &+= 1
        }
        if xid == XIDClass.nvlink { nodes[node].links[gpu] &+= 1 }
    }

    mutating func heated(_ node: Int, gpu: Int?, at timeMs: Int64, _ job: JobState) {
        var state = nodes[node]
        let load = state.load(at: timeMs, job, timing, burnInPermille)
        if state.hot != NodeState.nobody {
            let ms = UInt32(clamping: max(0, load - state.hotLoad) / 1_000)
            state.hotMs[Int(state.hot)] = UInt32(clamping: UInt64(state.hotMs[Int(state.hot)]) + UInt64(ms))
        }
        state.hot = gpu.map { UInt8($0) } ?? NodeState.nobody
        state.hotLoad = load
        nodes[node] = state
    }

    mutating func truth(_ fault: TrueFault) {
        if keepsTruth, faults.count < Self.faultsMax { faults.append(fault) }
    }

    mutating func record(_ event: ModelEvent) {
        if isRecording { events.append(event) }
    }
}

extension NodeState {
    /// The load integral at a time not before `sinceMs`.
    func load(at timeMs: Int64, _ job: JobState, _ timing: JobTiming, _ burnInPermille: Int64) -> Int64 {
        let elapsed = timeMs - sinceMs
        let own = load + timing.lag(surge, elapsed)
        switch status {
        case .training: return own + timing.load(job, at: timeMs, isSlow: isSlow)
        case .burnIn: return own + elapsed * burnInPermille
        default: return own
        }
    }
}
