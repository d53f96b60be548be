extension Scenario {
    /// One synchronous pre-training job on the nodes that are ready: if one member fails, all of them stop.
    public struct TrainingJob: Sendable, Equatable {
        public var name: String
        /// Not before this time, Unix milliseconds.
        public var startMs: Int64
        /// Waits below this size.
        public var minimumGPUs: Int
        /// Never larger than this; what is left over is spare.
        public var maximumGPUs: Int
        /// Nodes that are kept out of the job while all are well, to take the place of members that fail.
        public var spareNodes: Int
        /// Training time between two checkpoints (of the fixed policy), and the time in which a checkpoint is written and
        /// training rests.
        public var checkpointSeconds: Double
        public var checkpointWriteSeconds: Double
        public var checkpointPolicy: CheckpointPolicy
        /// From a failure until it is noticed, unless the cause says otherwise: the other GPUs spin in a collective.
        public var detectionSeconds: Double
        /// From there until training goes on: reschedule, load the checkpoint, build communicators.
        public var restartSeconds: Double
        /// Added to a restart for each doubling of the job beyond `restartReferenceGPUs`.
        public var restartSecondsPerDoubling: Double
        public var restartReferenceGPUs: Int
        /// How often the job looks whether it should take in new nodes; it also does at every restart.
        public var resizeHours: Double
        /// It does when they are at least this share of its size, 0...1.
        public var resizeShare: Double
        /// Model FLOP utilisation by size, sizes rising; linear in the logarithm of the size between.
        public var mfu: [MFUPoint]
        /// The useful FLOP that the training is for; 0 for none.
        public var targetFLOP: Double
        /// Whether a job on several kinds of GPU goes at the pace of the slowest kind.
        public var isPacedBySlowestKind: Bool
        /// What share of the ready nodes does what, from when on; times rising.
        public var workload: [Workload]

        public init(
            name: String, startMs: Int64, minimumGPUs: Int, checkpointSeconds: Double,
            checkpointWriteSeconds: Double, detectionSeconds: Double, restartSeconds: Double,
            resizeHours: Double, resizeShare: Double, maximumGPUs: Int = .max, spareNodes: Int = 0,
            checkpointPolicy: CheckpointPolicy = .fixed, restartSecondsPerDoubling: Double = 0,
            restartReferenceGPUs: Int = 2_048, mfu: [MFUPoint] = [], targetFLOP: Double = 0,
            isPacedBySlowestKind: Bool = true, workload: [Workload] = []
        ) {
            self.name = name
            self.startMs = startMs
            self.minimumGPUs = minimumGPUs
            self.maximumGPUs = maximumGPUs
            self.spareNodes = spareNodes
            self.checkpointSeconds = checkpointSeconds
            self.checkpointWriteSeconds = checkpointWriteSeconds
            self.checkpointPolicy = checkpointPolicy
            self.detectionSeconds = detectionSeconds
            self.restartSeconds = restartSeconds
            self.restartSecondsPerDoubling = restartSecondsPerDoubling
            self.restartReferenceGPUs = restartReferenceGPUs
            self.resizeHours = resizeHours
            self.resizeShare = resizeShare
            self.mfu = mfu
            self.targetFLOP = targetFLOP
            self.isPacedBySlowestKind = isPacedBySlowestKind
            self.workload = workload
        }
    }

    /// How the time between checkpoints is chosen (`CheckpointTheory`).
    public enum CheckpointPolicy: String, Sendable, Equatable, CaseIterable {
        case fixed, young, daly, exact
    }

    public struct MFUPoint: Sendable, Equatable {
        public var gpus: Int
        /// 0...1.
        public var mfu: Double

        public init(gpus: Int, mfu: Double) {
            self.gpus = gpus
            self.mfu = mfu
        }
    }

    /// What the ready nodes are for; what is left of 1 stands idle.
    public struct Workload: Sendable, Equatable {
        public var timeMs: Int64
        /// The synchronous job, reinforcement learning beside it, and serving; shares, together 1 at most.
        public var training: Double
        public var reinforcement: Double
        public var inference: Double

        public init(timeMs: Int64, training: Double, reinforcement: Double, inference: Double) {
            self.timeMs = timeMs
            self.training = training
            self.reinforcement = reinforcement
            self.inference = inference
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

    /// Which fields of a GPU are made.
    public enum Fields: String, Sendable, Equatable, CaseIterable {
        /// Those that dcgm-exporter sends when nothing is configured.
        case `default`
        /// And violations, ECC errors, pending remaps and NVLink errors.
        case all
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
        /// Time constant of power, seconds: drivers report the mean of the last second or so.
        public var powerSeconds: Double
        /// Length of a training step, through whose phases all members go together; 0 for none.
        public var stepSeconds: Double
        /// What the warmest hour takes off clocks and throughput, 0...1.
        public var diurnalShare: Float
        /// Share of GPUs with corrected memory errors, and how many a day at most.
        public var sbeShare: Float
        public var sbesPerDay: Float
        /// Share of GPUs whose NVLinks need retries, and how many errors a day at most.
        public var noisyLinkShare: Float
        public var linkErrorsPerDay: Float
        public var fields: Fields
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
            training: Load, checkpointing: Load, hung: Load, restarting: Load, powerSeconds: Double = 1,
            stepSeconds: Double = 5.779, diurnalShare: Float = 0, sbeShare: Float = 0, sbesPerDay: Float = 0,
            noisyLinkShare: Float = 0, linkErrorsPerDay: Float = 0, fields: Fields = .all
        ) {
            self.powerSeconds = powerSeconds
            self.stepSeconds = stepSeconds
            self.diurnalShare = diurnalShare
            self.sbeShare = sbeShare
            self.sbesPerDay = sbesPerDay
            self.noisyLinkShare = noisyLinkShare
            self.linkErrorsPerDay = linkErrorsPerDay
            self.fields = fields
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
