import CDraws

/// Whoever wants to know what `FleetCore` does to single nodes. Trajectories do not: for them it all compiles away.
protocol FleetObserver {
    /// Whether nodes, events and the job's temperature are to be followed.
    static var isLive: Bool { get }
    mutating func moved(_ node: Int, to status: NodeStatus, at timeMs: Int64, _ job: JobState)
    /// A GPU (or with `NodeState.wholeNode` all of them) is broken from now on.
    mutating func broke(_ node: Int, culprit: UInt8, drainMs: Int64, at timeMs: Int64)
    /// A GPU reports an XID.
    mutating func reported(_ node: Int, gpu: Int, xid: UInt8)
    /// A GPU gets too hot under load from now on; with `nil` none does any more.
    mutating func heated(_ node: Int, gpu: Int?, at timeMs: Int64, _ job: JobState)
    /// A node is slow from now on, or is not any more.
    mutating func slowed(_ node: Int, _ isSlow: Bool, at timeMs: Int64, _ job: JobState)
    /// What is known to whoever made the fault, and to nobody else.
    mutating func truth(_ fault: TrueFault)
    mutating func record(_ event: ModelEvent)
}

/// For trajectories.
struct NobodyWatching: FleetObserver {
    static var isLive: Bool { false }
    mutating func moved(_ node: Int, to status: NodeStatus, at timeMs: Int64, _ job: JobState) {}
    mutating func broke(_ node: Int, culprit: UInt8, drainMs: Int64, at timeMs: Int64) {}
    mutating func reported(_ node: Int, gpu: Int, xid: UInt8) {}
    mutating func heated(_ node: Int, gpu: Int?, at timeMs: Int64, _ job: JobState) {}
    mutating func slowed(_ node: Int, _ isSlow: Bool, at timeMs: Int64, _ job: JobState) {}
    mutating func truth(_ fault: TrueFault) {}
    mutating func record(_ event: ModelEvent) {}
}

/// The law of the model: which nodes can train, what fails, and what the job makes of it, event by event.
///
/// Live telemetry (`FleetModel`) and trajectories (`TrajectoryRunner`) both run it, so that one seed has the same failures in both.
/// What happens to a rack before it is ready has nothing to do with chance: it is in the plan and not here.
struct FleetCore: Sendable {
    enum Standing {
        static let absent: UInt8 = 0
        static let ready: UInt8 = 1
        static let member: UInt8 = 2
        static let out: UInt8 = 3
    }

    /// A slow or silent node that nobody has found yet.
    struct Hidden: Sendable {
        var node: Int32
        var mark: UInt32
        var cause: UInt8
        /// What the job had saved and trained when it began.
        var savedMs: Int64
        var productive: Int64
    }

    let plan: FleetPlan
    let law: FleetLaw
    let timing: JobTiming
    let startMs: Int64
    let endMs: Int64
    var philox: Philox

    // Nodes.
    var standing: [UInt8]
    /// 1 for racks without power, 2 for racks that are gone.
    var rackState: [UInt8]
    /// Whether one ever was.
    var hasRackOff = false
    var memberCount = 0
    var readyCount: Int { readyTime.count }
    /// Nodes 0 ..< everReady have been ready once, but for racks that were retired before; the ones that stand today.
    var everReady = 0
    var activeCount = 0
    var returns: ReturnCalendar
    var calendar: NodeCalendar
    var hidden: [Hidden] = []
    /// As long as it lasts, `standing` and `returns` say nothing, and `plain` does.
    var isPlain = false
    var plain: PlainNodes
    /// Those that become ready in plain time.
    let plainNodes: Int
    var candidates = CandidateQueue()

    // What comes next.
    var nextStep = 0
    var nextStepMs: Int64 = .max
    var nextFailureMs: Int64 = .max
    var nextJobEventMs: Int64 = .max
    /// What somebody has asked for, by time; only a live fleet has any.
    var injections: [FaultInjection] = []
    var nextInjection = 0
    var nextInjectionMs: Int64 = .max
    /// The injection that strikes now.
    var injected: FaultInjection?
    var nextWorkload = 0
    var nextWorkloadMs: Int64 = .max
    var failures: DrawAhead<FailureDraw>
    var failureDraw = FailureDraw()
    var jobEventIndex: Int64 = 0
    var hazardLeft = 0.0
    var hazardRate = 0.0
    var hazardSinceMs: Int64 = 0
    var spread = 1.0
    var nextRejected = Int.max
    var rejections: DrawAhead<RejectionDraw>
    var rejectedDraw = RejectionDraw()
    var infantPosition = 0.0
    var infantIndex: Int64 = 0

