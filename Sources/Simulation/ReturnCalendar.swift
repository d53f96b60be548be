/// When nodes come back from repair, the soonest first; at the same time those with lower numbers first.
///
/// A calendar whose pages are 70 minutes: adding and taking out cost the same however many nodes come back later, and a
/// trajectory has thousands of repairs. What is on the page that is open, and on those before, is sorted by insertion: a few
/// nodes mostly, and all that still come back once the last page is open, as after a quiet time at the end. An item is one
/// number, so that it can be compared at once, and a page one line of the processor's cache: how many items it has, and the
/// items.
struct ReturnCalendar: Sendable {
    /// Milliseconds since the start, and the node in the last bits: 4,000,000 GPUs are fewer than 2^20 nodes.
    private typealias Item = Int64
    private static let nodeBits: Int64 = 20
    private static let pageBits: Int64 = 22
    private static let cells = 8

    private let startMs: Int64
    private let endMs: Int64
    private var pages: [Item]
    /// What pages had no room for, in any order.
    private var spilt: [Item] = []
    /// The first `dueCount` are the items of all pages up to `opened`, the soonest last.
    private var due: [Item] = []
    private var dueCount = 0
    private var opened = -1
    private let pageCount: Int

    /// Whether there was anything since it was empty.
    private var isUsed = false

    /// Soonest time; `Int64.max` when there is nothing.
    private(set) var nextMs = Int64.max

    init(startMs: Int64, endMs: Int64) {
        self.startMs = startMs
        self.endMs = endMs
        pageCount = Int((endMs - startMs) >> Self.pageBits) + 1
        pages = Array(repeating: 0, count: Self.cells * pageCount)
    }

    /// Empties it without giving its memory back.
    mutating func removeAll() {
        guard isUsed else { return }
        isUsed = false
        // Those that were opened are empty.
        for page in (opened + 1)..<pageCount { pages[Self.cells * page] = 0 }
        spilt.removeAll(keepingCapacity: true)
        dueCount = 0
        opened = -1
        nextMs = .max
    }

    /// What lies beyond the end is forgotten.
    @inline(__always)
    mutating func add(_ node: Int, at timeMs: Int64) {
        guard timeMs <= endMs else { return }
        isUsed = true
        let sinceStart = timeMs - startMs
        let item = (sinceStart << Self.nodeBits) | Int64(node)
        let page = Int(sinceStart >> Self.pageBits)
        if page > opened, dueCount > 0 {
            put(item, page)
        } else {
            addFirst(item, page)
        }
    }

    /// To a page that is open, or when there was nothing.
    @inline(never)
    private mutating func addFirst(_ item: Item, _ page: Int) {
        if page > opened {
            put(item, page)
            open()
        } else {
            insert(item)
        }
        findNext()
    }

    /// Takes out the soonest one if it is due by that time.
    @inline(__always)
    mutating func removeFirst(until timeMs: Int64) -> (node: Int, timeMs: Int64)? {
        guard nextMs <= timeMs else { return nil }
        dueCount -= 1
        let item = due[dueCount]
        let itemMs = nextMs
        if dueCount == 0 { open() }
        findNext()
        return (Int(item & ((1 << Self.nodeBits) - 1)), itemMs)
    }

    @inline(__always)
    private mutating func findNext() {
        nextMs = dueCount > 0 ? startMs + (due[dueCount - 1] >> Self.nodeBits) : .max
    }

    @inline(__always)
    private mutating func put(_ item: Item, _ page: Int) {
        let first = Self.cells * page
        var cells = pages.mutableSpan
        let count = Int(cells[first]) + 1
        if count < Self.cells {
            cells[first + count] = item
            cells[first] = Int64(count)
        } else {
            spilt.append(item)
        }
    }

    @inline(__always)
    private mutating func insert(_ item: Item) {
        if dueCount == due.count { due.append(item) }
        var place = dueCount
        dueCount += 1
        var items = due.mutableSpan
        while place > 0, items[place - 1] < item {
            items[place] = items[place - 1]
            place -= 1
        }
        items[place] = item
    }

    private mutating func open() {
        while dueCount == 0, opened + 1 < pageCount {
            opened += 1
            let first = Self.cells * opened
            let count = Int(pages[first])
            guard count > 0 else { continue }
            pages[first] = 0
            for cell in 1...count { insert(pages[first + cell]) }
            if count == Self.cells - 1, !spilt.isEmpty { openSpilt() }
        }
    }

    private mutating func openSpilt() {
        let bits = Self.nodeBits + Self.pageBits
        for item in spilt where item >> bits == opened { insert(item) }
        spilt.removeAll { $0 >> bits == opened }
    }
}
