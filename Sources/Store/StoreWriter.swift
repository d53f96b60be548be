import Dispatch
import FoundationEssentials
import GRDB
import Logging
import QueueIsolation
import Synchronization
import Telemetry

/// Where a test makes a transaction fail, or stops the world, just before COMMIT.
struct StoreFaults: Sendable {
    /// Gets what the transaction is for.
    var beforeCommit: @Sendable (StoreWork) throws -> Void = { _ in }
}

/// Owns the writing connection: closings in order, cursors, retention. Lives on `colossus.store`.
actor StoreWriter {
    struct Pending {
        var close: EncodedClose
        var done: @Sendable () -> Void
    }

    struct KnownTopology {
        var version: Int
        var racks: Int
        var nodes: Int
        var gpus: Int
        var id: Int64
    }

    nonisolated let executor: QueueExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    let pool: DatabasePool
    let limits: StoreLimits
    let clock: WallClock
    let logger: Logger
    let metrics: StoreMetrics
    let zstd: Zstd
    /// The state directory's.
    nonisolated let path: String
    private let directory: StateDirectory
    private let faults: StoreFaults

    private var pending: [Pending] = []
    private var failures = 0
    private var isRetryPlanned = false
    private(set) var isClosed = false
    /// Rows of the fleets that were committed last.
    private(set) var topologies: [StreamID: KnownTopology] = [:]
    var ladders: [StreamID: [Int64]] = [:]
    var endpointLimits: [String: EndpointLimit] = [:]
    var eventSelections: [String: EventSelection] = [:]
    var openedEndpoints: Set<String> = []
    /// Of them, those that read events.
    var openedEventCursors: Set<String> = []
    var handlers: [@Sendable (Int64) -> Void] = []
    var eventHandlers: [@Sendable (Int64) -> Void] = []
    private var replies = OrderedReplies()
    var isRetentionPlanned = false
    var retentionPasses = 0
    /// Where retention goes on to look.
    var retentionPlaces: [Retention.Series: Retention.Place] = [:]
    var losses = RetentionLosses()
    var eventLosses = RetentionLosses()
    /// Dead letters that had to go because there are too many, by endpoint, since the start.
    var cutLetters: [String: Int64] = [:]
    var letterLosses = RetentionLosses()

    init(
        executor: QueueExecutor, directory: consuming StateDirectory, pool: DatabasePool, limits: StoreLimits,
        clock: WallClock, logger: Logger, metrics: StoreMetrics, faults: StoreFaults
    ) throws {
        self.executor = executor
        path = directory.path
        self.directory = directory
        self.pool = pool
        self.limits = limits
        self.clock = clock
        self.logger = logger
        self.metrics = metrics
        self.faults = faults
        zstd = try Zstd()
        ladders = try pool.read { db in
            var ladders: [StreamID: [Int64]] = [:]
            for row in try Row.fetchAll(db, sql: "SELECT name, ladder FROM streams") {
                let ladder = try (row.value("ladder") as String).split(separator: " ").compactMap {
                    Int64($0)
                }
                if let stream = StreamID(try row.value("name") as String), !ladder.isEmpty {
                    ladders[stream] = ladder
                }
            }
            return ladders
        }
    }

    // MARK: Closings

    func enqueue(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        do {
            let ladder = ladders[close.stream] ?? limits.ladder
            let encoded = try EncodedClose(close, ladder: ladder, zstd: zstd)
            pending.append(Pending(close: encoded, done: done))
        } catch {
            refuse(close.stream, close.closedThroughMs, error, done: done)
        }
        metrics.queueLength.set(Double(pending.count))
        if !isRetryPlanned { commitPending() }
    }

    /// Commits what waits, oldest first, until one fails: nothing overtakes it.
    func commitPending() {
        var newest: Int64?
        var hasEvents = false
        while let first = pending.first {
            do {
                let began = DispatchTime.now()
                let outcome = try commit(first.close)
                metrics.commits.add()
                metrics.commitSeconds.set(
                    Double(DispatchTime.now().uptimeNanoseconds - began.uptimeNanoseconds) / 1e9)
                newest = outcome.sequences.last ?? newest
                hasEvents = hasEvents || !first.close.events.isEmpty
                pending.removeFirst()
                if failures > 0 {
                    logger.notice("the store commits again", metadata: ["failures": "\(failures)"])
                }
                failures = 0
                first.done()
            } catch {
                guard failed(first, error) else { break }
                pending.removeFirst()
            }
        }
        metrics.queueLength.set(Double(pending.count))
        if let newest {
            for handler in handlers { handler(newest) }
        }
        if hasEvents { tellOfEvents() }
        planRetention()
    }

    func tellOfEvents() {
        guard !eventHandlers.isEmpty,
            let newest = try? pool.read({ try Int64.fetchOne($0, sql: "SELECT max(id) FROM events") })
        else { return }
        for handler in eventHandlers { handler(newest) }
    }

    private func commit(_ close: EncodedClose) throws -> CommitTransaction.Outcome {
        guard !isClosed else { throw StoreError(.closed, "the store is closed") }
        let topology = close.topology
        let known = topologies[close.stream].flatMap {
            $0.version == topology.version && $0.racks == topology.rackNames.count
                && $0.nodes == topology.nodeNames.count && $0.gpus == topology.gpuNode.count ? $0.id : nil
        }
        let names: TopologyRow
        if let known {
            names = .known(known)
        } else {
            names = .packed(Data(try zstd.compress(TopologyBlob.encode(topology))))
        }
        let nowMs = clock.nowMs()
        let outcome = try transact(.commit) { db in
            try CommitTransaction(db: db, nowMs: nowMs).write(close, topology: names)
        }
        topologies[close.stream] = KnownTopology(
            version: topology.version, racks: topology.rackNames.count, nodes: topology.nodeNames.count,
            gpus: topology.gpuNode.count, id: outcome.topology)
        return outcome
    }

    /// One transaction. Not isolated, and bodies are `@Sendable`: GRDB runs them on a queue of its own, which Dispatch
    /// does not take for the store's although the thread is the same.
    nonisolated func transact<Result>(_ work: StoreWork, _ body: @Sendable (Database) throws -> Result) throws
        -> Result
    {
        try pool.write { db in
            let result = try body(db)
            try faults.beforeCommit(work)
            return result
        }
    }

    /// A failed commit is tried again, with growing pauses, for as long as it takes. Only what can never succeed is
    /// given up: then this returns true.
    private func failed(_ item: Pending, _ error: any Error) -> Bool {
        failures += 1
        report(error, doing: .commit)
        if failures >= 3, Self.isHopeless(error) {
            refuse(item.close.stream, item.close.closedThroughMs, error, done: item.done)
            failures = 0
            return true
        }
        guard !isClosed else { return false }
        isRetryPlanned = true
        let pauseMs = min(10_000, 100 << min(failures - 1, 7))
        executor.queue.asyncAfter(deadline: .now() + .milliseconds(pauseMs)) { @Sendable [weak self] in
            self?.assumeIsolated { writer in
                writer.isRetryPlanned = false
                writer.commitPending()
            }
        }
        return false
    }

    private func refuse(
        _ stream: StreamID, _ closedThroughMs: Int64, _ error: any Error, done: @Sendable () -> Void
    ) {
        metrics.error(.refused)
        logger.critical(
            "a closing cannot be stored and is given up; this is a fault of colossusd",
            metadata: [
                "stream": "\(stream)", "closed_through": "\(UTC.timestamp(closedThroughMs))",
                "error": "\(error)",
            ])
        done()
    }

    /// Counts and logs an error of the database; notes damage for the next start.
    func report(_ error: any Error, doing work: StoreWork) {
        metrics.error(work)
        var level = Logger.Level.error
        if let error = error as? DatabaseError, StateDirectory.isDamage(error) {
            level = .critical
            directory.noteSuspicion()
        }
        // Once a minute is enough while the disk is full: the counter has the number.
        guard failures < 10 || failures.isMultiple(of: 6) else { return }
        logger.log(
            level: level, "the store failed and will try again",
            metadata: ["doing": "\(work.rawValue)", "error": "\(error)", "waiting": "\(pending.count)"])
    }

    private static func isHopeless(_ error: any Error) -> Bool {
        guard let error = error as? DatabaseError else { return error is StoreError }
        switch error.resultCode {
        case .SQLITE_CONSTRAINT, .SQLITE_MISMATCH, .SQLITE_TOOBIG, .SQLITE_RANGE, .SQLITE_ERROR: return true
        default: return false
        }
    }

    // MARK: Other writes, in the order of the calls

    /// Replies to a call once all earlier calls have been replied to.
    func give(_ ticket: Int, _ reply: @escaping @Sendable () -> Void) {
        for reply in replies.give(ticket, reply) { reply() }
    }

    /// Writes once; `nil` after a failure, which is counted and logged.
    func attempt<Result>(_ work: StoreWork, _ body: @Sendable (Database) throws -> Result) -> Result? {
        guard !isClosed else { return nil }
        do {
            return try transact(work, body)
        } catch {
            report(error, doing: work)
            return nil
        }
    }

    /// Frees a stream's name at once; its rows go in small steps, under a name that no stream can have.
    func remove(_ stream: StreamID) -> Bool {
        let removed: Void? = attempt(.remove) { db in
            try db.execute(
                sql: "UPDATE streams SET name = 'removed/' || id, closed_through_ms = ? WHERE name = ?",
                arguments: [Int64.max, stream.name])
            if let run = stream.run {
                for statement in [
                    "DELETE FROM runs WHERE name = ?", "DELETE FROM injections WHERE run = ?",
                    "DELETE FROM exports WHERE run = ?",
                ] { try db.execute(sql: statement, arguments: [run]) }
            }
        }
        if removed != nil {
            forget(stream)
            planRetention()
        }
        return removed != nil
    }

    func forget(_ stream: StreamID) {
        topologies[stream] = nil
        ladders[stream] = nil
    }

    func setLadder(_ ladder: [Int64], of stream: StreamID) -> Bool {
        let set: Void? = attempt(.ladder) { db in
            let id = try CommitTransaction(db: db, nowMs: 0).streamID(stream)
            try db.execute(
                sql: "UPDATE streams SET ladder = ? WHERE id = ?",
                arguments: [ladder.map(String.init).joined(separator: " "), id])
        }
        if set != nil { ladders[stream] = ladder }
        return set != nil
    }

    /// Commits what waits, or says what is lost, and lets go of the file.
    func close() {
        guard !isClosed else { return }
        commitPending()
        isClosed = true
        if !pending.isEmpty {
            logger.critical(
                "closings could not be stored before the end", metadata: ["count": "\(pending.count)"])
            pending.removeAll()
        }
        do {
            try letGo()
        } catch {
            logger.warning("the history was not closed cleanly", metadata: ["error": "\(error)"])
        }
        directory.unlock()
    }

    private nonisolated func letGo() throws {
        _ = try pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        try pool.close()
    }
}