    // The job.
    var job: JobState
    var bookedMs: Int64
    /// Training until `bookedMs`, and how much of it since the last checkpoint.
    var bookedTraining: Int64 = 0
    var bookedSinceLast: Int64 = 0
    var bookedCheckpoints: Int64 = 0
    /// The next full resize interval.
    var nextResizeMs: Int64 = .min
    var slowPermille: Int64 = 0
    let jobStartMs: Int64
    let hasMFU: Bool
    let minimumNodes: Int
    let maximumNodes: Int
    let spareNodes: Int
    let resizeShare: Double
    var workload = Scenario.Workload(timeMs: .min, training: 1, reinforcement: 0, inference: 0)

    // Books.
    var time = GPUTime()
    /// Of nodes that are out, ready, ready or members, and without power.
    var outTime: NodeTime
    var readyTime: NodeTime
    var upTime: NodeTime
    var offlineTime: NodeTime
    /// How much of the time of ready nodes has been booked.
    var readyBookedMs: Int64 = 0
    var failureCount = 0
    var failuresByCause: [Int]
    var interruptionsByCause: [Int]
    var flop = 0.0
    var flopPerNodeMs = 0.0
    var flopNodes = -1
    /// TFLOP/s of the GPU that sets the pace.
    var pacePeak = 0.0
    var targetMs: Int64?
    let targetFLOP: Double
    /// Sizes of the job that are looked for, GPUs rising, and when each was reached.
    var thresholds: [Int] = []
    var reachedMs: [Int64] = []

    init(plan: FleetPlan, seed: UInt64, endMs: Int64) {
        self.plan = plan
        law = plan.law
        let scenario = plan.scenario
        timing = JobTiming(scenario)
        startMs = scenario.startMs
        self.endMs = endMs
        philox = Philox(seed: seed)
        standing = Array(repeating: Standing.absent, count: plan.nodeCount)
        rackState = Array(repeating: 0, count: plan.rackCount)
        returns = ReturnCalendar(startMs: scenario.startMs, endMs: endMs)
        calendar = NodeCalendar(startMs: scenario.startMs, endMs: endMs)
        plain = PlainNodes(startMs: scenario.startMs, endMs: endMs, causeCount: plan.causes.count)
        plainNodes = FleetPlan.plainNodes(plan.rackSteps, untilMs: min(endMs, plan.plainUntilMs))
        failures = DrawAhead(law, philox)
        rejections = DrawAhead(law, philox)
        job = JobState(sinceMs: scenario.startMs, nextMs: 0, intervalMs: timing.interval)
        bookedMs = scenario.startMs
        let none = NodeTime(startMs: scenario.startMs)
        (outTime, readyTime, upTime, offlineTime) = (none, none, none, none)
        let causeCount = plan.causes.count
        failuresByCause = Array(repeating: 0, count: causeCount)
        interruptionsByCause = Array(repeating: 0, count: causeCount)
        targetFLOP = scenario.job.targetFLOP
        jobStartMs = scenario.job.startMs
        hasMFU = !plan.law.mfuByNodes.isEmpty
        minimumNodes = (scenario.job.minimumGPUs + 7) / 8
        maximumNodes = scenario.job.maximumGPUs / 8
        spareNodes = scenario.job.spareNodes
        resizeShare = scenario.job.resizeShare
        begin()
    }

