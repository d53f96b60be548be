public import Telemetry

/// Reads the finals of ingested telemetry, and has a core make summaries of them: one window at a time, each stored
/// before the next. Revisions go with the next window.
public final class IngestReporter: Sendable {
    private struct Book: FinalsBook {
        var assembly: IngestAssembly
        var shares: MergedShares
        /// On its way to the store.
        var current: MergedWindow?
        var status = ReporterStatus()

        var isFull: Bool { current != nil && assembly.rereadFrom != nil }
        mutating func add(_ message: StoredMessage) { assembly.add(message) }
        mutating func takeReread() -> UInt64? { assembly.takeReread(isIdle: current == nil) }
    }

    public let fleet: FleetMap
    private let stream: StreamIndex
    private let shares: ReportingBus
    private let coverage: CoverageSink
    private let clock: WallClock
    private let account: @Sendable (Ledger, StreamIndex) -> Void
    private let close: @Sendable (StreamIndex, Int64) -> Void
    private let finals: FinalsReader<Book>

    /// - Parameters:
    ///   - topology: of the stream; nodes are entered as they are told of.
    ///   - reported: the last window that is stored; `nil` when none is.
    ///   - sequence: reading from here misses nothing; 1 always does.
    ///   - account: tells the core what was received.
    ///   - close: has the core close what ends by a time.
    public init(
        fleet: FleetMap, topology: Topology, stream: StreamIndex, reported: Int64?, reviseMs: Int64,
        from sequence: UInt64, bus: any Bus, shares: ReportingBus, coverage: CoverageSink, clock: WallClock,
        limits: ExchangeLimits = ExchangeLimits(),
        account: @escaping @Sendable (Ledger, StreamIndex) -> Void,
        close: @escaping @Sendable (StreamIndex, Int64) -> Void
    ) {
        self.fleet = fleet
        self.stream = stream
        self.shares = shares
        self.coverage = coverage
        self.clock = clock
        self.account = account
        self.close = close
        var book = Book(
            assembly: IngestAssembly(fleet: fleet, reported: reported, reviseMs: reviseMs, limits: limits),
            shares: MergedShares(topology, fleet, stream))
        book.status.reported = reported ?? -1
        book.status.resumeSequence = max(1, sequence)
        finals = FinalsReader(book, of: fleet, from: sequence, bus: bus)
    }

    public var status: ReporterStatus {
        finals.withBook { book, _ in
            var status = book.status
            status.waiting = book.assembly.waitingCount
            status.waitingBytes = book.assembly.waitingBytes
            status.foreign = book.assembly.foreign
            status.skipped = book.assembly.late
            status.lacksGroups = book.assembly.lacksGroups
            status.lacksSketches = book.assembly.lacksSketches
            status.keptSketches = book.assembly.keptSketches
            return status
        }
    }

    /// Again and again: opens the stream of finals, also when reading has ended by itself.
    public func tick() {
        finals.tick { [weak self] in self?.proceed() }
    }

    public func stop() { finals.stop() }

    /// Told by the sink: everything before this time is stored.
    public func committed(throughMs: Int64) {
        let nowMs = clock.nowMs()
        finals.withBook { book, reading in
            guard let current = book.current, throughMs >= fleet.windowEndMs(current.window) else { return }
            book.status.reported = current.window
            book.status.windows += 1
            if current.present < current.expected { book.status.incomplete += 1 }
            // While some is read again, the reading stands before what waits.
            book.status.resumeSequence = min(book.assembly.firstWaiting ?? .max, reading.next)
            book.status.lagMs = max(0, nowMs - current.storedMs)
            book.current = nil
        }
        proceed()
    }

    private func proceed() {
        let work: (revisions: [MergedWindow], next: MergedWindow, partials: [WindowPartial])? =
            finals.withBook { book, reading in
                guard !reading.isStopped, book.current == nil, let next = book.assembly.take() else {
                    return nil
                }
                book.current = next
                let revisions = book.assembly.takeRevisions()
                var partials = revisions.flatMap { book.shares.partials($0) }
                partials += book.shares.partials(next)
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
