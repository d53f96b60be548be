import Synchronization
import Telemetry
import WireFormats

/// In which format a request names its series.
enum SeriesFormat: UInt64 {
    case remoteWrite = 0
    case exposition = 1

    /// Series belong to their sender: what two senders call the same are two series.
    func salt(_ sender: SenderID) -> UInt64 { UInt64(sender.rawValue) << 1 | rawValue }

    func readLabels(
        _ bytes: RawSpan, _ range: Range<Int>, limits: LabelLimits
    ) throws(WireError) -> ReadLabels {
        switch self {
        case .remoteWrite: try RemoteWriteDecoder.readLabels(bytes, range, limits: limits)
        case .exposition: ExpositionParser.readLabels(bytes, range, limits: limits)
        }
    }
}

/// Knows the series of one stream: what each spelling means, which slot of which shard it has, and what was refused.
///
/// One lock, taken once a request. Labels are parsed when a spelling comes for the first time.
final class SeriesRegistry: Sendable {
    private let aheadMs: Int64
    private let state: Mutex<RegistryState>
    private let events: any EventSink
    private let streamID: StreamID

    init(
        stream: StreamIndex, streamID: StreamID, topology: Topology, sink: any BatchSink,
        events: any EventSink, inventory: Inventory?, limits: ReceiverLimits
    ) {
        precondition(sink.shardCount > 0 && sink.shardCount <= Int(Int16.max))
        self.events = events
        self.streamID = streamID
        let state = RegistryState(
            stream: stream, topology: topology, sink: sink, inventory: inventory ?? Inventory(),
            limits: limits)
        aheadMs = limits.aheadMs
        self.state = Mutex(state)
    }

    /// Finds the route of every run of a request, and makes it where the series is new. The shards know all series
    /// of the routes when this returns.
    ///
    /// - Parameter routes: is emptied, and gets one route a run.
    func resolve(
        _ request: WriteRequest, in bytes: [UInt8], format: SeriesFormat, sender: SenderID, arrivalMs: Int64,
        into routes: inout [Route]
    ) throws(WireError) {
        routes.removeAll(keepingCapacity: true)
        routes.reserveCapacity(request.runs.count)
        var failure: WireError?
        let news = state.withLock { state in
            failure = state.resolve(
                request, in: bytes.span.bytes, format: format, sender: sender,
                latestMs: arrivalMs + aheadMs, into: &routes)
            return state.jobNews(nowMs: arrivalMs)
        }
        tell(news)
        if let failure { throw failure }
    }

    /// Tells what has changed in jobs and was held back. To be called every second or so.
    func tellJobs(nowMs: Int64, all: Bool = false) {
        tell(state.withLock { $0.jobNews(nowMs: nowMs, all: all) })
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

    /// Takes a new inventory for the nodes that come from now on, and returns how many known nodes it would place
    /// elsewhere: a node keeps its place while the process runs.
    func replace(inventory: Inventory) -> Int {
        state.withLock { state in
            state.inventory = inventory
            let known = state.topology.snapshot()
            return known.nodeNames.indices.count { node in
                guard let place = inventory.placements[known.nodeNames[node]] else { return false }
                let rack = Int(known.nodeRack[node])
                let array = Int(known.rackArray[rack])
                let hall = Int(known.arrayHall[array])
                return place.rack != known.rackNames[rack] || place.array != known.arrayNames[array]
                    || place.hall != known.hallNames[hall]
            }
        }
    }

    /// Series that have a slot, of all senders together.
    var seriesCount: Int { state.withLock { $0.seriesCount } }
}
