import Telemetry

/// The last values of a fleet's counters and sticky gauges: what slots remember for series that come as samples.
struct FleetSeries {
    /// A field of the tick that is no gauge.
    private struct Tracked {
        /// Position among the tick's fields.
        var position: Int
        /// Position among those that are remembered.
        var place: Int
        var kind: Contribution
        var isWide: Bool
    }

    /// By the shard's column of the field: position among those that are remembered.
    private var places: [UInt8: Int] = [:]
    /// By local rack: `values[place * 64 + gpu]`, NaN before the first.
    private var lastValues: [[Double]] = []
    /// The same as it was before the first tick of each open window; shares its memory until that changes.
    private var marks: [(startMs: Int64, lastValues: [[Double]])] = []

    /// Puts what they add in the place of the values of a rack's counters and sticky gauges, and notes XIDs that came.
    mutating func replace(
        _ values: inout [Double], rack: Int, _ tick: RackTick, _ context: TickContext,
        _ fields: [FieldIndex], _ directory: NodeDirectory, _ restored: RestoredSeries,
        _ edges: inout [XIDEdge]
    ) {
        while lastValues.count <= rack { lastValues.append([]) }
        for position in context.columns.indices where context.kinds[position] != .gauge {
            let place = place(context.columns[position])
            let missing = (place + 1) * 64 - lastValues[rack].count
            if missing > 0 {
                lastValues[rack].append(contentsOf: repeatElement(.nan, count: missing))
                if !restored.isEmpty {
                    restore(rack, place, fields[Int(context.columns[position])], directory, restored)
                }
            }
            let tracked = Tracked(
                position: position, place: place, kind: context.kinds[position],
                isWide: context.isWide[position])
            let changed = Self.replace(&values, &lastValues[rack], tracked, tick.reporting)
            guard position == context.xidPosition else { continue }
            note(changed, rack, place, context.timeMs, directory, &edges)
        }
    }

    private mutating func restore(
        _ rack: Int, _ place: Int, _ field: FieldIndex, _ directory: NodeDirectory, _ restored: RestoredSeries
    ) {
        for (ordinal, gpu) in directory.gpus[rack].prefix(64).enumerated() {
            guard let known = restored.find(gpu: gpu, field) else { continue }
            lastValues[rack][place * 64 + ordinal] = known.lastValue
        }
    }

    /// A tick of a window begins: what was before it is remembered until the window is closed.
    mutating func mark(windowStartMs: Int64) {
        if marks.last.map({ $0.startMs < windowStartMs }) ?? true {
            marks.append((windowStartMs, lastValues))
        }
    }

    mutating func forgetMarks(throughMs: Int64) { marks.removeAll { $0.startMs < throughMs } }

    /// Writes down, of some racks, what was known when all ticks before a time had come.
    ///
    /// - Returns: whether there are no racks beyond.
    func write(
        into writer: inout CheckpointWriter?, racks: Range<Int>, throughMs: Int64, _ fields: [FieldIndex],
        _ directory: NodeDirectory
    ) -> Bool {
        let values = marks.first { $0.startMs >= throughMs }?.lastValues ?? lastValues
        for rack in racks.clamped(to: values.indices) {
            for (column, place) in places where values[rack].count >= (place + 1) * 64 {
                for (ordinal, gpu) in directory.gpus[rack].prefix(64).enumerated() {
                    let value = values[rack][place * 64 + ordinal]
                    // NaN before the first.
                    guard value == value else { continue }
                    writer?.add(
                        .init(gpu: gpu, field: fields[Int(column)], lastMs: throughMs - 1, lastValue: value))
                }
            }
        }
        return racks.upperBound >= values.count
    }

    private mutating func place(_ column: UInt8) -> Int {
        if let known = places[column] { return known }
        places[column] = places.count
        return places.count - 1
    }

    /// - Returns: the GPUs whose sticky gauge has changed to something.
    private static func replace(
        _ valueArray: inout [Double], _ lastArray: inout [Double], _ field: Tracked, _ reporting: UInt64
    ) -> UInt64 {
        var values = valueArray.mutableSpan
        var last = lastArray.mutableSpan
        var changed: UInt64 = 0
        var bits = reporting
        while bits != 0 {
            let gpu = bits.trailingZeroBitCount
            bits &= bits &- 1
            let value = values[field.position &* 64 &+ gpu]
            guard SampleFilter.reason(value, isWide: field.isWide) == nil else { continue }
            let before = last[field.place &* 64 &+ gpu]
            last[field.place &* 64 &+ gpu] = value
            // NaN before the first.
            let added = before == before ? field.kind.value(value, after: before, isWide: field.isWide) : 0
            values[field.position &* 64 &+ gpu] = added
            if field.kind == .sticky, added > 0 { changed |= 1 << UInt64(gpu) }
        }
        return changed
    }

    private func note(
        _ changed: UInt64, _ rack: Int, _ place: Int, _ timeMs: Int64, _ directory: NodeDirectory,
        _ edges: inout [XIDEdge]
    ) {
        var bits = changed
        while bits != 0 {
            let gpu = bits.trailingZeroBitCount
            bits &= bits - 1
            guard gpu < directory.gpuNodes[rack].count else { continue }
            edges.append(
                XIDEdge(
                    node: directory.gpuNodes[rack][gpu], ordinal: Int32(gpu), timeMs: timeMs,
                    code: lastValues[rack][place * 64 + gpu]))
        }
    }
}
