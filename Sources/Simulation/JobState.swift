/// What the job does, and sums over what it did. Like `NodeState` it changes only at events.
struct JobState: Sendable, Equatable {
    enum Phase: UInt8, Sendable {
        /// Not enough nodes, or not yet time.
        case waiting
        case running
        /// A member has failed and nobody has noticed.
        case hung
        case restarting
        /// Nothing is broken, and nothing goes on: data or a link have to come back.
        case stalled
    }

    var phase = Phase.waiting
    var sinceMs: Int64
    /// When the phase ends (or the next look at new nodes is due); `Int64.max` for not by itself.
    var nextMs: Int64
    /// Training time between checkpoints in this stretch of training.
    var intervalMs: Int64
    /// Time of training and checkpoints that lay before this phase, since training last started anew: a stall interrupts it
    /// and a running phase goes on with it.
    var offsetMs: Int64 = 0
    /// Integral of the members' power above idle (thousandths) over milliseconds until `sinceMs`.
    var load: Int64 = 0
    /// How warm members are at `sinceMs`, once what they brought along has decayed; 1 is training.
    var heat: Float = 0
    /// The same of their power above idle.
    var level: Float = 0
    /// The three of a member that is slow: it is busy while the others wait for it.
    var slowLoad: Int64 = 0
    var slowHeat: Float = 0
    var slowLevel: Float = 0
    /// What slow members take off the pace of this phase, if it is one of training; followed for telemetry only.
    var slowPermille: Int64 = 0
    var firstStartMs: Int64?
    /// Training time that checkpoints hold, or that a planned stop has saved, milliseconds.
    var savedMs: Int64 = 0
    /// Unexpected and planned stops, and checkpoints written before `sinceMs`.
    var interruptions = 0
    var plannedStops = 0
    var checkpoints = 0

    /// Time since training last started anew, stalls left out.
    func elapsed(at timeMs: Int64) -> Int64 {
        phase == .running ? timeMs &- sinceMs &+ offsetMs : offsetMs
    }
}

/// The job's clockwork in milliseconds.
final class JobTiming: Sendable {
    let write: Int64
    /// The interval that the scenario gives, or the best one for the whole fleet.
    let interval: Int64
    let resize: Int64
    let thermalMs: Double
    /// Time constant of power, milliseconds.
    let powerMs: Double
    let step: TrainingStep
    /// While a slow member holds the job up, by how much.
    private let held: [Int64: (waiting: TrainingStep, slow: TrainingStep)]
    private let restart: Int64
    private let restartPerDoubling: Double
    private let restartReferenceNodes: Double
    private let policy: Scenario.CheckpointPolicy
    private let perNodeMs: Double
    private let permille: SIMD8<Int64>
    private let writing: Int64

    init(_ scenario: Scenario) {
        func ms(_ seconds: Double) -> Int64 { Int64((seconds * 1_000).rounded()) }
        let job = scenario.job
        write = ms(job.checkpointWriteSeconds)
        restart = max(1, ms(job.restartSeconds))
        restartPerDoubling = job.restartSecondsPerDoubling * 1_000 / PortableMath.log(2)
        restartReferenceNodes = max(1, Double(job.restartReferenceGPUs) / 8)
        policy = job.checkpointPolicy
        perNodeMs = scenario.failures.perGPUDay * 8 / 86_400_000
        resize = max(1, ms(job.resizeHours * 3_600))
        thermalMs = scenario.telemetry.thermalSeconds * 1_000
        powerMs = scenario.telemetry.powerSeconds * 1_000
        let step = TrainingStep(seconds: scenario.telemetry.stepSeconds)
        self.step = step
        let loads = scenario.telemetry
        let waiting = TrainingStep.Factors(loads.hung, of: loads.training)
        let causes = scenario.failures.causes + Scenario.Cause.injectable
        let slow = Set(causes.map(\.slowPermille)).filter { $0 > 0 }
        held = Dictionary(uniqueKeysWithValues: slow.map { ($0, step.held($0, waiting: waiting)) })
        permille = SIMD8(
            0, Int64(loads.training.powerPermille), Int64(loads.hung.powerPermille),
            Int64(loads.restarting.powerPermille), Int64(loads.restarting.powerPermille), 0, 0, 0)
        writing = Int64(loads.checkpointing.powerPermille)
        let nodes = Double(min(scenario.gpuCount, job.maximumGPUs) / 8)
        interval = Self.interval(
            job.checkpointPolicy, fixed: max(1, ms(job.checkpointSeconds)), write: Double(write),
            failuresPerMs: perNodeMs * nodes)
    }

