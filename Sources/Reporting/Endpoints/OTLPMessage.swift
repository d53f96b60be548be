import Sketches
import Telemetry
import WireFormats

/// Collects points by metric, in the order in which metrics come up first.
private struct PointsByMetric<Point> {
    private(set) var metrics: [(cell: SeriesCell, points: [Point])] = []
    private var places: [Level: [Int: Int]] = [:]

    mutating func add(_ cell: SeriesCell, _ point: Point) {
        let place: Int
        if let known = places[cell.level]?[cell.index] {
            place = known
        } else {
            place = metrics.count
            metrics.append((cell, []))
            places[cell.level, default: [:]][cell.index] = place
        }
        metrics[place].points.append(point)
    }
}

private enum OTLPNames {
    static let scope = "colossusd"
    static let resource = ("service.name", "colossusd")
    static func nanoseconds(_ ms: Int64) -> UInt64 { UInt64(bitPattern: ms &* 1_000_000) }
}

/// `ExportMetricsServiceRequest` in protobuf (opentelemetry-proto 1.x, collector/metrics/v1, metrics/v1).
struct OTLPMessage: SeriesWriter {
    private var points = PointsByMetric<[UInt8]>()

    /// Attributes are field 7 of a number and field 1 of an exponential histogram.
    struct Place {
        var number: [UInt8]
        var histogram: [UInt8]
    }

    func place(_ labels: [Label]) -> Place {
        func attributes(_ field: Int) -> [UInt8] {
            var proto = ProtoBytes()
            for label in labels {
                proto.message(field) { pair in
                    pair.text(1, label.name)
                    pair.message(2) { $0.text(1, label.value) }
                }
            }
            return proto.bytes
        }
        return Place(number: attributes(7), histogram: attributes(1))
    }

    mutating func add(_ cell: SeriesCell, _ place: Place, _ time: SeriesTime, _ value: Double) {
        var point = ProtoBytes()
        point.fixed(2, OTLPNames.nanoseconds(time.startMs))
        point.fixed(3, OTLPNames.nanoseconds(time.endMs))
        point.double(4, value)
        points.add(cell, point.bytes + place.number)
    }

    mutating func add(_ cell: SeriesCell, _ place: Place, _ time: SeriesTime, _ value: Distribution) {
        var point = ProtoBytes()
        point.fixed(2, OTLPNames.nanoseconds(time.startMs))
        point.fixed(3, OTLPNames.nanoseconds(time.endMs))
        value.exponential(&point)
        points.add(cell, point.bytes + place.histogram)
    }

    func finish() -> [UInt8] {
        var scope = ProtoBytes()
        scope.message(1) { $0.text(1, OTLPNames.scope) }
        for (cell, points) in points.metrics {
            scope.message(2) { metric in
                metric.text(1, cell.name)
                metric.text(2, cell.help)
                metric.text(3, cell.unit)
                metric.message(cell.isDistribution ? 10 : 5) { data in
                    for point in points { data.raw(1, point) }
                    if cell.isDistribution { data.integer(2, 1) }  // DELTA
                }
            }
        }
        var request = ProtoBytes()
        request.message(1) { resource in
            resource.message(1) { attributes in
                attributes.message(1) { pair in
                    pair.text(1, OTLPNames.resource.0)
                    pair.message(2) { $0.text(1, OTLPNames.resource.1) }
                }
            }
            resource.raw(2, scope.bytes)
        }
        return request.bytes
    }
}

/// The same in JSON: names in lowerCamelCase, enums as numbers, 64-bit numbers as texts.
struct OTLPJSONMessage: SeriesWriter {
    private struct Point {
        var labels: [Label]
        var time: SeriesTime
        var number: Double?
        var distribution: Distribution?
    }

    private var points = PointsByMetric<Point>()

    func place(_ labels: [Label]) -> [Label] { labels }

    mutating func add(_ cell: SeriesCell, _ place: [Label], _ time: SeriesTime, _ value: Double) {
        points.add(cell, Point(labels: place, time: time, number: value))
    }

    mutating func add(_ cell: SeriesCell, _ place: [Label], _ time: SeriesTime, _ value: Distribution) {
        points.add(cell, Point(labels: place, time: time, distribution: value))
    }

    func finish() -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.key("resourceMetrics")
            json.array { json in
                json.object { json in
                    json.key("resource")
                    json.object { json in
                        Self.attributes([Label(OTLPNames.resource.0, OTLPNames.resource.1)], &json)
                    }
                    json.key("scopeMetrics")
                    json.array { json in json.object { scope(&$0) } }
                }
            }
        }
        return json.bytes
    }

    private func scope(_ json: inout JSONWriter) {
        json.key("scope")
        json.object { $0.field("name", OTLPNames.scope) }
        json.key("metrics")
        json.array { json in
            for (cell, points) in points.metrics {
                json.object { json in
                    json.field("name", cell.name)
                    json.field("description", cell.help)
                    json.field("unit", cell.unit)
                    json.key(cell.isDistribution ? "exponentialHistogram" : "gauge")
                    json.object { json in
                        if cell.isDistribution { json.field("aggregationTemporality", Int64(1)) }
                        json.key("dataPoints")
                        json.array { json in for point in points { json.object { Self.write(point, &$0) } } }
                    }
                }
            }
        }
    }

    private static func write(_ point: Point, _ json: inout JSONWriter) {
        attributes(point.labels, &json)
        json.field("startTimeUnixNano", String(OTLPNames.nanoseconds(point.time.startMs)))
        json.field("timeUnixNano", String(OTLPNames.nanoseconds(point.time.endMs)))
        if let number = point.number { return json.field("asDouble", number) }
        guard let found = point.distribution else { return }
        json.field("count", String(found.buckets.count))
        json.field("sum", found.sum)
        json.field("scale", Int64(type(of: found.buckets).scale))
        json.field("zeroCount", String(found.buckets.zeroCount))
        for (name, side) in [("positive", found.buckets.positive), ("negative", found.buckets.negative)] {
            json.key(name)
            json.object { json in
                json.field("offset", Int64(side.offset))
                json.key("bucketCounts")
                json.array { json in for count in side.counts { json.value(String(count)) } }
            }
        }
        json.field("min", found.min)
        json.field("max", found.max)
    }

    private static func attributes(_ labels: [Label], _ json: inout JSONWriter) {
        json.key("attributes")
        json.array { json in
            for label in labels {
                json.object { json in
                    json.field("key", label.name)
                    json.key("value")
                    json.object { $0.field("stringValue", label.value) }
                }
            }
        }
    }
}
