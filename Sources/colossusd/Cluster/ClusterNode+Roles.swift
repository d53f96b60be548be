import Exchange
import NATSExchange
import Settings

// What a member works on, by its roles.
extension ClusterNode {
    /// The machines that play, close and report the simulated fleet.
    ///
    /// - Parameter closed: number of the last window that all partitions have closed; -1 before.
    func simulated(
        _ fleet: SharedFleet, _ agreement: ClusterAgreement, _ bus: NATSBus, closed: Int64,
        _ incarnation: UInt64
    ) async throws -> ClusterMember.Parts {
        var parts = ClusterMember.Parts()
        let limits = limits(of: bus)
        // First, because it may refuse; what plays a run would have to be stopped.
        var follower: SharedControl.Follower?
        if settings.roles.contains(.reporter) {
            (parts.reporter, follower) = try await reporter(fleet, agreement, bus, closed: closed)
        }
        if settings.roles.contains(.worker) {
            let simulation = SharedRun(
                fleet, shardCount: around.shardCount, levels: around.levels,
                windowsMax: settings.windowsMax, startedMs: agreement.startedMs, clock: around.clock)
            simulation.windows.settle(through: closed)
            let machine = WorkerMachine(
                name: name, incarnation: incarnation, fleet: fleet.map, leaseMs: settings.leaseMs,
                source: simulation.windows, limits: limits)
            parts.simulation = simulation
            parts.worker = NodeShell(machine, bus: bus, clock: ClusterMember.nowMs)
        }
        if settings.roles.contains(.rollup) {
            // What nobody needs any more must not take the room of what comes. Who may not, says so for its own partials.
            parts.former = NodeShell(FormerRunMachine(fleet.map), bus: bus, clock: ClusterMember.nowMs)
            let machine = RollupMachine(
                name: name, incarnation: incarnation, fleet: fleet.map, leaseMs: settings.leaseMs,
                graceMs: settings.graceMs, limits: limits)
            parts.rollup = NodeShell(machine, bus: bus, clock: ClusterMember.nowMs)
        }
        parts.control = SharedControl(
            fleet, name: name, startedMs: agreement.startedMs, simulation: parts.simulation,
            report: follower, bus: bus, clock: around.clock, aside: aside, closed: closed)
        return parts
    }

    private func limits(of bus: NATSBus) -> ExchangeLimits {
        var limits = ExchangeLimits()
        limits.partialsKeepMs = bus.keepsMs(.partials)
        return limits
    }

    /// The machines that share, close and report what members ingest.
    func ingested(
        _ ingest: SharedIngest, _ bus: NATSBus, _ incarnation: UInt64
    ) async throws -> ClusterMember.Ingest {
        let map = ingest.fleet
        var parts = ClusterMember.Ingest(shared: ingest)
        if settings.roles.contains(.rollup) {
            let machine = RollupMachine(
                name: name, incarnation: incarnation, fleet: map, leaseMs: settings.leaseMs,
                graceMs: settings.graceMs, reviseMs: reviseMs, clock: around.clock, limits: limits(of: bus))
            parts.rollup = NodeShell(machine, bus: bus, clock: ClusterMember.nowMs)
        }
        if settings.roles.contains(.reporter) { parts.reporter = try await reporter(map, bus) }
        let origin = NodeShell(
            OriginMachine(name: name, fleet: map, incarnation: incarnation), bus: bus,
            clock: ClusterMember.nowMs)
        ingest.publish(through: origin)
        parts.origin = origin
        return parts
    }
}