    /// Training time between checkpoints of a job with so many nodes.
    @inline(__always)
    func interval(nodes: Int, spread: Double) -> Int64 {
        guard policy != .fixed else { return interval }
        return Self.interval(
            policy, fixed: interval, write: Double(write),
            failuresPerMs: perNodeMs * Double(nodes) * spread)
    }

    private static func interval(
        _ policy: Scenario.CheckpointPolicy, fixed: Int64, write: Double, failuresPerMs: Double
    ) -> Int64 {
        guard failuresPerMs > 0, policy != .fixed else { return fixed }
        let mttf = 1 / failuresPerMs
        let best =
            switch policy {
            case .fixed, .young: CheckpointTheory.young(write: write, mttf: mttf)
            case .daly: CheckpointTheory.daly(write: write, mttf: mttf)
            case .exact: CheckpointTheory.exact(write: write, mttf: mttf)
            }
        return max(1_000, Int64(min(best, 864_000_000).rounded()))
    }

    /// From the detection of a failure to training, for a job of that size.
    @inline(__always)
    func restart(nodes: Int) -> Int64 {
        guard restartPerDoubling != 0, nodes > 0 else { return restart }
        let doublings = PortableMath.log(Double(nodes) / restartReferenceNodes)
        return max(1, restart + Int64(restartPerDoubling * doublings))
    }

    /// Checkpoints written, and training time since the last one, so long after training started.
    @inline(__always)
    func progress(_ elapsed: Int64, _ interval: Int64) -> (checkpoints: Int64, sinceLast: Int64) {
        let (count, rest) = elapsed.quotientAndRemainder(dividingBy: interval &+ write)
        return (count, min(rest, interval))
    }

    /// Training time within the first so many milliseconds.
    @inline(__always)
    func training(_ elapsed: Int64, _ interval: Int64) -> Int64 {
        let (count, sinceLast) = progress(elapsed, interval)
        return count * interval + sinceLast
    }

    func isWriting(_ job: JobState, at timeMs: Int64) -> Bool {
        job.phase == .running
            && job.elapsed(at: timeMs) % (job.intervalMs + write) >= job.intervalMs
    }

    private func step(_ job: JobState, isSlow: Bool) -> TrainingStep {
        guard job.slowPermille > 0, let held = held[job.slowPermille] else { return step }
        return isSlow ? held.slow : held.waiting
    }

    /// The load integral at a time not before `sinceMs`.
    func load(_ job: JobState, at timeMs: Int64, isSlow: Bool = false) -> Int64 {
        let (load, level) = isSlow ? (job.slowLoad, job.slowLevel) : (job.load, job.level)
        let lag = lag(level - goal(job, at: job.sinceMs, isSlow), timeMs - job.sinceMs)
        guard job.phase == .running else {
            return load + (timeMs - job.sinceMs) * permille[Int(job.phase.rawValue)] + lag
        }
        let step = step(job, isSlow: isSlow)
        let from = self.training(job.offsetMs, job.intervalMs)
        let training = self.training(job.elapsed(at: timeMs), job.intervalMs)
        return load + stepped(step, training) - stepped(step, from) + lag
            + (timeMs - job.sinceMs - training + from) * writing
    }

    private func stepped(_ step: TrainingStep, _ training: Int64) -> Int64 {
        Int64((step.integral(training) * Double(permille[1])).rounded(.down))
    }

    /// What the power of a phase would be if it had no time constant.
    private func goal(_ job: JobState, at timeMs: Int64, _ isSlow: Bool) -> Float {
        guard job.phase == .running else { return Float(permille[Int(job.phase.rawValue)]) / 1_000 }
        if isWriting(job, at: timeMs) { return Float(writing) / 1_000 }
        return Float(permille[1]) / 1_000 * factors(job, at: timeMs, isSlow: isSlow).power
    }

    /// The members' power above idle: 1 is the mean of training.
    func power(_ job: JobState, at timeMs: Int64, isSlow: Bool = false) -> Float {
        let level = isSlow ? job.slowLevel : job.level
        let surplus = level - goal(job, at: job.sinceMs, isSlow)
        return goal(job, at: timeMs, isSlow) + surplus * powerDecay(timeMs - job.sinceMs)
    }

    /// Where in a step the members are; the mean while they do not train.
    func factors(_ job: JobState, at timeMs: Int64, isSlow: Bool = false) -> TrainingStep.Factors {
        guard job.phase == .running, !isWriting(job, at: timeMs) else { return .mean }
        return step(job, isSlow: isSlow).factors(at: training(job.elapsed(at: timeMs), job.intervalMs))
    }

