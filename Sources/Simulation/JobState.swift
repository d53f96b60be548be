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
        step = TrainingStep(seconds: scenario.telemetry.stepSeconds)
        let loads = scenario.telemetry
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

    /// The load integral at a time not before `sinceMs`.
    func load(_ job: JobState, at timeMs: Int64) -> Int64 {
        let lag = lag(job.level - goal(job, at: job.sinceMs), timeMs - job.sinceMs)
        guard job.phase == .running else {
            return job.load + (timeMs - job.sinceMs) * permille[Int(job.phase.rawValue)] + lag
        }
        let from = self.training(job.offsetMs, job.intervalMs)
        let training = self.training(job.elapsed(at: timeMs), job.intervalMs)
        return job.load + stepped(training) - stepped(from) + lag
            + (timeMs - job.sinceMs - training + from) * writing
    }

    private func stepped(_ training: Int64) -> Int64 {
        Int64((step.integral(training) * Double(permille[1])).rounded(.down))
    }

    /// What the power of a phase would be if it had no time constant.
    private func goal(_ job: JobState, at timeMs: Int64) -> Float {
        guard job.phase == .running else { return Float(permille[Int(job.phase.rawValue)]) / 1_000 }
        if isWriting(job, at: timeMs) { return Float(writing) / 1_000 }
        return Float(permille[1]) / 1_000 * factors(job, at: timeMs).power
    }

    /// The members' power above idle: 1 is the mean of training.
    func power(_ job: JobState, at timeMs: Int64) -> Float {
        let elapsed = timeMs - job.sinceMs
        return goal(job, at: timeMs) + (job.level - goal(job, at: job.sinceMs)) * powerDecay(elapsed)
    }

    /// Where in a step the members are; the mean while they do not train.
    func factors(_ job: JobState, at timeMs: Int64) -> TrainingStep.Factors {
        guard job.phase == .running, !isWriting(job, at: timeMs) else { return .mean }
        return step.factors(at: training(job.elapsed(at: timeMs), job.intervalMs))
    }

    /// exp(-t / tau) of power, and its integral times a surplus, in thousandths times milliseconds.
    func powerDecay(_ elapsed: Int64) -> Float { Self.decay(elapsed, powerMs) }

    func lag(_ surplus: Float, _ elapsed: Int64) -> Int64 {
        guard surplus != 0 else { return 0 }
        return Int64((Double(surplus) * 1_000 * powerMs * (1 - Double(powerDecay(elapsed)))).rounded(.down))
    }

    /// What the members' temperature tends to in this phase; checkpoints are too short to matter.
    func target(_ job: JobState) -> Float {
        guard job.phase == .running else { return Float(permille[Int(job.phase.rawValue)]) / 1_000 }
        let share = Float(job.intervalMs) / Float(job.intervalMs + write)
        return (share * Float(permille[1]) + (1 - share) * Float(writing)) / 1_000
    }

    func heat(_ job: JobState, at timeMs: Int64) -> Float {
        let goal = target(job)
        return goal + (job.heat - goal) * decay(timeMs - job.sinceMs)
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
        let (load, heat, level) = (load(job, at: timeMs), heat(job, at: timeMs), power(job, at: timeMs))
        job.load = load
        job.heat = heat
        job.level = level
    }
}
