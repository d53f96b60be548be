import Aggregation
import Logging
import Store
import Telemetry

/// What the shards of the process before this one remembered of a stream's series.
enum Checkpoints {
    /// A checkpoint that cannot be read costs the first increase of each counter, and no start.
    static func read(
        _ stream: StreamID, _ store: HistoryStore, _ logger: Logger
    ) async throws -> [ShardCheckpoint] {
        var found: [ShardCheckpoint] = []
        for bytes in try await store.checkpoints(stream) {
            do {
                found.append(try ShardCheckpoint(encoded: bytes))
            } catch {
                logger.error(
                    "a checkpoint cannot be read; counters of its series begin anew",
                    metadata: ["stream": "\(stream)", "error": "\(error)"])
            }
        }
        return found
    }
}
