import Telemetry

/// How many records are on their way to each shard, and how many may be.
final class Credits: Sendable {
    private struct State {
        var used: [Int]
        var usedByStream: [StreamIndex: Int] = [:]
    }

    private let state: Locked<State>
    private let max: Int

    init(shardCount: Int, max: Int) {
        state = Locked(State(used: Array(repeating: 0, count: shardCount)))
        self.max = max
    }

    /// Takes the credit for all batches, or for none. One that is larger than the limit passes when its shard is
    /// idle, or nothing would ever help it.
    func take(_ batches: [SampleBatch]) -> Bool {
        state.withLock { state in
            var used = state.used
            for batch in batches {
                let before = used[batch.shard]
                used[batch.shard] += batch.records.count
                guard used[batch.shard] <= max || before == 0 else { return false }
            }
            state.used = used
            for batch in batches { state.usedByStream[batch.stream, default: 0] += batch.records.count }
            return true
        }
    }

    /// Takes the credit for all batches of a request that must not be taken in part, or for none. One that is larger
    /// than what is free passes where less than half is used, or nothing would ever help it.
    func takeAll(_ batches: [SampleBatch]) -> Bool {
        state.withLock { state in
            var used = state.used
            for batch in batches { used[batch.shard] += batch.records.count }
            for (before, after) in zip(state.used, used) where after > before {
                guard after <= max || before <= max / 2 else { return false }
            }
            state.used = used
            for batch in batches { state.usedByStream[batch.stream, default: 0] += batch.records.count }
            return true
        }
    }

    func giveBack(_ count: Int, shard: Int, stream: StreamIndex) {
        state.withLock { state in
            state.used[shard] -= count
            state.usedByStream[stream, default: 0] -= count
        }
    }

    func used(shard: Int) -> Int { state.withLock { $0.used[shard] } }
    func used(stream: StreamIndex) -> Int { state.withLock { $0.usedByStream[stream] ?? 0 } }
}
