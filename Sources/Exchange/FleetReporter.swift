public import Telemetry

/// What a reporter tells of itself.
public struct ReporterStatus: Sendable {
    /// Number of the last window that is stored; -1 before the first.
    public var reported: Int64 = -1
    /// Windows of which not all partitions are there.
    public var waiting = 0
    /// Bytes of the finals that wait; of ingested telemetry.
    public var waitingBytes = 0
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
    /// A window is on its way to the store; of the simulated fleet.
    public var isStoring = false
    /// Windows that end later wait for what was asked of the run, and for the events of that time; simulated.
    public var throughMs: Int64 = .max
    /// From the end of the last window's storing by the roll-up to its commit here, by the two clocks; milliseconds.
    public var lagMs: Int64 = 0
    public init() {}
}

/// Reads the finals of a cluster, and has a core make summaries of them: one window at a time, each stored before the
/// next, so that the store's own position says where a restart goes on.
public final class FleetReporter: Sendable {
    private struct Book: FinalsBook {
        var assembly: FinalAssembly
        /// On its way to the store.
        var current: ReportedWindow?
        var status = ReporterStatus()
        var throughMs: Int64

        // What there is no room for is passed over and read again.
        var isFull: Bool { false }
        mutating func add(_ message: StoredMessage) { assembly.add(message) }
        mutating func takeReread() -> UInt64? { assembly.takeReread() }
    }

    public let fleet: FleetMap
    private let stream: StreamIndex
    private let shares: ReportingBus
    private let coverage: CoverageSink
    private let core: any FleetSink & EventSink
    private let account: @Sendable (Ledger, StreamIndex) -> Void
    private let events: @Sendable (Int64) -> [Event]
    private let clock: WallClock
    private let finals: FinalsReader<Book>

    /// - Parameters:
    ///   - next: the first window that is not stored.
    ///   - sequence: reading from here misses nothing of it; 1 always does.
    ///   - throughMs: windows that end later wait until `allow` says that all is known of their time.
    ///   - account: tells the core what was received.
    ///   - events: what happened before a time and was not told yet.
    public init(
        fleet: FleetMap, topology: TopologySnapshot, stream: StreamIndex, next: Int64, from sequence: UInt64,
        throughMs: Int64 = .max, bus: any Bus, shares: ReportingBus, coverage: CoverageSink,
        core: any FleetSink & EventSink,
        clock: WallClock, account: @escaping @Sendable (Ledger, StreamIndex) -> Void,
        events: @escaping @Sendable (Int64) -> [Event]
    ) {
        self.fleet = fleet
        self.stream = stream
        self.shares = shares
        self.coverage = coverage
        self.core = core
        self.clock = clock
        self.account = account
        self.events = events
        var book = Book(
            assembly: FinalAssembly(fleet: fleet, topology: topology, next: next), throughMs: throughMs)
        book.status.reported = next - 1
        book.status.resumeSequence = max(1, sequence)
        finals = FinalsReader(book, of: fleet, from: sequence, bus: bus)
    }

    public var status: ReporterStatus {
        finals.withBook { book, _ in
            var status = book.status
            status.waiting = book.assembly.waitingCount
            status.foreign = book.assembly.foreign
            status.skipped = book.assembly.skipped
            status.isStoring = book.current != nil
            status.throughMs = book.throughMs
            return status
        }
    }

    /// Again and again: opens the stream of finals, also when reading has ended by itself.
    public func tick() {
        finals.tick { [weak self] in self?.proceed() }
    }

    public func stop() { finals.stop() }

    /// All that happens up to this simulated time is known.
    public func allow(throughMs: Int64) {
        finals.withBook { book, _ in book.throughMs = max(book.throughMs, throughMs) }
        proceed()
    }

    /// Told by the sink: everything before this time is stored.
    public func committed(throughMs: Int64) {
        let nowMs = clock.nowMs()
        finals.withBook { book, _ in
            guard let current = book.current, throughMs >= current.endMs else { return }
            book.status.reported = current.window
            book.status.windows += 1
            if current.slicesPresent < current.slicesExpected { book.status.incomplete += 1 }
            book.status.resumeSequence = current.resumeSequence
            book.status.lagMs = max(0, nowMs - current.storedMs)
            book.current = nil
        }
        proceed()
    }

    private func proceed() {
        let next: ReportedWindow? = finals.withBook { book, reading in
            guard !reading.isStopped, book.current == nil else { return nil }
            book.current = book.assembly.take(stream: stream, throughMs: book.throughMs)
            return book.current
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