    /// Back to the start with another seed; keeps its memory.
    mutating func restart(seed: UInt64) {
        philox = Philox(seed: seed)
        for index in standing.indices { standing[index] = Standing.absent }
        if hasRackOff {
            for index in rackState.indices { rackState[index] = 0 }
            hasRackOff = false
        }
        (memberCount, everReady, activeCount) = (0, 0, 0)
        let none = NodeTime(startMs: startMs)
        (outTime, readyTime, upTime, offlineTime, readyBookedMs) = (none, none, none, none, 0)
        returns.removeAll()
        calendar.removeAll()
        isPlain = plan.plainUntilMs >= startMs
        failures.restart(philox)
        rejections.restart(philox)
        hidden.removeAll(keepingCapacity: true)
        candidates.removeAll()
        (nextStep, nextWorkload, nextInjection) = (0, 0, 0)
        (jobEventIndex, infantIndex) = (0, 0)
        (hazardRate, infantPosition, nextRejected) = (0, 0, .max)
        job = JobState(sinceMs: startMs, nextMs: 0, intervalMs: timing.interval)
        (bookedMs, slowPermille, nextResizeMs) = (startMs, 0, .min)
        workload = Scenario.Workload(timeMs: .min, training: 1, reinforcement: 0, inference: 0)
        time = GPUTime()
        failureCount = 0
        for index in failuresByCause.indices {
            failuresByCause[index] = 0
            interruptionsByCause[index] = 0
        }
        (flop, flopPerNodeMs, flopNodes, targetMs) = (0, 0, -1, nil)
        pacePeak = 0
        reachedMs.removeAll(keepingCapacity: true)
        begin()
        if isPlain { rejectPlainly() }
    }

    /// The first draws.
    private mutating func begin() {
        spread = law.spread(philox)
        job.nextMs = max(jobStartMs, startMs)
        nextStepMs = plan.rackSteps.first?.timeMs ?? .max
        nextWorkloadMs = plan.scenario.job.workload.first?.timeMs ?? .max
        nextInjectionMs = injections.first?.timeMs ?? .max
        hazardSinceMs = startMs
        nextFailureMs = .max
        nextJobEventMs = startMs
        drawFailure()
        drawJobEvent(after: startMs)
        drawFirstRejected()
        if law.infantPerNode > 0 { infantPosition = infantGap() }
    }

    // MARK: The clock

    /// When something happens next; `Int64.max` when nothing will.
    var nextMs: Int64 { min(min(returns.nextMs, nextFailureMs), min(nextRareMs, job.nextMs)) }

    /// The same without failures that are drawn for the fleet, what the job does by itself, and nodes that come back.
    @inline(__always)
    private var nextRareMs: Int64 {
        min(min(min(nextJobEventMs, calendar.nextMs), min(nextWorkloadMs, nextInjectionMs)), nextStepMs)
    }

    /// Everything that is due at that time, in a fixed order: racks, nodes, failures, the job.
    mutating func step<Observer: FleetObserver>(_ timeMs: Int64, _ observer: inout Observer) {
        if nextStepMs == timeMs {
            // Of nodes that came back before, nobody may have asked yet.
            takeBack(until: timeMs - 1, &observer)
            while nextStepMs == timeMs { takeRackStep(timeMs, &observer) }
        }
        takeBack(until: timeMs, &observer)
        while calendar.nextMs == timeMs, let item = calendar.removeFirst() { wake(item, timeMs, &observer) }
        while nextFailureMs == timeMs { strike(timeMs, &observer) }
        while nextInjectionMs == timeMs { inject(timeMs, &observer) }
        while nextJobEventMs == timeMs { strikeJob(timeMs, &observer) }
        while nextWorkloadMs == timeMs { changeWorkload(timeMs) }
        if job.nextMs == timeMs { continueJob(timeMs, &observer) }
        if job.phase == .waiting, !candidates.isEmpty, timeMs >= jobStartMs {
            startJob(timeMs, &observer)
        }
    }

    /// Lets everything happen up to and including that time, for whom single steps do not matter.
    ///
    /// The result is that of `step` at each `nextMs`, to the bit. But a node that comes back is nothing that anybody has to look
    /// at until a failure or the job asks which nodes there are, and between two failures the job goes its way alone.
    mutating func advance(to goalMs: Int64) {
        if isPlain {
            advancePlainly(to: goalMs)
            if isPlain { return }
        }
        var nobody = NobodyWatching()
        while true {
            let rare = nextRareMs
            let other = min(rare, nextFailureMs)
            while job.nextMs <= goalMs, job.nextMs < other, job.phase != .waiting {
                let timeMs = job.nextMs
                if job.phase != .hung { takeBack(until: timeMs, &nobody) }
                continueJob(timeMs, &nobody)
            }
            // A job that waits starts as soon as enough nodes are there.
            let next = job.phase == .waiting ? nextMs : min(other, job.nextMs)
            if next > goalMs { break }
            if next == other, next < rare, next != job.nextMs, job.phase != .waiting {
                strike(next, &nobody)
            } else {
                step(next, &nobody)
            }
        }
        takeBack(until: goalMs, &nobody)
    }

