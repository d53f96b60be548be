import Sketches
import TestSupport
import Testing

@Suite struct SketchCodingTests {
    @Test("what was encoded is read back", arguments: Distribution.allCases)
    func roundTrip(_ distribution: Distribution) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for count in [0, 1, 64, 640] {
            let sketch = QuantileSketch((0..<count).map { _ in distribution.sample(&random) })
            let bytes = sketch.encoded()
            #expect(try QuantileSketch(encoded: bytes) == sketch, "seed=\(seed)")
            #expect(bytes.isEmpty == (count == 0))
        }
    }

    @Test("a constant takes few bytes")
    func constantsAreSmall() {
        var sketch = QuantileSketch()
        sketch.add(1_980, count: 64)
        #expect(sketch.encoded().count <= 5)
    }

    @Test("the encoding is pinned")
    func pinnedBytes() throws {
        var sketch = QuantileSketch()
        sketch.add(0, count: 3)
        sketch.add(1, count: 200)
        // 2 buckets; key 0 = zigzag 0, count 3; key 65,535: difference less one 65,534, count 200.
        #expect(sketch.encoded() == [2, 0, 3, 0xfe, 0xff, 0x03, 0xc8, 0x01])
    }

    @Test(
        "what is not a sketch is refused with its reason",
        arguments: [
            ([1], .truncated),
            ([1, 0], .truncated),
            ([1, 0x80], .truncated),
            ([1, 0, 0], .emptyBucket),
            ([0], .tooManyBuckets(0)),
            ([9, 0, 1], .tooManyBuckets(9)),
            ([1, 0, 1, 7, 7], .trailingBytes(2)),
            ([1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1], .badKey),
            ([1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1], .oversizedNumber),
            ([2, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1], .badKey),
        ] as [([UInt8], SketchDecodingError)]
    )
    func refusals(_ bytes: [UInt8], _ reason: SketchDecodingError) {
        #expect(throws: reason) { try QuantileSketch(encoded: bytes) }
        // Not a closure that throws: the compiler (6.3.1) crashes on its conversion.
        var arena = SketchArena(count: 1)
        var refused: SketchDecodingError?
        do {
            try arena.merge(encoded: bytes[...], into: 0)
        } catch {
            refused = error
        }
        #expect(refused == reason)
    }

    @Test("corrupted bytes never trap, and what is accepted is the encoding of something")
    func corruption() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        for _ in 0..<4_000 {
            let distribution = Distribution.allCases.randomElement(using: &random) ?? .uniform
            var bytes = QuantileSketch((0..<20).map { _ in distribution.sample(&random) }).encoded()
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
                default: if bytes.count > 1 { bytes.remove(at: place) }
                }
            }
            guard let sketch = try? QuantileSketch(encoded: bytes) else { continue }
            #expect((try? QuantileSketch(encoded: sketch.encoded())) == sketch, "seed=\(seed)")
            #expect(sketch.quantile(0.5) != nil || sketch.isEmpty, "seed=\(seed)")
        }
    }
}
