import Synchronization
import WireFormats

/// A lane's look into the `SeriesTable` that all share.
///
/// Beside the hash table there is the order in which series come: each entry names the one that came after it last
/// time, and a sender that keeps its order is served without a look into the table, straight through the memory.
struct SeriesCache: ~Copyable {
    let table: SeriesTable
    let entries: UnsafeMutablePointer<SeriesTable.Entry>
    private var places: SeriesTable.Places
    private var version: UInt32

    init(_ table: SeriesTable) {
        self.table = table
        entries = table.entries
        version = table.version.load(ordering: .acquiring)
        places = table.places
    }

    /// Takes the hash table that is in force, where there is another.
    @inline(__always)
    mutating func refresh() -> Bool {
        let latest = table.version.load(ordering: .acquiring)
        guard latest != version else { return false }
        version = latest
        places = table.places
        return true
    }

    /// The number of the identity's entry, or 0.
    mutating func find(_ identity: SeriesIdentity) -> UInt32 {
        let known = places.find(identity, entries)
        return known == 0 && refresh() ? places.find(identity, entries) : known
    }

    /// Looks up the runs that follow a place, as many as `numbers` is to hold, all at once: each lookup waits for memory
    /// twice, and so they wait together.
    ///
    /// - Parameter numbers: become those of their entries, or 0 where `find` has to look more closely.
    func find(
        _ runs: Span<SeriesRun>, from first: Int, count: Int, into numbers: inout Lookahead.Places
    ) {
        let count = min(count, runs.count &- first, Lookahead.most)
        places.find(runs, first..<first &+ count, entries, into: &numbers)
        for index in count..<max(count, Lookahead.most) { numbers[index] = 0 }
    }

    /// Makes entries, or gives those that there are another route.
    mutating func remember(_ identities: [SeriesIdentity], _ routes: [Route], numbers: inout [UInt32]) {
        table.remember(identities, routes, numbers: &numbers)
        _ = refresh()
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
}
