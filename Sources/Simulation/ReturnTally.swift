/// When nodes come back from repair, for whom it is enough to know how many came back until some time, and how long they have
/// been back: not which they are, and in which order they came.
///
/// Pages of 70 minutes, as in `ReturnCalendar`, but nothing is ever sorted: a page has one line of the processor's
/// cache, fifteen times and how many there are, and all of them are compared at once.
struct ReturnTally: Sendable {
    private typealias Page = SIMD16<Int32>
    private static let pageBits: Int64 = 22
    private static let cells = 16
    /// The last cell of a page is this and the number of its times: earlier than any time.
    private static let none = Int32.min
    /// No return: later than any time on a page.
    private static let empty = Int32.max

    private let startMs: Int64
    private let endMs: Int64
    private let pageCount: Int
    /// Milliseconds since each page's begin; on the last page what is not wanted.
    var pages: [Int32]
    /// What pages had no room for, in any order: milliseconds since the start.
    private var spilt: [Int64] = []
    /// What came up to this place on this page has been taken, and all pages before are empty.
    private var page = 0
    private var taken: Int32 = -1

    init(startMs: Int64, endMs: Int64) {
        self.startMs = startMs
        self.endMs = endMs
        pageCount = Int((endMs - startMs) >> Self.pageBits) + 1
        pages = (0..<(Self.cells * (pageCount + 1))).map {
            $0 % Self.cells == Self.cells - 1 ? Self.none : Self.empty
        }
    }

    /// Empties it without giving its memory back.
    mutating func removeAll() {
        for page in page...pageCount where pages[Self.cells * (page + 1) - 1] != Self.none {
            var pages = pages.mutableSpan
            Self.clear(page, &pages)
        }
        spilt.removeAll(keepingCapacity: true)
        (page, taken) = (0, -1)
    }

    /// A node comes back at that time, which has not been taken yet, if `nodes` is 1. What lies beyond the end is forgotten.
    ///
    /// Whether it does is chance, as is the page: no branch has to be guessed.
    ///
    /// - Parameter pages: those of this tally, which the caller holds alone.
    @inline(__always)
    mutating func add(_ nodes: Int, at timeMs: Int64, _ pages: inout MutableSpan<Int32>) {
        let sinceStart = timeMs &- startMs
        let isWanted = Int32(truncatingIfNeeded: nodes) & (timeMs <= endMs ? 1 : 0)
        let page = min(Int(sinceStart >> Self.pageBits), pageCount)
        let last = Self.cells &* page &+ (Self.cells - 1)
        let count = Int(pages[last] &- Self.none)
        guard count < Self.cells - 1 else {
            if isWanted != 0 { spilt.append(sinceStart) }
            return
        }
        let place = Int32(truncatingIfNeeded: sinceStart & (1 << Self.pageBits - 1))
        pages[last &- Self.cells &+ 1 &+ count] = isWanted != 0 ? place : Self.empty
        pages[last] &+= isWanted
    }

    /// Takes all that come back by that time: how many, and the sum of their times since the start.
    @inline(__always)
    mutating func take(
        until timeMs: Int64, _ pages: inout MutableSpan<Int32>
    ) -> (nodes: Int, sinceStartMs: Int64) {
        let until = timeMs &- startMs
        let last = Int(until >> Self.pageBits)
        let place = Int32(truncatingIfNeeded: until & (1 << Self.pageBits - 1))
        var (nodes, sum): (Int, Int64) = (0, 0)
        while page < last {
            let (count, rest) = scan(Self.empty - 1, pages)
            nodes &+= count
            sum &+= Int64(count) &* (Int64(page) << Self.pageBits) &+ rest
            Self.clear(page, &pages)
            page &+= 1
            taken = -1
        }
        let (count, rest) = scan(place, pages)
        nodes &+= count
        sum &+= Int64(count) &* (Int64(page) << Self.pageBits) &+ rest
        taken = max(taken, place)
        if !spilt.isEmpty {
            for time in spilt where time <= until { (nodes, sum) = (nodes + 1, sum + time) }
            spilt.removeAll { $0 <= until }
        }
        return (nodes, sum)
    }

    /// What lies on the open page behind what was taken, up to that place.
    @inline(__always)
    private func scan(_ until: Int32, _ pages: borrowing MutableSpan<Int32>) -> (nodes: Int, sum: Int64) {
        let first = Self.cells &* page
        precondition(first &+ Self.cells <= pages.count)
        let times = pages.withUnsafeBytes {
            $0.loadUnaligned(fromByteOffset: MemoryLayout<Page>.size &* page, as: Page.self)
        }
        // All bits of those that are due, out of the sign of a difference: no lane is looked at alone.
        let isBehind = (Page(repeating: taken) &- times) &>> 31
        let isDue = isBehind & ((times &- Page(repeating: until &+ 1)) &>> 31)
        // Times and their number in one sum: fifteen times are fewer than 26 bits.
        let sum = ((times &+ (1 << 26)) & isDue).wrappedSum()
        return (Int(sum >> 26), Int64(sum & (1 << 26 - 1)))
    }

    private static func clear(_ page: Int, _ pages: inout MutableSpan<Int32>) {
        let last = cells &* page &+ (cells - 1)
        for cell in (last &- (cells - 1))..<last { pages[cell] = empty }
        pages[last] = none
    }
}
