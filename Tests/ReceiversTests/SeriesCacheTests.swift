import Telemetry
import TestSupport
import Testing
import WireFormats

@testable import Receivers

@Suite struct SeriesCacheTests {
    private func entry(_ identity: SeriesIdentity, _ slot: Int) -> SeriesTable.Entry {
        var entry = SeriesTable.Entry()
        entry.high = identity.high
        entry.low = identity.low
        entry.route = Route(slot: UInt32(slot), job: 0, shard: 0)
        return entry
    }

    private func route(_ cache: inout SeriesCache, _ identity: SeriesIdentity) -> Route? {
        let found = cache.find(identity)
        return found == 0 ? nil : cache.young.entries[Int(found)].route
    }

    @Test("it agrees with a dictionary while there is room", arguments: [UInt64(51), 52])
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var cache = SeriesCache(limit: 100_000)
        var model: [SeriesIdentity: Route] = [:]
        for step in 0..<6_000 {
            // Few different low bits: collisions.
            let identity = SeriesIdentity(high: random.next() % 30, low: random.next() % 100 + 1)
            let found = route(&cache, identity)
            #expect(found == model[identity], "seed \(seed)")
            if found == nil {
                cache.insert(entry(identity, step))
                model[identity] = Route(slot: UInt32(step), job: 0, shard: 0)
            }
        }
        #expect(cache.count == model.count && cache.generation == 0)
    }

    @Test("it never holds more than its limit, and what is in use stays")
    func bounded() {
        var cache = SeriesCache(limit: 1_000)
        let kept = SeriesIdentity(high: 1, low: 1)
        cache.insert(entry(kept, 9))
        for index in 0..<10_000 as Range<UInt64> {
            let identity = SeriesIdentity(high: 2, low: index)
            if cache.find(identity) == 0 { cache.insert(entry(identity, Int(index))) }
            #expect(cache.count <= 1_000)
            if index % 100 == 0 { #expect(route(&cache, kept)?.slot == 9) }
        }
        #expect(route(&cache, SeriesIdentity(high: 2, low: 0)) == nil)
        #expect(cache.generation > 0)
    }

    @Test("hundreds of thousands of entries survive the growth of the table")
    func growth() {
        var cache = SeriesCache(limit: 1 << 20)
        var random = SeededRandom(seed: 3)
        let all = (0..<300_000).map { _ in SeriesIdentity(high: random.next(), low: random.next()) }
        for (slot, identity) in all.enumerated() { cache.insert(entry(identity, slot)) }
        var wrong = 0
        for (slot, identity) in all.enumerated() where route(&cache, identity)?.slot != UInt32(slot) {
            wrong += 1
        }
        #expect(wrong == 0)
        #expect(MemoryLayout<SeriesTable.Entry>.stride == 32)
    }

    @Test("many looked up at once are those looked up one by one", arguments: [4_000, 8_000])
    func lookahead(limit: Int) {
        var random = SeededRandom(seed: 71)
        var cache = SeriesCache(limit: limit)
        // Few different low bits, and some tags that are the same: collisions.
        let pool = (0..<3_000).map { _ in
            SeriesIdentity(high: random.next(), low: (random.next() % 50_000) << 32 | random.next() % 5)
        }
        for (slot, identity) in pool.enumerated() where cache.find(identity) == 0 {
            cache.insert(entry(identity, slot))
        }
        var (found, missed) = (0, 0)
        for _ in 0..<200 {
            let runs = (0..<Int.random(in: 1...90, using: &random)).map { index in
                var identity = pool[Int.random(in: 0..<pool.count, using: &random)]
                if Bool.random(using: &random) { identity.high = random.next() }
                return SeriesRun(identity: identity, labels: 0..<1, samples: index..<index + 1)
            }
            var ahead = Lookahead()
            var index = 0
            while index < runs.count {
                let generation = cache.generation
                let place = ahead.place(of: index, runs.span, cache)
                let one = cache.find(runs[index].identity)
                if generation != cache.generation { ahead.forget() }
                // 0: that one has to be looked for alone.
                if place != 0 { #expect(place == one && generation == cache.generation) }
                if place != 0 { found += 1 } else if one != 0 { missed += 1 }
                // Some are served by the learned order, and not asked for.
                index += Int.random(in: 1...3, using: &random)
            }
        }
        // In the larger one nothing was ever moved: only those with the tag of another are missed.
        #expect((cache.generation == 0) == (limit == 8_000))
        #expect(found > 1_000)
        if limit == 8_000 { #expect(missed < found / 10) }
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
