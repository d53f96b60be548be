import Telemetry

/// What the shards, the roller and the control of one stream all look at, each for nanoseconds.
final class StreamShared: Sendable {
    let index: StreamIndex
    let spec: StreamSpec
    let topology: Topology
    let jobNames = JobNames()
    let detected: @Sendable ([Event]) -> Void
    let silent: @Sendable (SilentSeries) -> Void

    /// The totals with which the stream was opened. What was in flight then comes again, or died with its process.
    let startLedger: Ledger
    /// Received and dropped since then, by shard. Aggregated is what was committed.
    private let ledgers: Locked<[Ledger]>
    private let aggregated = Locked<Int64>(0)
    /// How many shards have a window open, by its start.
    private let open = Locked<[Int64: Int]>([:])

    init(
        index: StreamIndex, spec: StreamSpec, topology: Topology, shardCount: Int,
        detected: @escaping @Sendable ([Event]) -> Void,
        silent: @escaping @Sendable (SilentSeries) -> Void
    ) {
        self.index = index
        self.spec = spec
        self.topology = topology
        self.detected = detected
        self.silent = silent
        var start = spec.ledger
        start.received -= start.inFlight
        startLedger = start
        ledgers = Locked(Array(repeating: Ledger(), count: shardCount))
    }

    func add(_ ledger: Ledger, shard: Int) { ledgers.withLock { $0[shard].add(ledger) } }
    func ledger(shard: Int) -> Ledger { ledgers.withLock { $0[shard] } }
    private let series = Locked(0)
    func addSeries(_ count: Int) { series.withLock { $0 += count } }
    /// Series that have a slot.
    var seriesCount: Int { series.withLock { $0 } }

    private let late = Locked<Int64>(0)
    /// Samples were taken for windows that could not be revised any more.
    func addLate(_ count: Int64) { late.withLock { $0 += count } }
    var lateAfterwards: Int64 { late.withLock { $0 } }

    /// Windows with so many samples are committed.
    func committed(_ samples: Int64) { aggregated.withLock { $0 += samples } }
    var processed: Ledger {
        var sum = ledgers.withLock { ledgers in
            ledgers.reduce(into: Ledger()) { $0.add($1) }
        }
        sum.aggregated = aggregated.withLock { $0 }
        sum[.late] += lateAfterwards
        return sum
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
