public import Telemetry

/// The fleet of a scenario, event by event: a value that only its own `advance` changes.
///
/// It needs no clock and no threads. Advancing to a time in one step or in many gives the same state and the same
/// events, bit for bit.
public struct FleetModel: Sendable {
    public let plan: FleetPlan
    /// How far it has come, Unix milliseconds: everything up to and including this time has happened.
    public private(set) var nowMs: Int64
    /// Whether each checkpoint is an event (it is counted anyway): for slow paces.
    public var reportsCheckpoints = false {
        didSet { checkpointsReported = checkpoints }
    }

    private(set) var nodes: [NodeState]
    private(set) var job: JobState
    let timing: JobTiming

    private var statusCounts = [Int](repeating: 0, count: NodeStatus.allCases.count)
    private var timers = NodeTimers()
    /// The next rack to be installed, powered, put under load, ready.
    private var nextRack = (install: 0, power: 0, burnIn: 0, ready: 0)
    private var nextMark = 0
    private var checkpointsReported = 0
    /// Nodes that became ready since the job last looked; some have failed again since.
    private var candidates: [Int32] = []
    private var usage: FleetUsage
    private var announced = 0
    private var failureCount = 0
    private var events: [ModelEvent] = []
    private var recording = false
    /// When the next rack or date is due.
    private var nextPlannedMs = Int64.max
    private let endMs: Int64
    private let failuresPerNodeMs: Double
    private let burnInPermille: Int64

    /// A fleet of which nothing stands, just before the scenario starts.
    public init(plan: FleetPlan) {
        self.plan = plan
        let scenario = plan.scenario
        nowMs = scenario.startMs - 1
        nodes = Array(repeating: NodeState(), count: plan.nodeCount)
        statusCounts[Int(NodeStatus.planned.rawValue)] = plan.nodeCount
        timing = JobTiming(scenario)
        job = JobState(sinceMs: scenario.startMs, nextMs: max(scenario.job.startMs, scenario.startMs))
        usage = FleetUsage(scenario, timing: timing)
        endMs = scenario.endMs
        failuresPerNodeMs = scenario.failures.perGPUDay * 8 / 86_400_000
        burnInPermille = Int64(scenario.telemetry.burnIn.powerPermille)
        let earlier = scenario.milestones.last { $0.timeMs < scenario.startMs && $0.announced != nil }
        announced = earlier?.announced ?? 0
        nextPlannedMs = plannedMs()
    }

    /// The end of the scenario has been reached.
    public var isFinished: Bool { nowMs >= endMs }

    /// Lets everything happen up to and including that time, but not beyond the end of the scenario.
    public mutating func advance(to timeMs: Int64) {
        let goal = min(timeMs, endMs)
        while true {
            let next = nextEventMs()
            if next > goal { break }
            usage.settle(at: next, statusCounts, job.phase)
            step(next)
        }
        nowMs = max(nowMs, goal)
    }

    /// The same, and adds what happened to `events`, in order.
    public mutating func advance(to timeMs: Int64, into events: inout [ModelEvent]) {
        recording = true
        advance(to: timeMs)
        recording = false
        events += self.events
        self.events.removeAll(keepingCapacity: true)
    }

    // MARK: What can be asked

    /// Nodes in a status.
    public func nodeCount(_ status: NodeStatus) -> Int { statusCounts[Int(status.rawValue)] }
    public func status(ofNode node: Int) -> NodeStatus { nodes[node].status }
    public var installedGPUs: Int { 8 * (plan.nodeCount - nodeCount(.planned)) }
    public var poweredGPUs: Int { installedGPUs - 8 * nodeCount(.installed) }
    /// GPUs of nodes that belong to the job and are up, also while the job recovers.
    public var trainingGPUs: Int { 8 * nodeCount(.training) }
    public var announcedGPUs: Int { announced }
    /// Failures of all causes so far.
    public var failures: Int { failureCount }
    public var interruptions: Int { job.interruptions }
    public var plannedStops: Int { job.plannedStops }
    public var checkpoints: Int { timing.checkpoints(job, at: nowMs) }
    /// Node time with power, outside burn-in and repair: what failures need to strike. Node-days.
    public var exposedNodeDays: Double { usage.exposedNodeMs(at: nowMs, statusCounts) / 86_400_000 }

    /// Effective training time over wall time since the job first started, 0...1; 0 before.
    public var ettr: Double {
        guard let first = job.firstStartMs, nowMs > first else { return 0 }
        return Double(timing.effective(job, at: nowMs)) / Double(nowMs - first)
    }

