import Sketches
import TestSupport
import Testing

@Suite struct ExponentialBucketsTests {
    @Test(
        "every value lies in the bucket that says so, and nothing is lost",
        arguments: [
            Distribution.uniform, .zerosAndOnes, .bimodal, .negatives, .constant, .powersOfTwo,
        ])
    func lossless(_ distribution: Distribution) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let values = (0..<2_000).map { _ in distribution.sample(&random) }
        let buckets = try #require(ExponentialBuckets(QuantileSketch(values)))
        #expect(buckets.count == 2_000)
        #expect(buckets.zeroCount == UInt64(values.count { $0 == 0 }))
        for (side, magnitudes) in [
            (buckets.positive, values.filter { $0 > 0 }),
            (buckets.negative, values.filter { $0 < 0 }.map { -$0 }),
        ] {
            for (place, count) in side.counts.enumerated() {
                // (2^(i/64), 2^((i+1)/64)], by the definition and not by the table.
                let index = Double(side.offset) + Double(place)
                let low = Self.power(index / 64)
                let high = Self.power((index + 1) / 64)
                let slack = 1e-14
                let inside = magnitudes.count { $0 > low * (1 + slack) && $0 <= high * (1 - slack) }
                let around = magnitudes.count { $0 > low * (1 - slack) && $0 <= high * (1 + slack) }
                #expect((inside...around).contains(Int(count)), "seed=\(seed) \(index)")
            }
            #expect(side.counts.reduce(0, +) == UInt64(magnitudes.count))
            let lengths = side.spans.reduce(0) { $0 + Int($1.length) }
            #expect(lengths == side.counts.count { $0 > 0 })
        }
    }

    /// 2^x by squaring and square roots: no table.
    private static func power(_ x: Double) -> Double {
        let whole = x.rounded(.down)
        var fraction = x - whole
        var root = 2.0
        var result = 1.0
        for _ in 0..<6 {
            root = root.squareRoot()
            fraction *= 2
            if fraction >= 1 {
                result *= root
                fraction -= 1
            }
        }
        return result * Double(sign: .plus, exponent: Int(whole), significand: 1)
    }

    @Test("spans are those of a native histogram: gaps between, indices by the upper bound")
    func spans() throws {
        // 1 is the upper bound of OTLP's bucket -1, Prometheus's 0; 2 of 63 and 64.
        let buckets = try #require(ExponentialBuckets(QuantileSketch([1, 1.0.nextUp, 2, 2, 0, -4])))
        #expect(buckets.positive.offset == -1)
        #expect(buckets.positive.spans.map(\.offset) == [0, 62])
        #expect(buckets.positive.spans.map(\.length) == [2, 1])
        #expect(buckets.positive.counts.last == 2)
        #expect(buckets.negative.spans.map(\.offset) == [128])
        #expect(buckets.zeroCount == 1)
        #expect(ExponentialBuckets(QuantileSketch([1e-200, 1e200])) == nil)
    }
}
