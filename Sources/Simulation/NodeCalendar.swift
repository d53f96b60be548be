/// The nodes that something will happen to besides coming back, the soonest first.
///
/// A calendar of hours: adding and taking out cost the same however many nodes are in it. Repairs, of which a trajectory has
/// thousands, have a `ReturnCalendar`.
struct NodeCalendar: Sendable {
    enum Kind: UInt8, Sendable {
        /// A failure of a new node.
        case infant
        /// A slow or silent node is found out.
        case found
    }

    struct Item: Sendable {
        var timeMs: Int64
        var node: Int32
        var kind: Kind
        /// Position of the cause, and which of the node's incidents it was.
        var cause: UInt8
        var mark: UInt32

        @inline(__always)
        func isBefore(_ other: Item) -> Bool {
            timeMs != other.timeMs
                ? timeMs < other.timeMs : (node, kind.rawValue) < (other.node, other.kind.rawValue)
        }
    }

    private static let bucketMs: Int64 = 3_600_000

    private let startMs: Int64
    private let endMs: Int64
    /// First item of each hour, and the item after each; -1 for none.
    private var heads: [Int32]
    private var items: [Item] = []
    private var links: [Int32] = []
    /// Items of all hours up to `opened`, the soonest last.
    private var due: [Item] = []
    private var opened = -1

    /// Soonest time; `Int64.max` when there is nothing.
    private(set) var nextMs = Int64.max

    init(startMs: Int64, endMs: Int64) {
        self.startMs = startMs
        self.endMs = endMs
        heads = Array(repeating: -1, count: Int((endMs - startMs) / Self.bucketMs) + 1)
    }

    /// Empties it without giving its memory back.
    mutating func removeAll() {
        for index in heads.indices { heads[index] = -1 }
        items.removeAll(keepingCapacity: true)
        links.removeAll(keepingCapacity: true)
        due.removeAll(keepingCapacity: true)
        opened = -1
        nextMs = .max
    }

    /// What lies beyond the end is forgotten.
    mutating func add(_ item: Item) {
        guard item.timeMs <= endMs else { return }
        let bucket = Int((item.timeMs - startMs) / Self.bucketMs)
        if bucket <= opened {
            insert(item)
        } else {
            links.append(heads[bucket])
            heads[bucket] = Int32(items.count)
            items.append(item)
            if due.isEmpty { open() }
        }
        nextMs = due.last?.timeMs ?? .max
    }

    mutating func removeFirst() -> Item? {
        guard let first = due.popLast() else { return nil }
        if due.isEmpty { open() }
        nextMs = due.last?.timeMs ?? .max
        return first
    }

    private mutating func insert(_ item: Item) {
        due.append(item)
        var place = due.count - 1
        while place > 0, due[place - 1].isBefore(item) {
            due[place] = due[place - 1]
            place -= 1
        }
        due[place] = item
    }

    private mutating func open() {
        while due.isEmpty, opened + 1 < heads.count {
            opened += 1
            var next = heads[opened]
            heads[opened] = -1
            while next >= 0 {
                insert(items[Int(next)])
                next = links[Int(next)]
            }
        }
    }
}
