public import Telemetry

/// Reads the finals of ingested telemetry, and has a core make summaries of them: one window at a time, each stored
/// before the next. Revisions go with the next window.
public final class IngestReporter: Sendable {
    private struct State {
        var assembly: IngestAssembly
        var shares: MergedShares
        var current: MergedWindow?
        var cursor: (any BusCursor)?
        var generation = 0
        var lastSequence: UInt64
        var mustOpen = true
        var isStopped = false
        var status = ReporterStatus()
    }

    public let fleet: FleetMap
    private let stream: StreamIndex
    private let bus: any Bus
    private let shares: ReportingBus
    private let coverage: CoverageSink
    private let clock: WallClock
    private let account: @Sendable (Ledger, StreamIndex) -> Void
    private let close: @Sendable (StreamIndex, Int64) -> Void
    private let state: Locked<State>

    /// - Parameters:
    ///   - topology: of the stream; nodes are entered as they are told of.
    ///   - reported: the last window that is stored; `nil` when none is.
    ///   - sequence: reading from here misses nothing; 1 always does.
    ///   - account: tells the core what was received.
    ///   - close: has the core close what ends by a time.
    public init(
        fleet: FleetMap, topology: Topology, stream: StreamIndex, reported: Int64?, reviseMs: Int64,
        from sequence: UInt64, bus: any Bus, shares: ReportingBus, coverage: CoverageSink, clock: WallClock,
        account: @escaping @Sendable (Ledger, StreamIndex) -> Void,
        close: @escaping @Sendable (StreamIndex, Int64) -> Void
    ) {
        self.fleet = fleet
        self.stream = stream
        self.bus = bus
        self.shares = shares
        self.coverage = coverage
        self.clock = clock
        self.account = account
        self.close = close
        var start = State(
            assembly: IngestAssembly(fleet: fleet, reported: reported, reviseMs: reviseMs),
            shares: MergedShares(topology, fleet, stream), lastSequence: max(1, sequence) - 1)
        start.status.reported = reported ?? -1
        start.status.resumeSequence = max(1, sequence)
        state = Locked(start)
    }

    public var status: ReporterStatus {
        state.withLock { state in
            var status = state.status
            status.waiting = state.assembly.waitingCount
            status.foreign = state.assembly.foreign
            status.skipped = state.assembly.late
            status.lacksGroups = state.assembly.lacksGroups
            status.lacksSketches = state.assembly.lacksSketches
            status.keptSketches = state.assembly.keptSketches
            return status
        }
    }

    /// Again and again: opens the stream of finals, also when reading has ended by itself.
    public func tick() {
        let start: (sequence: UInt64, generation: Int)? = state.withLock { state in
            guard state.mustOpen, !state.isStopped else { return nil }
            state.mustOpen = false
            state.generation += 1
            return (state.lastSequence + 1, state.generation)
        }
        guard let start else { return }
        let cursor = bus.open(.finals, fleet.finalSubjects, from: .sequence(start.sequence)) {
            [weak self] delivery in self?.delivered(delivery, start.generation)
        }
        let old = state.withLock { state in
            defer { state.cursor = state.isStopped ? nil : cursor }
            return state.isStopped ? cursor : state.cursor
        }
        old?.close()
    }

    public func stop() {
        let cursor = state.withLock { state in
            state.isStopped = true
            defer { state.cursor = nil }
            return state.cursor
        }
        cursor?.close()
    }

    private func delivered(_ delivery: BusDelivery, _ generation: Int) {
        state.withLock { state in
            guard generation == state.generation, !state.isStopped else { return }
            switch delivery {
            case .messages(let messages):
                for message in messages {
                    state.assembly.add(message)
                    state.lastSequence = max(state.lastSequence, message.sequence)
                }
            case .ended: state.mustOpen = true
            }
        }
        proceed()
    }

    /// Told by the sink: everything before this time is stored.
    public func committed(throughMs: Int64) {
        let nowMs = clock.nowMs()
        state.withLock { state in
            guard let current = state.current, throughMs >= fleet.windowEndMs(current.window) else { return }
            state.status.reported = current.window
            state.status.windows += 1
            if current.present < current.expected { state.status.incomplete += 1 }
            state.status.resumeSequence = state.assembly.firstWaiting ?? state.lastSequence + 1
            state.status.lagMs = max(0, nowMs - current.storedMs)
            state.current = nil
        }
        proceed()
    }

    private func proceed() {
        let work: (revisions: [MergedWindow], next: MergedWindow, partials: [WindowPartial])? =
            state.withLock { state in
                guard !state.isStopped, state.current == nil, let next = state.assembly.take() else {
                    return nil
                }
                state.current = next
                let revisions = state.assembly.takeRevisions()
                var partials = revisions.flatMap { state.shares.partials($0) }
                partials += state.shares.partials(next)
                return (revisions, next, partials)
            }
        guard let work else { return }
        for one in work.revisions + [work.next] {
            coverage.note(.measured, startMs: fleet.windowStartMs(one.window), coverage: one.coverage)
        }
        var ledger = Ledger()
        ledger.received = work.partials.reduce(0) { $0 + $1.sampleCount }
        account(ledger, stream)
        shares.add(work.partials)
        close(stream, fleet.windowEndMs(work.next.window))
    }
}
