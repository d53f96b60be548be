import CPrefetch
import Sketches
import Telemetry

/// Count, sum, minimum and maximum of some values.
struct Cell {
    var sum: Double = 0
    var min: Double = .infinity
    var max: Double = -.infinity
    var count: UInt32 = 0

    @inline(__always)
    mutating func add(_ value: Double) {
        sum += value
        // Without a branch: which values are new extremes cannot be foreseen.
        min = value < min ? value : min
        max = value > max ? value : max
        count &+= 1
    }

    @inline(__always)
    mutating func merge(_ other: Cell) {
        sum += other.sum
        if other.min < min { min = other.min }
        if other.max > max { max = other.max }
        count &+= other.count
    }
}

/// What one shard knows of one open window: cells by (node, field) and by (group, field), where a group is the part
/// of a rack that worked for one job; a sketch beside each group's cell.
///
/// Rows are made when something is heard, so that a window with few samples costs little.
struct WindowAccumulator: ~Copyable {
    /// The row of a node, and the group to which its samples belong during `fromMs ..< toMs`.
    struct Node {
        var fromMs: Int64 = .max
        var toMs: Int64 = .min
        /// -1: nothing was heard.
        var row: Int32 = -1
        var group: Int32 = -1
    }

    struct Group {
        /// Local to the shard.
        var rack: Int32
        var job: Int32
        /// The next group of the same rack, or -1.
        var next: Int32
        /// Index of the first word of its GPUs' bits, and how many there are.
        var firstWord: Int32
        var wordCount: Int32
    }

    private(set) var startMs: Int64 = 0
    private(set) var endMs: Int64 = 0
    /// Cells of a row: at least the number of the shard's fields.
    private(set) var stride = 0
    /// Whether nodes have cells, or only rows that say they were heard.
    private(set) var keepsNodes = true
    /// Version of the `JobSnapshot` that the nodes' groups were looked up in.
    private var jobsVersion = 0

    var nodes: [Node] = []
    var nodeCells: [Cell] = []
    private(set) var rowCount = 0
    var sampleCount: Int64 = 0
    /// First group of each local rack, or -1.
    var firstGroups: [Int32] = []
    var groups: [Group] = []
    var groupCells: [Cell] = []
    var sketches = SketchArena()
    /// Bit sets over the positions of a rack's GPUs, by group: heard of; and of fleets also there, and broken.
    var reporting: [UInt64] = []
    var expected: [UInt64] = []
    var faulted: [UInt64] = []

    init() {}

    /// Makes it an empty window, keeping its memory.
    mutating func open(
        startMs: Int64, endMs: Int64, fieldCount: Int, jobsVersion: Int, keepsNodes: Bool
    ) {
        self.keepsNodes = keepsNodes
        self.startMs = startMs
        self.endMs = endMs
        self.jobsVersion = jobsVersion
        stride = (fieldCount + 7) / 8 * 8
        nodes.removeAll(keepingCapacity: true)
        nodeCells.removeAll(keepingCapacity: true)
        rowCount = 0
        sampleCount = 0
        firstGroups.removeAll(keepingCapacity: true)
        groups.removeAll(keepingCapacity: true)
        groupCells.removeAll(keepingCapacity: true)
        sketches.removeAll()
        reporting.removeAll(keepingCapacity: true)
        expected.removeAll(keepingCapacity: true)
        faulted.removeAll(keepingCapacity: true)
    }

    /// Adds samples of this window; all are counted.
    mutating func add(
        _ samples: [AcceptedSample], in range: Range<Int>, _ directory: NodeDirectory, _ jobs: JobSnapshot,
        fieldCount: Int
    ) {
        prepare(directory, jobs, fieldCount: fieldCount)
        sampleCount += Int64(range.count)
        var index = range.lowerBound
        while index < range.upperBound {
            index = Self.addKnown(
                samples, index..<range.upperBound, nodes, stride, keepsNodes, &nodeCells, &groupCells,
                &reporting, groups, &sketches)
            guard index < range.upperBound else { return }
            addUnknown(samples[index], directory, jobs)
            index += 1
        }
    }

    /// Where one of the next samples goes: looked up ahead for some of them together.
    private struct Target {
        var key = SketchKey(rawValue: 0)
        /// Cell of its group; -1: something has to be made first.
        var groupCell: Int32 = -1
        var nodeCell: Int32 = 0
        /// Its bit of those that were heard.
        var word: Int32 = 0
        /// Its counter in the sketch; -1: there is none yet.
        var counter: Int32 = -1
    }

    /// Room for two blocks: one that is added, and the next one, which the memory brings meanwhile.
    private typealias Targets = InlineArray<32, Target>
    private static let block = 16

    /// Where the tables begin: only to say ahead what is needed, nothing is read or written through them.
    private struct Addresses {
        var counters: UnsafePointer<UInt32>?
        var groupCells: UnsafePointer<Cell>?
        var nodeCells: UnsafePointer<Cell>?
    }

