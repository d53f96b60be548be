import Dispatch
public import QueueIsolation
public import Simulation
import Synchronization
public import Telemetry

/// Plays one scenario: ticks of telemetry into a fleet sink and events into an event sink, at a pace.
///
/// It lives on a queue of its own and never blocks. Events of the time before a tick are emitted before that tick is
/// offered; an event at exactly the time of a tick belongs to the window that begins there and goes with the next one.
/// At most two ticks are with the sink; it alone sets the speed of `Pace.max`.
///
/// ```swift
/// let plan = try FleetPlan(scenario)
/// let stream = streams.open(id, site: scenario.site)
/// plan.makeTopology(into: streams.topology(stream))
/// let run = ScenarioRun(plan: plan, stream: id, index: stream, pace: .times(86_400), sink: aggregator, events: aggregator)
/// run.start()
/// ```
public actor ScenarioRun {
    public nonisolated let stream: StreamID
    public nonisolated let plan: FleetPlan
    /// Ticks and windows as the run began: the windows to open the stream with.
    public nonisolated let resolution: Resolution
    /// The four counts and the rest at any time of the scenario.
    public nonisolated let timeline: TimelineSource

    private nonisolated let executor: QueueExecutor
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    public nonisolated var monitoredQueues: [MonitoredQueue] {
        [MonitoredQueue(label: executor.queue.label, queue: executor.queue)]
    }

    /// Paces up to this one report each checkpoint as an event.
    static let checkpointEventsPaceMax = EventReplay.checkpointsPaceMax

    private struct Shared: Sendable {
        var schedule: PlaybackSchedule
        var meter = PaceMeter()
        var resolution: Resolution
        var positionMs: Int64?
        var ticks = 0
    }

    private let index: StreamIndex
    private let sink: any FleetSink
    private let eventSink: any EventSink
    private let clock: any PlaybackClock
    private let onEnd: @Sendable (RunStatus) -> Void
    private let givenTickMs: Int64?
    private let startedNs: Int64?
    private let firstMs: Int64
    private let shared: Mutex<Shared>

    private var model: FleetModel
    private var pending: [ModelEvent] = []
    private var timer = 0
    private var hasStarted = false
    private var hasEnded = false
    /// Injections that are being stored; nothing is played meanwhile.
    private var holds = 0

    /// - Parameters:
    ///   - tickMs: simulated milliseconds between ticks; `nil` follows the pace.
    ///   - windowMs: the finest window with which the stream was opened, when it goes on after a restart; ticks
    ///     are never further apart.
    ///   - startAfterMs: what is closed already: the run goes on with the first tick that is not before, and with the
    ///     events from there on.
    ///   - startedNs: when the run began, by the clock: what was due since then is caught up with. `nil`: it begins now.
    ///   - injections: faults on purpose that the run had before.
    ///   - onEnd: called once, when the run has finished or was stopped and all ticks are delivered.
    public init(
        plan: FleetPlan, stream: StreamID, index: StreamIndex, pace: Pace, tickMs: Int64? = nil,
        windowMs: Int64? = nil, startAfterMs: Int64? = nil, startedNs: Int64? = nil,
        injections: [FaultInjection] = [],
        sink: any FleetSink, events: any EventSink,
        clock: any PlaybackClock = SystemPlaybackClock(),
        onEnd: @escaping @Sendable (RunStatus) -> Void = { _ in }
    ) {
        self.plan = plan
        self.stream = stream
        self.index = index
        self.sink = sink
        eventSink = events
        self.clock = clock
        self.onEnd = onEnd
        executor = QueueExecutor(
            label: "colossus.simulation.\(stream.run ?? stream.name)", target: WorkerPool.shared)
        timeline = TimelineSource(plan: plan, injections: injections)
        var resolution = Resolution(pace: pace, tickMs: tickMs)
        if let windowMs { resolution = Self.fitted(resolution, windowMs: windowMs) }
        self.resolution = resolution
        givenTickMs = tickMs
        self.startedNs = startedNs
        let scenario = plan.scenario
        firstMs = max(startAfterMs ?? scenario.startMs, scenario.startMs)
        model = FleetModel(plan: plan, injections: injections)
        shared = Mutex(
            Shared(
                schedule: PlaybackSchedule(
                    startMs: scenario.startMs, endMs: scenario.endMs, firstMs: firstMs, pace: pace,
                    tickMs: resolution.tickMs, nowNs: clock.nowNs()),
                resolution: resolution))
    }

    // MARK: Control, from any thread

    /// Begins; once.
    public nonisolated func start() { perform { $0.begin() } }
    /// Holds after the ticks that are with the sink.
    public nonisolated func pause() { perform { $0.change { $0.pause(nowNs: $1) } } }
    public nonisolated func resume() { perform { $0.change { $0.resume(nowNs: $1) } } }
    /// Ends for good, after the ticks that are with the sink.
    public nonisolated func stop() { perform { $0.change { schedule, _ in schedule.stop() } } }

    /// Goes on at another pace from where it stands. Ticks follow the pace, but never get longer than the finest
    /// window: windows stay as they were opened, so a run that began slowly may not reach a fast pace; its status
    /// shows the lag.
    public nonisolated func setPace(_ pace: Pace) { perform { $0.apply(pace) } }

    /// Where it stands; does not wait for the queue.
    public nonisolated func status() -> RunStatus {
        let now = clock.nowNs()
        return shared.withLock { shared in
            let schedule = shared.schedule
            let stands = schedule.state == .running && schedule.stands
            var resolution = shared.resolution
            resolution.tickMs = schedule.tickMs
            return RunStatus(
                state: stands ? .paused : Self.state(schedule.state), pace: schedule.pace,
                actualPace: schedule.state == .running && !stands ? shared.meter.pace(nowNs: now) : 0,
                resolution: resolution, startMs: schedule.startMs, endMs: schedule.endMs,
                positionMs: shared.positionMs, ticks: shared.ticks, inFlight: schedule.inFlight,
                lagSeconds: Double(schedule.lagNs(nowNs: now)) / 1e9, missedTurns: schedule.missedTurns)
        }
    }

    /// Lets a fault strike at the first millisecond that has not been played.
    ///
    /// The run stands still until `keep` has returned, so that nobody sees a fault that a crash could make undone.
    ///
    /// - Parameters:
    ///   - kind: one of `FleetPlan.injectableKinds`.
    ///   - entity: as in `FleetPlan.injection`.
    ///   - forMs: simulated, until it is repaired, found or over; `nil` as the kind has it.
    ///   - keep: stores the injection, to be given to `init` after a restart. When it throws, nothing strikes.
    /// - Returns: the injection; `nil` when the run is over.
    /// - Throws: `ScenarioProblem`, or what `keep` throws.
    public func inject(
        _ kind: String, at entity: String, forMs: Int64?,
        keep: @Sendable (FaultInjection) async throws -> Void = { _ in }
    ) async throws -> FaultInjection? {
        guard !hasEnded, !model.isFinished else { return nil }
        let injection = try plan.injection(kind, at: entity, timeMs: model.nowMs + 1, forMs: forMs)
        holds += 1
        defer {
            holds -= 1
            pump()
        }
        try await keep(injection)
        // It may have been stopped meanwhile; it cannot have gone on.
        guard !hasEnded, model.inject(injection) else { return nil }
        timeline.inject(injection)
        return injection
    }

    // MARK: On the queue

    nonisolated func perform(_ work: @escaping @Sendable (isolated ScenarioRun) -> Void) {
        executor.queue.async { @Sendable [weak self] in self?.assumeIsolated { work($0) } }
    }

    private func begin() {
        guard !hasStarted else { return }
        hasStarted = true
        if firstMs > plan.scenario.startMs { model.advance(to: firstMs - 1) }
        reportCheckpoints(shared.withLock { $0.schedule.pace })
        // Nothing was due before now, whenever the run was made; a run that was paused since stays so.
        change { [startedNs] in
            guard $0.state == .running else { return }
            $0.pause(nowNs: startedNs ?? $1)
            $0.resume(nowNs: startedNs ?? $1)
        }
    }

    /// - Parameter paceToo: what was measured of the pace is of another one.
    func change(paceToo: Bool = true, _ change: (inout PlaybackSchedule, Int64) -> Void) {
        let now = clock.nowNs()
        shared.withLock {
            change(&$0.schedule, now)
            if paceToo { $0.meter.reset() }
        }
        pump()
    }

    private func apply(_ pace: Pace) {
        let new = Self.fitted(
            Resolution(pace: pace, tickMs: givenTickMs), windowMs: resolution.finestWindowMs)
        reportCheckpoints(pace)
        shared.withLock {
            $0.resolution.tickMs = new.tickMs
        }
        change { $0.change(pace, tickMs: new.tickMs, nowNs: $1) }
    }

    /// The ticks of a pace, in windows as they were opened.
    nonisolated func tickMs(at pace: Pace) -> Int64 {
        Self.fitted(Resolution(pace: pace, tickMs: givenTickMs), windowMs: resolution.finestWindowMs).tickMs
    }

    /// Lets faults strike in their time.
    ///
    /// - Returns: how many of them come too late.
    func strike(_ injections: [FaultInjection]) -> Int {
        var missed = 0
        for injection in injections {
            if model.inject(injection) { timeline.inject(injection) } else { missed += 1 }
        }
        return missed
    }

    private func reportCheckpoints(_ pace: Pace) {
        if case .times(let factor) = pace {
            model.reportsCheckpoints = factor <= Self.checkpointEventsPaceMax
        } else {
            model.reportsCheckpoints = false
        }
    }

    /// Does what is due.
    private func pump() {
        guard holds == 0, !hasEnded, hasStarted || status().state.isOver else { return }
        while true {
            let now = clock.nowNs()
            switch shared.withLock({ $0.schedule.next(nowNs: now) }) {
            case .play(let timeMs): play(timeMs)
            case .wait(let untilNs): return sleep(untilNs - now)
            case .rest: return
            case .end: return end()
            }
        }
    }

    private func play(_ timeMs: Int64) {
        model.advance(to: timeMs, into: &pending)
        emit { $0.timeMs < timeMs }
        let queue = executor.queue
        sink.offer(model.tick(), stream: index) { @Sendable [weak self] in
            queue.async { @Sendable [weak self] in self?.assumeIsolated { $0.completed(timeMs) } }
        }
    }

    private func completed(_ timeMs: Int64) {
        let now = clock.nowNs()
        shared.withLock {
            $0.schedule.completed()
            $0.positionMs = max($0.positionMs ?? timeMs, timeMs)
            $0.ticks += 1
            $0.meter.note(ns: now, ms: timeMs)
        }
        pump()
    }

    /// Sends the pending events up to the first that is not meant.
    private func emit(while isMeant: (ModelEvent) -> Bool) {
        let count = pending.firstIndex { !isMeant($0) } ?? pending.count
        guard count > 0 else { return }
        eventSink.emit(pending[..<count].map { model.describe($0, stream: stream) })
        pending.removeFirst(count)
    }

    private func sleep(_ nanoseconds: Int64) {
        timer += 1
        let mine = timer
        clock.after(nanoseconds: nanoseconds, on: executor.queue) { @Sendable [weak self] in
            self?.assumeIsolated { run in
                // A newer timer, or a change that set none, has taken its place.
                if run.timer == mine { run.pump() }
            }
        }
    }

    private func end() {
        hasEnded = true
        if shared.withLock({ $0.schedule.state }) == .finished { emit { _ in true } }
        onEnd(status())
    }

    private static func state(_ state: PlaybackSchedule.State) -> RunStatus.State {
        switch state {
        case .running: .running
        case .paused: .paused
        case .stopped: .stopped
        case .finished: .finished
        }
    }

    /// The same with windows as they are, and ticks that fit into them.
    private static func fitted(_ resolution: Resolution, windowMs: Int64) -> Resolution {
        let steps = Resolution.ladderMs + [resolution.tickMs]
        var fitted = resolution
        fitted.tickMs =
            steps.filter { $0 <= min(resolution.tickMs, windowMs) && windowMs % $0 == 0 }.max() ?? windowMs
        fitted.finestWindowMs = windowMs
        fitted.rollupsMs = [60_000, 600_000, 3_600_000].filter { $0 > windowMs && $0 % windowMs == 0 }
        return fitted
    }
}
