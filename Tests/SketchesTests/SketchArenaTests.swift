import Sketches
import TestSupport
import Testing

@Suite struct SketchArenaTests {
    @Test("an arena holds the same sketches as values do", arguments: Distribution.allCases)
    func sameAsValues(_ distribution: Distribution) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        var arena = SketchArena(count: 5)
        var values = Array(repeating: QuantileSketch(), count: 5)
        for _ in 0..<2_000 {
            let sketch = Int.random(in: 0..<5, using: &random)
            let value = distribution.sample(&random)
            let count = UInt32.random(in: 1...3, using: &random)
            arena.add(SketchKey(value), to: sketch, count: count)
            values[sketch].add(value, count: UInt64(count))
        }
        for sketch in 0..<5 {
            var bytes: [UInt8] = []
            arena.encode(sketch, into: &bytes)
            #expect(bytes == values[sketch].encoded(), "\(distribution) seed=\(seed)")
            #expect(arena.sketch(sketch) == values[sketch], "\(distribution) seed=\(seed)")
        }
    }

    @Test("merging encoded sketches and sketches of another arena gives what merging values gives")
    func merging() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        var expected = QuantileSketch()
        var fromBytes = SketchArena(count: 1)
        var fromArena = SketchArena(count: 1)
        for distribution in Distribution.allCases {
            let sketch = QuantileSketch((0..<100).map { _ in distribution.sample(&random) })
            expected.merge(sketch)
            try fromBytes.merge(encoded: sketch.encoded()[...], into: 0)
            var other = SketchArena(count: 2)
            try other.merge(encoded: sketch.encoded()[...], into: 1)
            fromArena.merge(1, of: other, into: 0)
        }
        #expect(fromBytes.sketch(0) == expected, "seed=\(seed)")
        #expect(fromArena.sketch(0) == expected, "seed=\(seed)")
    }

    @Test("an arena that was emptied is as good as new")
    func reuse() {
        var arena = SketchArena(count: 2)
        arena.add(SketchKey(5), to: 1)
        arena.add(SketchKey(-5), to: 1)
        arena.removeAll()
        arena.resize(to: 2)
        #expect(arena.sketch(1).isEmpty)
        arena.add(SketchKey(7), to: 0)
        #expect(arena.sketch(0) == QuantileSketch([7]))
    }
}
