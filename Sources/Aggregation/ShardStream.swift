import Telemetry

/// Holds a window for the arrays and queues that cannot hold what is not copyable. Only its shard touches it.
final class WindowBox {
    var state = WindowAccumulator()
}

/// One stream in one shard: series, open windows, and what goes from the one to the other.
struct ShardStream: ~Copyable {
    let shared: StreamShared
    let shard: Int
    let shardCount: Int
    let limits: AggregationLimits
    /// The control of the stream admits no more (`AdmittedWindows`), but for what a log repeats.
    private let windowsMax: Int

    private var slots = SlotTable()
    private var directory = NodeDirectory()
    private var fields: [FieldIndex] = []
    /// Column of each field, indexed by `FieldIndex`, or -1.
    private var columnOfField = Array(repeating: Int16(-1), count: FieldCatalog.all.count)
    /// Ascending by start.
    private var windows: [WindowBox] = []
    private var spare: [WindowBox] = []
    private(set) var sealedThroughMs: Int64
    /// Windows that end by this time were published.
    private var emittedThroughMs = Int64.min
    /// Closed windows from here on may be revised.
    private var revisesFromMs = Int64.max
    /// What came for windows that were published, ascending by start.
    private var late: [WindowBox] = []
    /// Of each window that was published and may be revised, by its start.
    private var heard: [Int64: HeardGPUs] = [:]
    private var jobs = JobSnapshot()

    private var accepted: [AcceptedSample] = []
    private var edges: [XIDEdge] = []
    private var scratch: [Double] = []
    private var lastTickMs = Int64.min
    private var fleet = FleetSeries()
    private var restored: RestoredSeries
    /// Of nodes that have moved, all numbers in `directory`, by topology index; and the present number of each former one.
    private var formerNumbers: [Int32: Set<Int32>] = [:]
    private var successors: [Int32: Int32] = [:]
    private var moves = NodeMoves()

    /// Emptied windows that are kept for the next.
    private static let spareMax = 2

    init(shared: StreamShared, shard: Int, shardCount: Int, limits: AggregationLimits) {
        self.shared = shared
        self.shard = shard
        self.shardCount = shardCount
        self.limits = limits
        windowsMax = AdmittedWindows.most(shared.spec.plan, limits)
        sealedThroughMs = shared.spec.closedThroughMs ?? .min
        restored = RestoredSeries(shared.spec.checkpoints, shared.topology.snapshot()) {
            Int($0) % shardCount == shard
        }
    }

    func look(at slot: UInt32) -> SeriesState? { slots.look(at: slot) }

    mutating func register(_ series: [SeriesDescriptor]) {
        for one in series where Int(one.slot) < limits.slotsMax {
            var slot = Slot()
            let rack = directory.rack(one.rack)
            slot.node = directory.node(one.node, rack: rack)
            if one.isShared {
                slot.flags.insert(.isShared)
            } else {
                slot.ordinal = directory.ordinal(gpu: one.gpu, node: slot.node, rack: rack)
            }
            slot.field = column(one.field)
            slot.kind = Contribution.ofField[Int(one.field.rawValue)]
            if SampleFilter.isWide[Int(one.field.rawValue)] { slot.flags.insert(.isWide) }
            if !restored.isEmpty, one.redundantTo == nil, slot.kind != .gauge, !one.isShared,
                let known = restored.take(gpu: one.gpu, one.field)
            {
                slot.lastMs = known.lastMs
                slot.lastValue = known.lastValue
            }
            slots.register(slot, at: Int(one.slot), redundantTo: one.redundantTo)
        }
    }

    /// Has nodes stand in other racks.
    ///
    /// - Returns: whether any of them is in this shard: then their series are to be moved.
    mutating func move(_ racks: [Int32: Int32]) -> Bool {
        var isMine = false
        for (node, rack) in racks {
            let old = directory.find(node: node)
            guard old >= 0 else { continue }
            let new = directory.node(node, rack: directory.rack(rack))
            guard new != old else { continue }
            isMine = true
            moves.note(node, from: old, closedThroughMs: emittedThroughMs)
            // Series may still be on their way out of the place before.
            formerNumbers[node, default: []].formUnion([old, new])
            for number in formerNumbers[node] ?? [] { successors[number] = number == new ? nil : new }
        }
        return isMine
    }

