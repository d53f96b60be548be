/// A sketch in the form of the wire formats: an OTLP exponential histogram at scale 6, or a Prometheus native histogram
/// at schema 6. Nothing is lost: a bucket of the sketch is a bucket of theirs.
///
/// OTLP's bucket i is (2^(i/64), 2^((i+1)/64)], as here. Prometheus numbers the same bucket i + 1, by its upper bound.
public struct ExponentialBuckets: Sendable, Hashable {
    /// Buckets of one sign that follow each other, from `offset` on; empty ones in between are 0.
    public struct Side: Sendable, Hashable {
        public var offset: Int32
        public var counts: [UInt64]

        /// The buckets with something in them, as Prometheus numbers them.
        public var spans: [(offset: Int32, length: UInt32)] {
            var spans: [(offset: Int32, length: UInt32)] = []
            var end: Int32?
            for (place, count) in counts.enumerated() where count > 0 {
                let index = offset + Int32(place) + 1
                if let known = end, known == index, !spans.isEmpty {
                    spans[spans.count - 1].length += 1
                } else {
                    spans.append((index - (end ?? 0), 1))
                }
                end = index + 1
            }
            return spans
        }
    }

    public static let scale = SketchKey.scale
    public var count: UInt64
    public var zeroCount: UInt64
    public var positive: Side
    public var negative: Side

    /// Wider than this a side is not laid out: its values span more than 2^64.
    public static let widthMax = 4_096

    /// - Returns: `nil` when a side is wider than `widthMax`.
    public init?(_ sketch: QuantileSketch) {
        count = sketch.count
        zeroCount = 0
        var positive: [(Int32, UInt64)] = []
        var negative: [(Int32, UInt64)] = []
        for bucket in sketch.buckets {
            guard let index = bucket.key.bucketIndex else {
                zeroCount = bucket.count
                continue
            }
            if bucket.key.rawValue > 0 {
                positive.append((index, bucket.count))
            } else {
                negative.append((index, bucket.count))
            }
        }
        guard let up = Self.side(positive), let down = Self.side(negative.reversed()) else { return nil }
        self.positive = up
        self.negative = down
    }

    /// - Parameter buckets: ascending by index.
    private static func side(_ buckets: [(Int32, UInt64)]) -> Side? {
        guard let first = buckets.first, let last = buckets.last else { return Side(offset: 0, counts: []) }
        let width = Int(last.0) - Int(first.0) + 1
        guard width <= widthMax else { return nil }
        var side = Side(offset: first.0, counts: Array(repeating: 0, count: width))
        for (index, count) in buckets { side.counts[Int(index - first.0)] = count }
        return side
    }
}
