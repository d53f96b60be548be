public import Telemetry

/// The fleet of a scenario, event by event: a value that only its own `advance` changes.
///
/// It needs no clock and no threads. Advancing to a time in one step or in many gives the same state and the same
/// events, bit for bit. What happens is `FleetCore`'s business; this follows single nodes through it, for telemetry.
public struct FleetModel: Sendable {
    public let plan: FleetPlan
    /// How far it has come, Unix milliseconds: everything up to and including this time has happened.
    public private(set) var nowMs: Int64
    /// Whether each checkpoint is an event (it is counted anyway): for slow paces.
    public var reportsCheckpoints = false {
        didSet { checkpointsReported = checkpoints }
    }

    private var core: FleetCore
    private var view: FleetView
    private var checkpointsReported = 0
    private let endMs: Int64

    /// A fleet of which nothing stands, just before the scenario starts.
    ///
    /// - Parameter injections: faults on purpose, in any order.
    public init(plan: FleetPlan, injections: [FaultInjection] = []) {
        self.plan = plan
        nowMs = plan.scenario.startMs - 1
        endMs = plan.scenario.endMs
        core = FleetCore(plan: plan, seed: plan.scenario.seed, endMs: endMs)
        view = FleetView(plan: plan, timing: core.timing)
        for injection in injections { inject(injection) }
    }

    /// The end of the scenario has been reached.
    public var isFinished: Bool { nowMs >= endMs }

    /// Lets everything happen up to and including that time, but not beyond the end of the scenario.
    public mutating func advance(to timeMs: Int64) {
        let goal = min(timeMs, endMs)
        while true {
            let planned = view.nextMs
            let next = min(planned, core.nextMs, nextCheckpointMs())
            if next > goal { break }
            view.usage.settle(at: next, view.statusCounts, core.job)
            // What was planned comes before what happens, and a checkpoint is written before something fails.
            if planned == next {
                view.step(next, core.job)
            } else if nextCheckpointMs() == next {
                reportCheckpoint(next)
            } else {
                let checkpointsWere = (core.job.checkpoints, core.job.phase)
                core.step(next, &view)
                if checkpointsWere != (core.job.checkpoints, core.job.phase) {
                    checkpointsReported = max(checkpointsReported, core.job.checkpoints)
                }
            }
        }
        nowMs = max(nowMs, goal)
    }

    /// The same, and adds what happened to `events`, in order.
    public mutating func advance(to timeMs: Int64, into events: inout [ModelEvent]) {
        view.isRecording = true
        advance(to: timeMs)
        view.isRecording = false
        events += view.events
        view.events.removeAll(keepingCapacity: true)
    }

    // MARK: Faults on purpose

    /// Whether `faults` is kept.
    public var keepsTruth: Bool {
        get { view.keepsTruth }
        set { view.keepsTruth = newValue }
    }
    /// What really failed so far, 100,000 faults at most.
    public var faults: [TrueFault] { view.faults }

    /// Adds a fault at a time that has not come yet; one that is past is left out.
    ///
    /// - Returns: whether it will strike.
    @discardableResult
    public mutating func inject(_ injection: FaultInjection) -> Bool {
        guard injection.timeMs > nowMs else { return false }
        core.add(injection)
        return true
    }

    // MARK: What can be asked

    var nodes: [NodeState] { view.nodes }
    var job: JobState { core.job }
    var timing: JobTiming { core.timing }

    /// Nodes in a status.
    public func nodeCount(_ status: NodeStatus) -> Int { view.statusCounts[Int(status.rawValue)] }
    public func status(ofNode node: Int) -> NodeStatus { view.nodes[node].status }
    public var installedGPUs: Int { 8 * (plan.nodeCount - nodeCount(.planned)) }
    public var poweredGPUs: Int { installedGPUs - 8 * nodeCount(.installed) }
    /// GPUs of nodes that belong to the job and are up, also while the job recovers.
    public var trainingGPUs: Int { 8 * nodeCount(.training) }
    public var announcedGPUs: Int { view.announced }
    /// Failures of all causes so far.
    public var failures: Int { core.failureCount }
    public var interruptions: Int { core.job.interruptions }
    public var plannedStops: Int { core.job.plannedStops }
    public var checkpoints: Int { timing.checkpoints(core.job, at: nowMs) }
    /// Node time with power, outside burn-in and repair: what failures need to strike. Node-days.
    public var exposedNodeDays: Double {
        view.usage.exposedNodeMs(at: nowMs, view.statusCounts) / 86_400_000
    }

    /// Effective training time over wall time since the job first started, 0...1; 0 before.
    public var ettr: Double {
        guard let first = core.job.firstStartMs, nowMs > first else { return 0 }
        return Double(timing.effective(core.job, at: nowMs)) / Double(nowMs - first)
    }

    /// What the nodes did with their time so far.
    public var gpuTime: GPUTime { core.gpuTime(at: nowMs) }

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
        point.announced = view.announced
        point.installed = installedGPUs
        point.powered = poweredGPUs
        point.inTraining = trainingGPUs
        let mean = view.usage.mean(
            until: nowMs, overMs: windowMs, view.statusCounts, core.job)
        point.utilization = mean.utilization
        point.megawatts = mean.megawatts
        point.interruptions = core.job.interruptions
        point.ettr = ettr
        return point
    }

    // MARK: Checkpoints

    private func nextCheckpointMs() -> Int64 {
        let job = core.job
        guard reportsCheckpoints, job.phase == .running else { return .max }
        let written = Int64(checkpointsReported - job.checkpoints + 1)
        return job.sinceMs - job.offsetMs + written * (job.intervalMs + timing.write)
    }

    private mutating func reportCheckpoint(_ timeMs: Int64) {
        checkpointsReported += 1
        view.record(ModelEvent(timeMs: timeMs, kind: .checkpoint, value: Double(checkpointsReported)))
    }
}
