/// Times to repair as a table of their quantiles: one is drawn for each failure of each trajectory.
struct RepairTable: Sendable {
    static let knots = 4_096
    /// Milliseconds at 0, 1/4096, 2/4096 … 1.
    let quantiles: [Double]
    private let logMedian: Double
    private let sigma: Double
    private let minMs: Double
    private let maxMs: Double

    init(_ repair: Scenario.Repair) {
        let logMedian = PortableMath.log(max(repair.medianHours, 1e-9) * 3_600_000)
        let (minMs, maxMs) = (max(1, repair.minHours * 3_600_000), max(1, repair.maxHours * 3_600_000))
        self.logMedian = logMedian
        self.minMs = minMs
        self.maxMs = maxMs
        sigma = repair.sigma
        quantiles = (0...Self.knots).map { knot in
            let unit = min(max(Double(knot) / Double(Self.knots), 1e-6), 1 - 1e-6)
            let ms = logMedian + repair.sigma * PortableMath.normalQuantile(unit)
            return min(max(PortableMath.exp(min(ms, 60)), minMs), maxMs)
        }
    }

    /// Linear between the quantiles of the table, and exact in the 0.4% at either end.
    ///
    /// - Parameter unit: uniform in (0, 1).
    @inline(__always)
    func milliseconds(_ unit: Double) -> Int64 {
        let place = unit * Double(Self.knots)
        let knot = Int(place)
        guard (16..<(Self.knots - 16)).contains(knot) else { return exactly(unit) }
        let left = quantiles[knot]
        return Int64(left + (place - Double(knot)) * (quantiles[knot + 1] - left))
    }

    /// The same for the uniform number that a word of 32 bits stands for.
    @inline(__always)
    func milliseconds(_ word: UInt32) -> Int64 {
        let knot = Int(word >> 20)
        guard (16..<(Self.knots - 16)).contains(knot) else { return exactly((Double(word) + 0.5) * 0x1p-32) }
        let left = quantiles[knot]
        return Int64(left + (Double(word & 0xf_ffff) + 0.5) * 0x1p-20 * (quantiles[knot + 1] - left))
    }

    @inline(never)
    private func exactly(_ unit: Double) -> Int64 {
        let ms = PortableMath.exp(min(logMedian + sigma * PortableMath.normalQuantile(unit), 60))
        return Int64(min(max(ms, minMs), maxMs))
    }
}