    /// The hot loop. Stops at the first sample for which something is not there yet, and has not touched it.
    private static func addKnown(
        _ samples: [AcceptedSample], _ range: Range<Int>, _ nodes: [Node], _ stride: Int,
        _ keepsNodes: Bool, _ nodeCells: inout [Cell], _ groupCells: inout [Cell],
        _ reporting: inout [UInt64], _ groups: [Group], _ sketches: inout SketchArena
    ) -> Int {
        sketches.withCounters { runs, counters in
            var nodeCells = nodeCells.mutableSpan
            var groupCells = groupCells.mutableSpan
            var reporting = reporting.mutableSpan
            let samples = samples.span
            let nodes = nodes.span
            let groups = groups.span
            let addresses = Addresses(
                counters: counters.withUnsafeBufferPointer { $0.baseAddress },
                groupCells: groupCells.withUnsafeBufferPointer { $0.baseAddress },
                nodeCells: keepsNodes ? nodeCells.withUnsafeBufferPointer { $0.baseAddress } : nil)
            var targets = Targets(repeating: Target())
            var index = range.lowerBound
            // Few at first, where the last sample needed something that was not there: the next may need something, too.
            var blockEnd = min(index &+ 2, range.upperBound)
            var first = index
            var side = 0
            prepare(samples, index..<blockEnd, nodes, groups, stride, runs, addresses, &targets, at: side)
            var isFirst = true
            while index < range.upperBound {
                // Nothing is looked up behind those few, which would be for nothing.
                let nextEnd = isFirst ? blockEnd : min(blockEnd &+ block, range.upperBound)
                prepare(
                    samples, blockEnd..<nextEnd, nodes, groups, stride, runs, addresses, &targets,
                    at: block &- side)
                while index < blockEnd {
                    let target = targets[side &+ index &- first]
                    guard target.groupCell >= 0 else { return index }
                    let sample = samples[index]
                    if target.counter >= 0 {
                        SketchArena.count(Int(target.counter), &counters)
                    } else {
                        // A zero, or a counter that is not there.
                        guard
                            SketchArena.add(target.key, to: Int(target.groupCell), &runs, &counters)
                        else { return index }
                    }
                    groupCells[Int(target.groupCell)].add(sample.value)
                    if keepsNodes { nodeCells[Int(target.nodeCell)].add(sample.value) }
                    reporting[Int(target.word)] |= 1 &<< UInt64(sample.ordinal & 63)
                    index &+= 1
                }
                first = blockEnd
                side = block &- side
                blockEnd = nextEnd
                guard isFirst else { continue }
                isFirst = false
                blockEnd = min(blockEnd &+ block, range.upperBound)
                prepare(
                    samples, first..<blockEnd, nodes, groups, stride, runs, addresses, &targets, at: side)
            }
            return index
        }
    }

    /// Looks up where some samples go. What a sample adds to lies anywhere, its counter above all: so the memory is told
    /// of all of them, and brings it while others are added.
    @inline(__always)
    private static func prepare(
        _ samples: Span<AcceptedSample>, _ range: Range<Int>, _ nodes: Span<Node>, _ groups: Span<Group>,
        _ stride: Int, _ runs: borrowing MutableSpan<SketchArena.Run>, _ addresses: Addresses,
        _ targets: inout Targets, at first: Int
    ) {
        for index in range {
            targets[first &+ index &- range.lowerBound] = target(of: samples[index], nodes, groups, stride)
        }
        for place in first..<first &+ range.count where targets[place].groupCell >= 0 {
            let cell = Int(targets[place].groupCell)
            let counter = SketchArena.find(targets[place].key, in: cell, runs)
            targets[place].counter = counter
            if counter >= 0, let counters = addresses.counters { cprefetch_write(counters + Int(counter)) }
            if let cells = addresses.groupCells { cprefetch_write(cells + cell) }
            if let cells = addresses.nodeCells { cprefetch_write(cells + Int(targets[place].nodeCell)) }
        }
    }

    @inline(__always)
    private static func target(
        of sample: AcceptedSample, _ nodes: Span<Node>, _ groups: Span<Group>, _ stride: Int
    ) -> Target {
        var target = Target()
        let node = nodes[Int(sample.node)]
        guard sample.timeMs >= node.fromMs, sample.timeMs < node.toMs else { return target }
        let word = Int(sample.ordinal) >> 6
        let group = groups[Int(node.group)]
        guard word < Int(group.wordCount) else { return target }
        let column = Int(sample.field)
        target.key = SketchKey(sample.value)
        target.groupCell = Int32(truncatingIfNeeded: Int(node.group) &* stride &+ column)
        target.nodeCell = Int32(truncatingIfNeeded: Int(node.row) &* stride &+ column)
        target.word = Int32(truncatingIfNeeded: Int(group.firstWord) &+ word)
        return target
    }

