import Telemetry
import WireFormats

/// Sorts the samples of a request into batches, one after another for each shard.
struct BatchBuilder {
    private(set) var batches: [SampleBatch] = []
    /// What was rejected on the way; `received` counts the same samples. Those in the batches are counted by whoever
    /// takes them.
    private(set) var rejected = Ledger()
    /// Event time of the newest sample in the batches.
    private(set) var newestMs: Int64?
    private(set) var sampleCount = 0

    var sender: SenderID { prototype.sender }
    var arrivalMs: Int64 { prototype.arrivalMs }

    private let prototype: SampleBatch
    private let latestMs: Int64
    private let capacity: Int
    /// Records of each shard's open batch, and the time to which their offsets are added.
    private var records: [[SampleRecord]]
    private var bases: [Int64]

    init(
        stream: StreamIndex, sender: SenderID, arrivalMs: Int64, aheadMs: Int64, shardCount: Int,
        expected: Int
    ) {
        prototype = SampleBatch(stream: stream, shard: 0, sender: sender, arrivalMs: arrivalMs, baseMs: 0)
        latestMs = arrivalMs + aheadMs
        capacity = min(SampleBatch.recordsMax, expected / shardCount + expected / 8 + 16)
        records = Array(repeating: [], count: shardCount)
        bases = Array(repeating: 0, count: shardCount)
    }

    mutating func add(_ samples: ArraySlice<TimedValue>, _ route: Route) {
        if let reason = route.rejection {
            reject(reason, samples.count)
            return
        }
        let shard = Int(route.shard)
        for sample in samples {
            guard sample.timeMs <= latestMs else {
                reject(.future, 1)
                continue
            }
            let offsetMs = room(for: sample.timeMs, shard)
            records[shard].append(SampleRecord(slot: route.slot, offsetMs: offsetMs, value: sample.value))
            newestMs = max(newestMs ?? sample.timeMs, sample.timeMs)
            sampleCount &+= 1
        }
    }

    /// Call once, after the last `add`.
    mutating func finish() {
        for shard in records.indices { close(shard) }
    }

    /// Sees to it that the shard's open batch takes one more record of that time, and gives its offset.
    @inline(__always)
    private mutating func room(for timeMs: Int64, _ shard: Int) -> Int32 {
        let count = records[shard].count
        if count > 0, count < SampleBatch.recordsMax {
            let (offset, overflow) = timeMs.subtractingReportingOverflow(bases[shard])
            if !overflow, let fits = Int32(exactly: offset) { return fits }
        }
        close(shard)
        bases[shard] = timeMs
        records[shard].reserveCapacity(capacity)
        return 0
    }

    private mutating func close(_ shard: Int) {
        guard !records[shard].isEmpty else { return }
        var batch = prototype
        batch.shard = shard
        batch.baseMs = bases[shard]
        swap(&batch.records, &records[shard])
        batches.append(batch)
    }

    private mutating func reject(_ reason: DropReason, _ count: Int) {
        rejected.received += Int64(count)
        rejected[reason] += Int64(count)
    }
}
