/// What the job does, and sums over what it did. Like `NodeState` it changes only at events.
struct JobState: Sendable, Equatable {
    enum Phase: UInt8, Sendable {
        /// Not enough nodes, or not yet time.
        case waiting
        case running
        /// A member has failed and nobody has noticed.
        case hung
        case restarting
    }

    var phase = Phase.waiting
    var sinceMs: Int64
    /// When the phase ends (or the next look at new nodes is due); `Int64.max` for not by itself.
    var nextMs: Int64
    /// Integral of the members' power above idle (thousandths) over milliseconds until `sinceMs`.
    var load: Int64 = 0
    /// How warm members are at `sinceMs`, once what they brought along has decayed; 1 is training.
    var heat: Float = 0
    var firstStartMs: Int64?
    /// Training time that checkpoints hold, or that a planned stop has saved, milliseconds.
    var savedMs: Int64 = 0
    /// Unexpected and planned stops, and checkpoints written before `sinceMs`.
    var interruptions = 0
    var plannedStops = 0
    var checkpoints = 0
}

/// The job's clockwork in milliseconds.
struct JobTiming: Sendable {
    let interval: Int64
    let write: Int64
    let detection: Int64
    let restart: Int64
    let resize: Int64
    let thermalMs: Double
    private let permille: SIMD4<Int64>
    private let writing: Int64
    private let meanRunning: Float

    init(_ scenario: Scenario) {
        func ms(_ seconds: Double) -> Int64 { Int64((seconds * 1_000).rounded()) }
        let job = scenario.job
        interval = max(1, ms(job.checkpointSeconds))
        write = ms(job.checkpointWriteSeconds)
        detection = ms(job.detectionSeconds)
        restart = max(1, ms(job.restartSeconds))
        resize = max(1, ms(job.resizeHours * 3_600))
        thermalMs = scenario.telemetry.thermalSeconds * 1_000
        let loads = scenario.telemetry
        permille = SIMD4(
            0, Int64(loads.training.powerPermille), Int64(loads.hung.powerPermille),
            Int64(loads.restarting.powerPermille))
        writing = Int64(loads.checkpointing.powerPermille)
        meanRunning =
            Float(interval * permille[1] + write * writing) / Float((interval + write) * 1_000)
    }

    var cycle: Int64 { interval + write }

    /// Checkpoints written, and training time since the last one, in a running phase of that length.
    func progress(_ elapsed: Int64) -> (checkpoints: Int64, sinceLast: Int64) {
        let (count, rest) = elapsed.quotientAndRemainder(dividingBy: cycle)
        return (count, min(rest, interval))
    }

    func isWriting(_ job: JobState, at timeMs: Int64) -> Bool {
        job.phase == .running && (timeMs - job.sinceMs) % cycle >= interval
    }

    /// The load integral at a time not before `sinceMs`.
    func load(_ job: JobState, at timeMs: Int64) -> Int64 {
        let elapsed = timeMs - job.sinceMs
        guard job.phase == .running else { return job.load + elapsed * permille[Int(job.phase.rawValue)] }
        let (count, sinceLast) = progress(elapsed)
        let training = count * interval + sinceLast
        return job.load + training * permille[1] + (elapsed - training) * writing
    }

    /// What the members' temperature tends to in this phase; checkpoints are too short to matter.
    func target(_ phase: JobState.Phase) -> Float {
        phase == .running ? meanRunning : Float(permille[Int(phase.rawValue)]) / 1_000
    }

    func heat(_ job: JobState, at timeMs: Int64) -> Float {
        let goal = target(job.phase)
        return goal + (job.heat - goal) * decay(timeMs - job.sinceMs)
    }

    /// exp(-t / tau); 0 once nothing of it could be seen.
    func decay(_ elapsed: Int64) -> Float {
        if elapsed == 0 { return 1 }
        let turns = Double(elapsed) / thermalMs
        return turns > 20 ? 0 : Float(PortableMath.exp(-turns))
    }

    /// Training time that counts, milliseconds: what is saved and what is on the way to the next checkpoint.
    func effective(_ job: JobState, at timeMs: Int64) -> Int64 {
        guard job.phase == .running else { return job.savedMs }
        let (count, sinceLast) = progress(timeMs - job.sinceMs)
        return job.savedMs + count * interval + sinceLast
    }

    func checkpoints(_ job: JobState, at timeMs: Int64) -> Int {
        job.phase == .running
            ? job.checkpoints + Int(progress(timeMs - job.sinceMs).checkpoints) : job.checkpoints
    }

    /// Closes the phase and begins the next.
    func enter(_ phase: JobState.Phase, _ job: inout JobState, at timeMs: Int64, until nextMs: Int64) {
        let load = load(job, at: timeMs)
        let heat = heat(job, at: timeMs)
        job.checkpoints = checkpoints(job, at: timeMs)
        job.load = load
        job.heat = heat
        job.phase = phase
        job.sinceMs = timeMs
        job.nextMs = nextMs
    }
}
