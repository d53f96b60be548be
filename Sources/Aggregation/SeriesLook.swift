public import Telemetry

/// What a shard knows of one series.
public struct SeriesState: Sendable, Equatable {
    public var slot: UInt32
    /// Event time of the newest sample, Unix milliseconds; `nil` before the first.
    public var newestMs: Int64?
    public var value: Double
    /// Its samples count, and not those of another source of the same (GPU, field).
    public var counts: Bool
}

extension AggregationCore {
    /// Looks at some series of one shard, after everything that was sent to the shard before. The completion is called on
    /// the shard's queue, once, with those of the slots that are registered.
    public func look(
        at slots: [UInt32], stream: StreamIndex, shard: Int,
        completion: @escaping @Sendable ([SeriesState]) -> Void
    ) {
        guard shards.indices.contains(shard) else { return completion([]) }
        shards[shard].look(at: slots, stream, completion)
    }
}

extension SlotTable {
    func look(at number: UInt32) -> SeriesState? {
        let place = Int(number)
        guard place < slots.count, slots[place].node >= 0 else { return nil }
        let slot = slots[place]
        return SeriesState(
            slot: number, newestMs: slot.lastMs == Slot.noTime ? nil : slot.lastMs, value: slot.lastValue,
            counts: isOwner(place))
    }

    private func isOwner(_ place: Int) -> Bool {
        guard slots[place].flags.contains(.isLinked), place < links.count else { return true }
        let root = Int(links[place].root)
        guard root >= 0, root < links.count else { return true }
        return Int(links[root].owner) == place
    }
}
