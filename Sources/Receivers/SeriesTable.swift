import Glibc
import Synchronization
import Telemetry
import WireFormats

/// What all lanes know of the spellings of series: where their samples go.
///
/// Entries stand in the order in which they came, beside a hash table over them (`Places`). Lanes read without a lock;
/// what changes an entry's series or the hash table happens under one. An entry never moves, and is used again for
/// another series only when all lanes have been between two requests since it was given up.
///
/// Raw memory, because the loop over the samples of a request goes through it, and reserved for as many entries as there
/// may ever be, so that none has to move: what is not used is never touched. Invariants: the entries 0 ... `State.count` are
/// initialised; 0 is nobody's; each number in `Places` or in a `next` is one of them, and was published after it was
/// initialised (release there, acquire here).
final class SeriesTable: Sendable {
    /// 32 bytes: two in a cache line.
    struct Entry: ~Copyable {
        fileprivate let high = Atomic<UInt64>(0)
        fileprivate let low = Atomic<UInt64>(0)
        /// `Route.bits.target`.
        fileprivate let target = Atomic<UInt64>(0)
        /// `Route.bits.word`.
        fileprivate let word = Atomic<UInt32>(Route.unknown.bits.word)
        /// The entry that came after this one last time; 0 is none.
        fileprivate let next = Atomic<UInt32>(0)
    }

    /// Words of a hash table: each 0, or the upper half of an identity's lower half beside the number of its entry, or `gone`.
    final class Places: Sendable {
        // `nonisolated(unsafe)`: set once; what it points to are atomics, `mask + 1` of them, until `deinit`.
        nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>
        let mask: Int
        /// In place of a number that was removed: of no entry, and in the way of none.
        fileprivate static let gone: UInt64 = 0xFFFF_FFFF << 32

        fileprivate init(count: Int) {
            mask = count - 1
            guard let room: UnsafeMutablePointer<Atomic<UInt64>> = SeriesTable.reserve(count) else {
                SeriesTable.outOfMemory(count * MemoryLayout<Atomic<UInt64>>.stride)
            }
            words = room
            for place in 0..<count { (words + place).initialize(to: Atomic(0)) }
        }

        deinit { SeriesTable.release(words, mask + 1) }

        /// Puts a number to its place. Under the lock.
        ///
        /// - Returns: whether the place had never been used.
        fileprivate func put(_ number: UInt32, low: UInt64) -> Bool {
            var place = Int(truncatingIfNeeded: low) & mask
            var word = words[place].load(ordering: .relaxed)
            while word != 0, word != Self.gone {
                place = (place &+ 1) & mask
                word = words[place].load(ordering: .relaxed)
            }
            words[place].store((low & ~0xFFFF_FFFF) | UInt64(number), ordering: .releasing)
            return word == 0
        }

        /// Removes a number that is there. Under the lock.
        ///
        /// - Returns: how many places are as if they had never been used.
        fileprivate func remove(_ number: UInt32, low: UInt64) -> Int {
            var place = Int(truncatingIfNeeded: low) & mask
            while true {
                let word = words[place].load(ordering: .relaxed)
                if word == 0 { return 0 }
                if word != Self.gone, UInt32(truncatingIfNeeded: word) == number { break }
                place = (place &+ 1) & mask
            }
            guard words[(place &+ 1) & mask].load(ordering: .relaxed) == 0 else {
                words[place].store(Self.gone, ordering: .releasing)
                return 0
            }
            // Nobody looks beyond the last of a row.
            var freed = 0
            repeat {
                words[place].store(0, ordering: .releasing)
                freed += 1
                place = (place &- 1) & mask
            } while words[place].load(ordering: .relaxed) == Self.gone
            return freed
        }
    }

    private struct State {
        var places: Places
        /// Words of `places` that are not 0.
        var used = 0
        var live = 0
        var made = 0
        /// The highest number that was ever given out.
        var count = 0
        var free: [UInt32] = []
        /// Given up, but a lane may be looking at them: in the first set until those in the second are free.
        var givenUp: [UInt32] = []
        var leaving: [UInt32] = []
        /// Lanes that have not been between two requests since then.
        var awaited: Set<Int> = []
        var order = OrderProgress()
        /// How far the search for what is not used any more has come, and in which step of `Route.stamp` it began.
        var idlePlace: Int?
        var idleStamp: UInt16 = 0
        var pauses = SeriesPauses()
        /// A route that was not used for so many steps of `Route.stamp` is worth nothing.
        var pauseMax = 0
    }

    /// How far a retirement order has been worked off.
    private struct OrderProgress {
        var number: UInt64 = 0
        /// Lanes that remember nothing any more that the registry said before the order.
        var lanes: Set<Int> = []
        var place = 1
        var isDone = false
    }

