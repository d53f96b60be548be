/// The phases of one training step, through which all members of a synchronous job go together.
///
/// Forward pass, backward pass, and the exchange of gradients in which the tensor pipes rest: over one step the factors
/// have mean 1, so that loads and energy are what the scenario says. That the power of the whole site swings by tens of
/// megawatts with it is published (Llama 3, section 3.3.4); the shares of the phases are an assumption.
struct TrainingStep: Sendable {
    /// What differs from the mean load.
    struct Factors: Sendable, Equatable {
        var power: Float
        var tensor: Float
        var dram: Float
        var nvlink: Float
        var pcie: Float

        static let mean = Factors(power: 1, tensor: 1, dram: 1, nvlink: 1, pcie: 1)
    }

    private static let shape: [(share: Double, factors: Factors)] = [
        (0.30, Factors(power: 1.02, tensor: 1.12, dram: 0.95, nvlink: 0.80, pcie: 0.30)),
        (0.55, Factors(power: 1.06, tensor: 1.15, dram: 1.10, nvlink: 0.90, pcie: 0.80)),
        (0.15, Factors(power: 0.74, tensor: 0.21, dram: 0.73, nvlink: 1.77, pcie: 3.10)),
    ]

    /// Length, milliseconds; 0 for steps that nobody sees.
    let ms: Int64
    private let ends: [Int64]
    private let factors: [Factors]
    /// Integral of the power factor up to the end of each phase, milliseconds.
    private let sums: [Double]
    /// Of steps that nobody sees.
    private let flat: Factors

    init(seconds: Double) {
        let length = Int64((seconds * 1_000).rounded())
        guard length >= 100 else {
            self.init(lengths: [], factors: [], flat: .mean)
            return
        }
        var share = 0.0
        var bounds: [Int64] = []
        for phase in Self.shape {
            share += phase.share
            bounds.append(Int64((share * Double(length)).rounded()))
        }
        bounds[bounds.count - 1] = length
        let lengths = bounds.indices.map {
            Float(bounds[$0] - ($0 == 0 ? 0 : bounds[$0 - 1])) / Float(length)
        }
        func mean(_ path: KeyPath<Factors, Float>) -> Float {
            zip(Self.shape, lengths).reduce(0) { $0 + $1.0.factors[keyPath: path] * $1.1 }
        }
        let norm = Factors(
            power: mean(\.power), tensor: mean(\.tensor), dram: mean(\.dram), nvlink: mean(\.nvlink),
            pcie: mean(\.pcie))
        let exact = Self.shape.map { phase in
            Factors(
                power: phase.factors.power / norm.power, tensor: phase.factors.tensor / norm.tensor,
                dram: phase.factors.dram / norm.dram, nvlink: phase.factors.nvlink / norm.nvlink,
                pcie: phase.factors.pcie / norm.pcie)
        }
        let last = zip(bounds, [0] + bounds).map { $0 - $1 }
        self.init(lengths: last, factors: exact, flat: .mean)
    }

    private init(lengths: [Int64], factors: [Factors], flat: Factors) {
        var (end, sum): (Int64, Double) = (0, 0)
        ends = lengths.map {
            end += $0
            return end
        }
        sums = zip(lengths, factors).map {
            sum += Double($1.power) * Double($0)
            return sum
        }
        ms = end
        self.factors = factors
        self.flat = flat
    }

    /// The step of members that wait for a slow one, and that of the slow one, as long as it takes the job's pace down by so much.
    ///
    /// A slow member computes for longer. The others are done as fast as ever and wait for it in the exchange of gradients,
    /// whatever that is like; then all exchange. So both have the same length, and the slow one never rests.
    ///
    /// - Parameter waiting: what waiting is like.
    func held(_ permille: Int64, waiting: Factors) -> (waiting: TrainingStep, slow: TrainingStep) {
        let slowness = Float(permille) / 1_000
        let flat = (
            Factors.mean.scaled(1 - slowness).adding(waiting.scaled(slowness)),
            Factors.mean.stretched(1 - slowness)
        )
        guard ms >= 100 else {
            return (
                TrainingStep(lengths: [], factors: [], flat: flat.0),
                TrainingStep(lengths: [], factors: [], flat: flat.1)
            )
        }
        let wait = ms * permille / (1_000 - permille)
        let (forward, computing) = (ends[0], ends[1])
        let exchange = ms - computing
        let share = Double(computing) / Double(computing + wait)
        let slowForward = Int64((Double(forward) / share).rounded())
        return (
            TrainingStep(
                lengths: [forward, computing - forward, wait, exchange],
                factors: [factors[0], factors[1], waiting, factors[2]], flat: flat.0),
            TrainingStep(
                lengths: [slowForward, computing + wait - slowForward, exchange],
                factors: [
                    factors[0].stretched(Float(share)), factors[1].stretched(Float(share)), factors[2],
                ], flat: flat.1)
        )
    }

    /// The highest power factor.
    var peak: Float { factors.map(\.power).max() ?? 1 }

    /// The mean power factor.
    var mean: Float { ms >= 100 ? Float(sums[sums.count - 1] / Double(ms)) : flat.power }

    /// The phase after so much training.
    func factors(at trainedMs: Int64) -> Factors {
        guard ms >= 100 else { return flat }
        let place = trainedMs % ms
        let phase = ends.firstIndex { place < $0 } ?? ends.count - 1
        return factors[phase]
    }

    /// Integral of the power factor over the first so many milliseconds of training; never falls.
    func integral(_ trainedMs: Int64) -> Double {
        guard ms >= 100 else { return Double(flat.power) * Double(trainedMs) }
        let (count, place) = trainedMs.quotientAndRemainder(dividingBy: ms)
        let phase = ends.firstIndex { place < $0 } ?? ends.count - 1
        let begin = phase == 0 ? 0 : ends[phase - 1]
        let whole = Double(count) * sums[sums.count - 1]
        let before = phase == 0 ? 0 : sums[phase - 1]
        return whole + before + Double(factors[phase].power) * Double(place - begin)
    }
}

extension TrainingStep.Factors {
    fileprivate func scaled(_ factor: Float) -> Self {
        Self(
            power: power * factor, tensor: tensor * factor, dram: dram * factor, nvlink: nvlink * factor,
            pcie: pcie * factor)
    }

    fileprivate func adding(_ other: Self) -> Self {
        Self(
            power: power + other.power, tensor: tensor + other.tensor, dram: dram + other.dram,
            nvlink: nvlink + other.nvlink, pcie: pcie + other.pcie)
    }

    /// The same work in a longer time, of which it takes that share at full pace: busy all the while.
    fileprivate func stretched(_ share: Float) -> Self {
        var longer = scaled(share)
        longer.power = power
        return longer
    }
}
