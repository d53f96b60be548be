import ControlAPI
import Dispatch
import Exchange
import Logging
import Playback
import Simulation
import SystemdSupport
import Telemetry

/// What is asked of the cluster's run, as this member knows it: hands it to whoever plays or reports the run here.
final class SharedControl: Sendable {
    /// What is new in the log, as a run takes it.
    struct News: Sendable {
        var turns: [PlaybackTurn] = []
        var injections: [FaultInjection] = []
        /// All is known up to this simulated time.
        var throughMs: Int64
    }

    /// Whoever plays or reports; tells how many faults came too late.
    typealias Follower = @Sendable (News, _ missed: @escaping @Sendable (Int) -> Void) -> Void

    private struct State {
        var applied = 0
        var throughMs: Int64?
        var missed = 0
        var isStopped = false
    }

    let fleet: SharedFleet
    let base: ControlCourse.Base
    private let shell: NodeShell<ControlMachine>
    private let simulation: SharedRun?
    private let report: Follower?
    private let clock: WallClock
    /// Where nobody waits for what takes its time.
    private let aside: DispatchQueue
    /// For whoever looks on.
    let timeline: TimelineSource
    private let logger = Logger(label: "cluster")
    private let state = Locked(State())

    init(
        _ fleet: SharedFleet, name: String, startedMs: Int64, simulation: SharedRun?, report: Follower?,
        bus: any Bus, clock: WallClock, aside: DispatchQueue, closed: Int64
    ) {
        self.fleet = fleet
        let scenario = fleet.plan.scenario
        base = ControlCourse.Base(
            startMs: scenario.startMs, endMs: scenario.endMs, startedMs: startedMs, speed: fleet.speed)
        self.simulation = simulation
        self.report = report
        self.clock = clock
        self.aside = aside
        timeline = TimelineSource(plan: fleet.plan)
        var position: (@Sendable () -> Int64?)?
        if let simulation { position = { simulation.progressMs } }
        shell = NodeShell(
            ControlMachine(
                name: name, fleet: fleet.map, base: base, clock: clock, closed: closed, position: position),
            bus: bus, clock: ClusterMember.nowMs)
    }

    var status: ControlStatus { shell.withMachine { $0.status } }
    /// Entries that whoever plays or reports here has been given.
    var applied: Int { state.withLock { $0.applied } }
    /// Changes that were known only after their time: what is played here is not what others play.
    var missed: Int {
        state.withLock { $0.missed } + (simulation?.run.status().missedTurns ?? 0)
    }

    /// Whoever waits for an answer is told that nobody knows.
    func stop() {
        state.withLock { $0.isStopped = true }
        shell.stop()
    }

    /// Ten times a second.
    func tick() {
        shell.tick()
        guard let log = status.log else { return }
        let known = state.withLock { state in
            defer { (state.applied, state.throughMs) = (log.entries.count, log.horizonMs) }
            return state
        }
        guard known.throughMs != log.horizonMs || known.applied != log.entries.count else { return }
        let news = news(in: log, after: known.applied)
        let missed: @Sendable (Int) -> Void = { [weak self] count in self?.miss(count) }
        simulation?.run.follow(
            news.turns, news.injections, throughMs: news.throughMs, missed: missed)
        // Somebody may just go through months of the run, and a fault waits for that.
        aside.async { @Sendable [report, timeline] in
            report?(news, missed)
            for injection in news.injections { timeline.inject(injection) }
        }
        for entry in log.entries.dropFirst(known.applied) { tell(entry) }
    }

    private func miss(_ count: Int) {
        state.withLock { $0.missed += count }
        logger.error(
            "what was asked of the cluster's run is known too late here; this member gives its slices away",
            metadata: JournalMessage.clusterAstray.metadata(["count": "\(count)"]))
    }

    /// All have the same plan: what cannot be done here, nobody does. A version that knows more kinds of faults must give what
    /// members agree on another version.
    private func ignore(_ entry: ControlEntry) {
        logger.warning(
            "a fault that is asked of the cluster's run cannot be in it; all members leave it out",
            metadata: JournalMessage.clusterControl.metadata([
                "sequence": "\(entry.sequence)", "asked": "\(entry.words)", "member": "\(entry.member)",
            ]))
    }

    private func tell(_ entry: ControlEntry) {
        logger.notice(
            "something was asked of the cluster's run",
            metadata: JournalMessage.clusterControl.metadata([
                "sequence": "\(entry.sequence)", "asked": "\(entry.words)", "member": "\(entry.member)",
                "after": "\(UTCTime(ms: entry.atMs))",
            ]))
    }

    private func news(in log: ControlLog, after applied: Int) -> News {
        var news = News(throughMs: log.horizonMs)
        // By the run's clock, which never goes back.
        let offsetNs = SystemPlaybackClock().nowNs() - clock.nowMs() * 1_000_000
        var (pace, stands) = (fleet.pace, false)
        for entry in log.entries {
            let isNew = entry.sequence > applied
            switch entry.deed {
            case .inject(let kind, let entity, let forMs):
                guard isNew else { continue }
                let injection = try? fleet.plan.injection(
                    kind, at: entity, timeMs: entry.strikesMs, forMs: forMs)
                if let injection { news.injections.append(injection) } else { ignore(entry) }
                continue
            case .speed(let factor): pace = .times(factor)
            case .pause: stands = true
            case .resume: stands = false
            case .stop: break
            }
            guard isNew else { continue }
            news.turns.append(
                PlaybackTurn(
                    atMs: entry.atMs, pace: pace, stands: stands, stops: entry.deed == .stop,
                    anchorNs: Self.onClock(entry.dueMs, offsetNs)))
        }
        return news
    }

    /// When that is on the clock that goes by itself, wherever the other one stands.
    private static func onClock(_ timeMs: Int64, _ offsetNs: Int64) -> Int64 {
        let (ns, isTooFar) = (timeMs * 1_000_000).addingReportingOverflow(offsetNs)
        return isTooFar ? .max : ns
    }

    /// Asks all members for something, and waits until it is written down.
    func ask(_ deed: ControlEntry.Deed) async throws(ControlRefusal) -> ControlEntry {
        let askedMs = ClusterMember.nowMs()
        let id = shell.withMachine { $0.ask(deed, nowMs: askedMs) }
        // The machine gives up in time; only where this member leaves, nobody ticks it any more.
        while ClusterMember.nowMs() - askedMs < 2 * ControlMachine.patienceMs,
            !state.withLock({ $0.isStopped })
        {
            if let answer = shell.withMachine({ $0.takeAnswer(id) }) { return try answer.get() }
            guard (try? await Task.sleep(for: .milliseconds(20))) != nil else { break }
        }
        throw .isUnknown
    }
}
