public import Telemetry

/// What a reporter tells of itself.
public struct ReporterStatus: Sendable {
    /// Number of the last window that is stored; -1 before the first.
    public var reported: Int64 = -1
    /// Windows of which not all partitions are there.
    public var waiting = 0
    public var windows: UInt64 = 0
    /// Of those, with slices missing.
    public var incomplete: UInt64 = 0
    /// Finals that could not be read or are of another fleet.
    public var foreign: UInt64 = 0
    /// Windows whose finals were gone before they could be read.
    public var skipped: UInt64 = 0
    /// Finals that were too long with all that they should say; of ingested telemetry.
    public var lacksGroups: UInt64 = 0
    public var lacksSketches: UInt64 = 0
    /// Fields that a revision has more samples of, and no sketch of them.
    public var keptSketches: UInt64 = 0
    /// Where reading goes on after a restart.
    public var resumeSequence: UInt64 = 1
    /// From the end of the last window's storing by the roll-up to its commit here, by the two clocks; milliseconds.
    public var lagMs: Int64 = 0
    public init() {}
}

/// Reads the finals of a cluster, and has a core make summaries of them: one window at a time, each stored before the
/// next, so that the store's own position says where a restart goes on.
public final class FleetReporter: Sendable {
    private struct State {
        var assembly: FinalAssembly
        var current: ReportedWindow?
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
    private let core: any FleetSink & EventSink
    private let account: @Sendable (Ledger, StreamIndex) -> Void
    private let events: @Sendable (Int64) -> [Event]
    private let clock: WallClock
    private let state: Locked<State>

    /// - Parameters:
    ///   - next: the first window that is not stored.
    ///   - sequence: reading from here misses nothing of it; 1 always does.
    ///   - account: tells the core what was received.
    ///   - events: what happened before a time and was not told yet.
    public init(
        fleet: FleetMap, topology: TopologySnapshot, stream: StreamIndex, next: Int64, from sequence: UInt64,
        bus: any Bus, shares: ReportingBus, coverage: CoverageSink, core: any FleetSink & EventSink,
        clock: WallClock, account: @escaping @Sendable (Ledger, StreamIndex) -> Void,
        events: @escaping @Sendable (Int64) -> [Event]
    ) {
        self.fleet = fleet
        self.stream = stream
        self.bus = bus
        self.shares = shares
        self.coverage = coverage
        self.core = core
        self.clock = clock
        self.account = account
        self.events = events
        var start = State(
            assembly: FinalAssembly(fleet: fleet, topology: topology, next: next),
            lastSequence: max(1, sequence) - 1)
        start.status.reported = next - 1
        start.status.resumeSequence = max(1, sequence)
        state = Locked(start)
    }

    public var status: ReporterStatus {
        state.withLock { state in
            var status = state.status
            status.waiting = state.assembly.waitingCount
            status.foreign = state.assembly.foreign
            status.skipped = state.assembly.skipped
            return status
        }
    }

    /// Again and again: opens the stream of finals, also when reading has ended by itself.
    public func tick() {
        let start: (sequence: UInt64, generation: Int)? = state.withLock { state in
            if let again = state.assembly.takeReread() {
                state.lastSequence = again - 1
                state.mustOpen = true
            }
            guard state.mustOpen, !state.isStopped else { return nil }
            state.mustOpen = false
            state.generation += 1
            return (state.lastSequence + 1, state.generation)
        }
        guard let start else { return }
        let filter = fleet.finalSubjects
        let cursor = bus.open(.finals, filter, from: .sequence(start.sequence)) { [weak self] delivery in
            self?.delivered(delivery, start.generation)
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
            guard let current = state.current, throughMs >= current.endMs else { return }
            state.status.reported = current.window
            state.status.windows += 1
            if current.slicesPresent < current.slicesExpected { state.status.incomplete += 1 }
            state.status.resumeSequence = current.resumeSequence
            state.status.lagMs = max(0, nowMs - current.storedMs)
            state.current = nil
        }
        proceed()
    }

    private func proceed() {
        let next: ReportedWindow? = state.withLock { state in
            guard !state.isStopped, state.current == nil else { return nil }
            state.current = state.assembly.take(stream: stream)
            return state.current
        }
        guard let next else { return }
        if let id = StreamID(fleet.stream) {
            coverage.note(id, startMs: next.startMs, coverage: next.coverage)
        }
        let told = events(next.endMs)
        if !told.isEmpty { core.emit(told) }
        var ledger = Ledger()
        ledger.received = next.samples
        account(ledger, stream)
        shares.add(next.partials)
        core.offer(ClockTick(timeMs: next.endMs), stream: stream) {}
    }
}
