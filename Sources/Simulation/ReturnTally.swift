/// When nodes come back from repair, for whom it is enough to know how many came back until some time, and how long they have
/// been back: not which they are, and in which order they came.
///
/// Pages of 70 minutes, as in `ReturnCalendar`, but nothing is ever sorted: a page has sixteen cells, one line of the
/// processor's cache, and all of them are compared at once.
struct ReturnTally: Sendable {
    private typealias Page = SIMD16<Int32>
    private static let pageBits: Int64 = 22
    private static let cells = 16
    /// No return: later than any time on a page.
    private static let empty = Int32.max

    private let startMs: Int64
    private let endMs: Int64
    private let pageCount: Int
    /// Milliseconds since each page's begin.
    private var times: [Int32]
    /// How many cells of each page are in use.
    private var counts: [UInt8]
    /// What pages had no room for, in any order: milliseconds since the start.
    private var spilt: [Int64] = []
    /// What came up to this place on this page has been taken, and all pages before are empty.
    private var page = 0
    private var taken: Int32 = -1

    init(startMs: Int64, endMs: Int64) {
        self.startMs = startMs
        self.endMs = endMs
        pageCount = Int((endMs - startMs) >> Self.pageBits) + 1
        times = Array(repeating: Self.empty, count: Self.cells * pageCount)
        counts = Array(repeating: 0, count: pageCount)
    }

    /// Empties it without giving its memory back.
    mutating func removeAll() {
        for page in page..<pageCount where counts[page] > 0 { clear(page) }
        spilt.removeAll(keepingCapacity: true)
        (page, taken) = (0, -1)
    }

    /// A node comes back at that time, which has not been taken yet. What lies beyond the end is forgotten.
    @inline(__always)
    mutating func add(at timeMs: Int64) {
        guard timeMs <= endMs else { return }
        let sinceStart = timeMs - startMs
        let page = Int(sinceStart >> Self.pageBits)
        let count = Int(counts[page])
        guard count < Self.cells else {
            spilt.append(sinceStart)
            return
        }
        times[Self.cells * page + count] = Int32(truncatingIfNeeded: sinceStart & (1 << Self.pageBits - 1))
        counts[page] = UInt8(truncatingIfNeeded: count + 1)
    }

    /// Takes all that come back by that time: how many, and the sum of their times since the start.
    @inline(__always)
    mutating func take(until timeMs: Int64) -> (nodes: Int, sinceStartMs: Int64) {
        let until = timeMs - startMs
        let last = Int(until >> Self.pageBits)
        let place = Int32(truncatingIfNeeded: until & (1 << Self.pageBits - 1))
        var (nodes, sum): (Int, Int64) = (0, 0)
        while page < last {
            let (count, rest) = scan(Self.empty - 1)
            nodes += count
            sum += Int64(count) * (Int64(page) << Self.pageBits) + rest
            clear(page)
            page += 1
            taken = -1
        }
        let (count, rest) = scan(place)
        nodes += count
        sum += Int64(count) * (Int64(page) << Self.pageBits) + rest
        taken = max(taken, place)
        if !spilt.isEmpty {
            for time in spilt where time <= until { (nodes, sum) = (nodes + 1, sum + time) }
            spilt.removeAll { $0 <= until }
        }
        return (nodes, sum)
    }

    /// What lies on the open page behind what was taken, up to that place.
    @inline(__always)
    private func scan(_ until: Int32) -> (nodes: Int, sum: Int64) {
        let times = times.withUnsafeBytes {
            $0.loadUnaligned(
                fromByteOffset: MemoryLayout<Page>.size * page, as: Page.self)
        }
        // All bits of those that are due, out of the sign of a difference: no lane is looked at alone.
        let isBehind = (Page(repeating: taken) &- times) &>> 31
        let isDue = isBehind & ((times &- Page(repeating: until + 1)) &>> 31)
        return (-Int(isDue.wrappedSum()), Int64((times & isDue).wrappedSum()))
    }

    private mutating func clear(_ page: Int) {
        for cell in (Self.cells * page)..<(Self.cells * (page + 1)) { times[cell] = Self.empty }
        counts[page] = 0
    }
}
