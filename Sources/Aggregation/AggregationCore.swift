import Dispatch
public import QueueIsolation
public import Telemetry

/// The core: routes samples to shards, keeps their windows, and sends closed windows upwards.
///
/// Callers never wait: everything is put on the queues of the shards, bounded by credit. Time comes from `tick()`,
/// so that whoever owns the clock drives it.
public final class AggregationCore: JournaledSink, FleetSink, EventSink, SeriesRetirement {
    public let shardCount: Int
    private let streams: Streams
    private let clock: WallClock
    private let limits: AggregationLimits
    private let metrics: Metrics
    private let counters: CoreCounters
    private let credits: Credits
    let shards: [Shard]
    private let roller: Roller
    private let onDetected: @Sendable ([Event]) -> Void
    private let onSilent = Locked<(@Sendable (SilentSeries) -> Void)?>(nil)
    private let controls = Locked<[StreamIndex: StreamControl]>([:])

    /// - Parameters:
    ///   - shardCount: serial queues that share the work; as many as cores. No summary depends on it.
    ///   - streams: where streams get their numbers and topologies.
    ///   - bus: the way from shards to the roller; the core subscribes to it.
    ///   - onDetected: is told of events seen in telemetry, on a shard's queue. They go with the next closing anyway;
    ///     do not `emit` them again.
    public init(
        shardCount: Int, streams: Streams, bus: any PartialBus, sink: any SummarySink, clock: WallClock,
        metrics: Metrics, limits: AggregationLimits = AggregationLimits(),
        onDetected: @escaping @Sendable ([Event]) -> Void = { _ in }
    ) {
        precondition(shardCount > 0, "at least one shard")
        self.shardCount = shardCount
        self.streams = streams
        self.clock = clock
        self.limits = limits
        self.metrics = metrics
        self.onDetected = onDetected
        let counters = CoreCounters(metrics)
        let credits = Credits(shardCount: shardCount, max: limits.recordsInFlightMax)
        self.counters = counters
        self.credits = credits
        shards = (0..<shardCount).map { number in
            Shard(
                number: number, shardCount: shardCount, limits: limits, bus: bus, credits: credits,
                counters: counters)
        }
        roller = Roller(
            shardCount: shardCount, limits: limits, sink: sink, counters: counters)
        for number in 0..<shardCount {
            metrics.computed(
                "colossus_shard_credit_used", "Records on their way to a shard.",
                ["shard": String(number)]
            ) { Double(credits.used(shard: number)) }
        }
        bus.subscribe { [weak roller] in roller?.receive($0) }
        roller.onStepDone { [weak self] in self?.control($0)?.stepDone(revisesFromMs: $1) }
    }

    /// The queues that must show signs of life.
    public var monitoredQueues: [MonitoredQueue] {
        (shards.map(\.queue) + [roller.queue]).map { MonitoredQueue(label: $0.label, queue: $0) }
    }

    // MARK: Streams

    /// Opens a stream, or one that was closed again under its old number. Its topology is that of `streams`; where a
    /// kept one goes on, restore it there first.
    @discardableResult
    public func openStream(_ spec: StreamSpec) -> StreamIndex {
        precondition(spec.plan.problem == nil, spec.plan.problem ?? "")
        let index = streams.open(spec.id, site: spec.site)
        let shared = StreamShared(
            index: index, spec: spec, topology: streams.topology(index), shardCount: shardCount,
            detected: { [weak self] events in self?.detected(events, index) },
            silent: { [weak self] series in self?.onSilent.withLock { $0 }?(series) })
        let control = StreamControl(
            shared: shared, shards: shards, roller: roller, limits: limits, credits: credits,
            counters: counters, startedMs: clock.nowMs())
        controls.withLock { controls in
            precondition(controls[index] == nil, "stream \(spec.id) is open already")
            controls[index] = control
        }
        control.open()
        publishMetrics(control)
        return index
    }

    public func isOpen(_ stream: StreamIndex) -> Bool { control(stream) != nil }

    /// Forgets a stream with all that is open in it; call `finish` before, to keep that. Offers are refused from now
    /// on.
    public func closeStream(_ stream: StreamIndex, completion: @escaping @Sendable () -> Void = {}) {
        guard let control = controls.withLock({ $0.removeValue(forKey: stream) }) else {
            completion()
            return
        }
        for shard in shards { shard.close(stream) }
        control.abandon()
        metrics.remove(label: "stream", value: control.shared.spec.id.name)
        afterShards { [roller] in roller.close(stream, completion) }
    }

    /// The stream ends: closes every window and every rollup, full or not.
    public func finish(_ stream: StreamIndex, completion: @escaping @Sendable () -> Void) {
        let controls = [control(stream)].compactMap(\.self)
        whenIdle(controls) { [self] in
            for control in controls { control.closeAll() }
            whenIdle(controls, completion)
        }
    }

    /// Calls `completion` when everything that came in is aggregated, and everything that was closed is committed:
    /// a moment that only comes when the sources have stopped. Windows that are still open stay open.
    public func drain(completion: @escaping @Sendable () -> Void) {
        whenIdle(controls.withLock { Array($0.values) }, completion)
    }

    /// The same for one stream, however busy the others are.
    public func drain(_ stream: StreamIndex, completion: @escaping @Sendable () -> Void) {
        whenIdle([control(stream)].compactMap(\.self), completion)
    }

    private func whenIdle(_ controls: [StreamControl], _ completion: @escaping @Sendable () -> Void) {
        afterShards { [roller] in
            roller.whenIdle(
                controls.map(\.shared.index), { controls.allSatisfy(\.isIdle) }, completion)
        }
    }

