import Alerts
import ControlAPI
import Exchange
import Playback
import Settings
import Simulation
import Store
import Telemetry

/// What was done already about alerts of shared runs.
struct SharedAlerts {
    /// Of which run that is.
    var run: String?
    /// The cluster's run is known, and alerts of others have ended.
    var hasSorted = false
    /// It is over, and its alerts with it.
    var hasEnded = false
}

// What the control interface asks of the run that a cluster shares: any member takes it, and all of them do it.
extension Daemon {
    /// The control of this run; `nil` when the cluster shares none of this name.
    func sharedRun(_ name: String) throws -> SharedControl? {
        guard let node = try running().cluster else { return nil }
        if let control = node.member?.parts.control, control.fleet.run == name { return control }
        guard node.member?.parts.control == nil, node.settings.simulation?.run == name else { return nil }
        throw ControlError(
            .tryAgain, "This member has not joined: \(node.problem ?? "it is on its way").",
            hint: "Look at `colossusctl cluster status`.")
    }

    /// What only a daemon can do that plays a run alone.
    func refuseShared(_ name: String, _ what: String) throws {
        guard try sharedRun(name) != nil else { return }
        throw ControlError(
            .conflict, "Run \(name) is the cluster's, and \(what).",
            hint: "A daemon without a cluster can do that with a run of its own.")
    }

    var sharedStatuses: [SimulationStatus] {
        get async {
            guard let member = parts?.cluster?.member, let control = member.parts.control else { return [] }
            return [await Self.status(of: control, member)]
        }
    }

    func sharedStatus(_ control: SharedControl) async throws -> SimulationStatus {
        guard let member = try running().cluster?.member else {
            throw ControlError(.tryAgain, "This member is leaving.", hint: "Try again.")
        }
        return await Self.status(of: control, member)
    }

    /// Not on the daemon's own queue: where the run stands and its milestones are worked out from its beginning.
    private nonisolated static func status(
        of control: SharedControl, _ member: ClusterMember
    ) async -> SimulationStatus {
        let (fleet, log) = (control.fleet, control.status.log)
        let scenario = fleet.plan.scenario
        let closed = member.roster.closedThrough(partitions: fleet.map.partitions) ?? -1
        let closedMs = closed >= 0 ? fleet.map.windowEndMs(closed) : nil
        let course = log.map { ControlCourse(control.base, $0) }
        let speed = Pace.times(course?.speed ?? fleet.speed)
        var resolution = fleet.resolution
        let isFinished = log?.isFinished(fleet.map, closed: closed, endMs: scenario.endMs) ?? false
        let state: SimulationStatus.State =
            log == nil
            ? .starting
            : isFinished
                ? .finished : log?.isStopped == true ? .stopped : log?.isPaused == true ? .paused : .running
        let playing = member.parts.simulation?.run.status()
        resolution.tickMs = playing?.resolution.tickMs ?? resolution.tickMs
        let record = SimulationRun(
            name: fleet.run, scenario: "", path: "", seed: scenario.seed, speed: speed.description,
            state: state.rawValue, startedMs: control.base.startedMs, tickMs: nil)
        var status = SimulationStatus(
            record, scenario, control.timeline, state: state, resolution: resolution,
            closedThroughMs: closedMs)
        status.pace = playing?.actualPace ?? 0
        status.lagSeconds = playing?.lagSeconds ?? 0
        return status
    }

    /// Every two seconds: alerts of the cluster's run end with it, and those of others once it is known which it is.
    func endSharedAlerts() async {
        guard let parts, parts.cluster != nil else { return }
        let run = parts.cluster?.names.shared
        if run != sharedAlerts.run { sharedAlerts = SharedAlerts(run: run) }
        if !sharedAlerts.hasSorted, parts.cluster?.names.shared != nil {
            sharedAlerts.hasSorted = true
            await parts.runs.endAlerts()
        }
        guard !sharedAlerts.hasEnded, let member = parts.cluster?.member, let control = member.parts.control,
            control.fleet.run == run, let reported = member.parts.reporter?.status.reported,
            let log = control.status.log
        else { return }
        let stop = log.isStopped ? log.entries.last?.atMs : nil
        let endMs = min(control.base.endMs, stop ?? .max)
        guard reported >= control.fleet.map.lastWindow(endedMs: endMs) else { return }
        do {
            try await parts.alerts.forget(
                control.fleet.stream, closedThroughMs: control.fleet.map.windowEndMs(reported))
            sharedAlerts.hasEnded = true
        } catch {
            // A store that fails says so; the next time.
        }
    }

