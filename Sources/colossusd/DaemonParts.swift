import Aggregation
import Alerts
import ControlAPI
import ControlServer
import Dispatch
import Exchange
import Foundation
import Logging
import QueueIsolation
import Receivers
import Reporting
import Settings
import Store
import Synchronization
import SystemdSupport
import TLS
import Telemetry
import WireFormats

/// The parts of the running service, left to right as in `Sources/README.md`.
struct DaemonParts: Sendable {
    let streams: Streams
    let runs: SimulationRuns
    let ingest: IngestServer
    /// `nil` where nothing is logged.
    let log: IngestLog?
    let core: AggregationCore
    let store: HistoryStore
    /// `nil` where the daemon works alone.
    let cluster: ClusterNode?
    let reporter: Reporter
    let alerts: AlertKeeper
    let control: ControlServer
    let ticker: Ticker
    let watchdog: WatchdogFeeder
    /// What is received here: the measured stream, or in a cluster that shares it what of it is ours.
    let measured: StreamIndex
    /// Where telemetry arrives: the configuration says it, or systemd.
    let ingestBound: DaemonSettings.Listen
    let webBound: DaemonSettings.Listen
    var webPort: Int { webBound.port }
    let monitoredQueues: [MonitoredQueue]

    /// The measured stream, if its windows are made here.
    var merged: StreamIndex? {
        guard cluster?.ingest != nil else { return measured }
        return streams.find(.measured).flatMap { core.isOpen($0) ? $0 : nil }
    }

    /// How long a drain waits for the store.
    private static let drainSeconds = 20.0

