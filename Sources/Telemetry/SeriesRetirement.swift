/// Series of one shard of which nothing was heard for long.
public struct SilentSeries: Sendable, Hashable {
    public var stream: StreamIndex
    public var shard: Int
    public var slots: [UInt32]

    public init(stream: StreamIndex, shard: Int, slots: [UInt32]) {
        self.stream = stream
        self.shard = shard
        self.slots = slots
    }
}

/// A sink whose slots are used again when their series are gone.
///
/// Slots are given out by whoever registers series; only the sink knows which are silent. So that no sample ever lands
/// in a slot that has become somebody else's, a slot goes back in three steps:
///
/// 1. The sink names silent slots to the handler. They still work: a sample that comes now counts.
/// 2. The registry forgets every spelling that leads to such a slot, and then waits until nothing that was resolved
///    before can still be offered (for example until each request that was being worked on is answered).
/// 3. The registry calls `retire`. As soon as that returns it may `register` another series in the slot.
///
/// A slot that is not retired is named again later, while it is silent.
public protocol SeriesRetirement: Sendable {
    /// Calls the handler with silent series, some thousand at most at a time, on a shard's queue. To be set once,
    /// before anything is registered.
    func onSilent(_ handler: @escaping @Sendable (SilentSeries) -> Void)

    /// Forgets what is known of these series.
    func retire(_ slots: [UInt32], stream: StreamIndex, shard: Int)
}
