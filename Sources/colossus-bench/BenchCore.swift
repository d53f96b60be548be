import Aggregation
import Exchange
import Synchronization
import Telemetry

/// The core with a sink that only counts.
struct BenchCore {
    let streams = Streams()
    let sink = CountingSink()
    let metrics = Metrics()
    let core: AggregationCore

    init(shardCount: Int = 2) {
        core = AggregationCore(
            shardCount: shardCount, streams: streams, bus: EmbeddedBus(), sink: sink, clock: .bench,
            metrics: metrics)
    }

    /// Waits until everything that came in is aggregated and everything that closed is with the sink.
    func drain() {
        let done = Signal()
        core.drain { done.raise() }
        done.wait()
    }
}

/// Takes closings and forgets them.
final class CountingSink: SummarySink {
    private let rows = Atomic<Int>(0)
    var rowCount: Int { rows.load(ordering: .relaxed) }

    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        var count = 0
        for window in close.windows {
            for level in window.levels { count += level.columns.reduce(0) { $0 + $1.entityCount } }
        }
        rows.add(count, ordering: .relaxed)
        done()
    }
}

/// Raised once, waited for by the main thread (which is no worker of Dispatch).
final class Signal: Sendable {
    private let flag = Atomic<Bool>(false)
    func raise() { flag.store(true, ordering: .releasing) }
    var isRaised: Bool { flag.load(ordering: .acquiring) }
    func wait() { while !isRaised { BenchCore.pause() } }
}
