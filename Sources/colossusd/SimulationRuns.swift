import Aggregation
import Alerts
import ControlAPI
import Exporters
import Logging
import Playback
import QueueIsolation
import Settings
import Simulation
import Store
import Synchronization
import Telemetry

/// The simulated runs of the daemon: starts them, keeps them in the store, and goes on with them after a restart.
actor SimulationRuns {
    /// Runs that play at a time.
    static let playingMax = 8

    /// A run that plays, or has played since the start.
    struct Playing {
        var record: SimulationRun
        var run: ScenarioRun
        var index: StreamIndex
        /// Shows its ticks to its exports.
        var tap: ExportTap
        /// Nothing of it is on its way any more.
        var hasEnded = false
    }

    private let core: AggregationCore
    let store: HistoryStore
    private let streams: Streams
    let clock: WallClock
    private let levels: Set<Level>
    /// That of the cluster's run is its reporter's.
    private let names: RunNames
    /// Are told of runs that are over.
    private let alerts: AlertKeeper
    let logger: Logger
    var runs: [String: Playing] = [:]
    /// By name.
    var exports: [String: ActiveExport] = [:]
    /// Runs of earlier processes, which nothing changes any more: working one out takes a whole trajectory.
    private var past: [String: SimulationStatus] = [:]
    private var isSuspended = false
    /// A truth is being worked out, which takes a core for seconds.
    var isTellingTruth = false
    /// Names of runs that are being started: starting waits for the store, and another request may come meanwhile.
    private var starting: Set<String> = []
    private nonisolated let queues = Mutex<[String: [MonitoredQueue]]>([:])

    init(
        core: AggregationCore, store: HistoryStore, streams: Streams, clock: WallClock, levels: Set<Level>,
        names: RunNames, alerts: AlertKeeper, logger: Logger
    ) {
        self.core = core
        self.store = store
        self.streams = streams
        self.clock = clock
        self.levels = levels
        self.names = names
        self.alerts = alerts
        self.logger = logger
    }

    nonisolated var monitoredQueues: [MonitoredQueue] { queues.withLock { $0.values.flatMap(\.self) } }

    // MARK: Start and restart

    /// Goes on with what was playing when the daemon ended, and starts what the configuration wants.
    func resume(_ configured: [DaemonSettings.SimulationRun]) async {
        let kept: [SimulationRun]
        do {
            kept = try await store.runs()
        } catch {
            logger.error("the simulated runs cannot be read; none goes on: \(error)")
            return
        }
        for record in kept where record.state == "running" || record.state == "paused" {
            guard names.take(record.name) else {
                logger.warning(
                    "run \(record.name) does not go on: the cluster's run has its name",
                    metadata: ["event": "simulation_skipped", "run": "\(record.name)"])
                continue
            }
            do {
                try await play(record, isNew: false)
            } catch {
                names.giveBack(record.name)
                tell(record.name, "cannot go on", error)
            }
        }
        await endAlerts()
        for run in configured where run.autostart && !kept.contains(where: { $0.name == run.run }) {
            var start = SimulationStart()
            start.scenario = run.scenario
            start.run = run.run
            start.speed = run.speed.description
            start.seed = run.seed
            do {
                _ = try await self.start(start)
            } catch {
                tell(run.run, "cannot start", error)
            }
        }
    }

    /// Runs that do not play have no open alerts, also where a process ended before it could say so, or where one cannot go on.
    /// What was never a run of this daemon may be the cluster's, as long as nobody knows which that is.
    func endAlerts() async {
        var playing = Set(runs.values.map(\.run.stream))
        if let shared = names.shared, let stream = StreamID.simulated(run: shared) { playing.insert(stream) }
        var over = await alerts.simulatedStreams.subtracting(playing)
        if names.mayShare, names.shared == nil {
            guard let kept = try? await store.runs() else { return }
            over.formIntersection(kept.compactMap { StreamID.simulated(run: $0.name) })
        }
        for stream in over {
            let closedMs = try? await store.closedThrough(stream)
            // A store that fails says so, and they are kept the next time.
            try? await alerts.forget(stream, closedThroughMs: closedMs)
        }
    }

    func start(_ start: SimulationStart) async throws -> SimulationStatus {
        let (scenario, text, path) = try Self.scenario(start)
        let name = start.run ?? scenario.name
        guard let stream = StreamID.simulated(run: name) else {
            throw ControlError(
                .badRequest, "\(name) is no name for a run.",
                hint: "Write 1 to 64 characters out of a-z A-Z 0-9 . _ -")
        }
        guard name != names.shared else { throw Self.isShared(name) }
        let speed = start.speed ?? Pace.times(scenario.speed).description
        _ = try Pace(text: speed)
        let tickMs = try Self.tick(start.tick)
        guard !isSuspended else {
            throw ControlError(.tryAgain, "colossusd is stopping.", hint: "Try again.")
        }
        guard starting.insert(name).inserted else {
            throw ControlError(
                .conflict, "A run named \(name) is starting.", hint: "Choose another name with --run.")
        }
        defer { starting.remove(name) }
        try await makeRoom(for: name, stream)
        guard names.take(name) else { throw Self.isShared(name) }
        let record = SimulationRun(
            name: name, scenario: text, path: path, seed: scenario.seed, speed: speed, state: "running",
            startedMs: clock.nowMs(), tickMs: tickMs)
        do {
            try await store.save(record, nowMs: clock.nowMs())
            try await play(record, isNew: true)
        } catch {
            if runs[name]?.run.status().state.isOver ?? true { names.giveBack(name) }
            throw error
        }
        return try await status(run: name)
    }

    func isStarting(_ name: String) -> Bool { starting.contains(name) }

    private static func isShared(_ name: String) -> ControlError {
        ControlError(
            .conflict, "The cluster plays a run named \(name).", hint: "Choose another name with --run.")
    }

    /// Each run has a name of its own, also when it is over: its history is kept under it.
    private func makeRoom(for name: String, _ stream: StreamID) async throws {
        let playing = runs.values.filter { !$0.run.status().state.isOver }
        if playing.contains(where: { $0.record.name == name }) {
            throw ControlError(
                .conflict, "A run named \(name) is playing.",
                hint: "Choose another name with --run, or stop it: colossusctl simulate stop \(name)")
        }
        guard playing.count + starting.count <= Self.playingMax else {
            throw ControlError(
                .conflict, "\(playing.count) runs are playing.", hint: "Stop one of them first.")
        }
        guard try await store.stream(stream) == nil else {
            throw ControlError(
                .conflict, "There is a run named \(name) already.", hint: "Choose another name with --run.")
        }
    }

    private func play(_ record: SimulationRun, isNew: Bool) async throws {
        guard let stream = StreamID.simulated(run: record.name) else { return }
        let scenario = try parseScenario(record.scenario, file: record.path, seed: record.seed)
        let plan = try FleetPlan(scenario)
        let pace = try Pace(text: record.speed)
        let index = streams.open(stream, site: scenario.site)
        plan.makeTopology(into: streams.topology(index))
        let closedThrough = isNew ? nil : try await store.closedThrough(stream)
        let windowMs = isNew ? nil : try await store.resolutions(stream).first
        let name = record.name
        let tap = ExportTap(into: core)
        let run = ScenarioRun(
            plan: plan, stream: stream, index: index, pace: pace, tickMs: record.tickMs, windowMs: windowMs,
            startAfterMs: closedThrough, injections: isNew ? [] : try await injections(name, plan), sink: tap,
            events: core,
            onEnd: { [weak self] status in Task { await self?.ended(name, status) } })
        try await openStream(stream, scenario, run, closedThrough)
        runs[name] = Playing(record: record, run: run, index: index, tap: tap)
        queues.withLock { $0[name] = run.monitoredQueues }
        if record.state == "paused" { run.pause() }
        if !isNew { await resumeExports(run: name) }
        run.start()
        logger.notice(
            isNew ? "a simulated run starts" : "a simulated run goes on",
            metadata: [
                "event": "simulation_started", "run": "\(name)", "scenario": "\(scenario.name)",
                "seed": "\(scenario.seed)",
                "pace": "\(pace)", "resolution": "\(run.resolution)",
            ])
    }

    private func openStream(
        _ stream: StreamID, _ scenario: Scenario, _ run: ScenarioRun, _ closedThrough: Int64?
    ) async throws {
        let resolution = run.resolution
        var spec = StreamSpec(id: stream, site: scenario.site)
        spec.plan = WindowPlan(finestMs: resolution.finestWindowMs, rollupsMs: resolution.rollupsMs)
        spec.levels = levels
        // The model tells of its faults itself.
        spec.tellsDetected = false
        spec.tickMs = resolution.tickMs
        spec.sketchEvery = Self.sketchEvery(run.resolution, run.status().pace, gpuCount: run.plan.gpuCount)
        spec.closedThroughMs = closedThrough
        let ladder = [resolution.finestWindowMs] + resolution.rollupsMs
        spec.openRollups = try await store.openRollups(stream, ladder: ladder)
        // With each window, so that a run that goes on is the run that was never stopped.
        spec.checkpointEveryMs = resolution.finestWindowMs
        if closedThrough != nil {
            spec.checkpoints = try await Checkpoints.read(stream, store, logger)
            spec.openEvents = try await OpenEvents.read(stream, store)
            spec.ledger = try await store.ledger(stream) ?? Ledger()
        }
        let timeline = run.timeline
        let windowMs = resolution.finestWindowMs
        spec.timeline = { _, endMs in timeline.point(at: endMs, overMs: windowMs) }
        core.openStream(spec)
    }

    /// Sketches cost more than the telemetry itself: where a window holds many ticks of a large fleet at a fast pace,
    /// every eighth tick feeds them. Count, sum, minimum and maximum are always exact.
    static func sketchEvery(_ resolution: Resolution, _ pace: Pace, gpuCount: Int) -> Int {
        let ticksPerWindow = resolution.finestWindowMs / resolution.tickMs
        let perSecond: Double =
            switch pace {
            case .max: 1e9
            case .times(let factor): factor * 1_000 / Double(resolution.tickMs) * Double(gpuCount)
            }
        return ticksPerWindow >= 16 && perSecond > 500_000 ? 8 : 1
    }

    /// Nothing of an ended run is needed any more.
    func forget(_ name: String) {
        runs[name] = nil
        past[name] = nil
    }

    // MARK: Control

    func change(run name: String, _ action: SimulationAction) async throws -> SimulationStatus {
        guard var playing = runs[name] else {
            _ = try await status(run: name)
            throw ControlError(.conflict, "Run \(name) is over.", hint: "Start another one.")
        }
        guard !playing.run.status().state.isOver else {
            throw ControlError(.conflict, "Run \(name) is over.", hint: "Start another one.")
        }
        switch action {
        case .pause:
            playing.run.pause()
            playing.record.state = "paused"
        case .resume:
            playing.run.resume()
            playing.record.state = "running"
        case .stop:
            playing.run.stop()
            playing.record.state = "stopped"
        case .speed(let text):
            playing.run.setPace(try Pace(text: text))
            playing.record.speed = text
        }
        runs[name] = playing
        try await store.save(playing.record, nowMs: clock.nowMs())
        return try await status(run: name)
    }

    /// Stops playing without forgetting: the runs go on after the next start.
    func suspend() async {
        isSuspended = true
        await closeExports(run: nil, forgets: false)
        for playing in runs.values { playing.run.stop() }
    }

    private func ended(_ name: String, _ status: RunStatus) async {
        guard !isSuspended, var playing = runs[name] else { return }
        queues.withLock { $0[name] = nil }
        await closeExports(run: name, forgets: true)
        if status.state == .finished {
            await close(playing.index)
        } else {
            let core = core
            await withCheckedContinuation { continuation in
                core.closeStream(playing.index) { continuation.resume() }
            }
        }
        // A store that fails says so, and they are kept the next time.
        try? await alerts.forget(playing.run.stream)
        playing.record.state = status.state.rawValue
        playing.hasEnded = true
        runs[name] = playing
        names.giveBack(name)
        try? await store.save(playing.record, nowMs: clock.nowMs())
        logger.notice(
            "a simulated run has ended",
            metadata: ["event": "simulation_ended", "run": "\(name)", "state": "\(status.state.rawValue)"])
    }

    /// The core forgets the stream once all that was closed is stored.
    private func close(_ index: StreamIndex) async {
        let core = core
        await withCheckedContinuation { continuation in core.drain(index) { continuation.resume() } }
        let events = core.takePendingEvents(index)
        if !events.isEmpty { try? await store.save(events, nowMs: clock.nowMs()) }
        await withCheckedContinuation { continuation in core.closeStream(index) { continuation.resume() } }
    }

    // MARK: Status

    func statuses() async throws -> [SimulationStatus] {
        let kept = try await store.runs()
        var all: [SimulationStatus] = []
        for record in kept { all.append(try await status(record)) }
        return all.sorted { $0.run < $1.run }
    }

    func status(run name: String) async throws -> SimulationStatus {
        guard let record = try await store.runs().first(where: { $0.name == name }) else {
            let names = try await store.runs().map(\.name).joined(separator: ", ")
            throw ControlError(
                .notFound, "There is no run \(name).",
                hint: names.isEmpty ? "Start one: colossusctl simulate start FILE" : "There are: \(names).")
        }
        return try await status(record)
    }

    private func status(_ record: SimulationRun) async throws -> SimulationStatus {
        if let known = past[record.name], known.state.rawValue == record.state { return known }
        if let playing = runs[record.name] {
            let closed = try await store.closedThrough(playing.run.stream)
            return SimulationStatus(playing.record, playing.run, closedThroughMs: closed)
        }
        let scenario = try parseScenario(record.scenario, file: record.path, seed: record.seed)
        guard let stream = StreamID.simulated(run: record.name) else {
            throw ControlError(.failed, "The stored run \(record.name) has no valid name.")
        }
        let closed = try await store.closedThrough(stream)
        let plan = try FleetPlan(scenario)
        let status = try SimulationStatus(
            record, plan, try await injections(record.name, plan), closedThroughMs: closed)
        past[record.name] = status
        return status
    }

    // MARK: What a request says

    static func scenario(_ start: SimulationStart) throws -> (Scenario, text: String, path: String) {
        let path = start.scenario ?? "scenario"
        do {
            let text = try start.scenarioText ?? ScenarioText.read(path)
            return (try parseScenario(text, file: path, seed: start.seed), text, path)
        } catch let failure as SettingsFailure {
            throw ControlError(.badConfiguration, failure.description, hint: "Mend the scenario.")
        }
    }

    private static func tick(_ text: String?) throws -> Int64? {
        guard let text else { return nil }
        guard let ms = DurationText.milliseconds(text), (1_000...UTC.dayMs).contains(ms) else {
            throw ControlError(.badRequest, "A tick of \(text) cannot be.", hint: "Write 1s to 1d.")
        }
        guard UTC.dayMs % ms == 0 else {
            let seconds = (1...86_400).filter { 86_400 % $0 == 0 }
            let near = [seconds.last { $0 * 1_000 < ms }, seconds.first { $0 * 1_000 > ms }]
            throw ControlError(
                .badRequest, "A tick of \(text) does not divide a day.",
                hint:
                    "Write \(near.compactMap { $0.map { "\($0)s" } }.joined(separator: " or ")), or another that does."
            )
        }
        return ms
    }

    private func tell(_ name: String, _ what: String, _ error: any Error) {
        let reason = ControlError.line(error)
        logger.error(
            "run \(name) \(what): \(reason)",
            metadata: ["event": "simulation_failed", "run": "\(name)", "error": "\(reason)"])
    }
}

extension Pace {
    /// `1`, `86400`, `86400x`, `1d/s`, `max`.
    init(text: String) throws(ControlError) {
        if text == "max" {
            self = .max
            return
        }
        var factor = Double(text.hasSuffix("x") ? String(text.dropLast()) : text)
        if factor == nil, text.hasSuffix("/s"), let ms = DurationText.milliseconds(String(text.dropLast(2))) {
            factor = Double(ms) / 1_000
        }
        guard let factor, (0.001...1e9).contains(factor) else {
            throw ControlError(
                .badRequest, "A speed of \(text) cannot be.",
                hint: "Write simulated seconds a second (1, 86400), a length a second (1d/s), or max.")
        }
        self = .times(factor)
    }
}
