import Sketches
import Telemetry

/// What the partials of a shard are made with.
struct SliceContext {
    var shared: StreamShared
    var shard: Int
    var directory: NodeDirectory
    /// The shard's fields in the order of its columns.
    var fields: [FieldIndex]
    var jobNames: [String]
    var limits: AggregationLimits
    /// What is under maintenance; `nil` while nothing is.
    var maintenance: FaultTable?
}

extension WindowAccumulator {
    /// The share of some racks.
    ///
    /// - Parameter known: of a window that is closed already, the GPUs that it has heard of: they are not counted.
    borrowing func partial(
        racks: Range<Int>, _ context: SliceContext, known: HeardGPUs? = nil
    ) -> WindowPartial {
        let planned = context.maintenance.map { table in
            MaintainedGPUs(
                table.maintained(fromMs: startMs, toMs: endMs), racks: racks, context.directory,
                context.shared.topology.snapshot())
        }
        var partial = WindowPartial(
            stream: context.shared.index, shard: context.shard, startMs: startMs,
            resolutionMs: endMs - startMs)
        let columns = context.fields.indices.sorted { context.fields[$0] < context.fields[$1] }
            .filter { $0 < stride }
        partial.fields = columns.map { context.fields[$0] }
        fillNodes(&partial, racks, columns, context, known, planned)
        fillGroups(&partial, racks, columns, context, known, planned)
        return partial
    }

    private borrowing func fillNodes(
        _ partial: inout WindowPartial, _ racks: Range<Int>, _ columns: [Int], _ context: SliceContext,
        _ known: HeardGPUs?, _ planned: MaintainedGPUs?
    ) {
        var heard: [(node: Int32, local: Int32)] = []
        for rack in racks {
            for local in context.directory.nodesOfRack[rack]
            where Int(local) < nodes.count && nodes[Int(local)].row >= 0 {
                heard.append((context.directory.nodes[Int(local)], local))
            }
        }
        heard.sort { $0.node < $1.node }
        partial.nodes = heard.map(\.node)
        if context.shared.spec.levels.contains(.node) {
            let rows = heard.map { Int(nodes[Int($0.local)].row) }
            partial.nodeColumns = columns.map { column(nodeCells, rows, $0, context.fields[$0]) }
        }
        var places: [Int32: Int] = [:]
        places.reserveCapacity(heard.count)
        for (place, node) in heard.enumerated() { places[node.local] = place }
        partial.nodeGPUs = GPUCounts(entityCount: heard.count)
        for rack in racks { countGPUs(rack, places, &partial.nodeGPUs, context, known, planned) }
        if context.shared.spec.tellsOrdinals { nameGPUs(&partial, racks, places, context, planned) }
    }

    /// Which GPUs of their nodes were heard. Also those that were heard before: a bit is set once.
    private borrowing func nameGPUs(
        _ partial: inout WindowPartial, _ racks: Range<Int>, _ places: [Int32: Int], _ context: SliceContext,
        _ planned: MaintainedGPUs?
    ) {
        let ordinals = context.shared.topology.snapshot().gpuOrdinal
        partial.nodeOrdinals = Array(repeating: GPUOrdinals(), count: partial.nodes.count)
        for rack in racks {
            var number = firstGroups[rack]
            while number >= 0 {
                let group = groups[Int(number)]
                number = group.next
                for word in 0..<Int(group.wordCount) {
                    var bits = reporting[Int(group.firstWord) + word]
                    bits &= ~(planned?.bits(rack: rack, word: word) ?? 0)
                    while bits != 0 {
                        let place = word * 64 + bits.trailingZeroBitCount
                        bits &= bits - 1
                        guard place < context.directory.gpuNodes[rack].count,
                            let node = places[context.directory.gpuNodes[rack][place]]
                        else { continue }
                        let ordinal = ordinals[Int(context.directory.gpus[rack][place])]
                        guard ordinal < GPUOrdinals.max else { continue }
                        partial.nodeOrdinals[node].reporting |= 1 << UInt64(ordinal)
                        if group.job != JobSnapshot.none {
                            partial.nodeOrdinals[node].inJob |= 1 << UInt64(ordinal)
                        }
                    }
                }
            }
        }
    }

