/// The nodes that something will happen to, the soonest first: a binary heap.
/// A node is in it once at most; what happens follows from its status.
struct NodeTimers: Sendable {
    private struct Item: Sendable {
        var timeMs: Int64
        var node: Int32

        static func < (left: Item, right: Item) -> Bool {
            (left.timeMs, left.node) < (right.timeMs, right.node)
        }
    }

    private var items: [Item] = []

    /// `Int64.max` when there is none.
    var nextMs: Int64 { items.first?.timeMs ?? .max }

    mutating func add(_ node: Int, at timeMs: Int64) {
        items.append(Item(timeMs: timeMs, node: Int32(node)))
        var child = items.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard items[child] < items[parent] else { return }
            items.swapAt(child, parent)
            child = parent
        }
    }

    mutating func removeFirst() -> Int? {
        guard let first = items.first, let last = items.popLast() else { return nil }
        guard !items.isEmpty else { return Int(first.node) }
        items[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < items.count else { break }
            if child + 1 < items.count, items[child + 1] < items[child] { child += 1 }
            guard items[child] < items[parent] else { break }
            items.swapAt(child, parent)
            parent = child
        }
        return Int(first.node)
    }
}
