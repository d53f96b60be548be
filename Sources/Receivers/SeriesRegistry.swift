import Synchronization
import Telemetry
import WireFormats

/// In which format a request names its series.
enum SeriesFormat: UInt64 {
    case remoteWrite = 0
    case exposition = 1
    case remoteWrite2 = 2

    /// Series belong to their sender: what two senders call the same are two series.
    func salt(_ sender: SenderID) -> UInt64 { UInt64(sender.rawValue) << 2 | rawValue }
}

/// Knows the series of one stream: which slot of which shard each has, and what was refused.
///
/// Lanes come here with what they see for the first time, and take the lock once for all of that.
final class SeriesRegistry: Sendable {
    private struct State {
        var registry: RegistryState
        var retirement: Retirement
    }

    private let state: Mutex<State>
    /// What lanes remember of what was said here.
    let table: SeriesTable
    private let sink: any BatchSink
    private let stream: StreamIndex
    private let tracksJobs = Atomic<Bool>(false)
    private let events: any EventSink
    private let streamID: StreamID

    init(
        stream: StreamIndex, streamID: StreamID, topology: Topology, sink: any BatchSink,
        events: any EventSink, inventory: Inventory?, limits: ReceiverLimits, laneCount: Int,
        hasher: IdentityHasher
    ) {
        precondition(sink.shardCount > 0 && sink.shardCount < Route.shardsMax)
        self.events = events
        table = SeriesTable(limit: limits.identities, laneCount: laneCount)
        self.streamID = streamID
        self.sink = sink
        self.stream = stream
        let registry = RegistryState(
            stream: stream, topology: topology, sink: sink, inventory: inventory ?? Inventory(),
            limits: limits, hasher: hasher)
        // Twice as long as a request may wait for credit.
        let retirement = Retirement(
            shardCount: sink.shardCount, laneCount: laneCount,
            waitMs: limits.creditTimeout.components.seconds * 2_000 + 2_000)
        state = Mutex(State(registry: registry, retirement: retirement))
    }

    /// Lets silent series go, where the sink tells of them. To be called before anything is admitted.
    func watchSilence() {
        (sink as? any SeriesRetirement)?.onSilent { [weak self] silent in
            guard let self, silent.stream == stream else { return }
            state.withLock { $0.retirement.gather(silent.slots, shard: silent.shard) }
        }
    }

    /// Moves retirement on. To be called every second or so.
    func retire(nowMs: Int64) {
        guard let sink = sink as? any SeriesRetirement else { return }
        state.withLock { state in
            if let free = state.retirement.end(nowMs: nowMs) {
                for (shard, slots) in free.enumerated() where !slots.isEmpty {
                    sink.retire(slots, stream: stream, shard: shard)
                    state.registry.release(slots, shard: shard)
                }
            }
            if let slots = state.retirement.begin() {
                for (shard, slots) in slots.enumerated() { state.registry.forget(slots, shard: shard) }
            }
        }
    }

    /// What lanes have to forget now.
    var retirementOrder: Retirement.Order? { state.withLock { $0.retirement.order } }

    func finished(lane: Int, order: UInt64, nowMs: Int64) {
        state.withLock { $0.retirement.finished(lane: lane, order, nowMs: nowMs) }
    }

    /// How many series each sender has, of those that have any.
    var senders: [(sender: SenderID, series: Int)] { state.withLock { $0.registry.senders } }

    /// The series of a GPU's field, the first one first.
    func sources(gpu: Int32, field: FieldIndex) -> [(sender: SenderID, shard: Int, slot: UInt32)] {
        state.withLock { $0.registry.sources(gpu: gpu, field: field) }
    }

    /// The counts of series, copied at one moment.
    func counts(stamp: UInt16) -> RegistryState.Counts { state.withLock { $0.registry.counts(stamp: stamp) } }

    /// The routes of series that a lane does not know, made where they are new. The shards know all series of the
    /// routes when this returns.
    ///
    /// - Parameters:
    ///   - unknown: `nil` where the labels name no series.
    ///   - stamp: when it is, in the steps of `Route.stamp`.
    ///   - routes: is emptied, and gets one route for each.
    func admit(
        _ unknown: [UnknownSeries?], in bytes: RawSpan, sender: SenderID, stamp: UInt16,
        into routes: inout [Route]
    ) {
        routes.removeAll(keepingCapacity: true)
        let knowsJobs = state.withLock { state in
            state.registry.admit(unknown, in: bytes, sender: sender, stamp: stamp, into: &routes)
            return state.registry.knowsJobs
        }
        if knowsJobs { tracksJobs.store(true, ordering: .relaxed) }
    }

    /// Whether lanes have to report what witnesses say: not before the first job has a name.
    var wantsSightings: Bool { tracksJobs.load(ordering: .relaxed) }

    func observe(_ sightings: [JobSighting], arrivalMs: Int64) {
        tell(
            state.withLock { state in
                state.registry.observe(sightings)
                return state.registry.jobNews(nowMs: arrivalMs)
            })
    }

    /// Tells what has changed in jobs and was held back. To be called every second or so.
    func tellJobs(nowMs: Int64, all: Bool = false) {
        tell(state.withLock { $0.registry.jobNews(nowMs: nowMs, all: all) })
    }

    private func tell(_ news: [RegistryState.JobNews]) {
        guard !news.isEmpty else { return }
        events.emit(
            news.map { news in
                let isOver = news.nodes.isEmpty
                let what = isOver ? "ended" : "runs on \(news.nodes.count) nodes"
                return Event(
                    stream: streamID, timeMs: news.timeMs, kind: isOver ? .jobEnd : .jobStart, job: news.job,
                    nodes: news.nodes, message: "job \(news.job) \(what), say hpc_job labels",
                    source: .detected)
            })
    }

    /// Has the fleet stand as a new inventory says, and the nodes that come from now on. Without one, all stays where it
    /// is, new nodes go where their labels say, and no node is listed or removed any more.
    func take(_ inventory: Inventory?) -> FleetChange { state.withLock { $0.registry.arrange(inventory) } }

    var inventory: Inventory { state.withLock { $0.registry.inventory } }

    /// Series that have a slot, of all senders together.
    var seriesCount: Int { state.withLock { $0.registry.seriesCount } }
}