    /// Starts a run for all members of the cluster, and waits until this one plays it.
    func startShared(_ start: SimulationStart) async throws -> SimulationStatus {
        guard let node = try running().cluster else {
            throw ControlError(
                .notFound, "This daemon works alone.",
                hint: "Leave --shared out, or make it a member: see CLUSTER in colossusd.yaml(5).")
        }
        let started = try await node.start(start)
        for _ in 0..<300 {
            if let map = node.member?.fleet?.map, map.run >= started.number,
                let status = await sharedStatuses.first
            {
                return status
            }
            try? await Task.sleep(for: .milliseconds(100))
        }
        throw ControlError(
            .tryAgain, "The run is started, and this member has not joined it yet.",
            hint: "Look at `colossusctl cluster status`.")
    }

    func changeShared(
        _ control: SharedControl, _ action: SimulationAction
    ) async throws -> SimulationStatus {
        guard try await sharedStatus(control).state != .finished else {
            throw Self.error(.isOver, control.fleet.run)
        }
        let deed: ControlEntry.Deed
        switch action {
        case .pause: deed = .pause
        case .resume: deed = .resume
        case .stop: deed = .stop
        case .speed(let text):
            guard case .times(let factor) = try Pace(text: text) else {
                throw ControlError(
                    .badRequest, "A cluster's run cannot go at \(text).",
                    hint:
                        "Its workers go by the clock: write simulated seconds a second, or a length a second."
                )
            }
            deed = .speed(factor)
        }
        _ = try await ask(control, deed)
        return try await sharedStatus(control)
    }

    func injectShared(
        _ control: SharedControl, _ request: InjectionRequest
    ) async throws -> InjectionReply {
        let forMs = try SimulationRuns.length(request.for)
        do {
            _ = try control.fleet.plan.injection(
                request.kind, at: request.at, timeMs: control.base.startMs, forMs: forMs)
        } catch let problem {
            throw SimulationRuns.error(problem)
        }
        let entry = try await ask(
            control, .inject(kind: request.kind, entity: request.at, forMs: forMs))
        return InjectionReply(
            run: control.fleet.run, kind: request.kind, at: request.at, time: UTCTime(ms: entry.strikesMs),
            forSeconds: forMs.map { Double($0) / 1_000 })
    }

    private func ask(
        _ control: SharedControl, _ deed: ControlEntry.Deed
    ) async throws -> ControlEntry {
        let run = control.fleet.run
        if let node = try running().cluster, let member = node.member {
            try await checkFollowers(node, member)
        }
        do throws(ControlRefusal) {
            return try await control.ask(deed)
        } catch {
            throw Self.error(error, run)
        }
    }

    /// A member that knows nothing of the control log would go on as before.
    private func checkFollowers(_ node: ClusterNode, _ member: ClusterMember) async throws {
        let (roster, nowMs) = (member.roster, ClusterMember.nowMs())
        for (name, entry) in roster.entries.sorted(by: { $0.key < $1.key })
        where roster.isLive(name, nowMs: nowMs) && entry.note.control == nil {
            throw ControlError(
                .conflict, "Member \(name) has version \(entry.note.version), which cannot follow.",
                hint: "Bring all members to one version first.")
        }
        guard (member.agreement?.v ?? 0) < ClusterAgreement.controlled else { return }
        do {
            try await node.closeToOthers(member.map)
        } catch let error as BusError {
            throw ControlError(.tryAgain, "Nothing is done: \(ClusterNode.words(error)).", hint: "Try again.")
        }
    }

    private static func error(_ refusal: ControlRefusal, _ run: String) -> ControlError {
        switch refusal {
        case .isOver:
            ControlError(
                .conflict, "Run \(run) is over.",
                hint: "Start another one: colossusctl simulate start FILE --shared")
        case .isPaused: ControlError(.conflict, "Run \(run) is paused already.")
        case .isNotPaused: ControlError(.conflict, "Run \(run) is not paused.")
        case .isFull:
            ControlError(
                .conflict, "Run \(run) was asked for \(ControlLog.entriesMax - 1) things already.",
                hint: "It can only be stopped.")
        case .isUnwritable:
            ControlError(.badRequest, "A name is too long, or has characters that the cluster cannot share.")
        case .isUnknown:
            ControlError(
                .tryAgain, "The brokers do not answer in time; it may count yet.",
                hint: "`colossusctl cluster status` shows what was asked last.")
        case .isNotPlayed:
            ControlError(.tryAgain, "No worker plays run \(run) yet.", hint: "Try again in a moment.")
        }
    }
}
