import Telemetry

/// Where nodes of a shard stood when windows were closed, for as long as those may be revised.
struct NodeMoves {
    private struct Move {
        /// Windows that end by this time had been closed.
        var closedThroughMs: Int64
        /// The number that the node had.
        var from: Int32
    }

    /// By topology index; oldest first.
    private var moves: [Int32: [Move]] = [:]

    var isEmpty: Bool { moves.isEmpty }

    mutating func note(_ node: Int32, from: Int32, closedThroughMs: Int64) {
        moves[node, default: []].append(Move(closedThroughMs: closedThroughMs, from: from))
    }

    /// The local number of a node when a window was closed that ends then; `nil` when it has not moved since.
    func number(of node: Int32, windowEndMs: Int64) -> Int32? {
        moves[node]?.first { $0.closedThroughMs >= windowEndMs }?.from
    }

    /// Windows that start before that time are not revised any more.
    mutating func forget(beforeMs: Int64) {
        guard !moves.isEmpty else { return }
        moves = moves.compactMapValues { list in
            let kept = list.filter { $0.closedThroughMs > beforeMs }
            return kept.isEmpty ? nil : kept
        }
    }
}