    /// - Returns: whether there are no more.
    mutating func moveSeries(in range: Range<Int>) -> Bool {
        for index in range.clamped(to: 0..<slots.count) {
            let node = slots.slots[index].node
            guard node >= 0, let new = successors[node], !slots.slots[index].flags.contains(.isShared) else {
                continue
            }
            let old = NodeDirectory.Place(
                rack: directory.rackOfNode[Int(node)], ordinal: slots.slots[index].ordinal)
            slots.move(index, node: new, ordinal: directory.move(old, to: new).ordinal)
        }
        return range.upperBound >= slots.count
    }

    /// - Returns: how many of the slots were in use.
    mutating func retire(_ retired: [UInt32]) -> Int { slots.retire(retired) }

    /// Slots in some range that are silent, and whether there are more beyond.
    mutating func nameSilent(in range: Range<Int>, nowMs: Int64) -> (named: [UInt32], isLast: Bool) {
        let named = slots.nameSilent(in: range, now: Arrival(ms: nowMs), silentMs: limits.seriesSilentMs)
        return (named, range.upperBound >= slots.count)
    }

    /// What was received and dropped of a batch; the rest is in flight until its windows are committed.
    mutating func absorb(_ batch: SampleBatch) -> Ledger {
        var drops = DropCounts()
        accepted.removeAll(keepingCapacity: true)
        edges.removeAll(keepingCapacity: true)
        let rules = SlotTable.Rules(
            arrivalMs: batch.arrivalMs, baseMs: batch.baseMs, openFromMs: min(sealedThroughMs, revisesFromMs),
            futureMaxMs: limits.futureMaxMs, ownerSilentMs: limits.ownerSilentMs)
        slots.judge(batch.records, rules, into: &accepted, &drops, &edges)
        addAccepted(&drops)
        if !edges.isEmpty { detect() }
        var ledger = Ledger()
        drops.move(into: &ledger)
        if batch.isCounted {
            // Read from the log again: the drops are in the ledger of an earlier process, and so is what its windows
            // took. What is taken now was in flight then, which the start of the stream has taken out.
            let dropped = ledger.dropped
            ledger = Ledger()
            ledger.received = Int64(batch.records.count) - dropped
        } else {
            ledger.received = Int64(batch.records.count)
        }
        shared.add(ledger, shard: shard)
        return ledger
    }

    /// Samples mostly come in runs of one window.
    private mutating func addAccepted(_ drops: inout DropCounts) {
        var index = 0
        while index < accepted.count {
            let startMs = shared.spec.plan.start(accepted[index].timeMs)
            let endMs = startMs + shared.spec.plan.finestMs
            var end = index + 1
            while end < accepted.count, accepted[end].timeMs >= startMs, accepted[end].timeMs < endMs {
                end += 1
            }
            let isLate = endMs <= emittedThroughMs
            if isLate, !moves.isEmpty { placeLate(index..<end, windowEndMs: endMs) }
            if let window = isLate ? lateWindow(startMs, endMs) : window(startMs, endMs) {
                window.state.add(accepted, in: index..<end, directory, jobs, fieldCount: fields.count)
            } else {
                drops.add(.tooOld, Int32(end - index))
            }
            index = end
        }
    }

    /// The open window with that start, or `nil` when too many are open.
    private mutating func window(_ startMs: Int64, _ endMs: Int64) -> WindowBox? {
        var place = windows.count
        while place > 0, windows[place - 1].state.startMs >= startMs {
            place -= 1
            if windows[place].state.startMs == startMs { return windows[place] }
        }
        guard windows.count < windowsMax else { return nil }
        let window = opened(startMs, endMs)
        windows.insert(window, at: place)
        shared.opened(startMs)
        return window
    }

    private mutating func opened(_ startMs: Int64, _ endMs: Int64) -> WindowBox {
        let window = spare.popLast() ?? WindowBox()
        window.state.open(
            startMs: startMs, endMs: endMs, fieldCount: fields.count, jobsVersion: jobs.version,
            keepsNodes: shared.spec.levels.contains(.node))
        return window
    }

    // MARK: Late samples

    /// What revises a window that was published, or `nil` when too many are.
    private mutating func lateWindow(_ startMs: Int64, _ endMs: Int64) -> WindowBox? {
        let place = late.firstIndex { $0.state.startMs >= startMs } ?? late.count
        if place < late.count, late[place].state.startMs == startMs { return late[place] }
        guard late.count < limits.openWindowsMax else { return nil }
        let window = opened(startMs, endMs)
        late.insert(window, at: place)
        return window
    }

