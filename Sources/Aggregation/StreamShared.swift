import Telemetry

/// What the shards, the roller and the control of one stream all look at, each for nanoseconds.
final class StreamShared: Sendable {
    let index: StreamIndex
    let spec: StreamSpec
    let topology: Topology
    let jobNames = JobNames()
    let detected: @Sendable ([Event]) -> Void

    /// Totals by shard.
    private let ledgers: Locked<[Ledger]>
    /// How many shards have a window open, by its start.
    private let open = Locked<[Int64: Int]>([:])

    init(
        index: StreamIndex, spec: StreamSpec, topology: Topology, shardCount: Int,
        detected: @escaping @Sendable ([Event]) -> Void
    ) {
        self.index = index
        self.spec = spec
        self.topology = topology
        self.detected = detected
        ledgers = Locked(Array(repeating: Ledger(), count: shardCount))
    }

    func add(_ ledger: Ledger, shard: Int) { ledgers.withLock { $0[shard].add(ledger) } }
    func ledger(shard: Int) -> Ledger { ledgers.withLock { $0[shard] } }
    var processed: Ledger {
        ledgers.withLock { ledgers in
            ledgers.reduce(into: Ledger()) { $0.add($1) }
        }
    }

    func opened(_ startMs: Int64) { open.withLock { $0[startMs, default: 0] += 1 } }
    func closed(_ startMs: Int64) {
        open.withLock { open in
            guard let count = open[startMs] else { return }
            open[startMs] = count > 1 ? count - 1 : nil
        }
    }
    var firstOpenMs: Int64? { open.withLock { $0.keys.min() } }
    var lastOpenMs: Int64? { open.withLock { $0.keys.max() } }
    var openCount: Int { open.withLock { $0.count } }
}
