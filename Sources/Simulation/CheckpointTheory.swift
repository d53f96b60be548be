/// When to write checkpoints. All times in one unit, whichever it is.
///
/// - `tau`: training time between two checkpoints, `write`: blocking time of one, `mttf`: mean time to failure of the
///   whole job, `restart`: from a failure to training.
public enum CheckpointTheory {
    /// J. W. Young, "A first order approximation to the optimum checkpoint interval" (1974).
    public static func young(write: Double, mttf: Double) -> Double { (2 * write * mttf).squareRoot() }

    /// J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps" (2006), equation 37.
    public static func daly(write: Double, mttf: Double) -> Double {
        guard write < 2 * mttf else { return mttf }
        let ratio = write / (2 * mttf)
        return young(write: write, mttf: mttf) * (1 + ratio.squareRoot() / 3 + ratio / 9) - write
    }

    /// Share of wall time that is training which no failure throws away, when failures come at a constant rate, strike
    /// restarts and checkpoints too, and a segment is repeated until it succeeds: tau / T with
    /// T = M exp(R / M) (exp((tau + w) / M) - 1).
    public static func efficiency(tau: Double, write: Double, mttf: Double, restart: Double) -> Double {
        let segment =
            mttf * PortableMath.exp(min(restart / mttf, 300))
            * (PortableMath.exp(min((tau + write) / mttf, 300)) - 1)
        return tau / segment
    }

    /// The tau with the highest `efficiency`: the root of exp(-(tau + w) / M) = 1 - tau / M, by Newton's method. The
    /// restart has no part in it.
    public static func exact(write: Double, mttf: Double) -> Double {
        guard write > 0, mttf > 0 else { return mttf }
        var x = min(daly(write: write, mttf: mttf) / mttf, 0.999)
        for _ in 0..<20 {
            let falling = PortableMath.exp(-(x + write / mttf))
            let step = (falling - 1 + x) / (1 - falling)
            x -= step
            if abs(step) < 1e-14 { break }
        }
        return x * mttf
    }

    /// The closed form of Kokolis et al. (HPCA 2025): expected share of wall time that counts.
    public static func kokolis(
        nodes: Double, failuresPerNodeDay: Double, restartDays: Double, intervalDays: Double,
        writeDays: Double
    ) -> Double {
        (1 - nodes * failuresPerNodeDay * (restartDays + intervalDays / 2)) / (1 + writeDays / intervalDays)
    }

    /// How many spare nodes are enough on 99% of the days: the least k that a Poisson number of failures with this
    /// mean exceeds with a probability of 1% at most (the rule of ByteRobust, arXiv:2509.16293, with the binomial's limit).
    public static func spares(nodes: Int, failuresPerNodeDay: Double, coverage: Double = 0.99) -> Int {
        let mean = Double(nodes) * failuresPerNodeDay
        guard mean > 0, mean < 600 else {
            return mean > 0 ? Int((mean + 2.33 * mean.squareRoot()).rounded(.up)) : 0
        }
        var term = PortableMath.exp(-mean)
        var sum = term
        var count = 0
        while sum < coverage, count < 10_000 {
            count += 1
            term *= mean / Double(count)
            sum += term
        }
        return count
    }
}