    // `nonisolated(unsafe)`: set once; what it points to are atomics, until `deinit`.
    nonisolated(unsafe) let entries: UnsafeMutablePointer<Entry>
    private let state: Locked<State>
    /// Changes with `State.places`.
    let version = Atomic<UInt32>(0)
    let countMax: Int
    private let laneCount: Int
    /// Takes long for millions; who may come again need not wait for it.
    private let isRehashing = Atomic<Bool>(false)
    private let liveCount = Atomic<Int>(0)
    private let tags = Atomic<UInt32>(0)

    /// - Parameters:
    ///   - limit: entries that there may be.
    ///   - laneCount: how many lanes call `tend`.
    init(limit: Int, laneCount: Int) {
        var count = min(max(16, limit), Int(UInt32.max) - 1)
        var room: UnsafeMutablePointer<Entry>? = Self.reserve(count + 1)
        // Where the system counts what is not touched, too.
        while room == nil, count > 65_536 {
            count /= 2
            room = Self.reserve(count + 1)
        }
        guard let room else { Self.outOfMemory((count + 1) * MemoryLayout<Entry>.stride) }
        countMax = count
        self.laneCount = laneCount
        entries = room
        entries.initialize(to: Entry())
        state = Locked(State(places: Places(count: 128)))
    }

    deinit { Self.release(entries, countMax + 1) }

    /// A number for a lane, by which its passing rejections are told from those of others; never 0.
    func tag() -> UInt32 { (tags.wrappingAdd(1, ordering: .relaxed).newValue & 0xFFFF) + 1 }

    var places: Places { state.withLock { $0.places } }
    /// Entries that were ever made, for tests.
    var made: Int { state.withLock { $0.made } }
    /// Series that have an entry.
    var count: Int { liveCount.load(ordering: .relaxed) }

    // MARK: What lanes learn

    /// Makes entries, or gives those that there are another route.
    ///
    /// - Parameter numbers: is emptied, and gets the numbers of the entries; 0 where there is no room for one.
    func remember(_ identities: [SeriesIdentity], _ routes: [Route], numbers: inout [UInt32]) {
        numbers.removeAll(keepingCapacity: true)
        // In parts: the other lanes come in between.
        for first in stride(from: 0, to: identities.count, by: Self.heldMax) {
            state.withLock { state in
                for index in first..<min(first + Self.heldMax, identities.count) {
                    let known = state.places.find(identities[index], entries)
                    if known != 0 {
                        entries[Int(known)].change(routes[index])
                        numbers.append(known)
                    } else {
                        numbers.append(insert(identities[index], routes[index], &state))
                    }
                }
            }
        }
    }

    /// Entries that are changed with the lock held.
    private static let heldMax = 4_096
    /// How often the lock is taken to drop what a lane looks at in one go.
    private static let partsMax = 4

    private func insert(_ identity: SeriesIdentity, _ route: Route, _ state: inout State) -> UInt32 {
        guard identity != SeriesIdentity(high: 0, low: 0) else { return 0 }
        state.pauses.came(identity, now: route.stamp, atMost: state.pauseMax)
        let number: UInt32
        if let free = state.free.popLast() {
            number = free
        } else {
            guard state.count < countMax else { return 0 }
            state.count += 1
            number = UInt32(state.count)
            (entries + state.count).initialize(to: Entry())
        }
        // At most 5/8 full: probes stay short. Before the entry is anybody's, so that it is not put there twice.
        if (state.used + 1) * 8 > (state.places.mask + 1) * 5 { rehash(&state) }
        entries[Int(number)].become(identity, route)
        if state.places.put(number, low: identity.low) { state.used += 1 }
        state.live += 1
        state.made += 1
        liveCount.store(state.live, ordering: .relaxed)
        return number
    }

    /// Into a new table, at most half full, without what was removed. Lanes look into the old one until they see that
    /// there is another, and miss in it what is new.
    private func rehash(_ state: inout State) {
        isRehashing.store(true, ordering: .relaxed)
        defer { isRehashing.store(false, ordering: .relaxed) }
        var size = state.places.mask + 1
        while (state.live + 1) * 2 > size { size *= 2 }
        let places = Places(count: size)
        for number in stride(from: 1, through: state.count, by: 1) where !entries[number].isNobodys {
            _ = places.put(UInt32(number), low: entries[number].low.load(ordering: .relaxed))
        }
        state.places = places
        state.used = state.live
        version.add(1, ordering: .releasing)
    }

    // MARK: What is forgotten

