import Exchange
import Glibc
import Sketches
import Telemetry

func wallMs() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
}

func steadyMs() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
}

/// Eight GPUs a slice, power and temperature, a function of slice and window; multiples of an eighth, so that sums are
/// exact in any order.
struct TestSamples: PartialSource {
    var fleet: FleetMap
    var windows: Int64 = .max

    func lastReadyWindow(slice: Int) -> Int64 { min(windows - 1, fleet.lastWindow(endedMs: wallMs())) }

    func values(slice: Int, window: Int64, field: UInt16) -> [Double] {
        (0..<8).map { gpu in
            var mixed = UInt64(slice) &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(window) &* 0xBF58_476D_1CE4_E5B9
            mixed ^= UInt64(field) &* 0x94D0_49BB_1331_11EB ^ UInt64(gpu)
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            return Double((mixed ^ (mixed >> 27)) % 8_000) / 8
        }
    }

    private func statistics(_ field: UInt16, _ values: [Double]) -> FieldStatistics {
        FieldStatistics(
            field: field, count: UInt64(values.count), sum: values.reduce(0, +), min: values.min() ?? 0,
            max: values.max() ?? 0, sketch: QuantileSketch(values))
    }

    private func group(_ level: Level, _ name: String, _ slices: [Int], _ window: Int64) -> PartialGroup {
        let fields: [UInt16] = [150, 155]
        let gpus = UInt32(8 * slices.count)
        return PartialGroup(
            key: PartialGroupKey(level: level, name: name), gpus: GroupGPUs(expected: gpus, reporting: gpus),
            fields: fields.map { field in
                statistics(field, slices.flatMap { values(slice: $0, window: window, field: field) })
            })
    }

    func groups(slice: Int, window: Int64) -> [PartialGroup] {
        [
            group(.array, "array-\(slice)", [slice], window), group(.site, "", [slice], window),
        ]
    }

    /// One process that has all samples of a partition.
    func oracle(partition: Int, window: Int64) -> [PartialGroup] {
        let slices = (0..<fleet.slices).filter { $0 % fleet.partitions == partition }
        let arrays = slices.map { group(.array, "array-\($0)", [$0], window) }
        return (arrays + [group(.site, "", slices, window)]).sorted { $0.key < $1.key }
    }
}
