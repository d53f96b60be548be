/// The numbers of a scenario's failures in the form in which the model draws them.
///
/// All failures of nodes are one Poisson process whose rate is (nodes that were ever ready) x (rate of a node): each event draws
/// its victim, and passes by if the victim is not up. So a failure costs the same in a fleet of any size, and nothing has to
/// be drawn for the many nodes that never fail.
final class FleetLaw: Sendable {
    struct Cause: Sendable {
        var effect: Scenario.Cause.Effect
        /// Whether the node has to be repaired, 1 or 0, and how long it reports before.
        var takesDown: Int
        var drainMs: Int64
        var blast: Scenario.Cause.Blast
        var detectionMs: Int64
        var stallMs: Int64
        var rollbackMs: Int64
        var hiddenMs: Double
        var slowPermille: Int64
        var xid: UInt8
        /// Which of `repairs`.
        var repair: Int
    }

    /// Model FLOP utilisation by the number of members; empty when the scenario gives none.
    let mfuByNodes: [Double]
    let causes: [Cause]
    /// For each of 1,024 slices of (0, 1) the cause at which to begin to look.
    let guide: [UInt8]
    let bounds: [Double]
    private let jobBounds: [Double]
    let drainMs: Int64
    /// The times to repair that the causes have, each once; first that of the scenario.
    let repairs: [RepairTable]
    /// Failures a millisecond of a node that is not a lemon.
    let perNodeMs: Double
    /// All lemons' surplus over all nodes' ordinary rate, and nodes to one lemon.
    let lemonSurplus: Double
    let nodesPerLemon: Int
    /// Expected surplus failures of a new node in its whole life, and the time constant of the surplus.
    let infantPerNode: Double
    let infantMs: Double
    let spreadSigma: Double
    let collapseExponent: Double
    let collapseReferenceNodes: Double
    /// Events a millisecond that strike the job, whatever its size.
    let perJobMs: Double
    let rejectedShare: Double
    /// The logarithm of the share of nodes that pass burn-in.
    let passedLog: Double

    init(_ scenario: Scenario) {
        let failures = scenario.failures
        let detectionMs = Int64((scenario.job.detectionSeconds * 1_000).rounded())
        var repairs = [failures.repair]
        causes = (failures.causes + Scenario.Cause.injectable).map {
            Self.cause($0, &repairs, detectionMs, drainMs: Int64(failures.drainMinutes * 60_000))
        }
        self.repairs = repairs.map(RepairTable.init)
        let nodeBounds = Self.shares(failures.causes.map { $0.perJobDay > 0 ? 0 : $0.weight })
        // The last one has no upper bound.
        bounds = nodeBounds.dropLast() + [.infinity]
        jobBounds = Self.shares(failures.causes.map(\.perJobDay))
        guide = (0..<1_024).map { slice in
            UInt8(nodeBounds.firstIndex { Double(slice) / 1_024 < $0 } ?? max(0, nodeBounds.count - 1))
        }
        drainMs = Int64(failures.drainMinutes * 60_000)
        let lemons = failures.lemons
        lemonSurplus = lemons.share * (lemons.factor - 1)
        nodesPerLemon = lemons.share > 0 ? max(1, Int((1 / lemons.share).rounded())) : 0
        perNodeMs =
            failures.perGPUDay * Double(Scenario.Layout.gpusPerNode) / 86_400_000 / (1 + lemonSurplus)
        infantMs = failures.infancy.days * 86_400_000
        infantPerNode = perNodeMs * (failures.infancy.factor - 1) * infantMs
        spreadSigma = failures.spreadSigma
        collapseExponent = failures.collapseExponent
        collapseReferenceNodes =
            Double(failures.collapseReferenceGPUs) / Double(Scenario.Layout.gpusPerNode)
        perJobMs = failures.causes.reduce(0) { $0 + $1.perJobDay } / 86_400_000
        rejectedShare = scenario.bringUp.rejectedShare
        passedLog = Self.passedLog(rejectedShare)
        let job = scenario.job
        mfuByNodes =
            job.mfu.isEmpty ? [] : (0...(scenario.gpuCount / 8)).map { job.mfu(gpus: 8 * $0) }
    }