    /// The wall clock has moved on; to be called about once a second.
    public func tick() {
        let nowMs = clock.nowMs()
        for control in controls.withLock({ Array($0.values) }) { control.tick(nowMs: nowMs) }
    }

    public func status(_ stream: StreamIndex) -> StreamStatus? {
        control(stream)?.status(nowMs: clock.nowMs())
    }

    /// Records on their way to each shard; `creditMax` at most.
    public var creditUsed: [Int] { (0..<shardCount).map { credits.used(shard: $0) } }
    public var creditMax: Int { limits.recordsInFlightMax }

    /// Takes out the events that no closing has taken along yet: to store them where closings are far apart, or
    /// none comes any more.
    public func takePendingEvents(_ stream: StreamIndex) -> [Event] {
        control(stream)?.takePendingEvents() ?? []
    }

    /// Gives back events that were taken and could not be stored.
    public func putBack(_ events: [Event], stream: StreamIndex) { control(stream)?.putBack(events) }

    /// Closes what ends by that time, in a stream that is only reported here (`StreamSpec.isReported`).
    public func close(_ stream: StreamIndex, throughMs: Int64) {
        control(stream)?.close(throughMs: throughMs)
    }

    /// Adds what a receiver rejected before it became a batch: `received` and the drops.
    public func account(_ ledger: Ledger, stream: StreamIndex) { control(stream)?.account(ledger) }

    // MARK: Sinks

    public func shard(stream: StreamIndex, rack: Int32, node: Int32) -> Int { Int(rack) % shardCount }

    public func register(_ series: [SeriesDescriptor], stream: StreamIndex, shard: Int) {
        control(stream)?.register(series, shard: shard)
    }

    public func move(_ racks: [Int32: Int32], stream: StreamIndex) { control(stream)?.move(racks) }

    public func onSilent(_ handler: @escaping @Sendable (SilentSeries) -> Void) {
        onSilent.withLock { $0 = handler }
    }

    public func retire(_ slots: [UInt32], stream: StreamIndex, shard: Int) {
        control(stream)?.retire(slots, shard: shard)
    }

    public func hasRoom(
        stream: StreamIndex, sender: SenderID, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64
    ) -> Bool {
        control(stream)?.hasRoom(sender, oldestMs: oldestMs, newestMs: newestMs, arrivalMs: arrivalMs)
            ?? false
    }

    public func offer(_ batches: [SampleBatch]) -> Admission {
        var checked: StreamIndex?
        for batch in batches where batch.stream != checked {
            guard let control = control(batch.stream), !control.isStalled else { return .full }
            checked = batch.stream
        }
        guard credits.take(batches) else { return .full }
        for batch in batches { shards[batch.shard].submit([batch]) }
        return .accepted
    }

    public func take(
        _ requests: [LoggedRequest], place: (Int) -> LogPosition?
    ) -> [JournaledAdmission] {
        guard let first = requests.first, let control = control(first.stream) else {
            return requests.map { _ in .full }
        }
        return control.take(requests, place)
    }

    public func beginReplay(_ stream: StreamIndex) { control(stream)?.beginReplay() }

    public func replayClosing(throughMs: Int64, stream: StreamIndex) -> Bool {
        control(stream)?.replayClosing(throughMs: throughMs) ?? true
    }

    public func endReplay(_ stream: StreamIndex) { control(stream)?.endReplay() }

    public func observed(
        sender: SenderID, stream: StreamIndex, oldestMs: Int64, newestMs: Int64, arrivalMs: Int64
    ) {
        control(stream)?.observed(sender, oldestMs: oldestMs, newestMs: newestMs, arrivalMs: arrivalMs)
    }

    public func offer(_ tick: any FleetTick, stream: StreamIndex, done: @escaping @Sendable () -> Void) {
        guard let control = control(stream) else {
            done()
            return
        }
        control.offer(tick, done: done)
    }

    public func emit(_ events: [Event]) {
        for (stream, group) in Dictionary(grouping: events, by: \.stream) {
            guard let index = streams.find(stream) else { continue }
            control(index)?.take(group, keep: true)
        }
    }

    // MARK: Inside

    private func control(_ stream: StreamIndex) -> StreamControl? { controls.withLock { $0[stream] } }

    private func detected(_ events: [Event], _ stream: StreamIndex) {
        // Who makes the telemetry tells when it was; a sample shows it at the next tick, maybe in another window.
        guard let control = control(stream), control.shared.spec.tellsDetected else { return }
        control.take(events, keep: true)
        onDetected(events)
    }

    /// Calls `body` when each shard has done all that was sent to it before.
    private func afterShards(_ body: @escaping @Sendable () -> Void) {
        let gate = Gate(remaining: shards.count, body)
        for shard in shards { shard.barrier { gate.pass() } }
    }

    private func publishMetrics(_ control: StreamControl) {
        let labels: Metrics.Labels = ["stream": control.shared.spec.id.name]
        let clock = clock
        metrics.computed("colossus_watermark_lag_seconds", "Wall clock - watermark.", labels) {
            [weak control] in
            control.map { Double($0.status(nowMs: clock.nowMs()).lagMs) / 1_000 } ?? 0
        }
        metrics.computed("colossus_series", "Series that are registered.", labels) { [weak control] in
            control.map { Double($0.status(nowMs: clock.nowMs()).seriesCount) } ?? 0
        }
    }
}

/// Opens when it was passed so many times.
private final class Gate: Sendable {
    private let remaining: Locked<Int>
    private let body: @Sendable () -> Void

    init(remaining count: Int, _ body: @escaping @Sendable () -> Void) {
        remaining = Locked(count)
        self.body = body
    }

    func pass() {
        let isLast = remaining.withLock { remaining in
            remaining -= 1
            return remaining == 0
        }
        if isLast { body() }
    }
}
