import Telemetry

/// The series of one stream in one shard, and the rules that a sample has to pass before it may count.
struct SlotTable: ~Copyable {
    /// What the rules are measured with, for one batch.
    struct Rules {
        var arrivalMs: Int64
        var baseMs: Int64
        /// Everything before this is closed.
        var sealedThroughMs: Int64
        var futureMaxMs: Int64
        var ownerSilentMs: Int64
    }

    private var slots: [Slot] = []

    mutating func register(_ slot: Slot, at index: Int) {
        if slots.count <= index {
            slots.append(contentsOf: repeatElement(Slot(), count: index + 1 - slots.count))
        }
        var slot = slot
        if slot.root >= 0 {
            guard Int(slot.root) < slots.count, slot.root != Int32(index) else {
                slots[index] = slot
                slots[index].root = Slot.none
                return
            }
            // A third source names any of the others: all of them share the first.
            let named = slots[Int(slot.root)]
            if named.root >= 0 { slot.root = named.root }
            let root = Int(slot.root)
            if slots[root].root < 0 {
                slots[root].root = Int32(root)
                slots[root].owner = Int32(root)
            }
        }
        slots[index] = slot
    }

    /// Sends each record through the rules; what may count is appended to `accepted`.
    mutating func judge(
        _ records: [SampleRecord], _ rules: Rules, into accepted: inout [AcceptedSample],
        _ drops: inout DropCounts, _ edges: inout [XIDEdge]
    ) {
        var slots = slots.mutableSpan
        let records = records.span
        for index in records.indices {
            var record = records[index]
            let place = Int(record.slot)
            guard place < slots.count, slots[place].node >= 0 else {
                drops.add(.noEntity)
                continue
            }
            let timeMs = rules.baseMs &+ Int64(record.offsetMs)
            if let reason = Self.reject(&record.value, timeMs, place, &slots, rules, &edges) {
                drops.add(reason)
                continue
            }
            let slot = slots[place]
            accepted.append(
                AcceptedSample(
                    timeMs: timeMs, value: record.value, node: slot.node, rack: slot.rack,
                    ordinal: slot.ordinal, field: slot.field))
        }
    }

    /// Why a sample does not count, or `nil`. The order is that of a series' life: what is no measurement, what is
    /// somebody else's to say, what was said before, and what comes after its window was closed. Of a sample that
    /// counts, `value` becomes what it adds.
    @inline(__always)
    private static func reject(
        _ value: inout Double, _ timeMs: Int64, _ place: Int, _ slots: inout MutableSpan<Slot>,
        _ rules: Rules,
        _ edges: inout [XIDEdge]
    ) -> DropReason? {
        if let reason = SampleFilter.reason(value, isWide: slots[place].isWide) { return reason }
        if timeMs > rules.arrivalMs &+ rules.futureMaxMs { return .future }
        if timeMs < 0 { return .tooOld }
        if slots[place].root >= 0, isRedundant(place, &slots, rules) { return .redundant }
        slots[place].lastArrivalMs = rules.arrivalMs
        let lastMs = slots[place].lastMs
        if timeMs <= lastMs {
            if timeMs < lastMs { return .outOfOrder }
            return value == slots[place].lastValue ? .duplicate : .conflict
        }
        let last = slots[place].lastValue
        slots[place].lastValue = value
        slots[place].lastMs = timeMs
        if slots[place].kind != .gauge {
            contribute(&value, slots[place], after: lastMs == Slot.noTime ? nil : last, timeMs, &edges)
        }
        return timeMs < rules.sealedThroughMs ? .late : nil
    }

    @inline(never)
    private static func contribute(
        _ value: inout Double, _ slot: Slot, after last: Double?, _ timeMs: Int64, _ edges: inout [XIDEdge]
    ) {
        let code = value
        value = last.map { slot.kind.value(code, after: $0, isWide: slot.isWide) } ?? 0
        if slot.kind == .sticky, value > 0 {
            edges.append(XIDEdge(gpu: slot.gpu, timeMs: timeMs, code: code))
        }
    }

    /// Whether another source owns this (GPU, field); takes over from one that has been silent for too long.
    @inline(never)
    private static func isRedundant(_ place: Int, _ slots: inout MutableSpan<Slot>, _ rules: Rules) -> Bool {
        let root = Int(slots[place].root)
        let owner = Int(slots[root].owner)
        guard owner != place else { return false }
        let heardMs = slots[owner].lastArrivalMs
        if heardMs != Slot.noTime, rules.arrivalMs &- heardMs < rules.ownerSilentMs { return true }
        slots[root].owner = Int32(place)
        // What the old owner said is said: its times and its last XID are not told a second time.
        if slots[owner].lastMs > slots[place].lastMs {
            slots[place].lastMs = slots[owner].lastMs
            slots[place].lastValue = slots[owner].lastValue
        }
        return false
    }
}
