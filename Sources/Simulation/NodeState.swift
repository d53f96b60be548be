/// Where a node stands on its way from a plan to training.
public enum NodeStatus: UInt8, Sendable, CaseIterable {
    /// Not there yet.
    case planned
    /// Its rack stands, without power.
    case installed
    /// Switched on, idle, being checked.
    case powered
    /// Under a test load.
    case burnIn
    /// Could train, and does not.
    case ready
    /// Member of the job.
    case training
    /// A GPU is broken; the node still reports, until it has been drained.
    case failed
    /// Silent.
    case inRepair

    var isInstalled: Bool { self != .planned }
    var hasPower: Bool { rawValue >= NodeStatus.powered.rawValue }
    /// Running, and so delivering telemetry.
    var isUp: Bool { hasPower && self != .inRepair }
}

/// All that telemetry needs to know of a node: its status, since when, and sums over the time before that.
///
/// It changes only when the status does. What happens in between is a closed form of the time since then, so that any
/// tick can be computed alone.
struct NodeState: Sendable, Equatable {
    /// Who is broken, when the node has failed or is in repair.
    static let nobody: UInt8 = 255
    static let wholeNode: UInt8 = 8

    /// Last change of status, Unix milliseconds.
    var sinceMs: Int64 = 0
    /// Milliseconds with power until `sinceMs`.
    var upMs: Int64 = 0
    /// Integral of the power above idle (thousandths of that of training) over milliseconds until `sinceMs`; for a
    /// member of the job less the job's own integral at that time, so that adding the job's gives the sum.
    var load: Int64 = 0
    /// `upMs` when the driver was last loaded.
    var loadedMs: Int64 = 0
    /// The load integral when `hot` began to be too hot.
    var hotLoad: Int64 = 0
    /// Last XID of each GPU since the driver was loaded.
    var xids = SIMD8<UInt8>(repeating: 0)
    /// Memory failures of each GPU, each with a row remapped: ever, and since the driver was loaded.
    var remaps = SIMD8<UInt8>(repeating: 0)
    var fresh = SIMD8<UInt8>(repeating: 0)
    /// NVLink failures of each GPU.
    var links = SIMD8<UInt8>(repeating: 0)
    /// How long each GPU was slowed down by its heat before, milliseconds at full load.
    var hotMs = SIMD8<UInt32>(repeating: 0)
    /// How much warmer it was at `sinceMs` than what it tends to; 1 is the rise from rest to training. It decays
    /// with the thermal time constant.
    var heat: Float = 0
    /// The same of its power above idle.
    var surge: Float = 0
    var status = NodeStatus.planned
    /// Ordinal of the broken GPU, `wholeNode` or `nobody`.
    var culprit = NodeState.nobody
    /// Ordinal of a GPU that gets too hot under load, or `nobody`.
    var hot = NodeState.nobody
    /// Members wait for it.
    var isSlow = false
}