    /// Has samples of a closed window count where their nodes stood when it was closed.
    private mutating func placeLate(_ range: Range<Int>, windowEndMs: Int64) {
        for index in range {
            let now = Int(accepted[index].node)
            let place = NodeDirectory.Place(
                rack: directory.rackOfNode[now], ordinal: accepted[index].ordinal)
            guard let then = moves.number(of: directory.nodes[now], windowEndMs: windowEndMs), then != now,
                Int(place.ordinal) < directory.gpus[Int(place.rack)].count
            else { continue }
            accepted[index].node = then
            accepted[index].ordinal = directory.move(place, to: then).ordinal
        }
    }

    /// Closed windows that start before that time are not kept any more: what came for them is late after all.
    mutating func revise(fromMs: Int64) -> Ledger {
        revisesFromMs = fromMs
        moves.forget(beforeMs: fromMs)
        heard = heard.filter { $0.key >= fromMs }
        var ledger = Ledger()
        while let first = late.first, first.state.startMs < fromMs {
            ledger[.late] += first.state.sampleCount
            late.removeFirst()
        }
        shared.add(ledger, shard: shard)
        return ledger
    }

    /// Takes out what came late, with what was heard of those windows before.
    mutating func takeLate() -> [(window: WindowBox, known: HeardGPUs)] {
        defer { late = [] }
        return late.map { ($0, heard[$0.state.startMs] ?? HeardGPUs(WindowAccumulator())) }
    }

    mutating func giveBackLate(_ window: WindowBox) {
        heard[window.state.startMs, default: HeardGPUs(WindowAccumulator())].add(window.state)
        if spare.count < Self.spareMax { spare.append(window) }
    }

    private mutating func column(_ field: FieldIndex) -> UInt8 {
        let known = columnOfField[Int(field.rawValue)]
        if known >= 0 { return UInt8(known) }
        let column = UInt8(fields.count)
        columnOfField[Int(field.rawValue)] = Int16(column)
        fields.append(field)
        return column
    }

    mutating func use(_ snapshot: JobSnapshot) { jobs = snapshot }

    mutating func seal(throughMs: Int64) { sealedThroughMs = max(sealedThroughMs, throughMs) }

    // MARK: Closing

    /// Takes out the windows that end by a time, oldest first.
    mutating func take(throughMs: Int64) -> [WindowBox] {
        var taken: [WindowBox] = []
        emittedThroughMs = max(emittedThroughMs, throughMs)
        while let first = windows.first, first.state.endMs <= throughMs {
            taken.append(windows.removeFirst())
        }
        return taken
    }

    func sliceContext(maintenance: FaultTable?) -> SliceContext {
        SliceContext(
            shared: shared, shard: shard, directory: directory, fields: fields,
            jobNames: shared.jobNames.all, limits: limits, maintenance: maintenance)
    }

    mutating func giveBack(_ window: WindowBox) {
        fleet.forgetMarks(throughMs: window.state.endMs)
        shared.closed(window.state.startMs)
        if shared.spec.plan.reviseWithinMs > 0 {
            heard[window.state.startMs] = HeardGPUs(window.state)
        }
        if spare.count < Self.spareMax { spare.append(window) }
    }

    // MARK: Checkpoints

    /// Writes down some racks of a fleet and some slots.
    ///
    /// - Returns: whether there are no more.
    func fill(_ writer: inout CheckpointWriter?, part: Int, throughMs: Int64) -> Bool {
        let racks = limits.racksPerBlock
        let isLastRack = fleet.write(
            into: &writer, racks: part * racks..<(part + 1) * racks, throughMs: throughMs, fields, directory)
        let range = part * limits.slotsPerBlock / 4..<(part + 1) * limits.slotsPerBlock / 4
        // A fleet of many racks goes on when there are no more slots.
        for index in range.clamped(to: 0..<slots.count) {
            let slot = slots.slots[index]
            guard slot.node >= 0, slot.kind != .gauge, slot.lastMs != Slot.noTime, slots.owns(index) else {
                continue
            }
            let gpu = directory.gpus[Int(directory.rackOfNode[Int(slot.node)])][Int(slot.ordinal)]
            writer?.add(
                .init(
                    gpu: gpu, field: fields[Int(slot.field)], lastMs: slot.lastMs, lastValue: slot.lastValue))
        }
        return isLastRack && range.upperBound >= slots.count
    }