    /// The same for a sample that needs a row, a group or room first.
    @inline(never)
    private mutating func addUnknown(
        _ sample: AcceptedSample, _ directory: NodeDirectory, _ jobs: JobSnapshot
    ) {
        let node = Int(sample.node)
        if sample.timeMs < nodes[node].fromMs || sample.timeMs >= nodes[node].toMs {
            let membership = jobs.membership(node: directory.nodes[node], timeMs: sample.timeMs)
            place(node, membership, rack: directory.rackOfNode[node], directory)
        }
        let group = Int(nodes[node].group)
        let word = Int(sample.ordinal) >> 6
        if word >= Int(groups[group].wordCount) { widen(group, toHold: word) }
        let cell = group * stride + Int(sample.field)
        sketches.add(SketchKey(sample.value), to: cell)
        groupCells[cell].add(sample.value)
        if keepsNodes { nodeCells[Int(nodes[node].row) * stride + Int(sample.field)].add(sample.value) }
        reporting[Int(groups[group].firstWord) + word] |= 1 << UInt64(sample.ordinal & 63)
    }

    /// Brings the tables to the size of the directory and of the fields, and forgets groups that were looked up in
    /// an older table of jobs.
    mutating func prepare(_ directory: NodeDirectory, _ jobs: JobSnapshot, fieldCount: Int) {
        if nodes.count < directory.nodes.count {
            nodes.append(contentsOf: repeatElement(Node(), count: directory.nodes.count - nodes.count))
        }
        if firstGroups.count < directory.racks.count {
            firstGroups.append(
                contentsOf: repeatElement(-1, count: directory.racks.count - firstGroups.count))
        }
        if jobsVersion != jobs.version {
            jobsVersion = jobs.version
            for node in nodes.indices {
                nodes[node].fromMs = .max
                nodes[node].toMs = .min
            }
        }
        if fieldCount > stride { restride((fieldCount + 7) / 8 * 8) }
    }

    /// Gives a node its row, and puts it into its group for the time of that membership.
    mutating func place(_ node: Int, _ membership: JobInterval, rack: Int32, _ directory: NodeDirectory) {
        if nodes[node].row < 0 {
            nodes[node].row = Int32(rowCount)
            rowCount += 1
            if keepsNodes { nodeCells.append(contentsOf: repeatElement(Cell(), count: stride)) }
        }
        nodes[node].group = group(rack: rack, job: membership.job, directory)
        nodes[node].fromMs = membership.fromMs
        nodes[node].toMs = membership.toMs
    }

    private mutating func group(rack: Int32, job: Int32, _ directory: NodeDirectory) -> Int32 {
        var candidate = firstGroups[Int(rack)]
        while candidate >= 0 {
            if groups[Int(candidate)].job == job { return candidate }
            candidate = groups[Int(candidate)].next
        }
        let words = max(1, (directory.gpuNodes[Int(rack)].count + 63) / 64)
        let number = Int32(groups.count)
        groups.append(
            Group(
                rack: rack, job: job, next: firstGroups[Int(rack)], firstWord: Int32(reporting.count),
                wordCount: Int32(words)))
        firstGroups[Int(rack)] = number
        appendWords(words)
        groupCells.append(contentsOf: repeatElement(Cell(), count: stride))
        sketches.resize(to: groups.count * stride)
        return number
    }

    private mutating func appendWords(_ count: Int) {
        reporting.append(contentsOf: repeatElement(0, count: count))
        expected.append(contentsOf: repeatElement(0, count: count))
        faulted.append(contentsOf: repeatElement(0, count: count))
    }

    /// Moves a group's bits to the end, with room for more GPUs of its rack.
    private mutating func widen(_ group: Int, toHold word: Int) {
        let old = groups[group]
        let first = reporting.count
        let count = max(word + 1, Int(old.wordCount) * 2)
        appendWords(count)
        for index in 0..<Int(old.wordCount) {
            reporting[first + index] = reporting[Int(old.firstWord) + index]
            expected[first + index] = expected[Int(old.firstWord) + index]
            faulted[first + index] = faulted[Int(old.firstWord) + index]
        }
        groups[group].firstWord = Int32(first)
        groups[group].wordCount = Int32(count)
    }

    /// Makes room for fields that were met after the window was opened.
    private mutating func restride(_ wider: Int) {
        if keepsNodes { nodeCells = Self.spread(nodeCells, rows: rowCount, from: stride, to: wider) }
        groupCells = Self.spread(groupCells, rows: groups.count, from: stride, to: wider)
        var spread = SketchArena(count: groups.count * wider)
        for row in groups.indices {
            for column in 0..<stride {
                spread.merge(row * stride + column, of: sketches, into: row * wider + column)
            }
        }
        sketches = spread
        stride = wider
    }

    private static func spread(_ cells: [Cell], rows: Int, from: Int, to: Int) -> [Cell] {
        var wide = Array(repeating: Cell(), count: rows * to)
        for row in 0..<rows {
            for column in 0..<from { wide[row * to + column] = cells[row * from + column] }
        }
        return wide
    }
}
