/// The limits of the core. Times are milliseconds.
public struct AggregationLimits: Sendable, Hashable {
    /// Records on their way to one shard; beyond, offers are refused.
    public var recordsInFlightMax = 262_144
    /// A sample further ahead of its arrival is dropped as `future`.
    public var futureMaxMs: Int64 = 600_000
    /// How long the owner of a (GPU, field) may be silent before a second source of it takes over.
    public var ownerSilentMs: Int64 = 30_000
    /// Closings of one stream that were handed to the sink and are not committed yet.
    public var closingsInFlightMax = 2
    /// Windows of one stream that are over but could not be closed yet; beyond, offers to the stream are refused.
    public var unclosedWindowsMax = 32
    /// Windows that a stream has open at once, or twice of what may wait for a slow sender where that is more: requests
    /// that would open another are refused, and have to come again.
    public var openWindowsMax = 256
    /// Senders whose event time drives a watermark; further ones are not heard.
    public var sendersMax = 16_384
    /// Events of one stream that wait for a closing; beyond, the oldest are forgotten (and counted).
    public var pendingEventsMax = 65_536
    /// Intervals of job membership that a stream remembers.
    public var jobIntervalsMax = 1_048_576
    /// Series of one stream in one shard.
    public var slotsMax = 1 << 26
    /// A series of which nothing was heard for so long may lose its slot; see `SeriesRetirement`.
    public var seriesSilentMs: Int64 = 300_000
    /// Slots that one block on a shard's queue looks at.
    public var slotsPerBlock = 65_536
    /// Memory of the windows of one stream that are kept for revisions.
    public var revisionBytesMax = 134_217_728
    /// Racks that one block on a shard's queue works on, so that nothing waits longer than about a millisecond.
    public var racksPerBlock = 32
    /// Nodes at which a block of a closing ends even before that many racks.
    public var nodesPerBlock = 128

    /// How long before its last closed window a stream keeps what it received, in milliseconds: the time between two
    /// checkpoints, and between two samples of a counter that is scraped once a minute.
    static let relearnMs: Int64 = 150_000

    public init() {}
}
