import Dispatch
public import Logging
public import QueueIsolation
public import Store
public import Telemetry

/// Pushes summaries to endpoints: reads behind each endpoint's cursor and moves it when a part has arrived.
///
/// The decisions are those of `EndpointStateMachine`, one for each endpoint; this actor carries them out on the queue
/// `colossus.reporter`, on which libcurl is driven, too. Nothing there blocks: files and token files have a queue of
/// their own.
///
///     let reporter = Reporter(store: store, clock: clock, metrics: metrics, logger: logger, seed: seed,
///                             fileFolders: [stateDirectory])
///     try await reporter.apply(endpoints)          // again after a reload: only what changed is restarted
///     …
///     await reporter.drain(within: .seconds(10))   // once, before it is let go
public actor Reporter {
    nonisolated let executor = QueueExecutor(label: "colossus.reporter", target: WorkerPool.shared)
    /// The reporter's own queue.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    let store: any DeliveryStore
    let clock: WallClock
    let logger: Logger
    let files: FileAppender
    /// `nil` when libcurl is unusable: HTTP endpoints then fail with a reason.
    let transfers: CurlMulti?
    private let metrics: Metrics
    private let seed: UInt64
    let credentialsFolder: String?

    /// Whom a reply is for.
    struct LaneAddress: Sendable {
        let endpoint: String
        /// Tells this endpoint from an earlier one of the same name.
        let generation: Int
        let number: Int
    }

    /// One endpoint and what belongs to it.
    struct Endpoint {
        /// Tells replies for this one from those for an earlier one of the same name.
        let generation: Int
        let configuration: EndpointConfiguration
        let encoding: any EndpointEncoding
        let meters: EndpointMeters
        var lanes: EndpointLanes
        /// Requests on their way, by lane.
        var transfers: [Int: Int] = [:]
        var windowBytes = WindowBytes()
        /// Secrets, and when they were read.
        var known: (secrets: Secrets, readMs: Int64)?
        /// Duration of the last request.
        var lastSeconds: Double?
        /// A webhook has said that it wants events, or need not be asked.
        private(set) var isWelcome: Bool

        init(
            generation: Int, configuration: EndpointConfiguration, meters: EndpointMeters,
            lanes: EndpointLanes
        ) {
            self.generation = generation
            self.configuration = configuration
            encoding = configuration.encoding
            self.meters = meters
            self.lanes = lanes
            isWelcome = configuration.handshakeOrigin == nil
        }

        mutating func welcomed(ratePerMinute: Int?, nowMs: Int64) {
            isWelcome = true
            lanes.welcomed(ratePerMinute: ratePerMinute, nowMs: nowMs)
        }
    }

    var endpoints: [String: Endpoint] = [:]
    /// By the names of endpoints, without what is behind `#`.
    var receivers: [String: Receiver] = [:]
    private var lastGeneration = 0
    private(set) var newestSequence: Int64 = 0
    var newestEvent: Int64 = 0
    /// Firing, or resolved a short time ago; the version grows with each change and each reminder.
    var alerts: [Alert] = []
    var alertsVersion: Int64 = 0
    private var isDraining = false
    private var drainWaiters: [CheckedContinuation<Void, Never>] = []

    /// - Parameters:
    ///   - seed: of the jitter.
    ///   - credentialsFolder: systemd's `$CREDENTIALS_DIRECTORY`; `nil` where there is none.
    ///   - fileFolders: `file` endpoints may write inside of these and nowhere else; relative paths start in the first.
    public init(
        store: any DeliveryStore, clock: WallClock, metrics: Metrics, logger: Logger, seed: UInt64,
        fileFolders: [String] = [], credentialsFolder: String? = nil
    ) {
        self.store = store
        self.clock = clock
        self.metrics = metrics
        self.logger = logger
        self.seed = seed
        self.credentialsFolder = credentialsFolder
        files = FileAppender(folders: fileFolders, credentialsFolder: credentialsFolder)
        transfers = CurlMulti(executor: executor, clock: clock)
        store.onCommit { [weak self] newest in
            self?.onQueue { $0.committed(newest) }
        }
        store.onEvents { [weak self] newest in
            self?.onQueue { $0.committed(events: newest) }
        }
    }

    /// For the watchdog.
    public nonisolated var monitoredQueues: [MonitoredQueue] {
        [
            MonitoredQueue(label: "colossus.reporter", queue: executor.queue),
            MonitoredQueue(label: "colossus.reporter.files", queue: files.executor.queue),
        ]
    }

    /// Makes these the endpoints. One that is equal to what it was goes on undisturbed; a changed one is started anew
    /// at its cursor; one that is not there any more is stopped.
    ///
    /// - Parameters:
    ///   - paused: names of those that begin at rest.
    ///   - forms: what endpoints were found to understand before a restart, as it was told to the store.
    /// - Throws: when one cannot be used; then nothing has changed.
    public func apply(
        _ configurations: [EndpointConfiguration], paused: Set<String> = [], forms: [String: String] = [:]
    ) throws(EndpointConfigurationError) {
        let problems = EndpointConfiguration.problems(in: configurations)
        guard problems.isEmpty else { throw EndpointConfigurationError(problems: problems) }
        guard !isDraining else { return }
        let lanes = configurations.flatMap(\.lanes)
        let wanted = Set(lanes.map(\.name) + configurations.map { $0.name + Self.replayMark })
        for name in endpoints.keys.sorted() where !wanted.contains(name) { forget(name) }
        let changed = lanes.filter { endpoints[$0.name]?.configuration != $0 }
        // Who rests goes on resting.
        let resting = Set(
            changed.map(\.name).filter { name in
                endpoints[name]?.lanes.isPaused
                    ?? (paused.contains(name) || paused.contains(Self.owner(of: name)))
            })
        // Before the first begins anew: what the receiver said is forgotten with the last name of an endpoint.
        for name in changed.map(\.name) {
            if endpoints[name + Self.replayMark] != nil { forget(name + Self.replayMark) }
            remove(name)
        }
        for configuration in changed {
            start(
                configuration, isPaused: resting.contains(configuration.name),
                kept: forms[configuration.name])
        }
    }

    /// How all endpoints are doing, by name.
    public func status() -> [EndpointStatus] {
        endpoints.values.map { endpoint in
            var status = endpoint.lanes.status
            status.lastSeconds = endpoint.lastSeconds
            status.windowBytes = endpoint.windowBytes.mean
            return status
        }.sorted { $0.name < $1.name }
    }

    /// Finishes what is on its way (`.inFlight`), or everything the store holds for endpoints that are up (`.pending`),
    /// then stops for good. Whatever is not finished in time is cut off; it is sent after the next start.
    public func drain(within limit: Duration, _ scope: DrainScope = .inFlight) async {
        isDraining = true
        for name in endpoints.keys.sorted() { handle(.drain(scope), name) }
        if !areAllStopped {
            let bounded = min(max(limit, .zero), .seconds(86_400)).components
            let milliseconds = Int(bounded.seconds * 1_000 + bounded.attoseconds / 1_000_000_000_000_000)
            executor.queue.asyncAfter(deadline: .now() + .milliseconds(milliseconds)) {
                @Sendable [weak self] in
                self?.assumeIsolated { $0.endDrain() }
            }
            await withCheckedContinuation { drainWaiters.append($0) }
        }
        close()
    }

    // MARK: Endpoints come and go

    func start(_ configuration: EndpointConfiguration, isPaused: Bool = false, kept form: String? = nil) {
        lastGeneration += 1
        let name = configuration.name
        // Each endpoint has jitter of its own, the same in each run with this seed.
        let own = name.utf8.reduce(seed ^ 0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        endpoints[name] = Endpoint(
            generation: lastGeneration, configuration: configuration,
            meters: EndpointMeters(metrics, endpoint: name),
            lanes: EndpointLanes(
                configuration, seed: own,
                remembered: form.flatMap { WireForm(kept: $0, insteadOf: configuration.encoding.form) })
        )
        logger.info(
            "endpoint started",
            metadata: ["endpoint": "\(name)", "destination": "\(configuration.destination)"])
        if isPaused { handle(.pause, name) }
        tellOfReceiver(name)
        handle(.committed(newest(configuration.feed)), name)
        handle(.start, name)
        remindOfAlerts(name, lastGeneration)
    }

    /// Stops it, and takes it out of the metrics.
    func forget(_ name: String) {
        remove(name)
        metrics.remove(label: "endpoint", value: name)
    }

    private func remove(_ name: String) {
        guard let old = endpoints.removeValue(forKey: name) else { return }
        for transfer in old.transfers.values { transfers?.assumeIsolated { $0.cancel(transfer) } }
        if !old.configuration.kind.isRequesting {
            let target = old.configuration.target
            files.executor.queue.async { @Sendable [files] in
                files.assumeIsolated { $0.close(target, of: name) }
            }
        }
        if relatives(of: name).isEmpty { receivers[Self.owner(of: name)] = nil }
        logger.info("endpoint stopped", metadata: ["endpoint": "\(name)"])
    }

    private func committed(_ newest: Int64) {
        newestSequence = max(newestSequence, newest)
        for name in endpoints.keys.sorted() where endpoints[name]?.configuration.feed == .windows {
            handle(.committed(newest), name)
        }
    }

    // MARK: Events and actions

    /// Runs on the reporter's queue, later.
    nonisolated func onQueue(_ body: @escaping @Sendable (isolated Reporter) -> Void) {
        executor.queue.async { @Sendable [weak self] in self?.assumeIsolated(body) }
    }

    /// Takes a reply, unless the endpoint that waited for it is gone.
    nonisolated func reply(_ event: EndpointStateMachine.Event, to lane: LaneAddress) {
        onQueue { reporter in
            guard reporter.endpoints[lane.endpoint]?.generation == lane.generation else { return }
            reporter.handle(event, lane.endpoint, lane.number)
        }
    }

    func handle(
        _ event: EndpointStateMachine.Event, _ name: String, _ lane: Int = EndpointLanes.live
    ) {
        guard var endpoint = endpoints.removeValue(forKey: name) else { return }
        let before = endpoint.lanes.account
        let wasDisabled = endpoint.lanes.isDisabled
        let actions = endpoint.lanes.handle(event, lane: lane, nowMs: clock.nowMs())
        endpoint.meters.count(before, endpoint.lanes.account)
        endpoint.meters.show(endpoint.lanes)
        endpoints[name] = endpoint
        if case .attempted(let outcome) = event {
            passOn(outcome, of: name, retries: before.retries, wasDisabled: wasDisabled)
        }
        for one in actions {
            perform(
                one.action,
                LaneAddress(endpoint: name, generation: endpoint.generation, number: one.lane))
        }
        endReplay(name)
    }

    private func perform(_ action: EndpointStateMachine.Action, _ lane: LaneAddress) {
        let name = lane.endpoint
        switch action {
        case .openCursor(let fromBeginning): openFeed(fromBeginning, lane)
        case .fetch(let position, let through, let limit):
            fetch(after: position, through: through, limit: limit, lane)
        case .send(let part): send(part, lane)
        case .advance(let advance): record(advance, lane)
        case .leap(let position, let through):
            store.leap(endpoint: name, from: position, through: through) { [weak self] done in
                self?.reply(.leaped(done), to: lane)
            }
        case .split(let through, let sequence):
            store.split(endpoint: name, gapThrough: through, at: sequence) { [weak self] done in
                self?.reply(.split(done), to: lane)
            }
        case .wake(let afterMs, let token):
            executor.queue.asyncAfter(deadline: .now() + .milliseconds(Int(afterMs))) {
                @Sendable [weak self] in
                self?.reply(.timer(token), to: lane)
            }
        case .report(let notice):
            log(notice, name)
            if case .simplified(_, let form, _) = notice, let endpoint = endpoints[name] {
                store.remember(endpoint: name, form: form.text(insteadOf: endpoint.encoding.form))
            }
        case .stopped: if areAllStopped { endDrain() }
        }
    }

    private func record(_ advance: EndpointStateMachine.Advance, _ lane: LaneAddress) {
        let name = lane.endpoint
        guard let endpoint = endpoints[name] else { return }
        // What an Alertmanager refuses comes again with the next round: nothing is kept.
        if endpoint.configuration.feed == .alerts { return reply(.advanced(true), to: lane) }
        let form = endpoint.lanes.form(of: lane.number)
        let dead = advance.dead.map { refusal in
            DeadLetter(
                endpoint: Self.owner(of: name), id: refusal.part.id, sequence: refusal.part.sequence,
                status: refusal.status,
                reason: refusal.reason, body: endpoint.lanes.body(of: refusal.part, lane.number) ?? [],
                timeMs: clock.nowMs(), response: refusal.response,
                headers: endpoint.encoding.headers(for: refusal.part, form: form).map {
                    .init($0.name, $0.value)
                },
                samples: refusal.part.samples, isReplayable: !refusal.isPartial
            )
        }
        if endpoint.configuration.feed == .events {
            store.advanceEvents(
                endpoint: name, to: advance.to.sequence, delivered: advance.samples, dead: dead
            ) { [weak self] done in self?.reply(.advanced(done), to: lane) }
            return
        }
        store.advance(
            endpoint: name, to: advance.to, through: advance.through, parts: advance.parts,
            samples: advance.samples, dead: dead
        ) { [weak self] done in
            self?.reply(.advanced(done), to: lane)
        }
    }

    private var areAllStopped: Bool { endpoints.values.allSatisfy(\.lanes.isStopped) }

    private func close() {
        transfers?.assumeIsolated { $0.shutDown() }
        files.executor.queue.async { @Sendable [files] in files.assumeIsolated { $0.closeAll() } }
    }

    private func endDrain() {
        guard isDraining else { return }
        for waiter in drainWaiters { waiter.resume() }
        drainWaiters = []
    }
}
