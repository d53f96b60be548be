/// What is simulated: a fleet that is built over time, its power, its failures, its job and its telemetry.
///
/// Values only. Every number comes from a scenario file (`Config/scenarios`), where its source stands beside it;
/// `FleetPlan` turns a scenario into entities with names and times.
public struct Scenario: Sendable, Equatable {
    /// What the file calls itself; a run's name too.
    public var name: String
    /// Simulated seconds a second when nobody asks for another pace; no part of the model.
    public var speed: Double
    /// Name of the site entity.
    public var site: String
    /// One seed, one run: the same seed gives the same failures, the same repairs and the same telemetry.
    public var seed: UInt64
    /// Day 0, 00:00 UTC, in Unix milliseconds. Day n ends at `startMs` + n days.
    public var startMs: Int64
    public var layout: Layout
    public var gpuModels: [GPUModel]
    /// One after another, without gaps, from `startMs` on.
    public var phases: [Phase]
    public var power: SitePower
    public var bringUp: BringUp
    public var failures: Failures
    public var job: TrainingJob
    public var telemetry: GPUTelemetry
    /// What the world was told. Nothing in the model depends on it but the count `announced`.
    public var milestones: [Milestone]
    /// Trajectories of a plan go on to this time, Unix milliseconds, when it lies after the last phase.
    public var planUntilMs: Int64?

    public init(
        name: String, speed: Double = 1, site: String, seed: UInt64, startMs: Int64, layout: Layout,
        gpuModels: [GPUModel],
        phases: [Phase], power: SitePower, bringUp: BringUp, failures: Failures, job: TrainingJob,
        telemetry: GPUTelemetry, milestones: [Milestone], planUntilMs: Int64? = nil
    ) {
        self.name = name
        self.speed = speed
        self.site = site
        self.seed = seed
        self.startMs = startMs
        self.layout = layout
        self.gpuModels = gpuModels
        self.phases = phases
        self.power = power
        self.bringUp = bringUp
        self.failures = failures
        self.job = job
        self.telemetry = telemetry
        self.milestones = milestones
        self.planUntilMs = planUntilMs
    }

    public var days: Int { phases.reduce(0) { $0 + $1.days } }
    /// The end of the last day of the last phase, Unix milliseconds.
    public var endMs: Int64 { startMs + Int64(days) * 86_400_000 }
    /// Where trajectories end: `endMs`, or later.
    public var horizonMs: Int64 { max(endMs, planUntilMs ?? endMs) }
    public var gpuCount: Int { phases.reduce(0) { $0 + $1.gpuCount } }

    /// Tells one scenario from another (FNV-1a over all values, the seed included, the speed not); the same on every machine.
    public var fingerprint: UInt64 {
        var model = self
        model.speed = 1
        return String(reflecting: model).utf8.reduce(0xcbf2_9ce4_8422_2325) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
    }
}

extension Scenario {
    /// How GPUs stand together. A node has 8 GPUs and a rack 8 nodes at most: what a `FleetTick` can carry.
    public struct Layout: Sendable, Equatable {
        public static let gpusPerNode = 8
        public var nodesPerRack: Int
        public var racksPerArray: Int
        /// GPUs that a hall is meant for; halls are filled with whole arrays, to the nearest.
        public var gpusPerHall: Int

        public init(nodesPerRack: Int, racksPerArray: Int, gpusPerHall: Int) {
            self.nodesPerRack = nodesPerRack
            self.racksPerArray = racksPerArray
            self.gpusPerHall = gpusPerHall
        }
    }

    /// A kind of GPU.
    public struct GPUModel: Sendable, Equatable {
        /// What phases call it, for example `H100`.
        public var key: String
        /// What the driver calls it, for example `NVIDIA H100 80GB HBM3`.
        public var name: String
        /// Thermal design power, watts.
        public var tdpWatts: Float
        /// Framebuffer in all and the part the driver keeps, MiB.
        public var memoryMiB: Float
        public var reservedMiB: Float
        /// SM clock at rest and at most, MHz; multiples of 15.
        public var idleClockMHz: Float
        public var maxClockMHz: Float
        public var memoryClockMHz: Float
        /// Dense BF16 peak, TFLOP/s; 0 when unknown.
        public var peakTFLOPs: Double

        public init(
            key: String, name: String, tdpWatts: Float, memoryMiB: Float, reservedMiB: Float,
            idleClockMHz: Float, maxClockMHz: Float, memoryClockMHz: Float, peakTFLOPs: Double = 0
        ) {
            self.key = key
            self.name = name
            self.tdpWatts = tdpWatts
            self.memoryMiB = memoryMiB
            self.reservedMiB = reservedMiB
            self.idleClockMHz = idleClockMHz
            self.maxClockMHz = maxClockMHz
            self.memoryClockMHz = memoryClockMHz
            self.peakTFLOPs = peakTFLOPs
        }
    }

