extension Scenario {
    /// What breaks, how often, and how long it stays broken.
    public struct Failures: Sendable, Equatable {
        /// Failures of any cause per GPU that is up and day; the same for all GPUs and at all times.
        public var perGPUDay: Double
        /// One is drawn for each failure, in proportion to the weights.
        public var causes: [Cause]
        /// A node with a broken GPU goes on reporting for so long before it is taken out, minutes.
        public var drainMinutes: Double
        public var repair: Repair

        public init(perGPUDay: Double, causes: [Cause], drainMinutes: Double, repair: Repair) {
            self.perGPUDay = perGPUDay
            self.causes = causes
            self.drainMinutes = drainMinutes
            self.repair = repair
        }
    }

    /// Why a node fails.
    public struct Cause: Sendable, Equatable {
        public enum Effect: String, Sendable, Equatable, CaseIterable {
            /// One GPU breaks: its node is drained and repaired.
            case gpu
            /// The node goes silent at once and is repaired.
            case node
            /// Nothing breaks: a job on the node is interrupted, and that is all.
            case software
        }

        public var name: String
        /// Any unit, for example the count of a published table.
        public var weight: Double
        public var effect: Effect
        /// The XID that the GPU reports; 0 for none.
        public var xid: Int

        public init(name: String, weight: Double, effect: Effect, xid: Int) {
            self.name = name
            self.weight = weight
            self.effect = effect
            self.xid = xid
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

    /// One synchronous pre-training job on every node that is ready: if one member fails, all of them stop.
    public struct TrainingJob: Sendable, Equatable {
        public var name: String
        /// Not before this time, Unix milliseconds.
        public var startMs: Int64
        /// Waits below this size.
        public var minimumGPUs: Int
        /// Training time between two checkpoints, and the time in which a checkpoint is written and training rests.
        public var checkpointSeconds: Double
        public var checkpointWriteSeconds: Double
        /// From a failure until it is noticed: the other GPUs spin in a collective.
        public var detectionSeconds: Double
        /// From there until training goes on: reschedule, load the checkpoint, build communicators.
        public var restartSeconds: Double
        /// How often the job looks whether it should take in new nodes; it also does at every restart.
        public var resizeHours: Double
        /// It does when they are at least this share of its size, 0...1.
        public var resizeShare: Double

        public init(
            name: String, startMs: Int64, minimumGPUs: Int, checkpointSeconds: Double,
            checkpointWriteSeconds: Double, detectionSeconds: Double, restartSeconds: Double,
            resizeHours: Double, resizeShare: Double
        ) {
            self.name = name
            self.startMs = startMs
            self.minimumGPUs = minimumGPUs
            self.checkpointSeconds = checkpointSeconds
            self.checkpointWriteSeconds = checkpointWriteSeconds
            self.detectionSeconds = detectionSeconds
            self.restartSeconds = restartSeconds
            self.resizeHours = resizeHours
            self.resizeShare = resizeShare
        }
    }

    /// What a GPU does in one state.
    public struct Load: Sendable, Equatable {
        /// Shares of time, 0...1: graphics engine, tensor pipe, memory interface.
        public var engine: Float
        public var tensor: Float
        public var dram: Float
        /// MB/s over all NVLinks, both ways.
        public var nvlinkMBps: Float
        /// B/s each way.
        public var pcieBps: Float
        /// Share of the framebuffer in use, 0...1.
        public var memory: Float
        /// Power above idle, in thousandths of that of training.
        public var powerPermille: Int

        public init(
            engine: Float, tensor: Float, dram: Float, nvlinkMBps: Float, pcieBps: Float, memory: Float,
            powerPermille: Int
        ) {
            self.engine = engine
            self.tensor = tensor
            self.dram = dram
            self.nvlinkMBps = nvlinkMBps
            self.pcieBps = pcieBps
            self.memory = memory
            self.powerPermille = powerPermille
        }
    }

    /// Numbers of the GPU model.
    public struct GPUTelemetry: Sendable, Equatable {
        /// Mean power of a GPU at rest, of a GPU in training, and the spread between GPUs at rest, watts.
        public var idleWatts: Float
        public var trainingWatts: Float
        public var idleSpreadWatts: Float
        /// Mean temperature at rest and in training, the spread between GPUs in training, °C.
        public var idleCelsius: Float
        public var trainingCelsius: Float
        public var spreadCelsius: Float
        /// Memory above the GPU, at rest and in training, °C.
        public var memoryIdleAboveCelsius: Float
        public var memoryTrainingAboveCelsius: Float
        /// How far the coolant follows the time of day, °C each way, and the hour (UTC) at which it is warmest.
        public var diurnalCelsius: Float
        public var warmestHour: Float
        /// Time constant of temperatures, seconds.
        public var thermalSeconds: Double
        /// The SM clock falls above this temperature, °C.
        public var throttleCelsius: Float
        /// Share of GPUs whose PCIe link needs retries, and how many a day at most.
        public var flakyLinkShare: Float
        public var replaysPerDay: Float
        /// Share of GPUs whose memory remaps rows, and how many a year at most.
        public var remapShare: Float
        public var remapsPerYear: Float
        public var driverVersion: String
        public var idle: Load
        public var burnIn: Load
        /// The phases of a job, for its members.
        public var training: Load
        public var checkpointing: Load
        public var hung: Load
        public var restarting: Load

        public init(
            idleWatts: Float, trainingWatts: Float, idleSpreadWatts: Float, idleCelsius: Float,
            trainingCelsius: Float, spreadCelsius: Float, memoryIdleAboveCelsius: Float,
            memoryTrainingAboveCelsius: Float, diurnalCelsius: Float, warmestHour: Float,
            thermalSeconds: Double, throttleCelsius: Float, flakyLinkShare: Float, replaysPerDay: Float,
            remapShare: Float, remapsPerYear: Float, driverVersion: String, idle: Load, burnIn: Load,
            training: Load, checkpointing: Load, hung: Load, restarting: Load
        ) {
            self.idleWatts = idleWatts
            self.trainingWatts = trainingWatts
            self.idleSpreadWatts = idleSpreadWatts
            self.idleCelsius = idleCelsius
            self.trainingCelsius = trainingCelsius
            self.spreadCelsius = spreadCelsius
            self.memoryIdleAboveCelsius = memoryIdleAboveCelsius
            self.memoryTrainingAboveCelsius = memoryTrainingAboveCelsius
            self.diurnalCelsius = diurnalCelsius
            self.warmestHour = warmestHour
            self.thermalSeconds = thermalSeconds
            self.throttleCelsius = throttleCelsius
            self.flakyLinkShare = flakyLinkShare
            self.replaysPerDay = replaysPerDay
            self.remapShare = remapShare
            self.remapsPerYear = remapsPerYear
            self.driverVersion = driverVersion
            self.idle = idle
            self.burnIn = burnIn
            self.training = training
            self.checkpointing = checkpointing
            self.hung = hung
            self.restarting = restarting
        }
    }
}