    /// Where the build stands now.
    ///
    /// - Parameter windowMs: utilisation and megawatts are means over the last so many milliseconds, to full hours;
    ///   one day at most.
    public func timelinePoint(overMs windowMs: Int64 = 3_600_000) -> TimelinePoint {
        var point = TimelinePoint(timeMs: nowMs)
        let scenario = plan.scenario
        let elapsed = max(0, nowMs - scenario.startMs)
        // A time at which a day ends belongs to that day.
        point.day = Int((elapsed + UTC.dayMs - 1) / UTC.dayMs)
        let index = max(0, (plan.phaseBounds.firstIndex { nowMs <= $0 } ?? scenario.phases.count) - 1)
        let phase = scenario.phases[index]
        point.phase = phase.name
        let phaseElapsed = max(0, nowMs - plan.phaseBounds[index])
        point.phaseDay = Int((phaseElapsed + UTC.dayMs - 1) / UTC.dayMs)
        point.phaseDays = phase.days
        point.announced = announced
        point.installed = installedGPUs
        point.powered = poweredGPUs
        point.inTraining = trainingGPUs
        let mean = usage.mean(until: nowMs, overMs: windowMs, statusCounts, job.phase)
        point.utilization = mean.utilization
        point.megawatts = mean.megawatts
        point.interruptions = job.interruptions
        point.ettr = ettr
        return point
    }

    // MARK: The next thing that happens

    private func nextEventMs() -> Int64 {
        let next = min(timers.nextMs, job.nextMs, usage.nextHourMs, nextPlannedMs)
        return reportsCheckpoints ? min(next, nextCheckpointMs()) : next
    }

    private func plannedMs() -> Int64 {
        let racks = plan.racks
        var next = Int64.max
        if nextRack.install < racks.count { next = min(next, racks[nextRack.install].installMs) }
        if nextRack.power < racks.count { next = min(next, racks[nextRack.power].powerMs) }
        if nextRack.burnIn < racks.count { next = min(next, racks[nextRack.burnIn].burnInMs) }
        if nextRack.ready < racks.count { next = min(next, racks[nextRack.ready].readyMs) }
        if nextMark < plan.marks.count { next = min(next, plan.marks[nextMark].timeMs) }
        return next
    }

    /// Everything that is due at that time, in a fixed order: racks, dates, nodes, the job.
    private mutating func step(_ timeMs: Int64) {
        if timeMs == nextPlannedMs { build(timeMs) }
        while timers.nextMs == timeMs, let node = timers.removeFirst() { wake(node, timeMs) }
        if reportsCheckpoints, nextCheckpointMs() == timeMs { reportCheckpoint(timeMs) }
        if job.nextMs == timeMs { continueJob(timeMs) }
        if job.phase == .waiting, timeMs >= plan.scenario.job.startMs, !candidates.isEmpty {
            startJob(timeMs)
        }
    }

    private mutating func build(_ timeMs: Int64) {
        while nextRack.install < plan.rackCount, plan.racks[nextRack.install].installMs == timeMs {
            for node in plan.nodes(ofRack: nextRack.install) { move(node, to: .installed, timeMs) }
            nextRack.install += 1
        }
        while nextRack.power < plan.rackCount, plan.racks[nextRack.power].powerMs == timeMs {
            for node in plan.nodes(ofRack: nextRack.power) { move(node, to: .powered, timeMs) }
            nextRack.power += 1
        }
        while nextRack.burnIn < plan.rackCount, plan.racks[nextRack.burnIn].burnInMs == timeMs {
            for node in plan.nodes(ofRack: nextRack.burnIn) { move(node, to: .burnIn, timeMs) }
            nextRack.burnIn += 1
        }
        while nextRack.ready < plan.rackCount, plan.racks[nextRack.ready].readyMs == timeMs {
            for node in plan.nodes(ofRack: nextRack.ready) { finishBurnIn(node, timeMs) }
            nextRack.ready += 1
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
        case .phaseEnd: event.value = Double(installedGPUs)
        default: event.value = scenario.power.curve[mark.entry].megawatts
        }
        record(event)
    }

    // MARK: Nodes

    private mutating func finishBurnIn(_ node: Int, _ timeMs: Int64) {
        let share = plan.scenario.bringUp.rejectedShare
        if share > 0, plan.philox.draw(.rejection, entity: UInt32(node), counter: 0).unit < share {
            repair(node, culprit: NodeState.wholeNode, reason: .rejected, timeMs)
        } else {
            release(node, timeMs)
        }
    }

    /// A node that works: it waits for the job, and for its next failure.
    private mutating func release(_ node: Int, _ timeMs: Int64) {
        move(node, to: .ready, timeMs)
        candidates.append(Int32(node))
        scheduleFailure(node, timeMs)
    }

