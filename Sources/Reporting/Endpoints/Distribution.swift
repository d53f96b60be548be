import Sketches
import Telemetry

/// How the values of an entity and field were distributed in a window: buckets of exponential width.
struct Distribution: Sendable {
    var buckets: ExponentialBuckets
    var sum: Double
    var min: Double
    var max: Double

    /// `nil` where no sketch is kept, or where it cannot be laid out.
    init?(_ column: FieldColumn, _ entity: Int) {
        let encoded = column.sketch(entity)
        guard !encoded.isEmpty, entity < column.entityCount, column.count[entity] > 0,
            let sketch = try? QuantileSketch(encoded: encoded), !sketch.isEmpty,
            let buckets = ExponentialBuckets(sketch)
        else { return nil }
        self.buckets = buckets
        sum = column.sum[entity]
        min = column.min[entity]
        max = column.max[entity]
    }

    /// Prometheus' gauge histogram: the buckets of this window and of no other.
    /// `Histogram` of remote write 1.0 and 2.0 (prompb/types.proto, io/prometheus/write/v2/types.proto).
    func native(timeMs: Int64) -> [UInt8] {
        var proto = ProtoBytes()
        proto.integer(1, buckets.count)
        proto.double(3, sum)
        proto.signed(4, Int64(ExponentialBuckets.scale))
        // Our zero bucket holds zeros only.
        proto.double(5, 0)
        proto.integer(6, buckets.zeroCount)
        Self.side(buckets.negative, spans: 8, deltas: 9, &proto)
        Self.side(buckets.positive, spans: 11, deltas: 12, &proto)
        proto.integer(14, 3)  // GAUGE
        proto.integer(15, UInt64(bitPattern: timeMs))
        return proto.bytes
    }

    private static func side(
        _ side: ExponentialBuckets.Side, spans: Int, deltas: Int, _ proto: inout ProtoBytes
    ) {
        for span in side.spans {
            proto.message(spans) {
                $0.signed(1, Int64(span.offset))
                $0.integer(2, UInt64(span.length))
            }
        }
        var last: Int64 = 0
        proto.packed(
            deltas,
            side.counts.filter { $0 > 0 }.map { count in
                let delta = Int64(count) - last
                last = Int64(count)
                return ProtoBytes.zigzag(delta)
            })
    }

    /// `ExponentialHistogramDataPoint` of OTLP, without attributes and times.
    func exponential(_ proto: inout ProtoBytes) {
        proto.fixed(4, buckets.count)
        proto.double(5, sum)
        proto.signed(6, Int64(ExponentialBuckets.scale))
        proto.fixed(7, buckets.zeroCount)
        for (field, side) in [(8, buckets.positive), (9, buckets.negative)] where !side.counts.isEmpty {
            proto.message(field) {
                $0.signed(1, Int64(side.offset))
                $0.packed(2, side.counts)
            }
        }
        proto.double(12, min)
        proto.double(13, max)
    }
}
