import CDraws

/// What is made of one draw, and how.
protocol DrawnAhead: Sendable {
    static var purpose: Philox.Purpose { get }
    /// Whether the logarithm is that of `Words.unit`, or of `Words.unit32(0)`.
    static var isLong: Bool { get }
    init()
    init(_ words: Philox.Words, log: Double, _ tables: DrawTables)
}

/// How many bytes the widest vectors of this processor have.
private let vectorWidth = cdraws_width()

/// Draws of one purpose in the order of their counters, worked out ahead of their use, 64 at a time.
///
/// The values are those of `Philox.draw`, bit by bit: failures are most of a trajectory, and eight draws with their
/// logarithms take hardly longer than one alone (CDraws). What a draw says besides, whatever the state of the fleet, is
/// looked up here too, where the processor need not wait for one before it begins with the next.
struct DrawAhead<Item: DrawnAhead>: Sendable {
    private let capacity = 64
    /// The words of the draws under work, all first ones before all second ones, and their logarithms.
    private var words: [UInt64] = []
    private var logs: [Double] = []
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
        place = index &+ 1
        count &+= 1
        // It is below the number of items, or `refill` has just begun anew.
        return items.span[unchecked: index]
    }

    @inline(never)
    private mutating func refill() {
        if items.isEmpty {
            items = Array(repeating: Item(), count: capacity)
            words = Array(repeating: 0, count: 4 * capacity)
            logs = Array(repeating: 0, count: capacity)
        }
        place = 0
        let (key, first) = (philox.key, UInt64(bitPattern: count))
        let total = Int32(capacity)
        self.words.withUnsafeMutableBufferPointer { words in
            self.logs.withUnsafeMutableBufferPointer { logs in
                cdraws_draw(
                    vectorWidth, key.0, key.1, Item.purpose.rawValue, first, total, Item.isLong ? 1 : 0,
                    words.baseAddress, logs.baseAddress)
            }
        }
        let (tables, capacity, allWords, allLogs) = (tables, capacity, words, logs)
        let (words, logs) = (allWords.span, allLogs.span)
        var items = items.mutableSpan
        for draw in 0..<capacity {
            func word(_ number: Int) -> UInt32 {
                UInt32(truncatingIfNeeded: words[unchecked: number &* capacity &+ draw])
            }
            items[unchecked: draw] = Item(
                Philox.Words(word(0), word(1), word(2), word(3)), log: logs[unchecked: draw], tables)
        }
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
        passed = tables.passesAny ? Int(cdraws_whole(min(log / tables.passedLog, 1e9))) : 0
        repairMs = tables.repairs[0].milliseconds(words[3])
    }
}
