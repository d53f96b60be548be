import Telemetry

/// What a shard remembers of one series: 56 bytes, a cache line at most.
///
/// Window statistics never live here, for several windows are open at once.
struct Slot {
    static let noTime = Int64.min
    static let none: Int32 = -1

    var lastValue: Double = 0
    /// Newest event time, or `noTime` before the first sample.
    var lastMs: Int64 = Slot.noTime
    /// Wall clock of the newest arrival, or `noTime`.
    var lastArrivalMs: Int64 = Slot.noTime
    /// Local to the shard, like `rack`; negative while the slot is not registered.
    var node: Int32 = Slot.none
    var rack: Int32 = Slot.none
    /// Position among the GPUs of its rack.
    var ordinal: Int32 = 0
    /// Index in the stream's topology.
    var gpu: Int32 = 0
    /// The first source of the same (GPU, field); `none` where there is only one.
    var root: Int32 = Slot.none
    /// Only in a root: the slot whose samples count now.
    var owner: Int32 = Slot.none
    /// Position among the shard's fields.
    var field: UInt8 = 0
    var isWide = false
    var kind = Contribution.gauge
}

/// A sample that passed the slot, on its way to a window.
struct AcceptedSample {
    var timeMs: Int64
    var value: Double
    var node: Int32
    var rack: Int32
    var ordinal: Int32
    var field: UInt8
}

/// An XID that a series changed to.
struct XIDEdge {
    var gpu: Int32
    var timeMs: Int64
    var code: Double
}

/// Drops by reason, for the length of one batch.
struct DropCounts {
    private var counts = InlineArray<16, Int32>(repeating: 0)

    @inline(__always)
    mutating func add(_ reason: DropReason, _ count: Int32 = 1) { counts[reason.rawValue] &+= count }

    func move(into ledger: inout Ledger) {
        for reason in DropReason.allCases { ledger[reason] += Int64(counts[reason.rawValue]) }
    }
}
