import Synchronization
import Telemetry
import TestSupport
import Testing
import WireFormats

@testable import Receivers

extension SeriesTable {
    /// Makes one entry, or changes its route.
    @discardableResult
    fileprivate func remember(_ identity: SeriesIdentity, _ route: Route) -> UInt32 {
        var numbers: [UInt32] = []
        remember([identity], [route], numbers: &numbers)
        return numbers[0]
    }
}

@Suite struct SeriesTableTests {
    private func route(_ slot: Int, stamp: UInt16 = 0) -> Route {
        var route = Route(slot: UInt32(slot), job: 0, shard: 0)
        route.stamp = stamp
        return route
    }

    private func route(_ cache: inout SeriesCache, _ identity: SeriesIdentity) -> Route? {
        let found = cache.find(identity)
        return found == 0 ? nil : cache.entries[Int(found)].route
    }

    @Test(
        "it agrees with a dictionary, also when series go and their entries are used again", arguments: 0..<6)
    func model(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed + 51))
        let table = SeriesTable(limit: 400, laneCount: 1)
        var cache = SeriesCache(table)
        var model: [SeriesIdentity: Route] = [:]
        var stamp: UInt16 = 65_000
        for step in 0..<40_000 {
            // Few different low bits: collisions, and rows in which many are removed.
            let identity = SeriesIdentity(high: random.next() % 30, low: random.next() % 100 + 1)
            let found = route(&cache, identity)
            #expect(found == model[identity], "seed \(seed), step \(step)")
            if found == nil || random.next() % 8 == 0 {
                let new = route(step, stamp: stamp)
                if table.remember(identity, new) != 0 { model[identity] = new }
            }
            if step % 50 == 0 {
                // Entries that are given up are nobody's until the lane was here twice.
                _ = table.tend(
                    lane: 0, nil, stamp: stamp, idleMax: 3, count: .random(in: 1...90, using: &random))
                for (identity, route) in model where cache.find(identity) == 0 {
                    #expect(route.idle(stamp) > 3, "seed \(seed), step \(step): what is in use stays")
                    model[identity] = nil
                }
            }
            if step % 300 == 0 { stamp &+= 1 }
            #expect(table.count == model.count)
        }
        #expect(model.count > 100)
        #expect(cache.find(SeriesIdentity(high: 0, low: 0)) == 0)
    }

    @Test("it never holds more than its limit, and what is there stays")
    func bounded() {
        let table = SeriesTable(limit: 1_000, laneCount: 1)
        var cache = SeriesCache(table)
        for index in 0..<10_000 {
            let number = table.remember(SeriesIdentity(high: 2, low: UInt64(index)), route(index))
            #expect((number != 0) == (index < 1_000))
        }
        #expect(table.count == 1_000)
        for index in 0..<1_000 {
            #expect(route(&cache, SeriesIdentity(high: 2, low: UInt64(index)))?.slot == UInt32(index))
        }
        #expect(route(&cache, SeriesIdentity(high: 2, low: 1_000)) == nil)
    }

    @Test("series that come and go for long do not let the table grow")
    func churn() {
        let table = SeriesTable(limit: 100_000, laneCount: 1)
        var random = SeededRandom(seed: 7)
        for stamp in 0..<200 as Range<UInt16> {
            for slot in 0..<1_000 {
                table.remember(
                    SeriesIdentity(high: random.next(), low: random.next()), route(slot, stamp: stamp))
            }
            for _ in 0..<3 { _ = table.tend(lane: 0, nil, stamp: stamp, idleMax: 1, count: 100_000) }
        }
        #expect(table.count <= 3_000 && table.places.mask + 1 <= 8_192)
    }

    @Test("hundreds of thousands of entries survive the growth of the table")
    func growth() {
        let table = SeriesTable(limit: 1 << 20, laneCount: 1)
        var cache = SeriesCache(table)
        var random = SeededRandom(seed: 3)
        let all = (0..<300_000).map { _ in SeriesIdentity(high: random.next(), low: random.next()) }
        for (slot, identity) in all.enumerated() { table.remember(identity, route(slot)) }
        var wrong = 0
        for (slot, identity) in all.enumerated() where route(&cache, identity)?.slot != UInt32(slot) {
            wrong += 1
        }
        #expect(wrong == 0)
        #expect(MemoryLayout<SeriesTable.Entry>.stride == 32)
    }

    @Test("many looked up at once are those looked up one by one")
    func lookahead() {
        var random = SeededRandom(seed: 71)
        let table = SeriesTable(limit: 8_000, laneCount: 1)
        var cache = SeriesCache(table)
        // Few different low bits, and some tags that are the same: collisions.
        let pool = (0..<3_000).map { _ in
            SeriesIdentity(high: random.next(), low: (random.next() % 50_000) << 32 | random.next() % 5)
        }
        for (slot, identity) in pool.enumerated() { table.remember(identity, route(slot)) }
        // Some go, and leave holes.
        for (slot, identity) in pool.enumerated() where slot % 3 > 0 {
            table.remember(identity, route(slot, stamp: 9))
        }
        _ = table.tend(lane: 0, nil, stamp: 9, idleMax: 5, count: 10_000)
        var (found, missed, gone) = (0, 0, 0)
        for _ in 0..<200 {
            let runs = (0..<Int.random(in: 1...90, using: &random)).map { index in
                var identity = pool[Int.random(in: 0..<pool.count, using: &random)]
                if Bool.random(using: &random) { identity.high = random.next() }
                return SeriesRun(identity: identity, labels: 0..<1, samples: index..<index + 1)
            }
            var ahead = Lookahead()
            var index = 0
            while index < runs.count {
                let place = ahead.place(of: index, runs.span, cache)
                let one = cache.find(runs[index].identity)
                // 0: that one has to be looked for alone.
                if place != 0 { #expect(place == one) }
                if place != 0 { found += 1 } else if one != 0 { missed += 1 } else { gone += 1 }
                // Some are served by the learned order, and not asked for.
                index += Int.random(in: 1...3, using: &random)
            }
        }
        #expect(found > 1_000 && gone > found && missed < found / 10)
    }

    @Test(
        "an entry that is given up is used again only when all lanes were between two requests"
    )
    func recycled() {
        let table = SeriesTable(limit: 100, laneCount: 2)
        let gone = SeriesIdentity(high: 1, low: 1)
        let number = table.remember(gone, route(1, stamp: 1))
        table.remember(SeriesIdentity(high: 2, low: 2), route(2, stamp: 20))
        #expect(number == 1 && table.entries[1].isOf(gone) && table.entries[1].route.slot == 1)
        func visit(_ lane: Int) { _ = table.tend(lane: lane, nil, stamp: 20, idleMax: 9, count: 10) }
        visit(0)
        // A lane comes to it by the learned order, without asking the hash table.
        #expect(!table.entries[1].isOf(gone) && table.entries[1].route.isPassing && table.count == 1)
        var low: UInt64 = 10
        func next() -> UInt32 {
            low += 1
            return table.remember(SeriesIdentity(high: 3, low: low), route(3, stamp: 20))
        }
        #expect(next() == 3)
        for _ in 0..<9 { visit(0) }
        #expect(next() == 4, "the other lane may be looking at it")
        visit(1)
        visit(0)
        visit(1)
        visit(0)
        #expect(next() == 1)
        #expect(table.entries[1].isOf(SeriesIdentity(high: 3, low: low)) && next() == 5)
    }

    @Test("who reads a route while it is changed gets the one or the other, or has to ask")
    func changed() async {
        let table = SeriesTable(limit: 10, laneCount: 1)
        let identity = SeriesIdentity(high: 1, low: 1)
        // Of the shard one knows what the slot is modulo 2.
        func route(_ step: Int) -> Route { Route(slot: UInt32(step), job: UInt32(step), shard: step % 2) }
        let number = Int(table.remember(identity, route(0)))
        let isOver = Atomic<Bool>(false)
        async let changes: Int = {
            var step = 0
            while !isOver.load(ordering: .relaxed) {
                step += 1
                table.remember(identity, route(step))
            }
            return step
        }()
        var (torn, last, seen) = (0, UInt32(0), 0)
        while seen < 20_000 {
            let route = table.entries[number].route
            if !route.isRejected, Int(route.slot) % 2 != route.shard || route.job != route.slot { torn += 1 }
            // One that is to be asked for has no slot: it would count as another route, twice a change.
            if !route.isRejected, route.slot != last { (last, seen) = (route.slot, seen + 1) }
        }
        isOver.store(true, ordering: .relaxed)
        #expect(torn == 0)
        #expect(await changes >= seen)
    }

    @Test("lanes that read while series go and others take their slots never meet one in another's slot")
    func concurrent() async {
        let registry = SlotRegistry(laneCount: 3, slotCount: 300)
        await withTaskGroup(of: Void.self) { group in
            for lane in 0..<registry.laneCount { group.addTask { await registry.play(lane) } }
        }
        #expect(registry.wrong.load(ordering: .relaxed) == 0)
        #expect(registry.checked.load(ordering: .relaxed) > 100_000)
        #expect(registry.orders.load(ordering: .relaxed) > 10, "series went, and others took their slots")
    }
}

