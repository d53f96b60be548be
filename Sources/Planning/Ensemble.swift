import Dispatch
public import Simulation
import Telemetry

/// Many runs of one scenario, each with a seed of its own.
///
/// The result depends on the scenario, the first seed and the number of runs, and not on the number of cores.
public struct Ensemble: Sendable {
    /// What is kept of one run.
    public struct Run: Sendable {
        public var trajectory: Trajectory
        var inTraining: [Float]
        var megawatts: [Float]
        var flop: [Float]

        init(_ trajectory: Trajectory) {
            self.trajectory = trajectory
            inTraining = trajectory.samples.map { Float($0.inTraining) }
            megawatts = trajectory.samples.map { Float($0.megawatts) }
            flop = trajectory.samples.map { Float($0.flop) }
            // The rest of the samples would be most of the memory.
            self.trajectory.samples = Array(trajectory.samples.suffix(1))
        }
    }

    public let plan: FleetPlan
    public let thresholds: [Int]
    public let sampleMs: [Int64]
    /// At the end of each sample, without chance.
    public let installed: [Int]
    public let powered: [Int]
    public let runs: [Run]

    /// Runs seeds `firstSeed ..< firstSeed + runs` on all cores.
    ///
    /// - Parameters:
    ///   - sampleMs: when to look; each day's end when `nil`.
    ///   - progress: told from any thread, one call at a time, how many runs are done.
    public init(
        plan: FleetPlan, runs count: Int, firstSeed: UInt64 = 1, thresholds: [Int] = [],
        sampleMs: [Int64]? = nil, workers: Int? = nil, progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        let runner = TrajectoryRunner(plan: plan, thresholds: thresholds, sampleMs: sampleMs)
        self.plan = plan
        self.thresholds = runner.thresholds
        self.sampleMs = runner.sampleMs
        installed = runner.installed
        powered = runner.powered
        let book = Locked(Book(count))
        let chunk = max(1, min(64, count / 32))
        let workers = max(1, min(workers ?? Self.cores, count))
        DispatchQueue.concurrentPerform(iterations: workers) { _ in
            var mine = runner
            while let range = book.withLock({ $0.take(chunk) }) {
                let done = range.map { Run(mine.run(seed: firstSeed &+ UInt64($0))) }
                book.withLock { book in
                    for (index, run) in zip(range, done) { book.runs[index] = run }
                    book.done += done.count
                    progress(book.done)
                }
            }
        }
        self.runs = book.withLock { $0.runs.compactMap(\.self) }
    }

    /// Who works on what, and what has come of it.
    private struct Book {
        var runs: [Run?]
        var next = 0
        var done = 0

        init(_ count: Int) { runs = Array(repeating: nil, count: count) }

        mutating func take(_ chunk: Int) -> Range<Int>? {
            guard next < runs.count else { return nil }
            let range = next..<min(next + chunk, runs.count)
            next = range.upperBound
            return range
        }
    }

    /// Cores that this process may use.
    public static var cores: Int { max(1, ProcessorCount.available) }

    /// The band of one number over all runs; `nil` when no run has it.
    public func band(_ value: (Trajectory) -> Double?) -> Band? {
        Band(runs.compactMap { value($0.trajectory) })
    }

    /// The bands of a curve, sample by sample.
    func bands(_ curve: (Run) -> [Float]) -> [Band] {
        let curves = runs.map(curve)
        return sampleMs.indices.compactMap { sample in Band(curves.map { Double($0[sample]) }) }
    }
}