    private static func cause(
        _ cause: Scenario.Cause, _ repairs: inout [Scenario.Repair], _ detectionMs: Int64, drainMs: Int64
    ) -> Cause {
        let repair = cause.repair ?? repairs[0]
        if !repairs.contains(repair) { repairs.append(repair) }
        return Cause(
            effect: cause.effect, takesDown: cause.effect == .gpu || cause.effect == .node ? 1 : 0,
            drainMs: cause.effect == .gpu ? drainMs : 0, blast: cause.blast,
            detectionMs: cause.detectionSeconds.map { Int64(($0 * 1_000).rounded()) } ?? detectionMs,
            stallMs: Int64((cause.stallSeconds * 1_000).rounded()),
            rollbackMs: Int64((cause.rollbackSeconds * 1_000).rounded()),
            hiddenMs: cause.hiddenHours * 3_600_000,
            slowPermille: cause.slowPermille, xid: UInt8(cause.xid),
            repair: repairs.firstIndex(of: repair) ?? 0)
    }

    private static func passedLog(_ rejectedShare: Double) -> Double {
        guard rejectedShare < 1 else { return 0 }
        let passed = 1 - rejectedShare
        // Of a share too small to be taken off 1, the logarithm of the rest is the share.
        return passed < 1 ? PortableMath.log(passed) : -rejectedShare
    }

    private static func shares(_ weights: [Double]) -> [Double] {
        let total = weights.reduce(0, +)
        var sum = 0.0
        return weights.map { weight in
            sum += weight
            return total > 0 ? sum / total : 0
        }
    }

    /// The cause that a uniform number in (0, 1) stands for.
    @inline(__always)
    func cause(_ unit: Double) -> Int {
        var index = Int(guide[Int(unit * 1_024)])
        // Few slices have more than one bound: a sum instead of a branch that nobody could predict.
        index += unit >= bounds[index] ? 1 : 0
        while unit >= bounds[index] { index += 1 }
        return index
    }

    /// How long a node is in repair after that cause.
    @inline(__always)
    func repairMs(_ cause: Int, _ word: UInt32) -> Int64 { repairs[causes[cause].repair].milliseconds(word) }

    func jobCause(_ unit: Double) -> Int {
        jobBounds.firstIndex { unit < $0 } ?? max(0, jobBounds.count - 1)
    }

    /// How the rate of a node depends on the fleet; 1 unless the scenario asks "what if".
    @inline(__always)
    func collapse(nodes: Int) -> Double {
        guard collapseExponent != 1, nodes > 0 else { return 1 }
        return PortableMath.exp(
            (collapseExponent - 1) * PortableMath.log(Double(nodes) / collapseReferenceNodes))
    }

    /// This cluster's rate over the mean of all clusters: log-normal with median 1.
    func spread(_ philox: Philox) -> Double {
        guard spreadSigma > 0 else { return 1 }
        let unit = philox.draw(.spread, entity: 0, counter: 0).unit
        return PortableMath.exp(min(spreadSigma * PortableMath.normalQuantile(unit), 100))
    }

    /// The lemon among the nodes around this one.
    func lemon(near node: Int, _ philox: Philox) -> Int {
        let block = node / nodesPerLemon
        let draw = philox.draw(.lemon, entity: UInt32(block), counter: 0)
        return block * nodesPerLemon + Int(UInt64(draw[0]) * UInt64(nodesPerLemon) >> 32)
    }

    func isLemon(_ node: Int, _ philox: Philox) -> Bool {
        nodesPerLemon > 0 && lemonSurplus > 0 && lemon(near: node, philox) == node
    }
}

extension Philox.Words {
    /// Uniform in (0, 1), 32 bits, from one word.
    @inline(__always)
    func unit32(_ word: Int) -> Double { (Double(self[word]) + 0.5) * 0x1p-32 }
}