    /// exp(-t / tau) of power, and its integral times a surplus, in thousandths times milliseconds.
    func powerDecay(_ elapsed: Int64) -> Float { Self.decay(elapsed, powerMs) }

    func lag(_ surplus: Float, _ elapsed: Int64) -> Int64 {
        guard surplus != 0 else { return 0 }
        return Int64((Double(surplus) * 1_000 * powerMs * (1 - Double(powerDecay(elapsed)))).rounded(.down))
    }

    /// What the members' temperature tends to in this phase; checkpoints are too short to matter.
    private func target(_ job: JobState, _ isSlow: Bool) -> Float {
        guard job.phase == .running else { return Float(permille[Int(job.phase.rawValue)]) / 1_000 }
        let share = Float(job.intervalMs) / Float(job.intervalMs + write)
        var training = Float(permille[1])
        if job.slowPermille > 0 { training *= step(job, isSlow: isSlow).mean }
        return (share * training + (1 - share) * Float(writing)) / 1_000
    }

    func heat(_ job: JobState, at timeMs: Int64, isSlow: Bool = false) -> Float {
        let goal = target(job, isSlow)
        return goal + ((isSlow ? job.slowHeat : job.heat) - goal) * decay(timeMs - job.sinceMs)
    }

    /// exp(-t / tau); 0 once nothing of it could be seen.
    func decay(_ elapsed: Int64) -> Float { Self.decay(elapsed, thermalMs) }

    private static func decay(_ elapsed: Int64, _ tauMs: Double) -> Float {
        if elapsed == 0 { return 1 }
        let turns = Double(elapsed) / tauMs
        return turns > 20 ? 0 : Float(PortableMath.exp(-turns))
    }

    /// Training time that counts, milliseconds: what is saved and what is on the way to the next checkpoint.
    func effective(_ job: JobState, at timeMs: Int64) -> Int64 {
        guard job.phase == .running || job.phase == .stalled else { return job.savedMs }
        return job.savedMs + training(job.elapsed(at: timeMs), job.intervalMs)
    }

    func checkpoints(_ job: JobState, at timeMs: Int64) -> Int {
        guard job.phase == .running || job.phase == .stalled else { return job.checkpoints }
        return job.checkpoints + Int(progress(job.elapsed(at: timeMs), job.intervalMs).checkpoints)
    }

    /// Closes the books of the phase for telemetry; the phase that begins then is entered by `FleetCore`.
    func settle(_ job: inout JobState, at timeMs: Int64) {
        func sums(_ isSlow: Bool) -> (Int64, Float, Float) {
            (
                load(job, at: timeMs, isSlow: isSlow), heat(job, at: timeMs, isSlow: isSlow),
                power(job, at: timeMs, isSlow: isSlow)
            )
        }
        // Most jobs have never had a slow member, and most phases have none.
        let differs =
            job.slowPermille > 0
            || (job.slowLoad, job.slowHeat, job.slowLevel) != (job.load, job.heat, job.level)
        let others = sums(false)
        let slow = differs ? sums(true) : others
        (job.load, job.heat, job.level) = others
        (job.slowLoad, job.slowHeat, job.slowLevel) = slow
    }

    /// From then on slow members take that off the pace of training: the books are closed and it goes on.
    func hold(_ job: inout JobState, _ permille: Int64, at timeMs: Int64) {
        guard job.phase == .running, job.slowPermille != permille else { return }
        settle(&job, at: timeMs)
        (job.offsetMs, job.sinceMs, job.slowPermille) = (job.elapsed(at: timeMs), timeMs, permille)
    }
}

extension TrainingStep.Factors {
    /// That load in place of the mean of training.
    fileprivate init(_ load: Scenario.Load, of training: Scenario.Load) {
        func share(_ path: KeyPath<Scenario.Load, Float>) -> Float {
            training[keyPath: path] > 0 ? load[keyPath: path] / training[keyPath: path] : 0
        }
        self.init(
            power: Float(load.powerPermille) / Float(max(1, training.powerPermille)), tensor: share(\.tensor),
            dram: share(\.dram), nvlink: share(\.nvlinkMBps), pcie: share(\.pcieBps))
    }
}

extension Scenario.Cause {
    /// What a slow node takes off the job's pace, thousandths, and never all of it.
    var slowPermille: Int64 { min(999, Int64((slowdown * 1_000).rounded())) }
}
