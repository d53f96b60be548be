import Telemetry
import WireFormats

/// Which series beyond a limit ask for a place: each asks once in `Route.askingSteps`, so that the distinct ones of such a
/// time, a step here, say how many there are. A value without a clock.
struct FoldedSeries {
    /// The name of the node, rack, array and hall that stand for them.
    static let entity = "__other__"
    /// Distinct series that are told apart in a step; what is beyond is not counted any more.
    static let seriesMax = 1_000_000

    struct Step {
        fileprivate var seen: Set<UInt64> = []
        var count = 0
        var ofSender: [SenderID: Int] = [:]
        var ofField: [FieldIndex: Int] = [:]
    }

    /// `Route.stamp / Route.askingSteps`.
    private var step: UInt16 = 0
    private var current = Step()
    private var last = Step()

    mutating func moveTo(_ stamp: UInt16) {
        let step = stamp / UInt16(Route.askingSteps)
        guard step != self.step else { return }
        last = Self.isNext(step, after: self.step) ? current : Step()
        last.seen = []
        current = Step()
        self.step = step
    }

    private static func isNext(_ step: UInt16, after before: UInt16) -> Bool {
        step == before + 1 || step == 0 && before == .max / UInt16(Route.askingSteps)
    }

    mutating func note(_ series: SeriesIdentity, sender: SenderID, field: FieldIndex) {
        guard current.count < Self.seriesMax, current.seen.insert(series.low).inserted else { return }
        current.count += 1
        current.ofSender[sender, default: 0] += 1
        current.ofField[field, default: 0] += 1
    }

    /// The fuller one of the last two steps; nothing when nobody has asked for longer.
    func reported(_ now: UInt16) -> Step {
        let now = now / UInt16(Route.askingSteps)
        guard now == step || Self.isNext(now, after: step) || Self.isNext(step, after: now) else {
            return Step()
        }
        return now == step && last.count > current.count ? last : current
    }
}

// Series beyond a limit.
extension RegistryState {
    /// Where the samples of a series go that gets no slot of its own: those of gauges count under `__other__`, in the
    /// rack, array and hall of that name and in the site. What a counter or a sticky gauge says means nothing without
    /// what the same series said before, so that is dropped and counted.
    mutating func fold(
        _ series: UnknownSeries, _ field: FieldIndex, _ ordinal: Int, _ sender: SenderID
    ) -> Route {
        let place = SeriesIdentity(high: UInt64(sender.rawValue), low: UInt64(ordinal))
        let name = hasher.joined(hasher.joined(series.uuid, series.metric), series.labels.source)
        folded.note(hasher.joined(name, place), sender: sender, field: field)
        guard field.field.kind == .gauge else { return Route.rejected(.seriesLimit).beyondLimit }
        let node = otherNode ?? makeOther()
        let slot = otherSlots[field] ?? shareSlot(field, node)
        return Route(slot: slot, job: 0, shard: nodes[node].shard).beyondLimit
    }

    private mutating func makeOther() -> Int {
        let name = FoldedSeries.entity
        let index = topology.node(name, at: Placement(rack: name, array: name, hall: name))
        let rack = topology.rackOfNode(index)
        nodes.append(
            Node(index: index, rack: rack, shard: sink.shard(stream: stream, rack: rack, node: index)))
        otherNode = nodes.count - 1
        return nodes.count - 1
    }

    private mutating func shareSlot(_ field: FieldIndex, _ node: Int) -> UInt32 {
        let shard = nodes[node].shard
        let slot = UInt32(series[shard].count)
        series[shard].append(Series(gpu: -1, origin: .max, field: field))
        otherSlots[field] = slot
        fresh[shard].append(
            SeriesDescriptor(
                slot: slot, gpu: -1, node: nodes[node].index, rack: nodes[node].rack, field: field,
                sender: SenderID(rawValue: 0), isShared: true))
        return slot
    }

    func counts(stamp: UInt16) -> Counts {
        Counts(
            ofSender: seriesOfSender, ofField: seriesOfField, ofNode: seriesOfNode, inAll: seriesCount,
            folded: folded.reported(stamp), nodeCount: nodes.count - (otherNode == nil ? 0 : 1),
            uuidCount: ordinals.count, sourceCount: origins.count, jobCount: jobNumbers.count)
    }
}
