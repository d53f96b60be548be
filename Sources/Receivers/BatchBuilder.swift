import Telemetry
import WireFormats

/// Sorts the samples of a request into batches, one after another for each shard. Belongs to a lane, which uses it
/// again and again.
///
/// Raw memory, because an array's check for other owners at each sample costs as much as all the rest. Invariant: each
/// shard's `records` has room for `SampleBatch.recordsMax`, of which the first `counts` are initialised.
struct BatchBuilder: ~Copyable {
    private(set) var batches: [SampleBatch] = []
    /// What was rejected on the way; `received` counts the same samples. Those in the batches are counted by whoever
    /// takes them.
    private(set) var rejected = Ledger()
    /// Event time of the newest sample in the batches; `Int64.min` if there is none.
    private(set) var newestMs = Int64.min
    private(set) var oldestMs = Int64.max
    private(set) var sampleCount = 0

    var sender: SenderID { prototype.sender }
    var arrivalMs: Int64 { prototype.arrivalMs }

    private var prototype: SampleBatch
    private var latestMs: Int64 = 0
    private let shardCount: Int
    private let records: UnsafeMutablePointer<SampleRecord>
    private let opens: UnsafeMutablePointer<Open>

    /// The open batch of a shard, and the time to which its offsets are added.
    private struct Open {
        var count = 0
        var baseMs: Int64 = 0
    }

    init(stream: StreamIndex, shardCount: Int) {
        self.shardCount = shardCount
        prototype = SampleBatch(
            stream: stream, shard: 0, sender: SenderID(rawValue: 0), arrivalMs: 0, baseMs: 0)
        records = .allocate(capacity: shardCount * SampleBatch.recordsMax)
        opens = .allocate(capacity: shardCount)
        opens.initialize(repeating: Open(), count: shardCount)
    }

    deinit {
        records.deallocate()
        opens.deallocate()
    }

    /// Begins a request; what was left of the one before is forgotten.
    mutating func begin(sender: SenderID, arrivalMs: Int64, aheadMs: Int64) {
        batches = []
        if rejected.received != 0 { rejected = Ledger() }
        (oldestMs, newestMs) = (.max, .min)
        sampleCount = 0
        prototype.sender = sender
        prototype.arrivalMs = arrivalMs
        latestMs = arrivalMs + aheadMs
        for shard in 0..<shardCount { opens[shard].count = 0 }
    }

    @inline(__always)
    mutating func add(_ sample: TimedValue, slot: UInt32, shard: Int) {
        guard sample.timeMs <= latestMs else { return reject(.future, 1) }
        var count = opens[shard].count
        let (offset, overflow) = sample.timeMs.subtractingReportingOverflow(opens[shard].baseMs)
        var offsetMs = Int32(truncatingIfNeeded: offset)
        if count == 0 || count >= SampleBatch.recordsMax || overflow || Int64(offsetMs) != offset {
            close(shard)
            opens[shard].baseMs = sample.timeMs
            count = 0
            offsetMs = 0
        }
        (records + (shard &* SampleBatch.recordsMax &+ count)).initialize(
            to: SampleRecord(slot: slot, offsetMs: offsetMs, value: sample.value))
        opens[shard].count = count &+ 1
        if sample.timeMs > newestMs { newestMs = sample.timeMs }
        if sample.timeMs < oldestMs { oldestMs = sample.timeMs }
        sampleCount &+= 1
    }

    mutating func reject(_ reason: DropReason, _ count: Int) {
        rejected.received += Int64(count)
        rejected[reason] += Int64(count)
    }

    /// Call once, after the last `add`.
    mutating func finish() {
        for shard in 0..<shardCount { close(shard) }
    }

    @inline(never)
    private mutating func close(_ shard: Int) {
        let count = opens[shard].count
        guard count > 0 else { return }
        opens[shard].count = 0
        var batch = prototype
        batch.shard = shard
        batch.baseMs = opens[shard].baseMs
        batch.records = Array(
            UnsafeBufferPointer(start: records + shard * SampleBatch.recordsMax, count: count))
        batches.append(batch)
    }
}