    /// Sinks first, then the core, then the sources, so that nothing arrives before there is somewhere to put it.
    static func start(_ daemon: Daemon) async throws -> DaemonParts {
        let settings = await daemon.settings
        let (clock, metrics, places) = (daemon.clock, daemon.metrics, daemon.places)
        let streams = Streams()
        let store = try openStore(settings, places, clock, metrics)
        let reporter = Reporter(
            store: store, clock: clock, metrics: metrics, logger: Logger(label: "reporter"),
            seed: UInt64.random(in: .min ... .max), fileFolders: [places.stateDirectory],
            credentialsFolder: ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"])
        let alerts = try await openAlerts(settings, store, clock, metrics)
        let names = RunNames(
            mayShare: settings.cluster != nil, shared: settings.cluster?.simulation?.run)
        let (core, cluster) = makeCore(settings, places, streams, store, alerts, names, clock, metrics)
        let record = try await ingestRecord(settings, store)
        let mark = record?.log
        let log = try openLog(settings, places, after: mark?.cut, metrics)
        let measured = try await openIngest(settings, record, streams, core, store, log)
        cluster?.share(measured, sink: alerts)
        try await apply(settings, reporter, store)
        await tell(of: alerts, reporter)
        let runs = SimulationRuns(
            core: core, store: store, streams: streams, clock: clock,
            levels: Set(settings.aggregation.simulatedLevels), names: names,
            alerts: alerts, logger: Logger(label: "simulation"))
        let ingest = try makeIngest(
            settings, places, core, streams, measured, clock, metrics, daemon.ingestTLS,
            logging: log.map {
                IngestLogging(
                    journal: $0, sink: core, first: $0.first, mark: mark,
                    keepsNew: settings.ingest.durability != .none)
            })
        let ingestBound = try await listen(settings, ingest, isPassed: places.passed.ingest != nil)
        await runs.resume(settings.simulations)
        try await cluster?.start()
        let (control, webBound) = try await startControl(settings, daemon)
        let fixed =
            core.monitoredQueues + alerts.monitoredQueues + store.monitoredQueues
            + reporter.monitoredQueues
            + (log?.monitoredQueues ?? [])
            + [MonitoredQueue(label: "colossus.events", queue: daemon.eventQueue.queue)]
        let watchdog = WatchdogFeeder(
            executor: daemon.eventQueue, notifier: daemon.notifier,
            timeoutMs: WatchdogFeeder.systemdTimeoutMs(),
            logger: Logger(label: "watchdog"),
            queues: { fixed + runs.monitoredQueues + (cluster?.monitoredQueues ?? []) })
        return DaemonParts(
            streams: streams, runs: runs, ingest: ingest, log: log, core: core, store: store,
            cluster: cluster, reporter: reporter, alerts: alerts,
            control: control, ticker: Ticker(executor: daemon.eventQueue), watchdog: watchdog,
            measured: measured,
            ingestBound: ingestBound, webBound: webBound, monitoredQueues: fixed)
    }

    /// Sources first, then what is on its way, then the sinks.
    func stop() async {
        await ingest.stop(grace: .seconds(5))
        await runs.suspend()
        // What is shared reaches the brokers, or is in the ingest log.
        if cluster?.ingest != nil { await drain([measured], seconds: 3) }
        await cluster?.stop()
        await drainCore()
        await reporter.drain(within: .seconds(10))
        await ticker.stop()
        await control.stop()
        await log?.close()
        await store.close()
        await watchdog.stop()
    }

    /// Everything that was taken reaches the store, and so do events that no closing took along. A store that cannot
    /// commit does not hold up the end for ever.
    private func drainCore() async {
        // What is shared waits for brokers that have been left.
        let all = streams.all.compactMap { streams.find($0) }
        await drain(all.filter { cluster?.ingest == nil || $0 != measured }, seconds: Self.drainSeconds)
        for id in streams.all {
            guard let index = streams.find(id) else { continue }
            let events = core.takePendingEvents(index)
            if !events.isEmpty { try? await alerts.keep(events) }
        }
    }

    /// All of them side by side, in so many seconds together.
    private func drain(_ drained: [StreamIndex], seconds: Double) async {
        guard !drained.isEmpty else { return }
        let core = core
        await withCheckedContinuation { continuation in
            let gate = Once { continuation.resume() }
            let countdown = Countdown(drained.count) { gate.run() }
            for index in drained { core.drain(index) { countdown.tell() } }
            DispatchQueue.global().asyncAfter(deadline: .now() + seconds) { @Sendable in gate.run() }
        }
    }

    /// What shards remember costs some bytes a series; a minute of a counter's growth is the most that is uncertain.
    private static let checkpointEveryMs: Int64 = 60_000

    /// A receiver may have learned something since: after a week it is asked again at the next start.
    private static let formsKeepMs: Int64 = 7 * UTC.dayMs

    // MARK: One function a part

    private static func shardCount(_ settings: DaemonSettings) -> Int {
        let wanted = settings.aggregation.shards
        return wanted > 0 ? wanted : ProcessInfo.processInfo.activeProcessorCount
    }

    /// The core; in a cluster with a bus and a sink that take another's stream in, and else without anything of it.
    private static func makeCore(
        _ settings: DaemonSettings, _ places: DaemonPlaces, _ streams: Streams, _ store: HistoryStore,
        _ sink: any SummarySink, _ names: RunNames, _ clock: WallClock, _ metrics: Metrics
    ) -> (AggregationCore, ClusterNode?) {
        let count = shardCount(settings)
        guard let cluster = settings.cluster else {
            let core = AggregationCore(
                shardCount: count, streams: streams, bus: EmbeddedBus(), sink: sink, clock: clock,
                metrics: metrics, limits: AggregationLimits(settings))
            return (core, nil)
        }
        let (shares, coverage) = (ReportingBus(), CoverageSink(sink))
        let core = AggregationCore(
            shardCount: count, streams: streams, bus: shares, sink: coverage, clock: clock, metrics: metrics,
            limits: AggregationLimits(settings))
        let node = ClusterNode(
            cluster,
            ClusterNode.Surroundings(
                core: core, store: store, streams: streams, names: names, shares: shares, coverage: coverage,
                clock: clock, metrics: metrics, levels: Set(settings.aggregation.simulatedLevels),
                shardCount: count,
                stateDirectory: places.stateDirectory, measured: measuredSpec(settings),
                // One that cannot be read is told of where telemetry begins to be taken.
                inventory: Locked((try? readInventory(settings)) ?? nil)))
        return (core, node)
    }

    private static func openStore(
        _ settings: DaemonSettings, _ places: DaemonPlaces, _ clock: WallClock, _ metrics: Metrics
    ) throws -> HistoryStore {
        var limits = StoreLimits()
        limits.ages = settings.store.retention.map { .init(resolutionMs: $0.resolutionMs, keepMs: $0.keepMs) }
        limits.eventsKeepMs = settings.store.eventsKeepMs
        limits.bytesMax = settings.store.bytesMax
        limits.undeliveredKeepMs = settings.store.undeliveredKeepMs
        return try HistoryStore(
            directory: places.stateDirectory, limits: limits, clock: clock, metrics: metrics,
            logger: Logger(label: "store"))
    }

    private static func openAlerts(
        _ settings: DaemonSettings, _ store: HistoryStore, _ clock: WallClock, _ metrics: Metrics
    ) async throws -> AlertKeeper {
        let policy = AlertPolicy(settings.alerts)
        var told: [Event] = []
        // Of runs that are over nothing is needed any more.
        let over = try await store.runs().filter { $0.state != "running" && $0.state != "paused" }
        let gone = Set(over.compactMap { StreamID.simulated(run: $0.name) })
        for stream in try await store.streams().map(\.stream)
        where policy.contains(stream) && !gone.contains(stream) {
            told += try await OpenEvents.read(stream, store, andClosed: true)
        }
        let resumed = try await store.stream(.measured)?.closedThroughMs.map { closedMs in
            AlertEngine.Resumed(
                stream: .measured, closedThroughMs: closedMs, finestMs: settings.windows.finestMs)
        }
        let engine = AlertEngine(
            policy, restoring: try await store.alerts(), events: told,
            resumed: resumed.map { [$0] } ?? [], nowMs: clock.nowMs())
        return AlertKeeper(
            engine: engine, sink: store, store: AlertHistory(store: store), clock: clock, metrics: metrics)
    }

    /// Endpoints and the journal hear of alerts once they are kept.
    private static func tell(of alerts: AlertKeeper, _ reporter: Reporter) async {
        let logger = Logger(label: "alerts")
        await alerts.tell { open, news in
            AlertJournal.log(news, logger)
            reporter.show(alerts: open)
        }
        // A store that fails says so, and they are kept the next time.
        try? await alerts.endForgotten()
    }

    private static func openLog(
        _ settings: DaemonSettings, _ places: DaemonPlaces, after: LogPosition?, _ metrics: Metrics
    ) throws -> IngestLog? {
        var limits = IngestLogLimits()
        limits.bytesMax = settings.ingest.limits.ingestLogBytes
        limits.segmentBytes = min(limits.segmentBytes, limits.bytesMax / 8)
        limits.bodyBytesMax = Int(
            max(settings.ingest.limits.bodyBytes, settings.ingest.limits.decompressedBytes))
        let durability: IngestDurability
        switch settings.ingest.durability {
        case .process: durability = .process
        case .disk: durability = .disk
        case .none:
            // What an earlier process acknowledged is repeated all the same, and then the log goes.
            guard try IngestLog.holdsRecords(directory: places.stateDirectory) else { return nil }
            durability = .process
        }
        return try IngestLog(
            directory: places.stateDirectory, after: after ?? .start, durability: durability, limits: limits,
            metrics: metrics, logger: Logger(label: "ingestlog"))
    }

    /// Where the stream stands that is received here: of one that is shared from now on, that of the measured one.
    private static func ingestRecord(
        _ settings: DaemonSettings, _ store: HistoryStore
    ) async throws -> StreamRecord? {
        if settings.cluster?.sharesIngest == true, let known = try await store.stream(.ingested),
            known.closedThroughMs != nil
        {
            return known
        }
        return try await store.stream(.measured)
    }

    private static func measuredSpec(_ settings: DaemonSettings) -> StreamSpec {
        let windows = settings.windows
        var spec = StreamSpec(id: .measured, site: settings.inventory.site)
        spec.plan = WindowPlan(
            finestMs: windows.finestMs, rollupsMs: windows.rollupsMs, latenessMs: windows.latenessMs,
            senderSilentMs: windows.senderSilentMs, maxHoldMs: windows.maxHoldMs,
            reviseWithinMs: windows.reviseWithinMs)
        spec.levels = Set(settings.aggregation.measuredLevels)
        return spec
    }

    /// The stream of what is received here: `measured`, or in a cluster that shares it `ingested`, whose windows go to
    /// the brokers.
    private static func openIngest(
        _ settings: DaemonSettings, _ record: StreamRecord?, _ streams: Streams, _ core: AggregationCore,
        _ store: HistoryStore, _ log: IngestLog?
    ) async throws -> StreamIndex {
        let isShared = settings.cluster?.sharesIngest == true
        let known = record?.stream ?? .measured
        var spec = measuredSpec(settings)
        if isShared {
            spec.id = .ingested
            spec.plan.rollupsMs = []
            spec.tellsOrdinals = true
        } else {
            spec.openRollups = try await store.openRollups(.measured, ladder: settings.windows.resolutionsMs)
        }
        if let kept = try await store.topology(known) {
            let index = streams.open(spec.id, restoring: kept)
            // Before shards own what is there: nodes may have moved while nobody looked.
            streams.topology(index).arrange(as: try readInventory(settings))
        }
        spec.openEvents = try await openEvents(known, of: spec.id, store)
        spec.checkpointEveryMs = max(spec.plan.finestMs, Self.checkpointEveryMs)
        spec.checkpoints = try await Checkpoints.read(known, store, Logger(label: "store"))
        spec.closedThroughMs = record?.closedThroughMs
        if log != nil, let closedMs = spec.closedThroughMs {
            for index in spec.checkpoints.indices { spec.checkpoints[index].forget(fromMs: closedMs) }
        }
        spec.ledger = record?.ledger ?? Ledger()
        spec.journal = log
        return core.openStream(spec)
    }

    /// Those of another stream go on in this one, and are kept there for the next start.
    private static func openEvents(
        _ known: StreamID, of stream: StreamID, _ store: HistoryStore
    ) async throws -> [Event] {
        var events = try await OpenEvents.read(known, store)
        guard known != stream, !events.isEmpty else { return events }
        for index in events.indices { events[index].stream = stream }
        try await store.save(events, alerts: AlertChanges(), nowMs: WallClock.system.nowMs())
        return events
    }

    /// Tells the reporter and, for its retention, the store what the endpoints want.
    static func apply(
        _ settings: DaemonSettings, _ reporter: Reporter, _ store: HistoryStore
    ) async throws {
        let configurations = settings.endpoints.map { EndpointConfiguration($0) }
        for one in configurations {
            if let events = one.eventCursor {
                store.describe(endpoint: events.name, events: events.selection)
            }
            guard one.wantsWindows else { continue }
            store.describe(
                endpoint: one.name,
                limit: EndpointLimit(selection: one.selection, keepMs: settings.store.undeliveredKeepMs))
        }
        let paused = try await store.pausedEndpoints()
        let forms = try await store.rememberedForms(
            sinceMs: WallClock.system.nowMs() - Self.formsKeepMs)
        try await reporter.apply(configurations, paused: paused, forms: forms)
    }

    private static func makeIngest(
        _ settings: DaemonSettings, _ places: DaemonPlaces, _ core: AggregationCore, _ streams: Streams,
        _ measured: StreamIndex, _ clock: WallClock, _ metrics: Metrics, _ tls: TLSAcceptor,
        logging: IngestLogging?
    ) throws -> IngestServer {
        tls.replace(try ListenerTLS.load("ingest", settings.ingest.tls))
        var configuration = IngestConfiguration()
        configuration.host = settings.ingest.listen.host
        configuration.port = settings.ingest.listen.port
        configuration.listeningDescriptor = places.passed.ingest
        configuration.hostNames = settings.hosts
        let limits = settings.ingest.limits
        configuration.limits.bodyBytes = Int(max(limits.bodyBytes, limits.decompressedBytes))
        configuration.limits.connections = limits.connections
        configuration.limits.idleTimeout = .milliseconds(limits.idleMs)
        configuration.limits.seriesInAll = limits.series
        // Room for all of them under two spellings.
        configuration.limits.identities = max(configuration.limits.identities, 2 * limits.series)
        configuration.limits.seriesPerSender = limits.seriesPerSender
        configuration.limits.senders = limits.senders
        configuration.limits.eventsKeepMs = settings.store.eventsKeepMs
        configuration.limits.aheadMs = settings.windows.futureMaxMs
        return IngestServer(
            configuration: configuration, sink: core, events: core, streams: streams, stream: measured,
            inventory: try readInventory(settings),
            access: try AccessTokens.read(settings.ingest.tokens, settings.ingest.tls), tls: tls,
            logging: logging,
            account: { core.account($0, stream: $1) },
            clock: clock, metrics: metrics, logger: Logger(label: "ingest"))
    }

    static func readInventory(_ settings: DaemonSettings) throws -> Inventory? {
        guard let path = settings.inventory.file else { return nil }
        do {
            return try Inventory(csv: String(contentsOf: URL(filePath: path), encoding: .utf8))
        } catch {
            throw StartError("The inventory \(path) cannot be used: \(error).")
        }
    }

    private static func listen(
        _ settings: DaemonSettings, _ ingest: IngestServer, isPassed: Bool
    ) async throws -> DaemonSettings.Listen {
        do {
            let bound = try await ingest.start()
            let wanted = settings.ingest.listen
            let listen = DaemonSettings.Listen(host: bound.host, port: bound.port)
            try AccessTokens.check(
                "ingest", listen, isInsecure: settings.ingest.insecure, settings.ingest.tokens,
                settings.ingest.tls)
            if isPassed, bound.port != wanted.port {
                Logger(label: "ingest").warning(
                    "systemd listens elsewhere than ingest.listen says; its socket is used",
                    metadata: [
                        "listens": "\(bound.host):\(bound.port)", "configured": "\(wanted)",
                        "unit": "colossusd-ingest.socket", "event": "socket_elsewhere",
                    ])
            }
            return listen
        } catch let error as StartError {
            await ingest.stop(grace: .zero)
            throw error
        } catch {
            throw StartError(
                "Cannot listen on \(settings.ingest.listen): \(error).",
                hint: "Choose another address in ingest.listen, or stop what uses this one.")
        }
    }

    private static func startControl(
        _ settings: DaemonSettings, _ daemon: Daemon
    ) async throws -> (ControlServer, DaemonSettings.Listen) {
        let listen = settings.web.listen
        // systemd may listen elsewhere for us, and what other machines reach is held against the same rule.
        var bound = daemon.places.passed.web.map { PassedListeners.address($0) } ?? listen
        try AccessTokens.check(
            "web", bound, isInsecure: settings.web.insecure, settings.web.tokens, settings.web.tls)
        var configuration = ControlServer.Configuration(
            socketPath: daemon.places.controlSocket, web: (listen.host, listen.port))
        configuration.webHosts = settings.hosts
        configuration.passedSocket = daemon.places.passed.control
        configuration.passedWeb = daemon.places.passed.web
        configuration.passedOperatorSocket = daemon.places.passed.operators
        let access = daemon.webAccess
        let readers = try AccessTokens.read(settings.web.tokens, settings.web.tls)
        access.withLock { $0 = readers }
        configuration.webRefusal = { authorization, certificate in
            let verdict = access.withLock { $0 }.judge(authorization, certificate: certificate)
            guard case .refused(let refusal) = verdict else { return nil }
            return refusal.sentence
        }
        configuration.webWantsCertificate = {
            guard case .refused(.noCertificate) = access.withLock({ $0 }).judge([], certificate: nil) else {
                return false
            }
            return true
        }
        daemon.webTLS.replace(try ListenerTLS.load("web", settings.web.tls))
        configuration.webTLS = daemon.webTLS
        let metrics = daemon.metrics
        let control = ControlServer(
            configuration: configuration, plane: daemon, metricsText: { metrics.exposition() },
            logger: Logger(label: "control"))
        bound.port = try await control.start()
        return (control, bound)
    }
}

extension AggregationLimits {
    init(_ settings: DaemonSettings) {
        self.init()
        futureMaxMs = settings.windows.futureMaxMs
    }
}

/// Runs something the first time that it is asked to.
private final class Once: Sendable {
    private let isDone = Atomic<Bool>(false)
    private let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    func run() {
        if !isDone.exchange(true, ordering: .acquiringAndReleasing) { body() }
    }
}

/// Runs something when it was told of for the last of so many times.
private final class Countdown: Sendable {
    private let left: Atomic<Int>
    private let body: @Sendable () -> Void

    init(_ count: Int, _ body: @escaping @Sendable () -> Void) {
        left = Atomic(count)
        self.body = body
    }

    func tell() {
        if left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { body() }
    }
}
