import Glibc
import Telemetry
import WireFormats

/// What one lane knows of the spellings of series: where their samples go.
///
/// Beside the hash table it learns the order in which series come: each entry names the one that came after it last
/// time, and a sender that keeps its order is served without a look into the table, straight through the memory.
///
/// Two generations bound it: what is found in the old one moves to the young one, and when the young one is full the
/// old one is forgotten. So it never holds more than the limit, never stops to clean up, and what is in use stays.
struct SeriesCache: ~Copyable {
    private(set) var young = SeriesTable()
    private var old = SeriesTable()
    private let countMax: Int
    /// Changes when entries get other numbers.
    private(set) var generation: UInt32 = 0

    init(limit: Int) { countMax = max(16, limit / 2) }

    var count: Int { young.count + old.count }

    /// Forgets, among some entries from a place on, those that lead to a slot of the order; `nil` when it has come to
    /// the end. The old generation comes first: what is in use moves from there to the end of the young one.
    mutating func sweep(_ order: Retirement.Order, from first: Int, count: Int) -> Int? {
        var place = first
        let end = first + count
        while place < end {
            let oldCount = old.count
            guard place < oldCount + young.count else { return nil }
            let entry =
                place < oldCount ? old.entries + (place + 1) : young.entries + (place - oldCount + 1)
            let route = entry.pointee.route
            if !route.isRejected, order.holds(shard: route.shard, slot: route.slot) {
                entry.pointee.route = .rejected(.noEntity, isPassing: true)
            }
            place += 1
        }
        return place
    }

    /// How many new spellings can come in before any that came in with them is forgotten.
    var roundMax: Int { countMax }

    /// The number of the identity's entry, or 0.
    mutating func find(_ identity: SeriesIdentity) -> UInt32 {
        let known = young.find(identity)
        if known != 0 || old.count == 0 { return known }
        let place = old.find(identity)
        return place == 0 ? 0 : insert(old.entries[Int(place)])
    }

    /// Looks up the runs that follow a place, as many as `places` is to hold, all at once: each lookup waits for memory
    /// twice, and so they wait together.
    ///
    /// - Parameter places: becomes the numbers of their entries, or 0 where `find` has to look more closely. They hold as
    ///   long as `generation` stays.
    func find(
        _ runs: Span<SeriesRun>, from first: Int, count: Int, into places: inout Lookahead.Places
    ) {
        let count = min(count, runs.count &- first, Lookahead.most)
        young.find(runs, first..<first &+ count, into: &places)
        for index in count..<max(count, Lookahead.most) { places[index] = 0 }
    }

    /// The identity must not be there yet.
    @discardableResult
    mutating func insert(_ entry: SeriesTable.Entry) -> UInt32 {
        if young.count >= countMax {
            swap(&young, &old)
            young = SeriesTable()
            generation &+= 1
        }
        return young.insert(entry)
    }
}

/// What was looked up ahead of the run at hand, when the learned order did not hold.
struct Lookahead {
    typealias Places = InlineArray<32, UInt32>
    static let most = 32
    private static let least = 4

    private var places = Places(repeating: 0)
    private var first = 0
    private var end = 0
    /// How many the next look takes in: the more, the longer the order has not held.
    private var reach = Lookahead.least

    /// The number of the run's entry, or 0: then the cache has to look more closely.
    @inline(__always)
    mutating func place(of index: Int, _ runs: Span<SeriesRun>, _ cache: borrowing SeriesCache) -> UInt32 {
        if index >= end { look(from: index, runs, cache) }
        return places[index &- first]
    }

    @inline(never)
    private mutating func look(from index: Int, _ runs: Span<SeriesRun>, _ cache: borrowing SeriesCache) {
        // The run right after the last look: the order does not hold for a while.
        reach = index == end ? min(reach * 2, Self.most) : Self.least
        first = index
        end = index + reach
        cache.find(runs, from: index, count: reach, into: &places)
    }

    /// Entries have got other numbers.
    mutating func forget() { (first, end) = (0, 0) }
}

/// Entries in the order in which they came, and a hash table over them.
///
/// Raw memory, because the loop over the samples of a request goes through it, and to grow in place (`realloc`). It is
/// confined to its lane. Invariants: `entries` has room for `capacity`, of which 0 ... `count` are initialised, and the
/// entry 0 is nobody's; `places` has `mask + 1` words, each 0 or a number of 1 ... `count`.
struct SeriesTable: ~Copyable {
    /// 32 bytes: two in a cache line.
    struct Entry {
        var high: UInt64 = 0
        var low: UInt64 = 0
        var route = Route()
        /// The entry that came after this one last time; 0 is none.
        var next: UInt32 = 0

        @inline(__always)
        func isOf(_ identity: SeriesIdentity) -> Bool { high == identity.high && low == identity.low }
    }

