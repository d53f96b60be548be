import Sketches
import Telemetry

/// What a shard needs to add the racks of one tick to a window.
struct TickContext {
    var timeMs: Int64
    /// Position among the shard's fields of each field of the tick.
    var columns: [UInt8]
    var isWide: [Bool]
    var kinds: [Contribution]
    /// Position of the XID among the fields.
    var xidPosition: Int?
    /// Number of each of the tick's jobs in the stream's `JobNames`.
    var jobs: [Int32]
    var feedsSketches: Bool
}

/// One node of a rack in a tick.
private struct Lane {
    /// Bit g: GPU g of the node delivers.
    var mask: UInt64 = 0
    var row: Int = 0
    var group: Int32 = -1
}

extension WindowAccumulator {
    /// Adds one rack of a fleet's tick: the same as its samples one by one, GPU by GPU.
    ///
    /// - Parameters:
    ///   - rack: local.
    ///   - values: `values[f * 64 + g]`.
    mutating func add(
        _ tick: RackTick, rack: Int, _ values: Span<Double>, _ context: TickContext,
        _ directory: NodeDirectory, _ drops: inout DropCounts
    ) {
        var lanes = InlineArray<8, Lane>(repeating: Lane())
        let count = place(tick, rack, context, directory, &lanes)
        var heard: UInt64 = 0
        var added = 0
        for position in context.columns.indices {
            var first = 0
            while first < count {
                guard lanes[first].mask != 0 else {
                    first += 1
                    continue
                }
                var last = first + 1
                var isWhole = lanes[first].mask == 0xff
                while last < count, lanes[last].mask == 0 || lanes[last].group == lanes[first].group {
                    isWhole = isWhole && lanes[last].mask == 0xff
                    last += 1
                }
                added += addField(
                    position, lanes, first..<last, isWhole, values, context, &heard, &drops)
                first = last
            }
        }
        for node in 0..<count where lanes[node].group >= 0 {
            let bits = (heard >> UInt64(node * 8)) & 0xff
            reporting[word(lanes[node].group)] |= bits << UInt64(node * 8)
        }
        sampleCount += Int64(added)
    }

    /// Finds rows and groups, and marks who is there and who is broken.
    private mutating func place(
        _ tick: RackTick, _ rack: Int, _ context: TickContext, _ directory: NodeDirectory,
        _ lanes: inout InlineArray<8, Lane>
    ) -> Int {
        let locals = directory.nodesOfRack[rack]
        let count = min(8, locals.count)
        for lane in 0..<count {
            let there = (tick.expected >> UInt64(lane * 8)) & 0xff
            guard there != 0 else { continue }
            let node = Int(locals[lane])
            let index = Int(tick.jobOfNode[lane])
            let job = context.jobs.indices.contains(index) ? context.jobs[index] : JobSnapshot.none
            if nodes[node].row < 0 || groups[Int(nodes[node].group)].job != job {
                // No time is covered: what a tick says of membership is for this tick.
                let membership = JobInterval(fromMs: .max, toMs: .min, job: job)
                place(node, membership, rack: Int32(rack), directory)
            }
            lanes[lane].row = Int(nodes[node].row)
            lanes[lane].group = nodes[node].group
            lanes[lane].mask = (tick.reporting >> UInt64(lane * 8)) & there
            expected[word(nodes[node].group)] |= there << UInt64(lane * 8)
            let broken = (tick.faulted >> UInt64(lane * 8)) & there
            faulted[word(nodes[node].group)] |= broken << UInt64(lane * 8)
        }
        return count
    }

    /// The first word of a group's bits: a fleet's rack has 64 GPUs at most, and their positions are their bits.
    private func word(_ group: Int32) -> Int { Int(groups[Int(group)].firstWord) }

