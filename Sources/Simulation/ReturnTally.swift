/// When nodes come back from repair, for whom it is enough to know how many came back until some time, and how long they have
/// been back: not which they are, and in which order they came.
///
/// Pages of 70 minutes, as in `ReturnCalendar`, but nothing is ever sorted: a page is one line of the processor's cache,
/// fourteen times, their sum and how many there are, and all of them are compared at once. How many are back is asked at every
/// start of the job, how long they have been only once in a while: so sums are taken of whole pages, and of the open one when
/// somebody asks.
struct ReturnTally: Sendable {
    /// Milliseconds since the page's begin, then the sum of these times and their number.
    typealias Page = SIMD16<Int32>
    private static let pageBits: Int64 = 22
    private static let cells = 14
    /// A sum is this and the times, a number this and the count: as cells, both are earlier than any time.
    private static let none: Int32 = -(1 << 30)
    /// No return: later than any time on a page.
    private static let empty = Int32.max
    private static let emptyPage: Page = {
        var page = Page(repeating: empty)
        (page[sumCell], page[countCell]) = (none, none)
        return page
    }()
    private static let sumCell = 14
    private static let countCell = 15

    private let startMs: Int64
    private let endMs: Int64
    private let pageCount: Int
    /// The last one is for what is not wanted. None before the first use: most fleets never need them.
    var pages: [Page] = []
    /// What pages had no room for, in any order: milliseconds since the start; and the first of them.
    private var spilt: [Int64] = []
    private var firstSpilt = Int64.max
    /// All pages before are done; of this one so many have been taken, and sums of so much.
    private var page = 0
    private var taken = 0
    private var summed: Int64 = 0

    init(startMs: Int64, endMs: Int64) {
        self.startMs = startMs
        self.endMs = endMs
        pageCount = Int((endMs - startMs) >> Self.pageBits) + 1
    }

    /// Empties it without giving its memory back, which the first time takes it.
    mutating func removeAll() {
        let empty = Self.emptyPage
        if pages.isEmpty { pages = Array(repeating: empty, count: pageCount + 1) }
        var pages = pages.mutableSpan
        for page in pages.indices { pages[page] = empty }
        spilt.removeAll(keepingCapacity: true)
        firstSpilt = .max
        (page, taken, summed) = (0, 0, 0)
    }

    /// A node comes back at that time, which has not been taken yet, if `nodes` is 1. What lies beyond the end is forgotten.
    ///
    /// Whether it does is chance, as is the page: no branch has to be guessed.
    ///
    /// - Parameter pages: those of this tally, which the caller holds alone.
    @inline(__always)
    mutating func add(_ nodes: Int, at timeMs: Int64, _ pages: UnsafeMutablePointer<Page>) {
        let sinceStart = timeMs &- startMs
        let isWanted = Int32(truncatingIfNeeded: nodes) & (timeMs <= endMs ? 1 : 0)
        // Whatever the time is, even one before the start, it has a page: the last, if no other.
        let place = min(UInt64(bitPattern: sinceStart >> Self.pageBits), UInt64(pageCount))
        let page = UnsafeMutableRawPointer(pages + Int(place))
        let count = Int(page.load(fromByteOffset: 4 * Self.countCell, as: Int32.self) &- Self.none)
        guard count < Self.cells else {
            if isWanted != 0 { spill(sinceStart) }
            return
        }
        let cell = Int32(truncatingIfNeeded: sinceStart & (1 << Self.pageBits - 1))
        page.storeBytes(
            of: isWanted != 0 ? cell : Self.empty, toByteOffset: 4 &* count, as: Int32.self)
        let sum = page.load(fromByteOffset: 4 * Self.sumCell, as: Int32.self)
        page.storeBytes(of: sum &+ (cell & (0 &- isWanted)), toByteOffset: 4 * Self.sumCell, as: Int32.self)
        page.storeBytes(
            of: Int32(truncatingIfNeeded: count) &+ isWanted &+ Self.none, toByteOffset: 4 * Self.countCell,
            as: Int32.self)
    }

    @inline(never)
    private mutating func spill(_ sinceStart: Int64) {
        spilt.append(sinceStart)
        firstSpilt = min(firstSpilt, sinceStart)
    }

    /// Takes all that come back by that time, which is not before the last one: how many, and a sum of times since the start that
    /// is complete only with that of `settle`.
    @inline(__always)
    mutating func take(
        until timeMs: Int64, _ pages: UnsafeMutablePointer<Page>
    ) -> (nodes: Int, sinceStartMs: Int64) {
        let until = timeMs &- startMs
        let last = Int(until >> Self.pageBits)
        var (nodes, sum): (Int, Int64) = (0 &- taken, 0)
        while page &+ 1 < last {
            let (count, times) = whole(pages)
            (nodes, sum) = (nodes &+ count, sum &+ times &- summed)
            (page, summed) = (page &+ 1, 0)
        }
        // Whether one more page is done is chance too: all bits, or none.
        let isDone = page &- last
        let (count, times) = whole(pages)
        nodes &+= count & isDone
        sum &+= (times &- summed) & Int64(isDone)
        summed &= ~Int64(isDone)
        page = last
        taken = Int(0 &- behind(until, pages).wrappedSum()) &- 2
        nodes &+= taken
        if firstSpilt <= until { (nodes, sum) = takeSpilt(until, nodes, sum) }
        return (nodes, sum)
    }

    /// What was missing in the sums of all that `take` has taken until that time, the last it was asked for.
    mutating func settle(_ timeMs: Int64, _ pages: UnsafeMutablePointer<Page>) -> Int64 {
        let due = pages[page] & behind(timeMs &- startMs, pages)
        let times = Int64((0..<Self.cells).reduce(0) { $0 &+ due[$1] })
        let sum = Int64(taken) &* (Int64(page) << Self.pageBits) &+ times
        defer { summed = sum }
        return sum &- summed
    }

    /// All bits of the cells of the open page that are not later than that, out of the sign of a difference: no lane is looked
    /// at alone. Those of the page's sum and number always are.
    @inline(__always)
    private func behind(_ until: Int64, _ pages: UnsafeMutablePointer<Page>) -> Page {
        let place = Int32(truncatingIfNeeded: until & (1 << Self.pageBits - 1))
        return (pages[page] &- Page(repeating: place &+ 1)) &>> 31
    }

    /// How many times the open page has, and their sum.
    @inline(__always)
    private func whole(_ pages: UnsafeMutablePointer<Page>) -> (nodes: Int, sinceStartMs: Int64) {
        let cells = UnsafeRawPointer(pages + page)
        let count = Int(cells.load(fromByteOffset: 4 * Self.countCell, as: Int32.self) &- Self.none)
        let sum = Int64(cells.load(fromByteOffset: 4 * Self.sumCell, as: Int32.self) &- Self.none)
        return (count, Int64(count) &* (Int64(page) << Self.pageBits) &+ sum)
    }

    @inline(never)
    private mutating func takeSpilt(_ until: Int64, _ nodes: Int, _ sum: Int64) -> (Int, Int64) {
        var (nodes, sum) = (nodes, sum)
        for time in spilt where time <= until { (nodes, sum) = (nodes + 1, sum + time) }
        spilt.removeAll { $0 <= until }
        firstSpilt = spilt.min() ?? .max
        return (nodes, sum)
    }
}