    private mutating func scheduleFailure(_ node: Int, _ timeMs: Int64) {
        let expected = Double(endMs - timeMs) * failuresPerNodeMs
        guard expected > 0 else { return }
        let unit = plan.philox.draw(.failure, entity: UInt32(node), counter: Int64(nodes[node].incidents))
            .unit
        // -ln u exceeds what is left of the scenario; exp(-x) >= 1 - x saves most of the logarithms.
        if unit <= 1 - expected { return }
        let delay = (-PortableMath.log(unit) / failuresPerNodeMs).rounded(.up)
        guard delay <= Double(endMs - timeMs) else { return }
        timers.add(node, at: timeMs + max(1, Int64(delay)))
    }

    private mutating func wake(_ node: Int, _ timeMs: Int64) {
        switch nodes[node].status {
        case .ready, .training: fail(node, timeMs)
        case .failed:
            move(node, to: .inRepair, timeMs)
            timers.add(node, at: timeMs + repairMs(node))
        case .inRepair:
            nodes[node].culprit = NodeState.nobody
            nodes[node].xids = SIMD8(repeating: 0)
            release(node, timeMs)
            record(ModelEvent(timeMs: timeMs, kind: .nodeUp, node: Int32(node)))
        case .planned, .installed, .powered, .burnIn: break
        }
    }

    private mutating func fail(_ node: Int, _ timeMs: Int64) {
        failureCount += 1
        let draw = plan.philox.draw(.cause, entity: UInt32(node), counter: Int64(nodes[node].incidents))
        nodes[node].incidents &+= 1
        let cause = plan.cause(draw.unit)
        let ordinal = Int(draw[2] % 8)
        let wasMember = nodes[node].status == .training
        apply(cause, node, ordinal, timeMs)
        if wasMember { interruptJob(node, cause, timeMs) }
    }

    private mutating func apply(_ number: Int, _ node: Int, _ ordinal: Int, _ timeMs: Int64) {
        let cause = plan.scenario.failures.causes[number]
        if cause.xid != 0 {
            nodes[node].xids[ordinal] = UInt8(cause.xid)
            if XIDClass.remapsRows(cause.xid) { nodes[node].remaps[ordinal] &+= 1 }
            record(
                ModelEvent(
                    timeMs: timeMs, kind: .xid, node: Int32(node), gpu: Int8(ordinal), reason: .cause(number),
                    value: Double(cause.xid)))
        }
        switch cause.effect {
        case .software: scheduleFailure(node, timeMs)
        case .node: repair(node, culprit: NodeState.wholeNode, reason: .cause(number), timeMs)
        case .gpu:
            let drain = Int64(plan.scenario.failures.drainMinutes * 60_000)
            nodes[node].culprit = UInt8(ordinal)
            move(node, to: .failed, timeMs)
            timers.add(node, at: timeMs + drain)
            record(
                ModelEvent(
                    timeMs: timeMs, kind: .nodeDown, node: Int32(node), gpu: Int8(ordinal),
                    reason: .cause(number), value: Double(drain + repairMs(node)) / 1_000))
        }
    }

    private mutating func repair(_ node: Int, culprit: UInt8, reason: ModelEvent.Reason, _ timeMs: Int64) {
        nodes[node].culprit = culprit
        move(node, to: .inRepair, timeMs)
        let duration = repairMs(node)
        timers.add(node, at: timeMs + duration)
        record(
            ModelEvent(
                timeMs: timeMs, kind: .nodeDown, node: Int32(node), reason: reason,
                value: Double(duration) / 1_000))
    }

    private func repairMs(_ node: Int) -> Int64 {
        let repair = plan.scenario.failures.repair
        let unit = plan.philox.draw(.repair, entity: UInt32(node), counter: Int64(nodes[node].incidents)).unit
        let hours =
            repair.medianHours
            * PortableMath.exp(min(repair.sigma * PortableMath.normalQuantile(unit), 100))
        return max(1, Int64(min(max(hours, repair.minHours), repair.maxHours) * 3_600_000))
    }

    /// Changes a node's status and closes the books of the one before.
    private mutating func move(_ node: Int, to status: NodeStatus, _ timeMs: Int64) {
        var state = nodes[node]
        let elapsed = timeMs - state.sinceMs
        if state.status.isUp { state.upMs += elapsed }
        let warmth = tendency(state.status, timeMs) + state.heat * timing.decay(elapsed)
        if state.status == .burnIn {
            state.load += elapsed * burnInPermille
        }
        if (state.status == .training) != (status == .training) {
            let integral = timing.load(job, at: timeMs)
            state.load += status == .training ? -integral : integral
        }
        state.heat = warmth - tendency(status, timeMs)
        statusCounts[Int(state.status.rawValue)] -= 1
        statusCounts[Int(status.rawValue)] += 1
        state.sinceMs = timeMs
        state.status = status
        nodes[node] = state
    }