    /// The steps after which a route that is not used is dropped: few where there is hardly room for new ones, or where
    /// there are far more entries than series. `nil` while the table grows, which takes long.
    ///
    /// - Parameters:
    ///   - pauses: after which the lane saw series come again since it asked last, in the steps of `Route.stamp`; are
    ///     set to none.
    ///   - stamp: now, in the same steps.
    ///   - series: how many there are, whatever spellings they have.
    ///   - most: a route that was not used for longer is worth nothing.
    func idleMax(
        noting pauses: inout SeriesPauses.Counts, stamp: UInt16, series: Int, atMost most: Int
    ) -> Int? {
        guard !isRehashing.load(ordering: .relaxed) else { return nil }
        let idleMax = state.withLock { state in
            state.pauseMax = most
            state.pauses.note(pauses)
            return state.pauses.idleMax(atMost: most, now: stamp)
        }
        pauses = SeriesPauses.Counts(repeating: 0)
        if count > countMax / 4 * 3 { return min(idleMax, Route.askingSteps) }
        return count > series + series / 4 ? idleMax : most
    }

    /// Forgets what an order asks for and what has not been used for long: some entries at a time. To be called by each
    /// lane some times a second, between two requests.
    ///
    /// An order is begun when each lane was here since it is there: then none remembers any more what the registry had
    /// said before.
    ///
    /// - Parameters:
    ///   - stamp: now, as in `Route.stamp`.
    ///   - idleMax: a route that was not used for longer is worth nothing, in the same steps.
    ///   - count: how many entries are looked at.
    /// - Returns: whether nothing leads to a slot of the order any more.
    func tend(lane: Int, _ order: Retirement.Order?, stamp: UInt16, idleMax: Int, count: Int) -> Bool {
        if isRehashing.load(ordering: .relaxed) { return false }
        state.withLock { recycle(lane, &$0) }
        // In parts: the other lanes come in between.
        var part = 1
        while state.withLock({ dropIdle(stamp, idleMax, count, &$0) }), part < Self.partsMax { part += 1 }
        return state.withLock { state in
            guard let order else { return false }
            if state.order.number != order.number { state.order = OrderProgress(number: order.number) }
            state.order.lanes.insert(lane)
            guard state.order.lanes.count == laneCount else { return false }
            if state.order.isDone { return true }
            state.order.place = giveUp(from: state.order.place, count, &state) { _, route, _ in
                !route.isRejected && order.holds(shard: route.shard, slot: route.slot)
            }
            // What came meanwhile got no slot of the order: the registry had forgotten them.
            state.order.isDone = state.order.place > state.count
            return state.order.isDone
        }
    }

    /// - Returns: whether there may be more among the entries that it should have looked at.
    private func dropIdle(_ stamp: UInt16, _ idleMax: Int, _ count: Int, _ state: inout State) -> Bool {
        if state.idlePlace == nil, state.idleStamp != stamp {
            (state.idlePlace, state.idleStamp) = (1, stamp)
        }
        guard let place = state.idlePlace else { return false }
        let next = giveUp(from: place, count, &state) { identity, route, state in
            let idle = route.idle(stamp)
            guard idle > idleMax || idle < Route.idleMin else { return false }
            state.pauses.gaveUp(identity, lastUsed: route.stamp)
            return true
        }
        state.idlePlace = next > state.count ? nil : next
        return state.idlePlace != nil && next < place + count
    }

    /// Gives up those of some entries whose routes are such, `heldMax` at most. Returns the place of the next one.
    private func giveUp(
        from first: Int, _ count: Int, _ state: inout State,
        where isOver: (SeriesIdentity, Route, inout State) -> Bool
    ) -> Int {
        let before = state.givenUp.count
        var place = first
        while place < first + count, place <= state.count, state.givenUp.count - before < Self.heldMax {
            let entry = entries + place
            if !entry.pointee.isNobodys, isOver(entry.pointee.identity, entry.pointee.route, &state) {
                giveUp(place, &state)
            }
            place += 1
        }
        return place
    }

    /// The entry has to be somebody's. From now on nobody finds it; who has found it already sees a route that is to be asked for.
    private func giveUp(_ number: Int, _ state: inout State) {
        state.used -= state.places.remove(UInt32(number), low: entries[number].low.load(ordering: .relaxed))
        entries[number].becomeNobodys()
        state.live -= 1
        liveCount.store(state.live, ordering: .relaxed)
        state.givenUp.append(UInt32(number))
    }

    private func recycle(_ lane: Int, _ state: inout State) {
        state.awaited.remove(lane)
        guard state.awaited.isEmpty, !(state.leaving.isEmpty && state.givenUp.isEmpty) else { return }
        state.free += state.leaving
        state.leaving = state.givenUp
        state.givenUp = []
        if !state.leaving.isEmpty { state.awaited = Set(0..<laneCount) }
    }

    // MARK: Memory

    /// From there on memory comes in huge pages where the system gives any.
    private static let hugeBytes = 4 << 20