    // MARK: Fleets

    /// Reads in what the topology has since the last tick, and makes what the racks of this tick are added with.
    mutating func begin(_ tick: TickRun) -> (TickContext, racks: [Int32]) {
        if tick.topology.version != 0 {
            let count = Int32(shardCount)
            let mine = Int32(shard)
            let racks = shared.spec.racks
            directory.read(tick.topology) { $0 % count == mine && racks?($0) ?? true }
        }
        let context = TickContext(
            timeMs: tick.tick.timeMs, columns: tick.tick.fields.map { column($0) },
            isWide: tick.tick.fields.map { SampleFilter.isWide[Int($0.rawValue)] },
            kinds: tick.tick.fields.map { Contribution.ofField[Int($0.rawValue)] },
            xidPosition: tick.tick.fields.firstIndex(of: .xidErrors), jobs: tick.jobs,
            feedsSketches: tick.feedsSketches)
        if shared.spec.checkpointEveryMs != nil, refusal(context.timeMs) == nil {
            fleet.mark(windowStartMs: shared.spec.plan.start(context.timeMs))
        }
        scratch = Array(repeating: 0, count: max(scratch.count, context.columns.count * 64))
        return (context, directory.racks)
    }

    /// Adds some of the shard's racks at one tick; `racks` are local numbers.
    mutating func add(_ tick: TickRun, _ context: TickContext, racks: Range<Int>) -> Ledger {
        var ledger = Ledger()
        var drops = DropCounts()
        edges.removeAll(keepingCapacity: true)
        let startMs = shared.spec.plan.start(context.timeMs)
        let refused = refusal(context.timeMs)
        let box = refused == nil ? window(startMs, startMs + shared.spec.plan.finestMs) : nil
        box?.state.prepare(directory, jobs, fieldCount: fields.count)
        var values: [Double] = []
        swap(&values, &scratch)
        defer { swap(&values, &scratch) }
        for rack in racks where Int(directory.racks[rack]) < tick.tick.rackCount {
            let state = Self.fill(tick.tick, Int(directory.racks[rack]), &values)
            let samples = Int64(state.reporting.nonzeroBitCount * context.columns.count)
            ledger.received += samples
            // Like slots, they see what comes too late for its window.
            if refused == nil || refused == .late {
                fleet.replace(&values, rack: rack, state, context, fields, directory, restored, &edges)
            }
            guard let box else {
                drops.add(refused ?? .tooOld, Int32(samples))
                continue
            }
            box.state.add(state, rack: rack, values.span, context, directory, &drops)
        }
        drops.move(into: &ledger)
        if !edges.isEmpty { detect() }
        shared.add(ledger, shard: shard)
        return ledger
    }

    private static func fill(_ tick: any FleetTick, _ rack: Int, _ values: inout [Double]) -> RackTick {
        var span = values.mutableSpan
        return tick.fill(rack: rack, into: &span)
    }

    mutating func finished(_ context: TickContext) { lastTickMs = max(lastTickMs, context.timeMs) }

    /// The rules for a series, for a whole tick.
    private func refusal(_ timeMs: Int64) -> DropReason? {
        if timeMs < 0 { return .tooOld }
        if timeMs <= lastTickMs { return timeMs == lastTickMs ? .duplicate : .outOfOrder }
        return timeMs < sealedThroughMs ? .late : nil
    }

    // MARK: Detection

    /// Tells of the XIDs that series have changed to.
    private func detect() {
        let topology = shared.topology.snapshot()
        let events = edges.compactMap { edge -> Event? in
            let gpu = Int(directory.gpus[Int(directory.rackOfNode[Int(edge.node)])][Int(edge.ordinal)])
            guard gpu < topology.gpuNode.count else { return nil }
            let node = Int(topology.gpuNode[gpu])
            let code = Int(exactly: edge.code.rounded()) ?? 0
            let text = XID.text(code) ?? "not in DCGM's table"
            let ordinal = Int(topology.gpuOrdinal[gpu])
            let name = topology.nodeNames[node]
            return Event(
                stream: shared.spec.id, timeMs: edge.timeMs, kind: .xid, entity: name, gpu: ordinal,
                value: edge.code, message: "XID \(code) on GPU \(ordinal) of \(name): \(text)",
                source: .detected)
        }
        shared.detected(events)
    }
}