    /// A stretch of days in which part of the fleet is installed. Its last rack is complete when its last day ends.
    public struct Phase: Sendable, Equatable {
        public struct Group: Sendable, Equatable {
            /// Key of a `GPUModel`.
            public var model: String
            public var gpus: Int

            public init(model: String, gpus: Int) {
                self.model = model
                self.gpus = gpus
            }
        }

        public var name: String
        public var days: Int
        /// In the order in which they are installed.
        public var groups: [Group]
        public var curve: InstallCurve
        /// When its racks are switched off and taken away, Unix milliseconds; never when `nil`.
        public var retireMs: Int64?

        public init(
            name: String, days: Int, groups: [Group], curve: InstallCurve, retireMs: Int64? = nil
        ) {
            self.name = name
            self.days = days
            self.groups = groups
            self.curve = curve
            self.retireMs = retireMs
        }

        public var gpuCount: Int { groups.reduce(0) { $0 + $1.gpus } }
    }

    /// When the racks of a phase are complete.
    public enum InstallCurve: Sendable, Equatable {
        /// All of them when the phase begins.
        case immediate
        /// Share of the GPUs installed after d days: 1 / (1 + exp(-k (d - m))), stretched so that nothing stands at
        /// the start and everything at the end of the phase.
        case logistic(perDay: Double, midpointDay: Double, waves: Waves?)
        /// Building by building: on each of these days a share of the GPUs stands; the last share is 1.
        case steps([Step])
    }

    /// A building that is complete.
    public struct Step: Sendable, Equatable {
        public var day: Double
        /// Of the phase's GPUs that then stand, 0...1.
        public var share: Double

        public init(day: Double, share: Double) {
            self.day = day
            self.share = share
        }
    }

    /// Deliveries come in waves: racks arrive faster and slower by turns, without moving the end of the phase.
    public struct Waves: Sendable, Equatable {
        public var periodDays: Double
        /// 0 (steady) to 1: between half and twice the speed.
        public var strength: Double

        public init(periodDays: Double, strength: Double) {
            self.periodDays = periodDays
            self.strength = strength
        }
    }

    /// Electric power at the site and what uses it.
    public struct SitePower: Sendable, Equatable {
        public struct Point: Sendable, Equatable {
            public var timeMs: Int64
            public var megawatts: Double

            public init(timeMs: Int64, megawatts: Double) {
                self.timeMs = timeMs
                self.megawatts = megawatts
            }
        }

        /// What the site can draw: linear between the points, constant before the first and after the last.
        /// Where it falls, the racks that were switched on last lose their power, until it rises again.
        public var curve: [Point]
        /// Facility power that must be there before a GPU may be powered, kW.
        public var kilowattsPerGPU: Double
        /// Facility power that is used without any GPU, MW.
        public var baseMegawatts: Double
        /// Drawn by a node besides its GPUs, watts per GPU.
        public var hostWattsPerGPU: Double
        /// Switches and storage, as a share of what the nodes draw.
        public var networkShare: Double
        /// Facility power over IT power.
        public var pue: Double

        public init(
            curve: [Point], kilowattsPerGPU: Double, baseMegawatts: Double, hostWattsPerGPU: Double,
            networkShare: Double, pue: Double
        ) {
            self.curve = curve
            self.kilowattsPerGPU = kilowattsPerGPU
            self.baseMegawatts = baseMegawatts
            self.hostWattsPerGPU = hostWattsPerGPU
            self.networkShare = networkShare
            self.pue = pue
        }
    }

    /// From an installed rack to nodes that can train.
    public struct BringUp: Sendable, Equatable {
        /// From installed to switched on, when there is power: cabling, filling, leak tests.
        public var energiseHours: Double
        /// Powered and idle: firmware, cabling checks.
        public var checkHours: Double
        /// Under a test load.
        public var burnInHours: Double
        /// Share of new nodes that do not pass and are repaired first, 0...1.
        public var rejectedShare: Double

        public init(energiseHours: Double, checkHours: Double, burnInHours: Double, rejectedShare: Double) {
            self.energiseHours = energiseHours
            self.checkHours = checkHours
            self.burnInHours = burnInHours
            self.rejectedShare = rejectedShare
        }
    }

    /// What somebody said about the build, to be set beside what the model finds.
    public struct Milestone: Sendable, Equatable {
        /// Which of the four counts a claim is about.
        public enum Count: String, Sendable, Equatable, CaseIterable {
            case announced, installed, powered
            case inTraining = "in_training"
        }

        public struct Claim: Sendable, Equatable {
            public var count: Count
            public var gpus: Int

            public init(_ count: Count, gpus: Int) {
                self.count = count
                self.gpus = gpus
            }
        }

        public var timeMs: Int64
        public var text: String
        /// A claim about `announced` holds from then on: it makes that count.
        public var claim: Claim?
        public var source: String

        public init(timeMs: Int64, text: String, claim: Claim? = nil, source: String) {
            self.timeMs = timeMs
            self.text = text
            self.claim = claim
            self.source = source
        }

        var announced: Int? { claim?.count == .announced ? claim?.gpus : nil }
    }
}