    /// The same for times that follow each other: `reached` is told of each.
    mutating func advance(through times: [Int64], _ reached: (inout FleetCore, Int) -> Void) {
        let first = isPlain ? advancePlainly(through: times, reached) : 0
        for place in first..<times.count {
            advance(to: times[place])
            reached(&self, place)
        }
    }

    @inline(__always)
    mutating func takeBack<Observer: FleetObserver>(
        until timeMs: Int64, _ observer: inout Observer
    ) {
        while let (node, backMs) = returns.removeFirst(until: timeMs) { comeBack(node, backMs, &observer) }
    }

    /// Says what the ready nodes were for since the workload last changed.
    private mutating func settleReady(_ timeMs: Int64) {
        let readyMs = readyTime.sum(until: timeMs) - readyBookedMs
        readyBookedMs += readyMs
        Self.book(ready: readyMs, workload, into: &time)
    }

    mutating func changeWorkload(_ timeMs: Int64) {
        let entries = plan.scenario.job.workload
        settleReady(timeMs)
        workload = entries[nextWorkload]
        nextWorkload += 1
        nextWorkloadMs = nextWorkload < entries.count ? entries[nextWorkload].timeMs : .max
        // A smaller share takes effect at once, a larger one at the next look.
        if memberCount > limit, job.phase == .running { job.nextMs = timeMs }
    }

    // MARK: Draws

    /// Changes the rate at which nodes fail.
    @inline(__always)
    mutating func setHazard(_ timeMs: Int64) {
        hazardLeft -= hazardRate * Double(timeMs &- hazardSinceMs)
        hazardSinceMs = timeMs
        hazardRate =
            law.perNodeMs * (1 + law.lemonSurplus) * Double(everReady) * spread
            * law.collapse(nodes: everReady)
        schedule(timeMs)
    }

    @inline(__always)
    private mutating func schedule(_ timeMs: Int64) {
        guard hazardRate > 0 else {
            nextFailureMs = .max
            return
        }
        nextFailureMs = timeMs &+ delay(hazardLeft)
    }

    /// How long so much hazard takes to pass.
    @inline(__always)
    func delay(_ hazard: Double) -> Int64 { max(1, cdraws_whole(min(hazard / hazardRate, 1e15)) &+ 1) }

    @inline(__always)
    private mutating func drawFailure() {
        failureDraw = failures.next()
        hazardLeft = failureDraw.hazard
    }

    /// The failure that was due, and the time of the next one.
    @inline(__always)
    mutating func nextFailure(_ timeMs: Int64) -> FailureDraw {
        let draw = failureDraw
        drawFailure()
        hazardSinceMs = timeMs
        schedule(timeMs)
        return draw
    }

    mutating func drawJobEvent(after timeMs: Int64) {
        guard law.perJobMs > 0 else {
            nextJobEventMs = .max
            return
        }
        let draw = philox.draw(.jobEvent, entity: 0, counter: jobEventIndex)
        jobEventIndex += 1
        let delay = min((-PortableMath.log(draw.unit32(0)) / law.perJobMs).rounded(.up), 1e15)
        nextJobEventMs = timeMs + max(1, Int64(delay))
    }

    mutating func drawFirstRejected() {
        guard law.rejectedShare > 0 else { return }
        nextRejected = -1
        drawRejected()
    }

    /// Which node after the last one does not pass burn-in: geometric gaps.
    mutating func drawRejected() {
        rejectedDraw = rejections.next()
        nextRejected += 1 + rejectedDraw.passed
    }

    /// How many nodes further the next one stands that fails in its infancy.
    mutating func infantGap() -> Double {
        let draw = philox.draw(.infant, entity: 0, counter: infantIndex)
        return -PortableMath.log(draw.unit32(0)) / (law.infantPerNode * spread)
    }
}
