import Aggregation
import ControlAPI
import Exchange
import Foundation
import NATSExchange
import Playback
import Settings
import Simulation
import Store
import Telemetry
import WireFormats

// The cluster's streams as this member's core closes and stores them.
extension ClusterNode {
    /// Reports the simulated fleet, behind what the store has of it; opens its stream in the core.
    ///
    /// - Parameter closed: number of the last window of which all finals are there.
    func reporter(
        _ fleet: SharedFleet, _ agreement: ClusterAgreement, _ bus: NATSBus, closed: Int64
    ) async throws -> (FleetReporter, SharedControl.Follower) {
        let (core, store, streams) = (around.core, around.store, around.streams)
        let stream = fleet.stream
        let index = streams.open(stream, site: fleet.plan.scenario.site)
        guard !core.isOpen(index) else { throw Self.playsAlone(fleet.run) }
        fleet.plan.makeTopology(into: streams.topology(index))
        let closedMs = try await store.closedThrough(stream)
        let position = ReportingPosition(
            around.stateDirectory + "/cluster.position", fleet: agreement.fleet,
            startedMs: agreement.startedMs)
        if let closedMs {
            let isFarther = fleet.map.lastWindow(endedMs: closedMs) > closed
            let isOwn = try await store.runs().contains { $0.name == fleet.run }
            // Its windows would be taken for those of this run, and nothing of it stored before it has come as far.
            if isOwn || position.run == .another || position.run == .none && isFarther {
                throw BusError.failed(
                    "the history has another run named \(fleet.run), up to \(UTCTime(ms: closedMs)); remove that "
                        + "(colossusctl simulate remove), or give the cluster's another name")
            }
        }
        let resolution = fleet.resolution
        var spec = StreamSpec(id: stream, site: fleet.plan.scenario.site)
        spec.plan = WindowPlan(finestMs: resolution.finestWindowMs, rollupsMs: resolution.rollupsMs)
        spec.levels = around.levels
        spec.tellsDetected = false
        spec.tickMs = resolution.tickMs
        spec.closedThroughMs = closedMs
        let ladder = [resolution.finestWindowMs] + resolution.rollupsMs
        spec.openRollups = try await store.openRollups(stream, ladder: ladder)
        if closedMs != nil {
            spec.openEvents = try await OpenEvents.read(stream, store)
            spec.ledger = try await store.ledger(stream) ?? Ledger()
        }
        let timeline = TimelineSource(plan: fleet.plan)
        let windowMs = resolution.finestWindowMs
        spec.timeline = { _, endMs in timeline.point(at: endMs, overMs: windowMs) }
        around.shares.report(index)
        let next = closedMs.map { fleet.map.lastWindow(endedMs: $0) + 1 } ?? 0
        let (plan, pace) = (fleet.plan, fleet.pace)
        // Made once it is known what was asked of the run, up to where the store is; no window is told before.
        let replay = EventFollower(on: aside) { injections, turns in
            EventReplay(
                plan: plan, stream: stream, pace: pace, afterMs: closedMs, injections: injections,
                turns: turns)
        }
        position.begin()
        let reporter = FleetReporter(
            fleet: fleet.map, topology: fleet.topology, stream: index, next: next,
            from: position.read(next: next), throughMs: .min,
            bus: bus, shares: around.shares, coverage: around.coverage, core: core, clock: around.clock,
            account: { core.account($0, stream: $1) },
            events: { endMs in replay.events(before: endMs) })
        around.coverage.report(stream, finestMs: windowMs) { [weak reporter] throughMs in
            guard let reporter else { return }
            reporter.committed(throughMs: throughMs)
            let status = reporter.status
            position.note(status.resumeSequence, window: status.reported)
        }
        core.openStream(spec)
        return (
            reporter,
            { [weak reporter] news, missed in
                replay.follow(news.injections, news.turns) { [weak reporter] count in
                    if count > 0 { missed(count) }
                    for injection in news.injections { timeline.inject(injection) }
                    reporter?.allow(throughMs: news.throughMs)
                }
            }
        )
    }

    /// The stream of a run that is over is closed, and its history is that of any run that is over.
    func closeReported(_ member: ClusterMember) async {
        guard member.parts.reporter != nil, let fleet = member.fleet, let control = member.parts.control,
            let index = around.streams.find(fleet.stream)
        else { return }
        let core = around.core
        await withCheckedContinuation { continuation in
            core.closeStream(index) { continuation.resume() }
        }
        // Somebody may remove the history, and play a run of that name here alone.
        around.shares.unreport(index)
        around.coverage.forget(fleet.stream)
        // Without one nobody knows what was asked of the run, nor whether it is here as far as it went.
        guard let log = control.status.log else { return }
        await save(EndedRun(control, log))
    }

    /// Reports what members ingest, behind what the store has of it; opens `measured` in the core.
    func reporter(_ map: FleetMap, _ bus: NATSBus) async throws -> IngestReporter {
        let (core, store, streams) = (around.core, around.store, around.streams)
        if let kept = try await store.topology(.measured) { streams.open(.measured, restoring: kept) }
        let index = streams.open(.measured, site: around.measured.site)
        let record = try await store.stream(.measured)
        let closedMs = record?.closedThroughMs
        var spec = around.measured
        spec.isReported = true
        spec.closedThroughMs = closedMs
        spec.openRollups = try await store.openRollups(
            .measured, ladder: [spec.plan.finestMs] + spec.plan.rollupsMs)
        // Jobs and nodes that are down are told to the members that share; maintenance is told here.
        spec.openEvents = try await OpenEvents.read(.measured, store).filter {
            $0.kind == .maintenanceStart
        }
        spec.ledger = record?.ledger ?? Ledger()
        let reported = closedMs.map { map.lastWindow(endedMs: $0) }
        let position = ReportingPosition(
            around.stateDirectory + "/cluster.ingested", fleet: String(map.fingerprint, radix: 16),
            startedMs: 0)
        around.shares.report(index)
        let reporter = IngestReporter(
            fleet: map, topology: streams.topology(index), stream: index, reported: reported,
            reviseMs: reviseMs, from: position.read(next: (reported ?? -1) + 1), bus: bus,
            shares: around.shares, coverage: around.coverage, clock: around.clock,
            account: { core.account($0, stream: $1) }, close: { core.close($0, throughMs: $1) })
        around.coverage.report(.measured, finestMs: map.windowMs) { [weak reporter] throughMs in
            guard let reporter else { return }
            reporter.committed(throughMs: throughMs)
            let status = reporter.status
            position.note(status.resumeSequence, window: status.reported)
        }
        // A reload finds it open, or comes first.
        around.inventory.withLock { inventory in
            streams.topology(index).arrange(as: inventory)
            if !core.isOpen(index) { core.openStream(spec) }
        }
        return reporter
    }
}
