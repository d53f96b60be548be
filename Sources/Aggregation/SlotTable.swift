import CPrefetch
import Sketches
import Telemetry

/// The series of one stream in one shard, and the rules that a sample has to pass before it may count.
struct SlotTable: ~Copyable {
    /// What the rules are measured with, for one batch.
    struct Rules {
        var arrivalMs: Int64
        var baseMs: Int64
        /// What is older comes too late to count.
        var openFromMs: Int64
        var futureMaxMs: Int64
        var ownerSilentMs: Int64
        let arrival: Arrival

        init(
            arrivalMs: Int64, baseMs: Int64, openFromMs: Int64, futureMaxMs: Int64, ownerSilentMs: Int64
        ) {
            self.arrivalMs = arrivalMs
            self.baseMs = baseMs
            self.openFromMs = openFromMs
            self.futureMaxMs = futureMaxMs
            self.ownerSilentMs = ownerSilentMs
            arrival = Arrival(ms: arrivalMs)
        }
    }

    private(set) var slots: [Slot] = []
    /// By slot; empty while no (GPU, field) has two sources.
    private(set) var links: [SlotLink] = []
    /// How many records ahead the slots are asked for.
    private static let ahead = 24

    var count: Int { slots.count }

    /// - Parameter root: another source of the same (GPU, field), where there is one.
    mutating func register(_ slot: Slot, at index: Int, redundantTo root: UInt32?) {
        if slots.count <= index {
            HugePages.reserve(&slots, index + 1)
            slots.append(contentsOf: repeatElement(Slot(), count: index + 1 - slots.count))
        }
        slots[index] = slot
        if let root, Int(root) < slots.count, Int(root) != index { link(index, to: Int(root)) }
    }

    // MARK: Samples

    /// Sends each record through the rules; what may count is appended to `accepted`.
    mutating func judge(
        _ records: [SampleRecord], _ rules: Rules, into accepted: inout [AcceptedSample],
        _ drops: inout DropCounts, _ edges: inout [XIDEdge]
    ) {
        Self.judge(&slots, &links, records, rules, into: &accepted, &drops, &edges)
    }

    /// Apart, because only as arguments are two properties seen to be two.
    private static func judge(
        _ slotArray: inout [Slot], _ links: inout [SlotLink], _ records: [SampleRecord], _ rules: Rules,
        into accepted: inout [AcceptedSample], _ drops: inout DropCounts, _ edges: inout [XIDEdge]
    ) {
        var slots = slotArray.mutableSpan
        let records = records.span
        // Only to say ahead what is needed: nothing is read or written through it.
        let base = slots.withUnsafeBufferPointer { $0.baseAddress }
        for index in records.indices {
            // Series that come in no order: the memory brings the slot of a later one meanwhile.
            if index &+ ahead < records.count {
                let place = Int(records[index &+ ahead].slot)
                if place < slots.count, let base { cprefetch_write(base + place) }
            }
            var record = records[index]
            let place = Int(record.slot)
            guard place < slots.count, slots[place].node >= 0 else {
                drops.add(.noEntity)
                continue
            }
            let timeMs = rules.baseMs &+ Int64(record.offsetMs)
            if let reason = reject(&record.value, timeMs, place, &slots, &links, rules, &edges) {
                drops.add(reason)
                continue
            }
            let slot = slots[place]
            accepted.append(
                AcceptedSample(
                    timeMs: timeMs, value: record.value, node: slot.node, ordinal: slot.ordinal,
                    field: slot.field))
        }
    }

    /// Why a sample does not count, or `nil`. The order is that of a series' life: what is no measurement, what is
    /// somebody else's to say, what was said before, and what comes after its window was closed. Of a sample that
    /// counts, `value` becomes what it adds.
    @inline(__always)
    private static func reject(
        _ value: inout Double, _ timeMs: Int64, _ place: Int, _ slots: inout MutableSpan<Slot>,
        _ links: inout [SlotLink], _ rules: Rules, _ edges: inout [XIDEdge]
    ) -> DropReason? {
        if let reason = SampleFilter.reason(value, isWide: slots[place].isWide) { return reason }
        if timeMs > rules.arrivalMs &+ rules.futureMaxMs { return .future }
        if timeMs < 0 { return .tooOld }
        if !slots[place].flags.isDisjoint(with: [.isLinked, .isShared]) {
            if slots[place].flags.contains(.isShared) { return timeMs < rules.openFromMs ? .late : nil }
            if isRedundant(place, &slots, &links, rules) { return .redundant }
        }
        slots[place].arrival = rules.arrival
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
        return timeMs < rules.openFromMs ? .late : nil
    }