/// Gives slots out to series, takes them back by orders, and knows at each moment whose each is.
private final class SlotRegistry: Sendable {
    private struct State {
        var slotOf: [Int: Int] = [:]
        var free: [Int]
        var order: Retirement.Order?
        var ordered: [Int] = []
        var lanesDone: Set<Int> = []
    }

    let laneCount: Int
    private let slotCount: Int
    private let table: SeriesTable
    private let state: Mutex<State>
    /// By slot, for those who read without a lock: whose it is.
    nonisolated(unsafe) private let owners: UnsafeMutablePointer<Atomic<Int>>
    let checked = Atomic<Int>(0)
    let wrong = Atomic<Int>(0)
    let orders = Atomic<Int>(0)
    private let playing: Atomic<Int>

    init(laneCount: Int, slotCount: Int) {
        self.laneCount = laneCount
        self.slotCount = slotCount
        // Fewer entries than there are series.
        table = SeriesTable(limit: 600, laneCount: laneCount)
        state = Mutex(State(free: Array((0..<slotCount).reversed())))
        owners = .allocate(capacity: slotCount)
        for slot in 0..<slotCount { (owners + slot).initialize(to: Atomic(-1)) }
        playing = Atomic(laneCount)
    }

    deinit { owners.deallocate() }

    private func slot(of series: Int) -> Int? {
        state.withLock { state in
            if let known = state.slotOf[series] { return known }
            guard let slot = state.free.popLast() else { return nil }
            state.slotOf[series] = slot
            owners[slot].store(series, ordering: .sequentiallyConsistent)
            return slot
        }
    }

