/// A group of GPUs whose samples were added up together: the part of a rack that worked for one job (or for none).
public struct GroupKey: Hashable, Sendable {
    public var rack: Int32
    /// Empty: no job.
    public var job: String

    public init(rack: Int32, job: String) {
        self.rack = rack
        self.job = job
    }
}

/// A shard's (later also a worker's) share of one window, mergeable with the shares of the others.
///
/// Each rack is owned by one shard, and so are its nodes: shares of one window do not overlap, except that two
/// shares of the same shard may follow each other when late data revises a window.
public struct WindowPartial: Sendable {
    public var stream: StreamIndex
    public var shard: Int
    public var startMs: Int64
    public var resolutionMs: Int64
    /// Fields of the columns below.
    public var fields: [FieldIndex]
    /// Nodes that were heard of, topology indices, ascending.
    public var nodes: [Int32]
    /// One column a field, entities in the order of `nodes`.
    public var nodeColumns: [FieldColumn]
    /// GPU counts in the order of `nodes`.
    public var nodeGPUs: GPUCounts
    /// Which GPUs of each node that was; empty unless the stream asks for it (`StreamSpec.tellsOrdinals`).
    public var nodeOrdinals: [GPUOrdinals] = []
    /// Nodes of each job, where whoever made the share knows them and the roller does not.
    public var jobNodes: [String: [Int32]] = [:]
    public var groups: [GroupKey]
    /// One column a field, entities in the order of `groups`, with sketches.
    public var groupColumns: [FieldColumn]
    public var groupGPUs: GPUCounts
    /// Samples that count in this share; told with one of the slices of a window.
    public var sampleCount: Int64 = 0
    /// What this shard received and dropped since the stream was opened; only with the last share.
    public var ledger: Ledger
    /// Samples that came after the window was closed: they revise it. Their GPUs are those not heard of before.
    public var isLate = false
    /// With the last share of a closing that keeps one: see `WindowClose.checkpoints`.
    public var checkpoint: [UInt8]?
    /// A share may come in several slices; this one is the shard's last for this window and for all before it.
    public var isLast = false

    public init(stream: StreamIndex, shard: Int, startMs: Int64, resolutionMs: Int64) {
        self.stream = stream
        self.shard = shard
        self.startMs = startMs
        self.resolutionMs = resolutionMs
        fields = []
        nodes = []
        nodeColumns = []
        nodeGPUs = GPUCounts(entityCount: 0)
        groups = []
        groupColumns = []
        groupGPUs = GPUCounts(entityCount: 0)
        ledger = Ledger()
    }
}

/// GPUs of a node by their positions in it, bit by bit: so that one that two workers have heard of counts once.
public struct GPUOrdinals: Sendable, Hashable {
    /// Positions beyond the last bit are not told apart; such a node's GPUs are only counted.
    public static let max = 64

    /// Known to be there.
    public var known: UInt64
    /// At least one sample in the window.
    public var reporting: UInt64
    public var inJob: UInt64

    public init(known: UInt64 = 0, reporting: UInt64 = 0, inJob: UInt64 = 0) {
        self.known = known
        self.reporting = reporting
        self.inJob = inJob
    }

    public mutating func formUnion(_ other: GPUOrdinals) {
        known |= other.known
        reporting |= other.reporting
        inJob |= other.inJob
    }
}

/// The only way from shards to the roller. Embedded: one process is a cluster of one.
public protocol PartialBus: Sendable {
    func publish(_ partial: WindowPartial)
    /// One subscriber; `handler` is called in the order of publishing of each shard, on any thread.
    func subscribe(_ handler: @escaping @Sendable (WindowPartial) -> Void)
}
