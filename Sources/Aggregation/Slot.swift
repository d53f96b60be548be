import Telemetry

/// What a shard remembers of one series: 32 bytes, two a cache line.
///
/// Window statistics never live here, for several windows are open at once.
struct Slot {
    static let noTime = Int64.min
    static let none: Int32 = -1

    var lastValue: Double = 0
    /// Newest event time, or `noTime` before the first sample.
    var lastMs: Int64 = Slot.noTime
    /// Wall clock of the newest arrival, see `Arrival`.
    var arrival = Arrival.never
    /// Local to the shard; negative while the slot is not registered.
    var node: Int32 = Slot.none
    /// Position among the GPUs of its rack.
    var ordinal: Int32 = 0
    /// Position among the shard's fields.
    var field: UInt8 = 0
    var kind = Contribution.gauge
    var flags: Flags = []

    struct Flags: OptionSet {
        let rawValue: UInt8
        /// The field's values pass 2^31 in health.
        static let isWide = Flags(rawValue: 1)
        /// There are other sources of the same (GPU, field): see `SlotLink`.
        static let isLinked = Flags(rawValue: 2)
        /// It was named as silent.
        static let isNamed = Flags(rawValue: 4)
        /// Nothing had been heard of it when the silent ones were looked for.
        static let isUnheard = Flags(rawValue: 8)
        /// Many series share it: each sample stands for itself.
        static let isShared = Flags(rawValue: 16)
    }

    var isWide: Bool { flags.contains(.isWide) }
}

/// A wall clock in 32 bits: milliseconds modulo 49 days, of which only differences mean something.
struct Arrival: Equatable {
    let bits: UInt32
    static let never = Arrival(bits: 0)

    private init(bits: UInt32) { self.bits = bits }
    init(ms: Int64) { bits = max(1, UInt32(truncatingIfNeeded: ms)) }

    /// Milliseconds from another arrival to this one; a little before it counts as none.
    func since(_ other: Arrival) -> Int64 { max(0, Int64(Int32(bitPattern: bits &- other.bits))) }
}

/// How a slot goes together with other sources of the same (GPU, field). Only such slots need one.
struct SlotLink {
    /// The first source; its own number in the first one itself; `Slot.none` where there is only one.
    var root = Slot.none
    /// Only in a root: the slot whose samples count now.
    var owner = Slot.none
    /// Only in a root: how many others there are.
    var followers: Int32 = 0
}

/// A sample that passed the slot, on its way to a window.
struct AcceptedSample {
    var timeMs: Int64
    var value: Double
    var node: Int32
    var ordinal: Int32
    var field: UInt8
}

/// An XID that a series changed to.
struct XIDEdge {
    /// Local to the shard.
    var node: Int32
    /// Position among the GPUs of its rack.
    var ordinal: Int32
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