    @inline(never)
    private static func contribute(
        _ value: inout Double, _ slot: Slot, after last: Double?, _ timeMs: Int64, _ edges: inout [XIDEdge]
    ) {
        let code = value
        value = last.map { slot.kind.value(code, after: $0, isWide: slot.isWide) } ?? 0
        if slot.kind == .sticky, value > 0 {
            edges.append(XIDEdge(node: slot.node, ordinal: slot.ordinal, timeMs: timeMs, code: code))
        }
    }

    /// Whether another source owns this (GPU, field); takes over from one that has been silent for too long.
    @inline(never)
    private static func isRedundant(
        _ place: Int, _ slots: inout MutableSpan<Slot>, _ links: inout [SlotLink], _ rules: Rules
    ) -> Bool {
        let root = Int(links[place].root)
        let owner = Int(links[root].owner)
        guard owner != place else { return false }
        let heard = slots[owner].arrival
        if heard != .never, rules.arrival.since(heard) < rules.ownerSilentMs {
            slots[place].arrival = rules.arrival
            return true
        }
        links[root].owner = Int32(place)
        inherit(&slots[place], from: slots[owner])
        return false
    }

    /// What the old owner said is said: its times and its last XID are not told a second time.
    private static func inherit(_ slot: inout Slot, from old: Slot) {
        guard old.lastMs > slot.lastMs else { return }
        slot.lastMs = old.lastMs
        slot.lastValue = old.lastValue
    }

    // MARK: Several sources

    /// A third source names any of the others: all of them share the first.
    private mutating func link(_ index: Int, to named: Int) {
        if links.count < slots.count {
            links.append(contentsOf: repeatElement(SlotLink(), count: slots.count - links.count))
        }
        let root = links[named].root >= 0 ? Int(links[named].root) : named
        if links[root].root < 0 {
            links[root] = SlotLink(root: Int32(root), owner: Int32(root), followers: 0)
            slots[root].flags.insert(.isLinked)
        }
        links[root].followers += 1
        links[index] = SlotLink(root: Int32(root))
        slots[index].flags.insert(.isLinked)
    }

    private mutating func unlink(_ index: Int) {
        guard index < links.count, links[index].root >= 0 else { return }
        let root = Int(links[index].root)
        if root == index {
            promote(from: root)
        } else {
            links[root].followers -= 1
            if links[root].owner == Int32(index) {
                links[root].owner = Int32(root)
                Self.inherit(&slots[root], from: slots[index])
            }
            if links[root].followers == 0 {
                links[root] = SlotLink()
                slots[root].flags.remove(.isLinked)
            }
        }
        links[index] = SlotLink()
    }

    /// Makes the first other source the root. Rare: a root is not named as silent while others go on.
    private mutating func promote(from root: Int) {
        let others = links.indices.filter { links[$0].root == Int32(root) && $0 != root }
        guard let first = others.first else { return }
        let owner = links[root].owner == Int32(root) ? Int32(first) : links[root].owner
        for other in others { links[other].root = Int32(first) }
        links[first].owner = owner
        links[first].followers = Int32(others.count - 1)
        Self.inherit(&slots[Int(owner)], from: slots[root])
        if others.count == 1 {
            links[first] = SlotLink()
            slots[first].flags.remove(.isLinked)
        }
    }

    /// Whether a slot's samples count for its (GPU, field).
    func owns(_ index: Int) -> Bool {
        guard index < links.count, links[index].root >= 0 else { return true }
        return links[Int(links[index].root)].owner == Int32(index)
    }

    // MARK: Silence

    /// Looks for series of which nothing was heard for `silentMs`, and names each once a silence.
    mutating func nameSilent(in range: Range<Int>, now: Arrival, silentMs: Int64) -> [UInt32] {
        var named: [UInt32] = []
        for index in range
        where index < slots.count && slots[index].node >= 0 && !slots[index].flags.contains(.isShared) {
            let arrival = slots[index].arrival
            if arrival == .never {
                // Silent when nothing was heard from one look to the next.
                let wasUnheard = slots[index].flags.contains(.isUnheard)
                slots[index].flags.insert(.isUnheard)
                guard wasUnheard else { continue }
            } else if now.since(arrival) < silentMs {
                slots[index].flags.remove(.isNamed)
                continue
            }
            let isNamed = slots[index].flags.contains(.isNamed)
            if isNamed || (index < links.count && links[index].followers > 0) { continue }
            slots[index].flags.insert(.isNamed)
            named.append(UInt32(index))
        }
        return named
    }

    /// Has a series belong to another node and position; both are local numbers.
    mutating func move(_ index: Int, node: Int32, ordinal: Int32) {
        slots[index].node = node
        slots[index].ordinal = ordinal
    }

    /// Makes slots free for other series.
    ///
    /// - Returns: how many were in use.
    mutating func retire(_ retired: [UInt32]) -> Int {
        var count = 0
        for index in retired where Int(index) < slots.count && slots[Int(index)].node >= 0 {
            unlink(Int(index))
            slots[Int(index)] = Slot()
            count += 1
        }
        return count
    }
}