    /// Room that costs nothing until it is touched.
    fileprivate static func reserve<T: ~Copyable>(_ count: Int) -> UnsafeMutablePointer<T>? {
        let bytes = count * MemoryLayout<T>.stride
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED else {
            return nil
        }
        // Only advice: where it is not taken, all is as before.
        if bytes > hugeBytes { _ = madvise(memory + hugeBytes, bytes - hugeBytes, MADV_HUGEPAGE) }
        return memory.bindMemory(to: T.self, capacity: count)
    }

    fileprivate static func outOfMemory(_ bytes: Int) -> Never {
        preconditionFailure("no memory for a table of \(bytes) bytes; limits.series bounds it")
    }

    fileprivate static func release<T: ~Copyable>(_ memory: UnsafeMutablePointer<T>, _ count: Int) {
        munmap(memory, count * MemoryLayout<T>.stride)
    }
}

extension SeriesTable.Places {
    /// The number of the identity's entry, or 0.
    @inline(__always)
    func find(_ identity: SeriesIdentity, _ entries: UnsafeMutablePointer<SeriesTable.Entry>) -> UInt32 {
        let tag = identity.low >> 32
        var place = Int(truncatingIfNeeded: identity.low) & mask
        while true {
            let word = words[place].load(ordering: .acquiring)
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
    func find(
        _ runs: Span<SeriesRun>, _ range: Range<Int>, _ entries: UnsafeMutablePointer<SeriesTable.Entry>,
        into numbers: inout Lookahead.Places
    ) {
        let first = range.lowerBound
        var found = InlineArray<32, UInt64>(repeating: 0)
        for index in range {
            let place = Int(truncatingIfNeeded: runs[index].identity.low) & mask
            found[index &- first] = words[place].load(ordering: .acquiring)
        }
        for index in range {
            let low = runs[index].identity.low
            var word = found[index &- first]
            var place = Int(truncatingIfNeeded: low) & mask
            while word != 0, word >> 32 != low >> 32 {
                place = (place &+ 1) & mask
                word = words[place].load(ordering: .acquiring)
            }
            numbers[index &- first] = UInt32(truncatingIfNeeded: word)
        }
        for index in range {
            // Entry 0 is nobody's, and answers for those that are not there.
            let number = numbers[index &- first]
            numbers[index &- first] = entries[Int(number)].isOf(runs[index].identity) ? number : 0
        }
    }
}

extension SeriesTable.Entry {
    /// Whose series it is: the lower half says so last, and is asked first.
    @inline(__always)
    func isOf(_ identity: SeriesIdentity) -> Bool {
        low.load(ordering: .acquiring) == identity.low && high.load(ordering: .relaxed) == identity.high
    }

    /// The number of the entry that came after this one last time; 0 is none.
    @inline(__always)
    var following: UInt32 { next.load(ordering: .acquiring) }

    /// - Parameter number: of the entry that came after this one.
    @inline(__always)
    func isFollowed(by number: UInt32) { next.store(number, ordering: .releasing) }

    fileprivate var identity: SeriesIdentity {
        SeriesIdentity(high: high.load(ordering: .relaxed), low: low.load(ordering: .relaxed))
    }

    fileprivate var isNobodys: Bool {
        low.load(ordering: .relaxed) == 0 && high.load(ordering: .relaxed) == 0
    }

    /// Its route, or one to be asked for while it is being changed.
    @inline(__always)
    var route: Route {
        let before = word.load(ordering: .acquiring)
        let target = target.load(ordering: .acquiring)
        let after = word.load(ordering: .relaxed)
        // Beside the place there is the stamp, which another lane may have set meanwhile.
        return UInt16(truncatingIfNeeded: before) == UInt16(truncatingIfNeeded: after)
            ? Route(target: target, word: before) : .unknown
    }

    /// Notes that the route was used. If it is changed just then, the new one has a stamp of its own.
    @inline(never)
    func stamp(_ route: Route, _ stamp: UInt16) {
        var used = route
        used.stamp = stamp
        _ = word.compareExchange(expected: route.bits.word, desired: used.bits.word, ordering: .relaxed)
    }

    /// Another route for the same series. Under the lock.
    fileprivate func change(_ route: Route) {
        // Nobody takes the new target for that of the old place, or the other way round.
        word.store(Route.unknown.bits.word, ordering: .relaxed)
        target.store(route.bits.target, ordering: .releasing)
        word.store(route.bits.word, ordering: .releasing)
    }

    /// Under the lock; the entry has to be nobody's, and no lane may be looking at it.
    fileprivate func become(_ identity: SeriesIdentity, _ route: Route) {
        next.store(0, ordering: .relaxed)
        change(route)
        high.store(identity.high, ordering: .relaxed)
        low.store(identity.low, ordering: .releasing)
    }

    /// Under the lock.
    fileprivate func becomeNobodys() {
        word.store(Route.unknown.bits.word, ordering: .relaxed)
        target.store(0, ordering: .relaxed)
        low.store(0, ordering: .releasing)
        high.store(0, ordering: .relaxed)
    }
}