    /// Adds one field of neighbouring nodes of one group; `heard` gets the bits of the GPUs with a measurement.
    @inline(__always)
    private mutating func addField(
        _ position: Int, _ lanes: borrowing InlineArray<8, Lane>, _ range: Range<Int>, _ isWhole: Bool,
        _ values: Span<Double>, _ context: TickContext, _ heard: inout UInt64, _ drops: inout DropCounts
    ) -> Int {
        let column = Int(context.columns[position])
        let isWide = context.isWide[position]
        let plainBelow = isWide ? SampleFilter.plainWideBelow : SampleFilter.plainBelow
        var whole = Cell()
        var isClean = true
        // Without nodes of their own eight GPUs at a time do; where one of them is not plain, all are looked at.
        if !keepsNodes, isWhole {
            let sums = Self.sumOfNodes(values, position * 64 + range.lowerBound * 8, range.count)
            if sums.count > 0, sums.max < plainBelow, sums.min > -plainBelow {
                whole = sums
                heard |= (UInt64.max >> UInt64(64 - range.count * 8)) << UInt64(range.lowerBound * 8)
            }
        }
        let rest = whole.count == 0 ? range : range.upperBound..<range.upperBound
        for lane in rest where lanes[lane].mask != 0 {
            let first = position * 64 + lane * 8
            var cell = Cell()
            if lanes[lane].mask == 0xff { cell = Self.sumOfEight(values, first) }
            if cell.count == 8, cell.max < plainBelow, cell.min > -plainBelow {
                heard |= 0xff << UInt64(lane * 8)
            } else {
                isClean = false
                cell = Self.sumOfSome(values, first, lanes[lane].mask, isWide, lane, &heard, &drops)
            }
            if keepsNodes { nodeCells[lanes[lane].row &* stride &+ column].merge(cell) }
            whole.merge(cell)
        }
        let cell = Int(lanes[range.lowerBound].group) &* stride &+ column
        groupCells[cell].merge(whole)
        if context.feedsSketches, whole.count > 0 {
            let first = position * 64 + range.lowerBound * 8
            if whole.min == whole.max {
                sketches.add(SketchKey(whole.min), to: cell, count: whole.count)
            } else if isClean, Int(whole.count) == range.count * 8 {
                sketches.add(
                    values, in: first..<first + range.count * 8, extremes: (whole.min, whole.max), to: cell)
            } else {
                for lane in range where lanes[lane].mask != 0 {
                    feed(cell, values, position * 64 + lane * 8, lanes[lane].mask, isWide)
                }
            }
        }
        return Int(whole.count)
    }

    /// All GPUs of some neighbouring nodes, as `sumOfEight`; sums are made GPU by GPU first.
    @inline(__always)
    private static func sumOfNodes(_ values: Span<Double>, _ first: Int, _ nodes: Int) -> Cell {
        precondition(first >= 0 && nodes > 0 && first + nodes * 8 <= values.count)
        return values.withUnsafeBufferPointer { values in
            guard let base = values.baseAddress else { return Cell() }
            let bytes = UnsafeRawPointer(base + first)
            var low = bytes.loadUnaligned(as: SIMD8<Double>.self)
            var (high, sum) = (low, low)
            for node in 1..<nodes {
                let eight = bytes.loadUnaligned(fromByteOffset: node * 64, as: SIMD8<Double>.self)
                sum += eight
                low.replace(with: eight, where: eight .< low)
                high.replace(with: eight, where: eight .> high)
            }
            let total = sum.sum()
            return Cell(
                sum: total, min: low.min(), max: high.max(), count: total == total ? UInt32(nodes * 8) : 0)
        }
    }

    /// All eight GPUs of a node, without looking at what the values are; a count of 0 says that one is NaN.
    @inline(__always)
    private static func sumOfEight(_ values: Span<Double>, _ first: Int) -> Cell {
        var low = values[first]
        var high = low
        var sum = low
        for offset in 1..<8 {
            let value = values[first &+ offset]
            sum += value
            low = value < low ? value : low
            high = value > high ? value : high
        }
        return Cell(sum: sum, min: low, max: high, count: sum == sum ? 8 : 0)
    }

    @inline(never)
    private static func sumOfSome(
        _ values: Span<Double>, _ first: Int, _ mask: UInt64, _ isWide: Bool, _ lane: Int,
        _ heard: inout UInt64, _ drops: inout DropCounts
    ) -> Cell {
        var cell = Cell()
        for offset in 0..<8 where mask & (1 << UInt64(offset)) != 0 {
            let value = values[first + offset]
            if let reason = SampleFilter.reason(value, isWide: isWide) {
                drops.add(reason)
            } else {
                cell.add(value)
                heard |= 1 << UInt64(lane * 8 + offset)
            }
        }
        return cell
    }

    /// The sketch's share of `sumOfSome`.
    private mutating func feed(
        _ cell: Int, _ values: Span<Double>, _ first: Int, _ mask: UInt64, _ isWide: Bool
    ) {
        for offset in 0..<8 where mask & (1 << UInt64(offset)) != 0 {
            let value = values[first + offset]
            if SampleFilter.reason(value, isWide: isWide) == nil {
                sketches.add(SketchKey(value), to: cell)
            }
        }
    }
}