    /// What the temperature of a node in that status tends to.
    private func tendency(_ status: NodeStatus, _ timeMs: Int64) -> Float {
        switch status {
        case .training: timing.heat(job, at: timeMs)
        case .burnIn: Float(burnInPermille) / 1_000
        default: 0
        }
    }

    // MARK: The job

    /// All that is ready joins, if it is enough.
    private mutating func startJob(_ timeMs: Int64) {
        guard (nodeCount(.ready) + nodeCount(.training)) * 8 >= plan.scenario.job.minimumGPUs else { return }
        let isFirst = job.firstStartMs == nil
        if isFirst { job.firstStartMs = timeMs }
        run(timeMs)
        record(
            ModelEvent(
                timeMs: timeMs, kind: isFirst ? .jobStart : .jobRestarted, value: Double(trainingGPUs)))
    }

    private mutating func run(_ timeMs: Int64) {
        for node in candidates where nodes[Int(node)].status == .ready {
            move(Int(node), to: .training, timeMs)
        }
        candidates.removeAll(keepingCapacity: true)
        timing.enter(.running, &job, at: timeMs, until: nextResize(after: timeMs))
        checkpointsReported = job.checkpoints
    }

    private func nextResize(after timeMs: Int64) -> Int64 {
        let first = job.firstStartMs ?? timeMs
        return first + ((timeMs - first) / timing.resize + 1) * timing.resize
    }

    private mutating func interruptJob(_ node: Int, _ cause: Int, _ timeMs: Int64) {
        switch job.phase {
        case .running:
            let (count, sinceLast) = timing.progress(timeMs - job.sinceMs)
            job.interruptions += 1
            job.savedMs += count * timing.interval
            timing.enter(.hung, &job, at: timeMs, until: timeMs + timing.detection)
            record(
                ModelEvent(
                    timeMs: timeMs, kind: .jobInterrupted, node: Int32(node), reason: .cause(cause),
                    value: Double(sinceLast) / 1_000))
        case .restarting:
            // It hangs again, and the restart begins anew.
            timing.enter(.hung, &job, at: timeMs, until: timeMs + timing.detection)
        case .hung, .waiting: break
        }
    }

    /// The time of a phase is over.
    private mutating func continueJob(_ timeMs: Int64) {
        switch job.phase {
        case .waiting:
            job.nextMs = .max
            startJob(timeMs)
        case .running: resizeJob(timeMs)
        case .hung: timing.enter(.restarting, &job, at: timeMs, until: timeMs + timing.restart)
        case .restarting: restartJob(timeMs)
        }
    }

    private mutating func resizeJob(_ timeMs: Int64) {
        let share = plan.scenario.job.resizeShare
        guard nodeCount(.ready) > 0, Double(nodeCount(.ready)) >= share * Double(nodeCount(.training)) else {
            job.nextMs = nextResize(after: timeMs)
            return
        }
        job.savedMs = timing.effective(job, at: timeMs)
        job.plannedStops += 1
        timing.enter(.restarting, &job, at: timeMs, until: timeMs + timing.write + timing.restart)
        record(ModelEvent(timeMs: timeMs, kind: .jobInterrupted, reason: .planned, value: 0))
    }

    private mutating func restartJob(_ timeMs: Int64) {
        if (nodeCount(.ready) + nodeCount(.training)) * 8 >= plan.scenario.job.minimumGPUs {
            run(timeMs)
            record(ModelEvent(timeMs: timeMs, kind: .jobRestarted, value: Double(trainingGPUs)))
            return
        }
        for node in nodes.indices where nodes[node].status == .training {
            move(node, to: .ready, timeMs)
            candidates.append(Int32(node))
        }
        timing.enter(.waiting, &job, at: timeMs, until: .max)
    }

    private func nextCheckpointMs() -> Int64 {
        guard job.phase == .running else { return .max }
        return job.sinceMs + Int64(checkpointsReported - job.checkpoints + 1) * timing.cycle
    }

    private mutating func reportCheckpoint(_ timeMs: Int64) {
        checkpointsReported += 1
        record(ModelEvent(timeMs: timeMs, kind: .checkpoint, value: Double(checkpointsReported)))
    }

    private mutating func record(_ event: ModelEvent) {
        if recording { events.append(event) }
    }
}
