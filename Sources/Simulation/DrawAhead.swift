/// What is made of one draw, and how.
protocol DrawnAhead: Sendable {
    static var purpose: Philox.Purpose { get }
    /// Whether the logarithm is that of `Words.unit`, or of `Words.unit32(0)`.
    static var isLong: Bool { get }
    init()
    init(_ words: Philox.Words, log: Double, _ tables: DrawTables)
}

/// Draws of one purpose in the order of their counters, worked out ahead of their use, eight at a time.
///
/// The values are those of `Philox.draw`, bit by bit: failures are most of a trajectory, and eight draws with their
/// logarithms take hardly longer than two alone. What a draw says besides, whatever the state of the fleet, is looked up there
/// too, where the processor need not wait for one before it begins with the next.
struct DrawAhead<Item: DrawnAhead>: Sendable {
    private let capacity = 64
    private let tables: DrawTables
    private var philox: Philox
    private var items: [Item] = []
    private var place = 0
    /// Counter of the next draw.
    private(set) var count: Int64 = 0

    init(_ law: FleetLaw, _ philox: Philox) {
        tables = DrawTables(law)
        self.philox = philox
    }

    /// Back to the first one, of another seed.
    mutating func restart(_ philox: Philox) {
        self.philox = philox
        place = items.count
        count = 0
    }

    @inline(__always)
    mutating func next() -> Item {
        if place == items.count { refill() }
        let index = place
        place = index + 1
        count += 1
        return items[index]
    }

    @inline(never)
    private mutating func refill() {
        if items.isEmpty { items = Array(repeating: Item(), count: capacity) }
        place = 0
        let (philox, tables, capacity, count) = (philox, tables, Int64(capacity), count)
        var items = items.mutableSpan
        for base in stride(from: 0, to: capacity, by: 8) {
            let (w0, w1, w2, w3) = philox.draw8(Item.purpose, entity: 0, firstCounter: count + base)
            let (low, high) = (SIMD8<UInt64>(truncatingIfNeeded: w0), SIMD8<UInt64>(truncatingIfNeeded: w1))
            let units =
                Item.isLong
                ? Self.units(high &<< 20 | low &>> 12, 0x1p-52) : Self.units(low, 0x1p-32)
            let logs = PortableMath.log8(units)
            for lane in 0..<8 {
                let words = Philox.Words(w0[lane], w1[lane], w2[lane], w3[lane])
                items[Int(base) + lane] = Item(words, log: logs[lane], tables)
            }
        }
    }

    /// (Integers below 2^52, and a half) x scale.
    @inline(__always)
    private static func units(_ integers: SIMD8<UInt64>, _ scale: Double) -> SIMD8<Double> {
        let raised = unsafeBitCast(integers | 0x4330_0000_0000_0000, to: SIMD8<Double>.self)
        return (raised - 0x1p52 + 0.5) * scale
    }
}

/// A failure somewhere in the fleet.
struct FailureDraw: DrawnAhead {
    static var purpose: Philox.Purpose { .failure }
    static var isLong: Bool { false }

    /// How much hazard passes before it.
    var hazard = 0.0
    /// Uniform in (0, 1): which node.
    var place = 0.5
    var cause: Int32 = 0
    /// Ordinal of the GPU.
    var gpu: Int32 = 0
    /// Until the node is repaired, if it has to be.
    var repairMs: Int64 = 0

    init() {}

    @inline(__always)
    init(_ words: Philox.Words, log: Double, _ tables: DrawTables) {
        hazard = -log
        place = words.unit32(1)
        let cause = tables.cause(words[2])
        self.cause = Int32(truncatingIfNeeded: cause)
        gpu = Int32(truncatingIfNeeded: words[2] & 7)
        repairMs = tables.repairMs(cause, words[3])
    }
}

/// A node that does not pass burn-in.
struct RejectionDraw: DrawnAhead {
    static var purpose: Philox.Purpose { .rejection }
    static var isLong: Bool { true }

    /// How many pass before it: geometric.
    var passed = 0
    var repairMs: Int64 = 0

    init() {}

    @inline(__always)
    init(_ words: Philox.Words, log: Double, _ tables: DrawTables) {
        passed = tables.passesAny ? Int(min(log / tables.passedLog, 1e9)) : 0
        repairMs = tables.repairs[0].milliseconds(words[3])
    }
}