    /// Counts the GPUs of a rack by node: a GPU that worked for two jobs in the window is one GPU.
    private borrowing func countGPUs(
        _ rack: Int, _ places: [Int32: Int], _ counts: inout GPUCounts, _ context: SliceContext,
        _ known: HeardGPUs?, _ planned: MaintainedGPUs?
    ) {
        let gpuNodes = context.directory.gpuNodes[rack]
        // The GPUs of a node mostly follow each other.
        var last: (node: Int32, place: Int?) = (-1, nil)
        for word in 0..<(gpuNodes.count + 63) / 64 {
            var bits = (reporting: UInt64(0), inJob: UInt64(0), expected: UInt64(0), faulted: UInt64(0))
            var number = firstGroups[rack]
            while number >= 0 {
                let group = groups[Int(number)]
                if word < Int(group.wordCount) {
                    let place = Int(group.firstWord) + word
                    bits.reporting |= reporting[place]
                    bits.expected |= expected[place]
                    bits.faulted |= faulted[place]
                    if group.job != JobSnapshot.none { bits.inJob |= reporting[place] }
                }
                number = group.next
            }
            // Bit by bit only over what is there at all.
            if let known = known?.bits(rack: rack, word: word) {
                bits.reporting &= ~known.any
                bits.inJob &= ~known.inJob
            }
            if let planned = planned?.bits(rack: rack, word: word) {
                bits.reporting &= ~planned
                bits.inJob &= ~planned
                bits.faulted &= ~planned
            }
            let moved = context.directory.moved(rack: rack, word: word)
            var any = bits.reporting | bits.expected | bits.inJob
            while any != 0 {
                let bit = any.trailingZeroBitCount
                any &= any - 1
                let ordinal = word * 64 + bit
                guard ordinal < gpuNodes.count else { continue }
                if gpuNodes[ordinal] != last.node { last = (gpuNodes[ordinal], places[gpuNodes[ordinal]]) }
                guard let place = last.place else { continue }
                if moved & (1 << UInt64(bit)) != 0 {
                    let counted = counted(rack, ordinal, job: nil, context.directory, known)
                    if counted.any { bits.reporting &= ~(1 << UInt64(bit)) }
                    if counted.inJob { bits.inJob &= ~(1 << UInt64(bit)) }
                }
                counts.reporting[place] += UInt32((bits.reporting >> UInt64(bit)) & 1)
                counts.inJob[place] += UInt32((bits.inJob >> UInt64(bit)) & 1)
                counts.expected[place] += UInt32((bits.expected >> UInt64(bit)) & 1)
                counts.faulted[place] += UInt32((bits.faulted >> UInt64(bit)) & 1)
            }
        }
    }

    /// Of some GPUs of a group, those that were heard for the same job where they stood before.
    private borrowing func counted(
        _ bits: UInt64, _ group: Group, _ word: Int, _ directory: NodeDirectory, _ known: HeardGPUs?
    ) -> UInt64 {
        let rack = Int(group.rack)
        var counted: UInt64 = 0
        var left = bits & directory.moved(rack: rack, word: word)
        while left != 0 {
            let bit = left.trailingZeroBitCount
            left &= left - 1
            let found = self.counted(rack, word * 64 + bit, job: group.job, directory, known)
            if found.any { counted |= 1 << UInt64(bit) }
        }
        return counted
    }

    /// Whether a GPU was heard where it stood before, in this window or in what is known of it: then it is counted.
    ///
    /// - Parameter job: whether it was for this one; `nil`: in any or none.
    private borrowing func counted(
        _ rack: Int, _ ordinal: Int, job: Int32?, _ directory: NodeDirectory, _ known: HeardGPUs?
    ) -> (any: Bool, inJob: Bool) {
        var found = (any: false, inJob: false)
        var isBefore = true
        for place in directory.placesOfMoved[directory.gpus[rack][ordinal]] ?? [] {
            if place == NodeDirectory.Place(rack: Int32(rack), ordinal: Int32(ordinal)) {
                isBefore = false
                continue
            }
            let bit = UInt64(1) << UInt64(place.ordinal & 63)
            if isBefore {
                let here = heard(place, job)
                if here.any & bit != 0 { found.any = true }
                if here.inJob & bit != 0 { found.inJob = true }
            }
            guard let told = known?.bits(rack: Int(place.rack), word: Int(place.ordinal) >> 6, job: job)
            else {
                continue
            }
            if told.any & bit != 0 { found.any = true }
            if told.inJob & bit != 0 { found.inJob = true }
        }
        return found
    }

