import Dispatch
import FoundationEssentials
import GRDB
public import Logging
public import QueueIsolation
import Synchronization
public import Telemetry

/// The history in `history.sqlite`: summaries, events, ledger, cursors, dead letters, runs.
///
/// A closing is one transaction; closings are committed in the order of the calls. With WAL and `synchronous=NORMAL`
/// whatever `done` was called for survives the end of the process in any way. A power cut or a kernel crash can take
/// the transactions since SQLite's last checkpoint (about 32 MB of them) with it, never a part of one: `closed_through`,
/// ledger and cursors then stand together where they stood before.
///
/// Writing happens on `colossus.store`, reading of windows for endpoints on `colossus.store.delivery`, everything
/// else on `colossus.store.read`, so that no reader holds up a commit; backups on `colossus.store.backup`.
public final class HistoryStore: SummarySink, DeliveryStore, Sendable {
    let writer: StoreWriter
    let pool: DatabasePool
    let limits: StoreLimits
    /// Numbers of the calls that are answered in order.
    private let tickets = Atomic<Int>(0)
    /// What waited for endpoints when it was counted last, by name.
    let waiting = Mutex<[String: WaitingWindows]>([:])
    // One for each queue that reads.
    private let topologies = TopologyCache()
    private let deliveryTopologies = TopologyCache()
    private let readQueue = DispatchQueue(label: "colossus.store.read")
    private let deliveryQueue = DispatchQueue(label: "colossus.store.delivery")
    let backupQueue = DispatchQueue(label: "colossus.store.backup")
    /// Of what runs on `backupQueue`.
    let stop = StoreStop()

    /// - Parameter directory: the state directory; must be there and writable.
    /// - Throws: `StoreError`: the directory is missing, read-only or in use, the file was written by a newer
    ///   version or cannot be opened. A damaged file is put aside and a new history begins, with a critical log line.
    public convenience init(
        directory: String, limits: StoreLimits = StoreLimits(), clock: WallClock, metrics: Metrics,
        logger: Logger
    ) throws {
        try self.init(
            directory: directory, limits: limits, clock: clock, metrics: metrics, logger: logger,
            faults: StoreFaults())
    }

    init(
        directory: String, limits: StoreLimits, clock: WallClock, metrics: Metrics, logger: Logger,
        faults: StoreFaults
    ) throws {
        let state = try StateDirectory(directory)
        pool = try state.open(clock: clock, logger: logger)
        self.limits = limits
        let executor = QueueExecutor(label: "colossus.store", target: nil)
        writer = try StoreWriter(
            executor: executor, directory: state, pool: pool, limits: limits, clock: clock, logger: logger,
            metrics: StoreMetrics(metrics), faults: faults)
    }

    /// Queues that the watchdog may ask. All of them block only for as long as SQLite takes.
    public var monitoredQueues: [MonitoredQueue] {
        [writer.executor.queue, deliveryQueue, readQueue].map { MonitoredQueue(label: $0.label, queue: $0) }
    }

    /// Stores a closing. `done` is called on the store's queue when it is committed. After a failure (disk full, file
    /// locked) the closing stays in memory and is tried again, before all later ones, until it succeeds; how many
    /// wait is bounded by how many the caller has on their way. A window that is there already is left as it is.
    public func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        onWriter { $0.enqueue(close, done: done) }
    }

    public func onCommit(_ handler: @escaping @Sendable (_ newestSequence: Int64) -> Void) {
        onWriter { $0.handlers.append(handler) }
    }

    /// Commits what waits, writes the log back into the file and lets go of it. Later calls fail.
    public func close() async {
        stop.stop()
        await withCheckedContinuation { continuation in
            onWriter { writer in
                writer.close()
                continuation.resume()
            }
        }
    }

    // MARK: Ways onto the queues

    func onWriter(_ work: @escaping @Sendable (isolated StoreWriter) -> Void) {
        writer.executor.queue.async { @Sendable [writer] in writer.assumeIsolated(work) }
    }

    /// The number of a call that is answered in order.
    func ticket() -> Int { tickets.add(1, ordering: .relaxed).oldValue }

    /// A write that is waited for; false is a failure, which was counted and logged.
    func write(_ work: @escaping @Sendable (isolated StoreWriter) -> Bool) async throws(StoreError) {
        let succeeded = await withCheckedContinuation { continuation in
            onWriter { continuation.resume(returning: work($0)) }
        }
        if !succeeded {
            throw StoreError(.database, "the store could not write", advice: "the log says why; try again")
        }
    }

    /// The same for a write that counts something.
    func writeCounted(
        _ work: @escaping @Sendable (isolated StoreWriter) -> Int?
    ) async throws(StoreError) -> Int {
        let count = await withCheckedContinuation { continuation in
            onWriter { continuation.resume(returning: work($0)) }
        }
        guard let count else {
            throw StoreError(.database, "the store could not write", advice: "the log says why; try again")
        }
        return count
    }

    func write(_ work: StoreWork, _ body: @escaping @Sendable (Database) throws -> Void)
        async throws(StoreError)
    {
        try await write { $0.attempt(work, body) != nil }
    }

    /// A read on a snapshot, beside the writer.
    func read<Value: Sendable>(
        _ body: @escaping @Sendable (borrowing WindowReader) throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            readQueue.async { @Sendable [pool, topologies] in
                continuation.resume(
                    with: Result {
                        try pool.read { db in try body(WindowReader(db, topologies: topologies)) }
                    })
            }
        }
    }

    func onDelivery(
        _ body: @escaping @Sendable (borrowing WindowReader) throws -> Void,
        failed: @escaping @Sendable (any Error) -> Void
    ) {
        deliveryQueue.async { @Sendable [pool, topologies = deliveryTopologies] in
            do {
                try pool.read { db in try body(WindowReader(db, topologies: topologies)) }
            } catch {
                failed(error)
            }
        }
    }
}

/// Gives replies in the order of the calls, although some calls are worked on elsewhere. Lives on the store's queue.
struct OrderedReplies {
    private var next = 0
    private var finished: [Int: @Sendable () -> Void] = [:]

    /// Takes the reply to the call with this ticket; returns those that are due now, in order.
    mutating func give(_ ticket: Int, _ reply: @escaping @Sendable () -> Void) -> [@Sendable () -> Void] {
        finished[ticket] = reply
        var due: [@Sendable () -> Void] = []
        while let reply = finished.removeValue(forKey: next) {
            due.append(reply)
            next += 1
        }
        return due
    }
}
