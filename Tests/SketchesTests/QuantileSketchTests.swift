import Sketches
import TestSupport
import Testing

enum Distribution: String, CaseIterable, Sendable {
    case uniform, zerosAndOnes, bimodal, negatives, mixedSigns, hugeRange, constant, powersOfTwo, tiny

    func sample(_ random: inout SeededRandom) -> Double {
        let u = Double.random(in: 0..<1, using: &random)
        switch self {
        case .uniform: return 300 + 400 * u
        case .zerosAndOnes: return u < 0.6 ? 0 : u
        case .bimodal: return u < 0.5 ? 60 + u : 690 + u
        case .negatives: return -1 - 99 * u
        case .mixedSigns: return (u - 0.5) * 1_000
        case .hugeRange:
            return Double(
                sign: u < 0.3 ? .minus : .plus, exponent: Int.random(in: -1_000...1_000, using: &random),
                significand: 1 + u)
        case .constant: return 1_980
        case .powersOfTwo:
            return Double(
                sign: .plus, exponent: Int.random(in: -20...20, using: &random), significand: 1)
        case .tiny: return u * 1e-300
        }
    }
}

@Suite struct QuantileSketchTests {
    static let relativeErrorMax = 0.0055

    @Test(
        "quantiles are within 0.55% of the sorted values", arguments: Distribution.allCases,
        [1, 2, 64, 3_001])
    func quantilesAgainstSortedValues(_ distribution: Distribution, count: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let values = (0..<count).map { _ in distribution.sample(&random) }
        let sorted = values.sorted()
        let sketch = QuantileSketch(values)
        #expect(sketch.count == UInt64(count))
        for q in [0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1] {
            let exact = sorted[Int((q * Double(count - 1)).rounded(.down))]
            let estimate = try #require(sketch.quantile(q))
            #expect(
                abs(estimate - exact) <= Self.relativeErrorMax * abs(exact) + 1e-307,
                "\(distribution) q=\(q) seed=\(seed)")
            let clamped = try #require(sketch.quantile(q, clampedTo: sorted[0]...sorted[count - 1]))
            #expect((sorted[0]...sorted[count - 1]).contains(clamped))
        }
    }

    @Test("a constant has itself as every quantile when the range is known")
    func constantsAreExact() {
        var sketch = QuantileSketch()
        sketch.add(1_980, count: 640)
        #expect(sketch.quantile(0.5, clampedTo: 1_980...1_980) == 1_980)
        #expect(sketch.count == 640)
        #expect(QuantileSketch().quantile(0.5) == nil)
    }

    @Test("merging is associative and commutative, bit by bit", arguments: Distribution.allCases)
    func mergingLaws(_ distribution: Distribution) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let parts = (0..<3).map { _ in
            QuantileSketch((0..<200).map { _ in distribution.sample(&random) })
        }
        let left = parts[0].merged(with: parts[1]).merged(with: parts[2])
        let right = parts[0].merged(with: parts[1].merged(with: parts[2]))
        let turned = parts[2].merged(with: parts[0]).merged(with: parts[1])
        #expect(left.encoded() == right.encoded(), "seed=\(seed)")
        #expect(left.encoded() == turned.encoded(), "seed=\(seed)")
        #expect(left == right)
        #expect(left.count == 600)
    }

    @Test(
        "what was merged in can be taken out again; what was not gives nothing",
        arguments: Distribution.allCases)
    func subtracts(_ distribution: Distribution) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let parts = (0..<2).map { _ in
            QuantileSketch((0..<200).map { _ in distribution.sample(&random) })
        }
        let both = parts[0].merged(with: parts[1])
        #expect(both.subtracting(parts[0]) == parts[1], "seed=\(seed)")
        #expect(parts[0].subtracting(both) == nil, "seed=\(seed)")
        #expect(both.subtracting(both)?.isEmpty == true)
    }

    @Test("buckets are upper inclusive: a power of two is the last of its bucket")
    func upperInclusiveBounds() {
        // OTLP at scale 6: 1 is in (2^(-1/64), 1], the bucket -1; the next double above 1 is in bucket 0.
        #expect(SketchKey(1).bucketIndex == -1)
        #expect(SketchKey(1.0.nextUp).bucketIndex == 0)
        #expect(SketchKey(2).bucketIndex == 63)
        #expect(SketchKey(2.0.nextUp).bucketIndex == 64)
        #expect(SketchKey(-2).rawValue == -SketchKey(2).rawValue)
        #expect(SketchKey(0).bucketIndex == nil)
        #expect(SketchKey(-0.0).rawValue == 0)
        #expect(SketchKey(.greatestFiniteMagnitude).rawValue == SketchKey.rawMax)
        // sqrt(2) = 2^(32/64) is the upper bound of bucket 31; its nearest double is above the true value.
        #expect(SketchKey(2.0.squareRoot()).bucketIndex == 32)
        #expect(SketchKey(2.0.squareRoot().nextDown).bucketIndex == 31)
    }

    @Test("keys sort like values, and each value lies in the bounds of its bucket")
    func keysSortLikeValues() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededRandom(seed: seed)
        let values = (0..<5_000).map { _ in Distribution.hugeRange.sample(&random) }.sorted()
        for (value, next) in zip(values, values.dropFirst()) {
            #expect(SketchKey(value) <= SketchKey(next), "seed=\(seed)")
            guard let index = SketchKey(value).bucketIndex else { continue }
            let low = SketchKey.lowerBound(index)
            let high = SketchKey.lowerBound(index + 1)
            #expect(low <= abs(value) && abs(value) <= high.nextUp, "\(value) seed=\(seed)")
        }
    }

    @Test("a count stays at its greatest value instead of overflowing")
    func countsSaturate() {
        var sketch = QuantileSketch()
        sketch.add(1, count: .max)
        sketch.add(1, count: .max)
        sketch.add(2, count: 5)
        #expect(sketch.count == .max)
        #expect(sketch.quantile(0.5) != nil)
    }
}