    /// The word of a rack's GPUs in which that one is.
    private borrowing func heard(
        _ place: NodeDirectory.Place, _ job: Int32?
    ) -> (any: UInt64, inJob: UInt64) {
        var found: (any: UInt64, inJob: UInt64) = (0, 0)
        var number = Int(place.rack) < firstGroups.count ? firstGroups[Int(place.rack)] : -1
        let word = Int(place.ordinal) >> 6
        while number >= 0 {
            let group = groups[Int(number)]
            number = group.next
            guard word < Int(group.wordCount), job == nil || job == group.job else { continue }
            let bits = reporting[Int(group.firstWord) + word]
            found.any |= bits
            if group.job != JobSnapshot.none { found.inJob |= bits }
        }
        return found
    }

    private borrowing func fillGroups(
        _ partial: inout WindowPartial, _ racks: Range<Int>, _ columns: [Int], _ context: SliceContext,
        _ known: HeardGPUs?, _ planned: MaintainedGPUs?
    ) {
        var numbers: [Int] = []
        for rack in racks {
            var number = firstGroups[rack]
            while number >= 0 {
                numbers.append(Int(number))
                number = groups[Int(number)].next
            }
        }
        partial.groups = numbers.map { number in
            let group = groups[number]
            let job = group.job == JobSnapshot.none ? "" : context.jobNames[Int(group.job)]
            return GroupKey(rack: context.directory.racks[Int(group.rack)], job: job)
        }
        partial.groupGPUs = GPUCounts(entityCount: numbers.count)
        for (place, number) in numbers.enumerated() {
            for word in 0..<Int(groups[number].wordCount) {
                let index = Int(groups[number].firstWord) + word
                let rack = Int(groups[number].rack)
                let told = known?.bits(rack: rack, job: groups[number].job, word: word) ?? 0
                // Series that are not told apart set a bit that no GPU has.
                let there = Self.bits(context.directory.gpuNodes[rack].count - word * 64)
                let counted = ~(planned?.bits(rack: rack, word: word) ?? 0)
                var heard = reporting[index] & ~told & there & counted
                heard &= ~self.counted(heard, groups[number], word, context.directory, known)
                partial.groupGPUs.reporting[place] += UInt32(heard.nonzeroBitCount)
                partial.groupGPUs.expected[place] += UInt32(expected[index].nonzeroBitCount)
                partial.groupGPUs.faulted[place] += UInt32((faulted[index] & counted).nonzeroBitCount)
            }
            if groups[number].job != JobSnapshot.none {
                partial.groupGPUs.inJob[place] = partial.groupGPUs.reporting[place]
            }
        }
        var encoder = SketchEncoder()
        partial.groupColumns = columns.map { column in
            var filled = self.column(groupCells, numbers, column, context.fields[column])
            filled.sketchOffsets.reserveCapacity(numbers.count + 1)
            filled.sketchOffsets.append(0)
            encoder.removeAll()
            for number in numbers {
                sketches.encode(number * stride + column, into: &encoder)
                filled.sketchOffsets.append(UInt32(encoder.count))
            }
            filled.sketchBytes = encoder.bytes
            return filled
        }
    }

    /// That many bits, at most 64.
    private static func bits(_ count: Int) -> UInt64 {
        count >= 64 ? .max : count <= 0 ? 0 : (1 << UInt64(count)) - 1
    }

    private borrowing func column(
        _ cells: borrowing [Cell], _ rows: [Int], _ column: Int, _ field: FieldIndex
    ) -> FieldColumn {
        var filled = FieldColumn(field: field, entityCount: rows.count)
        for (place, row) in rows.enumerated() {
            let cell = cells[row * stride + column]
            guard cell.count > 0 else { continue }
            filled.count[place] = cell.count
            filled.sum[place] = cell.sum
            filled.min[place] = cell.min
            filled.max[place] = cell.max
        }
        return filled
    }
}
