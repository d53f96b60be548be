/// A stream's number in this process, for hot structures; `Streams` gives the name.
public struct StreamIndex: Hashable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
}

/// Who delivers samples: an authenticated identity, or listener and peer address. Numbered per process.
public struct SenderID: Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// What a shard has to know of a series before its first sample. Sent once, ahead of the batch that uses `slot`.
public struct SeriesDescriptor: Sendable, Hashable {
    /// Index in the owning shard's table of this stream, dense from 0.
    public var slot: UInt32
    /// GPU index in the stream's topology.
    public var gpu: Int32
    public var node: Int32
    public var rack: Int32
    public var field: FieldIndex
    public var sender: SenderID
    /// The slot that owns the same (GPU, field), when this one is a second source of it (an HA pair of scrapers).
    public var redundantTo: UInt32?
    /// The slot of many series that are not told apart: nothing is remembered of them, no GPU is heard of, and `gpu` is
    /// -1. Only for fields whose samples mean something alone (gauges).
    public var isShared: Bool

    public init(
        slot: UInt32, gpu: Int32, node: Int32, rack: Int32, field: FieldIndex, sender: SenderID,
        redundantTo: UInt32? = nil, isShared: Bool = false
    ) {
        self.slot = slot
        self.gpu = gpu
        self.node = node
        self.rack = rack
        self.field = field
        self.sender = sender
        self.redundantTo = redundantTo
        self.isShared = isShared
    }
}

/// One sample on its way to the shard that owns its series. 16 bytes.
public struct SampleRecord: Sendable {
    public var slot: UInt32
    /// Milliseconds after the batch's `baseMs`.
    public var offsetMs: Int32
    public var value: Double

    public init(slot: UInt32, offsetMs: Int32, value: Double) {
        self.slot = slot
        self.offsetMs = offsetMs
        self.value = value
    }
}

/// Samples of one stream and sender for one shard.
public struct SampleBatch: Sendable {
    public var stream: StreamIndex
    public var shard: Int
    public var sender: SenderID
    /// Wall clock at arrival, Unix milliseconds: what "late" and "future" are judged by.
    public var arrivalMs: Int64
    /// Unix milliseconds to which the records' offsets are added.
    public var baseMs: Int64
    public var records: [SampleRecord]
    /// What is dropped of it was counted by an earlier process; only what is taken counts.
    public var isCounted = false

    /// About one request of a Prometheus queue.
    public static let recordsMax = 2_048

    public init(
        stream: StreamIndex, shard: Int, sender: SenderID, arrivalMs: Int64, baseMs: Int64,
        records: [SampleRecord] = []
    ) {
        self.stream = stream
        self.shard = shard
        self.sender = sender
        self.arrivalMs = arrivalMs
        self.baseMs = baseMs
        self.records = records
    }
}

/// What became of an offer. Nothing that was refused has been taken in part.
public enum Admission: Sendable, Equatable {
    case accepted
    /// Out of credit: stop reading, and try again later.
    case full
}

/// Where batches go. The implementation never blocks the caller.
public protocol BatchSink: Sendable {
    var shardCount: Int { get }

    /// The shard that owns all series of a node that is first met in that rack.
    func shard(stream: StreamIndex, rack: Int32, node: Int32) -> Int

    /// Announces series to their shard. Everything offered afterwards finds them known. Never refused: the caller
    /// bounds the number of series.
    func register(_ series: [SeriesDescriptor], stream: StreamIndex, shard: Int)

    /// These nodes stand in other racks now, by topology index. Their series stay with their shards.
    func move(_ racks: [Int32: Int32], stream: StreamIndex)

    /// Whether windows can be opened for samples of these times now; otherwise it is to be asked again later.
    func hasRoom(stream: StreamIndex, sender: SenderID, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64)
        -> Bool

    /// Takes the batches of one request all together, or none of them.
    func offer(_ batches: [SampleBatch]) -> Admission

    /// The sender has shown event times from the oldest to the newest of a request: the newest drives the watermark, the
    /// oldest says since when the sender tells (coverage). Called after the offer was accepted.
    func observed(
        sender: SenderID, stream: StreamIndex, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64)
}

extension BatchSink {
    public func move(_ racks: [Int32: Int32], stream: StreamIndex) {}

    public func hasRoom(
        stream: StreamIndex, sender: SenderID, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64
    ) -> Bool { true }
}

/// What one rack looks like at one tick of a simulated fleet.
public struct RackTick: Sendable {
    /// Bit g: GPU g of the rack (in topology order) is installed.
    public var expected: UInt64 = 0
    /// Bit g: it delivers telemetry at this tick. A subset of `expected`.
    public var reporting: UInt64 = 0
    /// Bit g: it is known to be broken. A subset of `expected`.
    public var faulted: UInt64 = 0
    /// Index into `FleetTick.jobs` for each node of the rack in topology order (8 at most), or -1.
    public var jobOfNode: SIMD8<Int16> = SIMD8(repeating: -1)

    public init() {}
}

/// One tick of a whole simulated fleet: the vector path into the shards.
///
/// It must give the same summaries as the same values sent one by one. Racks have 64 GPUs at most, the GPUs of a
/// rack are contiguous in the stream's topology, and so are its nodes, each with 8 GPUs.
public protocol FleetTick: Sendable {
    var timeMs: Int64 { get }
    /// The fields, in the order of the values.
    var fields: [FieldIndex] { get }
    /// Jobs that some node belongs to at this tick.
    var jobs: [String] { get }
    var rackCount: Int { get }

    /// Writes `values[f * 64 + g]` for field number f and GPU g of the rack; what is not `reporting` may be anything.
    ///
    /// - Parameter values: at least `fields.count * 64` elements.
    func fill(rack: Int, into values: inout MutableSpan<Double>) -> RackTick
    /// `reporting` of `fill`, where nobody wants the values.
    func reporting(rack: Int) -> UInt64
    /// Whether everything has been as it is since an earlier tick: the same GPUs report, and both take the same memory.
    func isUnchanged(since earlier: any FleetTick) -> Bool
    /// What it takes where something has changed; bytes.
    var bytes: Int { get }
}

extension FleetTick {
    public func reporting(rack: Int) -> UInt64 {
        var values = Array(repeating: 0.0, count: fields.count * 64)
        var span = values.mutableSpan
        return fill(rack: rack, into: &span).reporting
    }

    public func isUnchanged(since earlier: any FleetTick) -> Bool { false }
    public var bytes: Int { 0 }
}

/// Where simulated fleets go.
public protocol FleetSink: Sendable {
    /// Every shard works on the racks that it owns; `done` is called on some queue when all have finished.
    /// The watermark of the stream then moves to the tick's time (its clock is its tick).
    func offer(_ tick: any FleetTick, stream: StreamIndex, done: @escaping @Sendable () -> Void)
}
