/// What GPUs did with their time, in node-milliseconds: every millisecond of every node that stands is in one kind,
/// so that the kinds add up to the whole, exactly.
public struct GPUTime: Sendable, Equatable {
    public enum Kind: Int, Sendable, CaseIterable {
        /// Installed without power; being checked and burnt in; switched off again for want of power.
        case waitingForPower, bringUp, powerTaken
        /// Broken and still reporting; in repair.
        case draining, repair
        /// Ready: for nothing, for reinforcement learning, for serving.
        case idle, reinforcement, inference
        /// Training that counts; what slow members take off it; training that was thrown away.
        case productive, straggling, lost
        case checkpoint, detection, restart, stall

        /// Members of the synchronous job, whatever it does.
        public var isJob: Bool { rawValue >= Kind.productive.rawValue }

        public var name: String {
            switch self {
            case .waitingForPower: "waiting for power"
            case .bringUp: "bring-up"
            case .powerTaken: "power taken away"
            case .draining: "draining"
            case .repair: "repair"
            case .idle: "idle"
            case .reinforcement: "reinforcement learning"
            case .inference: "inference"
            case .productive: "productive training"
            case .straggling: "straggling"
            case .lost: "lost work"
            case .checkpoint: "checkpoints"
            case .detection: "detection"
            case .restart: "restart"
            case .stall: "stalls"
            }
        }
    }

    public internal(set) var waitingForPower: Int64 = 0
    public internal(set) var bringUp: Int64 = 0
    public internal(set) var powerTaken: Int64 = 0
    public internal(set) var draining: Int64 = 0
    public internal(set) var repair: Int64 = 0
    public internal(set) var idle: Int64 = 0
    public internal(set) var reinforcement: Int64 = 0
    public internal(set) var inference: Int64 = 0
    public internal(set) var productive: Int64 = 0
    public internal(set) var straggling: Int64 = 0
    public internal(set) var lost: Int64 = 0
    public internal(set) var checkpoint: Int64 = 0
    public internal(set) var detection: Int64 = 0
    public internal(set) var restart: Int64 = 0
    public internal(set) var stall: Int64 = 0

    public init() {}

    public subscript(kind: Kind) -> Int64 {
        switch kind {
        case .waitingForPower: waitingForPower
        case .bringUp: bringUp
        case .powerTaken: powerTaken
        case .draining: draining
        case .repair: repair
        case .idle: idle
        case .reinforcement: reinforcement
        case .inference: inference
        case .productive: productive
        case .straggling: straggling
        case .lost: lost
        case .checkpoint: checkpoint
        case .detection: detection
        case .restart: restart
        case .stall: stall
        }
    }

    /// All kinds together.
    public var total: Int64 { Kind.allCases.reduce(0) { $0 + self[$1] } }
    /// Members of the job, whatever it did.
    public var job: Int64 { Kind.allCases.reduce(0) { $1.isJob ? $0 + self[$1] : $0 } }
}
