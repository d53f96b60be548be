import Aggregation
import ControlAPI
import Dispatch
import Glibc
import Logging
import QueueIsolation
import Settings
import SystemdSupport
import TLS
import Telemetry

/// The running service: starts its parts from right to left, so that nothing arrives before there is somewhere to
/// put it, and stops them from left to right, so that nothing that was taken is left behind.
actor Daemon {
    let places: DaemonPlaces
    let threshold: LogThreshold
    let metrics = Metrics()
    let clock = WallClock.system
    let logger = Logger(label: "colossusd")
    let notifier = Notifier.systemd
    let startedMs = WallClock.system.nowMs()
    /// Who may read at the web listener.
    nonisolated let webAccess = Locked(BearerCheck())
    /// What the listeners speak TLS with, if they do.
    nonisolated let ingestTLS: TLSAcceptor
    nonisolated let webTLS: TLSAcceptor
    /// Signals, ticks and the watchdog.
    nonisolated let eventQueue = QueueExecutor(label: "colossus.events", target: WorkerPool.shared)

    /// What is in force: what a reload cannot take over stays as it was at the start.
    var settings: DaemonSettings
    /// The same, key by key, for people; `nil` until it is asked for or reloaded.
    var effective: EffectiveConfiguration?
    /// Keys that are changed in the files, but need a restart.
    var needRestart: [String] = []
    var parts: DaemonParts?
    var state = DaemonState.starting
    /// What it waits for; `nil` when it is ready.
    var waitsFor: String? = "it is starting"
    var rates = SampleRates()
    private var stopRequest: CheckedContinuation<Void, Never>?
    private var isStopRequested = false
    var isKeepingEvents = false
    private var isTickingSlowly = false
    /// The last backup or verification of the history.
    var storeJob: StoreJob?
    /// What is under maintenance, as the stored events say up to this number.
    var planned = PlannedWork()
    var plannedThrough: Int64?
    var sharedAlerts = SharedAlerts()
    /// Listeners of which it was said that they take tokens in clear text.
    var warnedInClear: Set<String> = []

    init(settings: DaemonSettings, places: DaemonPlaces, threshold: LogThreshold) {
        self.settings = settings
        self.places = places
        self.threshold = threshold
        effective = try? EffectiveConfiguration(path: places.config)
        ingestTLS = TLSAcceptor(
            listener: "ingest", clock: clock, metrics: metrics, logger: Logger(label: "ingest"))
        webTLS = TLSAcceptor(
            listener: "web", clock: clock, metrics: metrics, logger: Logger(label: "control"))
    }

    /// Runs until SIGTERM or SIGINT; the exit status of the process.
    func runUntilStopped() async -> Int32 {
        let signals = SignalSources(queue: eventQueue.queue) { @Sendable [weak self] request in
            Task { await self?.handle(request) }
        }
        defer { signals.cancel() }
        logger.notice(
            "colossusd starts",
            metadata: JournalMessage.started.metadata([
                "version": "\(Colossusd.version)", "config": "\(places.config)",
                "state_directory": "\(places.stateDirectory)",
            ]))
        places.passed.complain(logger)
        do {
            try places.prepare()
            try await start()
        } catch {
            let reason = ControlError.line(error)
            logger.critical(
                "colossusd cannot start",
                metadata: JournalMessage.startFailed.metadata(["reason": "\(reason)"]))
            notifier.failed(errno: EINVAL, status: "cannot start: \(reason)")
            await stop()
            return (error as? StartError)?.status ?? 1
        }
        await withCheckedContinuation { continuation in
            if isStopRequested { continuation.resume() } else { stopRequest = continuation }
        }
        await stop()
        return 0
    }

    private func start() async throws {
        let parts = try await DaemonParts.start(self)
        self.parts = parts
        state = .running
        waitsFor = nil
        warnOfTokensInClear(parts)
        await followMaintenance()
        await startTicking(parts)
        notifier.ready(status: await statusLine())
        logger.notice(
            "colossusd is ready",
            metadata: JournalMessage.ready.metadata([
                "ingest": "\(settings.ingest.listen.host):\(parts.ingestBound.port)",
                "web": "\(settings.web.listen.host):\(parts.webPort)", "control": "\(places.controlSocket)",
            ]))
        BlockedQueueTest.start(parts.monitoredQueues)
    }

    private func stop() async {
        state = .draining
        waitsFor = "it is stopping"
        guard let parts else { return }
        notifier.stopping(status: "draining")
        logger.notice("colossusd drains", metadata: JournalMessage.draining.metadata())
        await parts.stop()
        self.parts = nil
        logger.notice("colossusd has drained", metadata: JournalMessage.drained.metadata())
    }

    private func handle(_ request: SignalSources.Request) async {
        switch request {
        case .stop:
            isStopRequested = true
            stopRequest?.resume()
            stopRequest = nil
        case .reload:
            // Its own log lines say what came of it.
            _ = try? await reload()
        }
    }

    // MARK: Ticks

    private func startTicking(_ parts: DaemonParts) async {
        await parts.ticker.start(
            core: { parts.core.tick() },
            slow: { [weak self] in Task { await self?.tickSlowly() } })
        await parts.watchdog.start()
    }

    /// Every two seconds: rates and the line that `systemctl status` shows.
    private func tickSlowly() async {
        // One that takes longer than its time is not overtaken by the next.
        guard state == .running, !isTickingSlowly else { return }
        isTickingSlowly = true
        defer { isTickingSlowly = false }
        measureRates()
        await measureEndpoints()
        await lookAtEndpoints()
        await endSharedAlerts()
        notifier.status(await statusLine())
        threshold.settle(logger)
        ingestTLS.refresh()
        webTLS.refresh()
        await keepEvents()
        await followMaintenance()
    }
}

/// For the service test: `COLOSSUSD_TEST_BLOCK_QUEUE=LABEL` blocks that queue for good, 5 s after READY, so that the
/// watchdog can be seen to notice.
enum BlockedQueueTest {
    static func start(_ queues: [MonitoredQueue]) {
        guard let value = getenv("COLOSSUSD_TEST_BLOCK_QUEUE") else { return }
        let label = String(cString: value)
        for queue in queues where queue.label == label {
            queue.queue.asyncAfter(deadline: .now() + 5) { @Sendable in while true { sleep(3_600) } }
        }
    }
}