    private(set) var entries: UnsafeMutablePointer<Entry>
    private(set) var count = 0
    private var capacity: Int
    /// The upper half of an identity's lower half beside the number of its entry.
    private var places: UnsafeMutablePointer<UInt64>
    private var mask: Int

    private static let capacityMin = 63
    /// From there on memory comes in huge pages where the system gives any.
    private static let hugeBytes = 4 << 20

    init() {
        capacity = Self.capacityMin
        entries = Self.allocate(capacity + 1)
        entries.initialize(to: Entry())
        mask = 127
        places = Self.allocate(mask + 1)
        places.initialize(repeating: 0, count: mask + 1)
    }

    deinit {
        free(entries)
        free(places)
    }

    @inline(__always)
    func find(_ identity: SeriesIdentity) -> UInt32 {
        let tag = identity.low >> 32
        var place = Int(truncatingIfNeeded: identity.low) & mask
        while true {
            let word = places[place]
            if word == 0 { return 0 }
            let number = UInt32(truncatingIfNeeded: word)
            if word >> 32 == tag, entries[Int(number)].isOf(identity) { return number }
            place = (place &+ 1) & mask
        }
    }

    /// The numbers of the entries of some runs, or 0 where there is none.
    ///
    /// In three steps, so that what a step waits for does not depend on what it waited for before: the memory answers all
    /// of a step's questions at once.
    @inline(__always)
    func find(_ runs: Span<SeriesRun>, _ range: Range<Int>, into numbers: inout Lookahead.Places) {
        let first = range.lowerBound
        var words = InlineArray<32, UInt64>(repeating: 0)
        for index in range {
            words[index &- first] = places[Int(truncatingIfNeeded: runs[index].identity.low) & mask]
        }
        for index in range {
            let low = runs[index].identity.low
            var word = words[index &- first]
            var place = Int(truncatingIfNeeded: low) & mask
            while word != 0, word >> 32 != low >> 32 {
                place = (place &+ 1) & mask
                word = places[place]
            }
            numbers[index &- first] = UInt32(truncatingIfNeeded: word)
        }
        for index in range {
            // Entry 0 is nobody's, and answers for those that are not there.
            let number = numbers[index &- first]
            let (entry, identity) = (entries + Int(number), runs[index].identity)
            let difference = (entry.pointee.high ^ identity.high) | (entry.pointee.low ^ identity.low)
            numbers[index &- first] = difference == 0 ? number : 0
        }
    }

    mutating func insert(_ entry: Entry) -> UInt32 {
        if count == capacity { grow() }
        count += 1
        var entry = entry
        entry.next = 0
        (entries + count).initialize(to: entry)
        // At most 5/8 full: probes stay short.
        if count * 8 > (mask + 1) * 5 { rehash() } else { place(count) }
        return UInt32(count)
    }

    private func place(_ number: Int) {
        let low = entries[number].low
        var place = Int(truncatingIfNeeded: low) & mask
        while places[place] != 0 { place = (place &+ 1) & mask }
        places[place] = (low & ~0xFFFF_FFFF) | UInt64(number)
    }

    private mutating func rehash() {
        free(places)
        mask = mask * 2 + 1
        places = Self.allocate(mask + 1)
        places.initialize(repeating: 0, count: mask + 1)
        for number in 1...count { place(number) }
    }

    private mutating func grow() {
        // By a half: at millions of series the spare memory would be felt.
        capacity += max(64, capacity / 2)
        let bytes = (capacity + 1) * MemoryLayout<Entry>.stride
        guard let moved = realloc(entries, bytes) else { Self.outOfMemory(bytes) }
        Self.advise(moved, bytes)
        entries = moved.bindMemory(to: Entry.self, capacity: capacity + 1)
    }

    private static func allocate<T>(_ count: Int) -> UnsafeMutablePointer<T> {
        let bytes = count * MemoryLayout<T>.stride
        guard let memory = malloc(bytes) else { outOfMemory(bytes) }
        advise(memory, bytes)
        return memory.bindMemory(to: T.self, capacity: count)
    }

    /// Only advice: where it is not taken, all is as before.
    private static func advise(_ memory: UnsafeMutableRawPointer, _ bytes: Int) {
        guard bytes >= hugeBytes else { return }
        let page = 4_096
        let start = (Int(bitPattern: memory) + page - 1) / page * page
        guard let aligned = UnsafeMutableRawPointer(bitPattern: start) else { return }
        _ = madvise(aligned, bytes - (start - Int(bitPattern: memory)), MADV_HUGEPAGE)
    }

    private static func outOfMemory(_ bytes: Int) -> Never {
        preconditionFailure("no memory for a table of \(bytes) bytes; limits.series bounds it")
    }
}
