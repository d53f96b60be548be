/// One run of the model from start to end, in numbers.
public struct Trajectory: Sendable {
    /// At the end of each sample.
    public struct Sample: Sendable, Equatable {
        public var timeMs: Int64
        public var inTraining: Int
        /// Mean facility power since the sample before, MW.
        public var megawatts: Double
        /// Effective training time over wall time since the job first started.
        public var ettr: Double
        /// Useful FLOP so far.
        public var flop: Double
        public var interruptions: Int
    }

    public var seed: UInt64
    public var samples: [Sample] = []
    public var gpuTime = GPUTime()
    /// Node-milliseconds since each node was installed, worked out from the build alone.
    public var installedNodeMs: Int64 = 0
    public var failures = 0
    /// By cause.
    public var failuresByCause: [Int] = []
    public var interruptionsByCause: [Int] = []
    public var interruptions = 0
    public var plannedStops = 0
    /// Node-milliseconds in which failures could strike.
    public var exposedNodeMs: Int64 = 0
    public var ettr = 0.0
    public var jobStartMs: Int64?
    public var flop = 0.0
    /// When the target was reached.
    public var targetMs: Int64?
    /// When the job first had each of the runner's `thresholds`; those that it never had are missing.
    public var reachedMs: [Int64] = []
    public var energyMWh = 0.0
    public var peakMegawatts = 0.0

    /// Hours of training, productive or not, to one interruption.
    public var mttfHours: Double? {
        guard interruptions > 0, let start = jobStartMs, let end = samples.last?.timeMs else { return nil }
        return Double(end - start) / 3_600_000 / Double(interruptions)
    }

    /// Share of the job's GPU time that is training which counts, at full pace.
    public var goodput: Double {
        let job = gpuTime.job
        return job > 0 ? Double(gpuTime[.productive]) / Double(job) : 0
    }
}

/// Runs trajectories of one scenario, one after another, with the same memory. One for each thread.
public struct TrajectoryRunner: Sendable {
    public let plan: FleetPlan
    /// Ends of the samples, Unix milliseconds.
    public let sampleMs: [Int64]
    /// Sizes of the job whose dates are looked for, GPUs, rising.
    public let thresholds: [Int]
    private var core: FleetCore
    private let build: [BuildMoment]
    private let watts: PowerTable
    private let installedNodeMs: Int64

    /// - Parameters:
    ///   - sampleMs: times after the start, rising; each day's end when `nil`.
    public init(plan: FleetPlan, thresholds: [Int] = [], sampleMs: [Int64]? = nil) {
        self.plan = plan
        self.thresholds = thresholds.sorted()
        let scenario = plan.scenario
        let end = scenario.horizonMs
        let days = stride(from: scenario.startMs + 86_400_000, to: end, by: 86_400_000)
        self.sampleMs = (sampleMs ?? Array(days)).filter { $0 > scenario.startMs && $0 < end } + [end]
        core = FleetCore(plan: plan, seed: scenario.seed, endMs: end)
        core.thresholds = self.thresholds
        build = BuildMoment.all(plan, at: self.sampleMs)
        watts = PowerTable(scenario, core.timing)
        installedNodeMs = plan.installedNodeMs(at: end)
    }

    /// The fleet's counts that have nothing to do with chance, at the end of each sample: installed and powered GPUs.
    public var installed: [Int] { build.map { 8 * $0.installed } }
    public var powered: [Int] { build.map { 8 * $0.powered } }

    public mutating func run(seed: UInt64) -> Trajectory {
        core.restart(seed: seed)
        var trajectory = Trajectory(seed: seed)
        trajectory.samples.reserveCapacity(sampleMs.count)
        var before = GPUTime()
        var beforeMs = plan.scenario.startMs
        let (sampleMs, build, watts) = (sampleMs, build, watts)
        core.advance(through: sampleMs) { core, index in
            let timeMs = sampleMs[index]
            let (now, flop) = core.gpuTime(at: timeMs, build[index])
            let megawatts = watts.megawatts(now, before, elapsedMs: timeMs - beforeMs)
            trajectory.energyMWh += megawatts * Double(timeMs - beforeMs) / 3_600_000
            trajectory.peakMegawatts = max(
                trajectory.peakMegawatts, megawatts,
                watts.highest(build[index], members: core.memberCount, up: core.readyCount))
            trajectory.samples.append(
                Trajectory.Sample(
                    timeMs: timeMs, inTraining: 8 * core.memberCount, megawatts: megawatts,
                    ettr: core.ettr(at: timeMs), flop: flop,
                    interruptions: core.job.interruptions))
            before = now
            beforeMs = timeMs
            trajectory.flop = flop
        }
        finish(&trajectory, before)
        return trajectory
    }

    private func finish(_ trajectory: inout Trajectory, _ time: GPUTime) {
        let end = sampleMs[sampleMs.count - 1]
        trajectory.gpuTime = time
        trajectory.installedNodeMs = installedNodeMs
        trajectory.failures = core.failureCount
        let causes = plan.scenario.failures.causes.indices
        let struck = core.plain.struck
        trajectory.failuresByCause = causes.map { core.failuresByCause[$0] + struck[$0] }
        trajectory.interruptionsByCause = causes.map {
            core.interruptionsByCause[$0] + struck[struck.count / 2 + $0]
        }
        trajectory.interruptions = core.job.interruptions
        trajectory.plannedStops = core.job.plannedStops
        trajectory.exposedNodeMs = core.upTime.sum(until: end)
        trajectory.ettr = core.ettr(at: end)
        trajectory.jobStartMs = core.job.firstStartMs
        trajectory.targetMs = core.targetMs
        trajectory.reachedMs = core.reachedMs
    }
}

extension FleetCore {
    func ettr(at timeMs: Int64) -> Double {
        guard let first = job.firstStartMs, timeMs > first else { return 0 }
        return Double(timing.effective(job, at: timeMs)) / Double(timeMs - first)
    }

    /// What all nodes did with their time until now, what is under way included.
    func gpuTime(at timeMs: Int64) -> GPUTime {
        gpuTime(at: timeMs, BuildMoment.all(plan, at: [timeMs])[0]).time
    }

    /// The same, and the useful FLOP so far.
    func gpuTime(at timeMs: Int64, _ build: BuildMoment) -> (time: GPUTime, flop: Double) {
        let books = booked(timeMs)
        var time = books.time
        time.waitingForPower = build.waitingNodeMs
        time.bringUp = build.bringUpNodeMs
        // A node that failed just now will be drained; until then it is not.
        let outMs = outTime.sum(until: timeMs)
        time.powerTaken = offlineTime.sum(until: timeMs)
        time.draining = min(time.draining, outMs)
        time.repair = outMs - time.draining
        return (time, books.flop)
    }
}
