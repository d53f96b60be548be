import Exchange
import Sketches
import Telemetry
import TestSupport

/// Samples that any worker computes alike, and what they come to when one process adds them up one by one.
struct SampleFleet: PartialSource {
    var seed: UInt64
    var ready: @Sendable () -> Int64 = { .max }
    var samplesMax = 6
    var kept: @Sendable () -> Int64 = { 0 }

    func lastReadyWindow(slice: Int) -> Int64 { ready() }
    func firstKeptWindow() -> Int64 { kept() }

    /// Multiples of an eighth, so that their sums are exact in any order.
    func samples(slice: Int, window: Int64) -> [(rack: String, field: UInt16, value: Double)] {
        var random = SeededRandom(seed: seed ^ UInt64(slice) &* 7_919 ^ UInt64(window) &* 104_729)
        return (0..<Int.random(in: 1...samplesMax, using: &random)).map { _ in
            let rack = "r\(slice)-\(Int.random(in: 0..<2, using: &random))"
            let field: UInt16 = Bool.random(using: &random) ? 150 : 155
            return (rack, field, Double(Int.random(in: -400...4_000, using: &random)) / 8)
        }
    }

    func groups(slice: Int, window: Int64) -> [PartialGroup] {
        Self.groups(samples(slice: slice, window: window))
    }

    /// What a partition's final must hold.
    func oracle(_ fleet: FleetMap, partition: Int, window: Int64) -> [PartialGroup] {
        let slices = (0..<fleet.slices).filter { fleet.partition(of: $0) == partition }
        var groups = Self.groups(slices.flatMap { samples(slice: $0, window: window) })
        // The site's GPUs: one of each slice.
        for place in groups.indices where groups[place].key.level == .site {
            groups[place].gpus = GroupGPUs(
                expected: UInt32(slices.count), reporting: UInt32(slices.count))
        }
        return groups
    }

    private static func groups(_ samples: [(rack: String, field: UInt16, value: Double)]) -> [PartialGroup] {
        var byKey: [PartialGroupKey: [UInt16: [Double]]] = [:]
        for sample in samples {
            let rack = PartialGroupKey(level: .rack, name: sample.rack)
            let site = PartialGroupKey(level: .site, name: "")
            byKey[rack, default: [:]][sample.field, default: []].append(sample.value)
            byKey[site, default: [:]][sample.field, default: []].append(sample.value)
        }
        return byKey.sorted { $0.key < $1.key }.map { key, fields in
            PartialGroup(
                key: key, gpus: GroupGPUs(expected: 1, reporting: 1),
                fields: fields.sorted { $0.key < $1.key }.map { field, values in
                    FieldStatistics(
                        field: field, count: UInt64(values.count), sum: values.reduce(0, +),
                        min: values.min() ?? 0, max: values.max() ?? 0, sketch: QuantileSketch(values))
                })
        }
    }
}

func fleetMap(
    slices: Int = 6, partitions: Int = 2, windowMs: Int64 = 1_000, startMs: Int64 = 0
) throws -> FleetMap {
    guard
        let map = FleetMap(
            cluster: "test", stream: "sim/test", slices: slices, partitions: partitions, windowMs: windowMs,
            startMs: startMs)
    else { throw BusError.failed("not a fleet map") }
    return map
}
