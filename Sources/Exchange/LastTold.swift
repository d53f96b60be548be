import Telemetry

/// What each GPU of a fleet has told last before some time: with it, counters and sticky gauges go on wherever the fleet is
/// played from then on.
///
/// Of GPUs that deliver, the last tick has it; of those that are silent, it is kept since they fell silent.
struct LastTold: Sendable {
    private(set) var last: (any FleetTick)?
    /// By rack: who delivers at the last tick.
    private var delivering: [UInt64] = []
    /// By rack and GPU of the rack: its values, in the order of the tick's fields.
    private var silent: [Int: [Int: [Double]]] = [:]

    /// The next tick, behind all those before.
    mutating func take(_ tick: any FleetTick) {
        defer { last = tick }
        if let last, tick.isUnchanged(since: last) { return }
        if delivering.count < tick.rackCount {
            delivering += Array(repeating: 0, count: tick.rackCount - delivering.count)
        }
        for rack in 0..<tick.rackCount {
            let now = tick.reporting(rack: rack)
            let before = delivering[rack]
            guard now != before else { continue }
            delivering[rack] = now
            keep(before & ~now, rack)
            guard var known = silent[rack] else { continue }
            for gpu in known.keys where now & (1 << UInt64(gpu)) != 0 { known[gpu] = nil }
            silent[rack] = known.isEmpty ? nil : known
        }
    }

    /// GPUs that had delivered until the last tick.
    private mutating func keep(_ gpus: UInt64, _ rack: Int) {
        guard gpus != 0, let last else { return }
        let count = last.fields.count
        var values = Array(repeating: 0.0, count: count * 64)
        var span = values.mutableSpan
        _ = last.fill(rack: rack, into: &span)
        var bits = gpus
        while bits != 0 {
            let gpu = bits.trailingZeroBitCount
            bits &= bits - 1
            silent[rack, default: [:]][gpu] = (0..<count).map { values[$0 * 64 + gpu] }
        }
    }

    /// All of it as a tick at the time of the last one; `nil` before the first.
    var tick: (any FleetTick)? { last.map { Tick(last: $0, silent: silent) } }

    private struct Tick: FleetTick {
        let last: any FleetTick
        let silent: [Int: [Int: [Double]]]

        var timeMs: Int64 { last.timeMs }
        var fields: [FieldIndex] { last.fields }
        var jobs: [String] { last.jobs }
        var rackCount: Int { last.rackCount }

        func fill(rack: Int, into values: inout MutableSpan<Double>) -> RackTick {
            var result = last.fill(rack: rack, into: &values)
            for (gpu, own) in silent[rack] ?? [:] {
                result.expected |= 1 << UInt64(gpu)
                result.reporting |= 1 << UInt64(gpu)
                for (field, value) in own.enumerated() { values[field * 64 + gpu] = value }
            }
            return result
        }
    }
}