    /// The order that is under way; now and then a new one, for a third of all series.
    private func order(_ random: inout SeededRandom, mayBegin: Bool) -> Retirement.Order? {
        state.withLock { state in
            guard state.order == nil, mayBegin else { return state.order }
            let silent = state.slotOf.filter { $0.key % 3 == Int(random.next() % 3) }
            guard !silent.isEmpty else { return nil }
            var bits = [UInt64](repeating: 0, count: slotCount / 64 + 1)
            for (series, slot) in silent {
                state.slotOf[series] = nil
                bits[slot >> 6] |= 1 << UInt64(slot & 63)
            }
            state.ordered = Array(silent.values)
            state.lanesDone = []
            let number = orders.add(1, ordering: .relaxed).newValue
            state.order = Retirement.Order(number: UInt64(number), bits: [bits])
            return state.order
        }
    }

    private func finished(_ lane: Int, _ order: Retirement.Order) {
        state.withLock { state in
            guard state.order?.number == order.number else { return }
            state.lanesDone.insert(lane)
            guard state.lanesDone.count == laneCount else { return }
            state.order = nil
            for slot in state.ordered { owners[slot].store(-1, ordering: .sequentiallyConsistent) }
            state.free += state.ordered
        }
    }

    /// What a lane does: requests, and visits between them.
    func play(_ lane: Int) async {
        var random = SeededRandom(seed: UInt64(lane + 5))
        var cache = SeriesCache(table)
        var last: UInt32 = 0
        for request in 0..<4_000 {
            _ = cache.refresh()
            for step in 0..<40 {
                // It moves on through the series, and does not always keep to the order.
                let series = (request / 8 + step * 7 + Int(random.next() % 3)) % 900
                last = use(series, after: last, &cache)
            }
            visit(lane, &random, mayBegin: request % 16 == 0)
            await Task.yield()
        }
        // The others may wait for its visits.
        playing.subtract(1, ordering: .relaxed)
        while playing.load(ordering: .relaxed) > 0 {
            visit(lane, &random, mayBegin: false)
            await Task.yield()
        }
    }

    private func visit(_ lane: Int, _ random: inout SeededRandom, mayBegin: Bool) {
        let order = order(&random, mayBegin: mayBegin)
        if table.tend(lane: lane, order, stamp: 0, idleMax: 9, count: 50), let order { finished(lane, order) }
    }

    private func use(_ series: Int, after last: UInt32, _ cache: inout SeriesCache) -> UInt32 {
        let identity = SeriesIdentity(high: UInt64(series), low: UInt64(series % 16 + 1))
        var number = cache.entries[Int(last)].following
        if number == 0 || !cache.entries[Int(number)].isOf(identity) { number = cache.find(identity) }
        var route = number == 0 ? Route.unknown : cache.entries[Int(number)].route
        if route.isRejected {
            guard let slot = slot(of: series) else { return 0 }
            route = Route(slot: UInt32(slot), job: UInt32(series), shard: 0)
            var numbers: [UInt32] = []
            cache.remember([identity], [route], numbers: &numbers)
            number = numbers[0]
        }
        let owner = owners[Int(route.slot)].load(ordering: .sequentiallyConsistent)
        if owner != series || route.job != UInt32(series) { wrong.add(1, ordering: .relaxed) }
        checked.add(1, ordering: .relaxed)
        if number != 0, last != 0 { cache.entries[Int(last)].isFollowed(by: number) }
        return number
    }
}

@Suite struct IdentityMapTests {
    @Test("it agrees with a dictionary", arguments: [UInt64(1), 2])
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var map = IdentityMap()
        var model: [SeriesIdentity: UInt32] = [:]
        for step in 0..<4_000 {
            let identity = SeriesIdentity(high: random.next() % 20, low: random.next() % 70)
            #expect(map[identity] == model[identity], "seed \(seed)")
            map.set(identity, UInt32(step))
            model[identity] = UInt32(step)
        }
        #expect(map.count == model.count)
    }
}
