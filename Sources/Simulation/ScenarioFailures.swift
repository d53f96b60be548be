extension Scenario {
    /// What breaks, how often, and how long it stays broken.
    public struct Failures: Sendable, Equatable {
        /// Failures of any cause per GPU that is up and day, the mean over all of them, lemons included.
        public var perGPUDay: Double
        /// One is drawn for each failure, in proportion to the weights.
        public var causes: [Cause]
        /// A node with a broken GPU goes on reporting for so long before it is taken out, minutes.
        public var drainMinutes: Double
        public var repair: Repair
        /// Standard deviation of the logarithm of the rate between clusters: each seed is another cluster. 0 for none.
        public var spreadSigma: Double
        public var lemons: Lemons
        public var infancy: Infancy
        /// A what-if: the rate of each GPU grows with the size of the fleet to this power less 1. 1 is what was measured.
        public var collapseExponent: Double
        /// The fleet for which `perGPUDay` holds when `collapseExponent` is not 1, GPUs.
        public var collapseReferenceGPUs: Int

        public init(
            perGPUDay: Double, causes: [Cause], drainMinutes: Double, repair: Repair, spreadSigma: Double = 0,
            lemons: Lemons = Lemons(), infancy: Infancy = Infancy(), collapseExponent: Double = 1,
            collapseReferenceGPUs: Int = 16_384
        ) {
            self.perGPUDay = perGPUDay
            self.causes = causes
            self.drainMinutes = drainMinutes
            self.repair = repair
            self.spreadSigma = spreadSigma
            self.lemons = lemons
            self.infancy = infancy
            self.collapseExponent = collapseExponent
            self.collapseReferenceGPUs = collapseReferenceGPUs
        }
    }

    /// Nodes that fail again and again (Kokolis et al.: 1.2% of the nodes).
    public struct Lemons: Sendable, Equatable {
        /// Of the nodes, 0...1.
        public var share: Double
        /// How many times as often they fail as the others, 1 or more.
        public var factor: Double

        public init(share: Double = 0, factor: Double = 1) {
            self.share = share
            self.factor = factor
        }
    }

    /// New nodes fail more often, by a surplus that decays exponentially.
    public struct Infancy: Sendable, Equatable {
        /// Rate on the first day over the later rate, 1 or more.
        public var factor: Double
        /// Time constant of the decay, days.
        public var days: Double

        public init(factor: Double = 1, days: Double = 30) {
            self.factor = factor
            self.days = days
        }
    }

    /// Why a node fails, or why the job stops.
    public struct Cause: Sendable, Equatable {
        public enum Effect: String, Sendable, Equatable, CaseIterable {
            /// One GPU breaks: its node is drained and repaired.
            case gpu
            /// The node goes silent at once and is repaired.
            case node
            /// Nothing breaks: a job on the node is interrupted, and that is all.
            case software
            /// The node becomes slow, and the whole job with it, until somebody finds out; then it is repaired.
            case slow
            /// The node computes wrongly until somebody finds out; all that was trained since is thrown away.
            case silent
            /// The job stands still for a while and loses nothing: a link that flaps, data that do not come.
            case stall
            /// Somebody stops the job after a checkpoint.
            case planned
        }

        /// What goes down together with the node.
        public enum Blast: String, Sendable, Equatable, CaseIterable {
            case node, rack, array, hall, site
        }

        public var name: String
        /// Any unit, for example the count of a published table.
        public var weight: Double
        public var effect: Effect
        /// The XID that the GPU reports; 0 for none.
        public var xid: Int
        public var blast: Blast
        /// Times a day that it happens to the job whatever its size, in place of `weight`; 0 for a cause by node.
        public var perJobDay: Double
        /// From the failure until it is noticed; the job's when `nil`.
        public var detectionSeconds: Double?
        /// Until a slow or silent node is found, mean hours (exponential).
        public var hiddenHours: Double
        /// What a slow node takes off the job's pace, 0...1.
        public var slowdown: Double
        /// How long the job stands still.
        public var stallSeconds: Double
        /// Saved training that is thrown away besides, seconds: a loss spike goes back some hundred steps.
        public var rollbackSeconds: Double
        /// In place of the repair of all causes.
        public var repair: Repair?

        public init(
            name: String, weight: Double, effect: Effect, xid: Int, blast: Blast = .node,
            perJobDay: Double = 0, detectionSeconds: Double? = nil, hiddenHours: Double = 0,
            slowdown: Double = 0, stallSeconds: Double = 0, rollbackSeconds: Double = 0,
            repair: Repair? = nil
        ) {
            self.name = name
            self.weight = weight
            self.effect = effect
            self.xid = xid
            self.blast = blast
            self.perJobDay = perJobDay
            self.detectionSeconds = detectionSeconds
            self.hiddenHours = hiddenHours
            self.slowdown = slowdown
            self.stallSeconds = stallSeconds
            self.rollbackSeconds = rollbackSeconds
            self.repair = repair
        }
    }

    /// Log-normal time to repair, cut off at both ends.
    public struct Repair: Sendable, Equatable {
        public var medianHours: Double
        /// Standard deviation of the logarithm.
        public var sigma: Double
        public var minHours: Double
        public var maxHours: Double

        public init(medianHours: Double, sigma: Double, minHours: Double, maxHours: Double) {
            self.medianHours = medianHours
            self.sigma = sigma
            self.minHours = minHours
            self.maxHours = maxHours
        }
    }
}
