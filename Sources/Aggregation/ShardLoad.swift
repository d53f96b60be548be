import Telemetry

/// Batches on their way to the shards: those of one shard go together, so that its queue is woken once for many small
/// requests. Their order stays.
struct ShardLoad {
    private var waiting: [[SampleBatch]]
    private var records: [Int]

    init(shardCount: Int) {
        waiting = Array(repeating: [], count: shardCount)
        records = Array(repeating: 0, count: shardCount)
    }

    mutating func add(_ batch: SampleBatch, _ shards: [Shard]) {
        waiting[batch.shard].append(batch)
        records[batch.shard] += batch.records.count
        // A block on a shard's queue takes no longer than the largest batch: others come in between.
        if records[batch.shard] >= SampleBatch.recordsMax { send(batch.shard, shards) }
    }

    /// Sends what is left.
    mutating func finish(_ shards: [Shard]) {
        for shard in shards.indices where !waiting[shard].isEmpty { send(shard, shards) }
    }

    private mutating func send(_ shard: Int, _ shards: [Shard]) {
        shards[shard].submit(waiting[shard])
        waiting[shard] = []
        records[shard] = 0
    }
}
