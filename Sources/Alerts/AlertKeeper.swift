import Dispatch
public import QueueIsolation
public import Telemetry

/// Where alerts are kept when no closing takes them along.
public protocol AlertStore: Sendable {
    /// Keeps events and alerts in one transaction.
    func save(_ events: [Event], alerts: AlertChanges, nowMs: Int64) async throws
}

/// Stands between the core and the store: looks at each closing on its way, so that windows and alerts are kept in one
/// transaction, and tells of alerts once they are.
///
/// Lives on a queue of its own that never blocks; closings keep their order.
public actor AlertKeeper: SummarySink {
    nonisolated let executor = QueueExecutor(label: "colossus.alerts", target: WorkerPool.shared)
    /// The keeper's own queue.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private var engine: AlertEngine
    private let sink: any SummarySink
    private let store: any AlertStore
    private let clock: WallClock
    private let metrics: Metrics
    private var told: @Sendable ([Alert], AlertOutcome) -> Void = { _, _ in }
    /// What could not be kept yet.
    private var unsaved = AlertOutcome()
    /// The alerts of each transaction that the store has not answered yet: it may wait for the disk, and what came later be first.
    private var underway: [Int: Set<String>] = [:]
    private var lastWrite = 0
    /// Alerts that were in two of them at a time: nobody knows which of the two was kept last.
    private var unsure: Set<String> = []
    /// What was counted of `AlertEngine.refusedTotal`.
    private var refused: Int64 = 0

    /// - Parameter sink: where closings go on to.
    public init(
        engine: AlertEngine, sink: any SummarySink, store: any AlertStore, clock: WallClock, metrics: Metrics
    ) {
        self.engine = engine
        self.sink = sink
        self.store = store
        self.clock = clock
        self.metrics = metrics
    }

    /// For the watchdog.
    public nonisolated var monitoredQueues: [MonitoredQueue] {
        [MonitoredQueue(label: "colossus.alerts", queue: executor.queue)]
    }

    /// Says who is told of alerts, on the keeper's queue: all that are open or were so in the last hour, and what has
    /// just begun and ended. Is called at once with what is open now.
    public func tell(_ told: @escaping @Sendable (_ alerts: [Alert], _ news: AlertOutcome) -> Void) {
        self.told = told
        publish(AlertOutcome())
    }

    /// Pending, firing, and resolved in the last hour.
    public var alerts: [Alert] { engine.open + engine.recentlyResolved }
    public var policy: AlertPolicy { engine.policy }
    /// Found and not opened, because there are too many.
    public var suppressed: Int { engine.suppressed }

    /// Looks at a closing and hands it on.
    public nonisolated func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        executor.queue.async { @Sendable [self] in assumeIsolated { $0.handOn(close, done) } }
    }

    private func handOn(_ close: WindowClose, _ done: @escaping @Sendable () -> Void) {
        let outcome = current(unsaved.adding(engine.look(at: close, nowMs: clock.nowMs())))
        unsaved = AlertOutcome()
        var close = close
        close.alerts = outcome.changes
        close.events += outcome.events
        countRefused()
        guard !outcome.isEmpty || outcome.isRetold else { return sink.commit(close, done: done) }
        let write = begin(outcome.changes)
        sink.commit(close) { [weak self] in
            if let self {
                executor.queue.async { @Sendable [self] in assumeIsolated { $0.arrived(outcome, write) } }
            }
            done()
        }
    }

    /// A closing is kept.
    private func arrived(_ outcome: AlertOutcome, _ write: Int) {
        end(write)
        publish(outcome)
    }

    // MARK: The order of what is kept

    private func begin(_ changes: AlertChanges) -> Int {
        let ids = Set(changes.saved.map(\.id) + changes.removed)
        for others in underway.values { unsure.formUnion(others.intersection(ids)) }
        lastWrite += 1
        underway[lastWrite] = ids
        return lastWrite
    }

    /// What was in two transactions is kept once more when both are through, as it is by then.
    private func end(_ write: Int) {
        let ids = underway.removeValue(forKey: write) ?? []
        let again = unsure.intersection(ids).filter { id in !underway.values.contains { $0.contains(id) } }
        guard !again.isEmpty else { return }
        unsure.subtract(again)
        unsaved.changes.add(engine.current(again))
        // If it fails, it is kept the next time.
        Task { try? await save([], AlertOutcome()) }
    }

    /// What waited to be kept, as it is by now.
    private func current(_ outcome: AlertOutcome) -> AlertOutcome {
        var outcome = outcome
        outcome.changes = engine.current(
            Set(outcome.changes.saved.map(\.id)).union(outcome.changes.removed))
        return outcome
    }

    /// Keeps events that no closing takes along, with the alerts that they cause.
    ///
    /// - Throws: what the store throws; the alerts are kept the next time.
    public func keep(_ events: [Event]) async throws {
        try await save(events, engine.look(at: events, nowMs: clock.nowMs()))
    }

    /// - Parameters:
    ///   - failing: all endpoints that do not work, with what was said last.
    ///   - unknown: endpoints that have not answered since they were started.
    public func look(atFailing failing: [String: String], unknown: Set<String> = []) async throws {
        try await save([], engine.look(atFailing: failing, unknown: unknown, nowMs: clock.nowMs()))
    }

    /// After a start: what was kept of rules that are gone by now is over.
    public func endForgotten() async throws {
        try await save([], engine.replace(engine.policy, nowMs: clock.nowMs()))
    }

    public func replace(_ policy: AlertPolicy) async throws {
        guard policy != engine.policy else { return }
        try await save([], engine.replace(policy, nowMs: clock.nowMs()))
    }

    /// Simulated runs of which anything is open.
    public var simulatedStreams: Set<StreamID> {
        Set(engine.open.compactMap { StreamID($0.stream) }.filter(\.isSimulated))
    }

    /// A simulated run is over, or was removed: nothing will tell any more how its troubles end.
    ///
    /// - Parameter closedThroughMs: how far it had come, where it did not play since the start.
    public func forget(_ stream: StreamID, closedThroughMs: Int64? = nil) async throws {
        try await save(
            [], engine.forget(stream, closedThroughMs: closedThroughMs, nowMs: clock.nowMs()))
    }

    private func save(_ events: [Event], _ outcome: AlertOutcome) async throws {
        let all = current(unsaved.adding(outcome))
        guard !events.isEmpty || !all.isEmpty else { return all.isRetold ? publish(all) : () }
        unsaved = AlertOutcome()
        let write = begin(all.changes)
        do {
            try await store.save(events + all.events, alerts: all.changes, nowMs: clock.nowMs())
        } catch {
            end(write)
            // What came meanwhile is newer.
            unsaved = all.adding(unsaved)
            throw error
        }
        end(write)
        publish(all)
    }

    private func publish(_ outcome: AlertOutcome) {
        countRefused()
        let open = engine.open
        for state in [Alert.State.pending, .firing] {
            metrics.gauge(
                "colossus_alerts_open", "Alerts by state: pending or firing.", ["state": state.rawValue]
            ).set(Double(open.count { $0.state == state }))
        }
        metrics.gauge(
            "colossus_alerts_suppressed", "Alerts that were found and not opened, because there are too many."
        ).set(Double(engine.suppressed))
        for (reason, alerts) in [("fired", outcome.fired), ("resolved", outcome.resolved)] {
            for alert in alerts {
                metrics.counter(
                    "colossus_alerts_\(reason)_total", "Alerts that have \(reason), by rule.",
                    ["rule": alert.rule]
                ).add()
            }
        }
        told(open + engine.recentlyResolved, outcome)
    }

    private func countRefused() {
        metrics.counter(
            "colossus_alert_events_refused_total",
            "Names and XIDs out of events that alerts do not remember, because there are too many."
        ).add(engine.refusedTotal - refused)
        refused = engine.refusedTotal
    }
}
