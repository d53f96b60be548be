import Aggregation
import ControlAPI
import Dispatch
import Exchange
import Glibc
import Logging
import NATSExchange
import QueueIsolation
import Settings
import Store
import SystemdSupport
import Telemetry
import WireFormats

/// The daemon's place in a cluster: connects, agrees with the others on the run, works in its roles, and leaves.
actor ClusterNode {
    /// What the roles need of the daemon.
    struct Surroundings: Sendable {
        var core: AggregationCore
        var store: HistoryStore
        var streams: Streams
        var names: RunNames
        var shares: ReportingBus
        var coverage: CoverageSink
        var clock: WallClock
        var metrics: Metrics
        var levels: Set<Level>
        var shardCount: Int
        var stateDirectory: String
        /// What the summaries of ingested telemetry are made by.
        var measured: StreamSpec
        /// Where nodes stand, for the fleet that is reported; who ingests has the same inventory.
        var inventory: Locked<Inventory?>
    }

    nonisolated let settings: DaemonSettings.Cluster
    nonisolated let name: String
    nonisolated let around: Surroundings
    nonisolated let logger = Logger(label: "cluster")
    /// May wait for brokers; no target, so that it holds up nobody.
    private nonisolated let queue = DispatchQueue(label: "colossus.cluster")
    /// What waits for an answer of the brokers, or computes for long: the ticks of leases and of the run go on meanwhile.
    private nonisolated let asking = DispatchQueue(label: "colossus.cluster.asking")
    /// When the last tick was, and the longest time between two since somebody looked.
    private nonisolated let pauses = Locked<(lastMs: Int64?, longestMs: Int64)>((nil, 0))
    /// The run that was started for all, and what the brokers said of it.
    private nonisolated let startedFleet = Locked<(said: StoredMessage, fleet: SharedFleet)?>(nil)
    nonisolated let over = OverSince()
    private nonisolated let joined = Locked<ClusterMember?>(nil)
    /// The one whose run is over, until the next one has its place: what it hears of the others is shown meanwhile.
    private nonisolated let leaving = Locked<ClusterMember?>(nil)
    private nonisolated let linkedBus = Locked<NATSBus?>(nil)
    private nonisolated let obstacle = Locked<String?>("it has not reached the brokers yet")
    /// What is ingested on its way to the brokers; `nil` where each member keeps its own.
    private nonisolated let shared = Locked<SharedIngest?>(nil)
    /// The run of the configuration.
    private(set) var configured: SharedFleet?
    private var timer: DispatchSource?
    private var task: Task<Void, Never>?
    private var isStopping = false
    /// An operator's drain, which outlives the run that he saw.
    private nonisolated let drained = Locked(false)
    private let incarnation = UInt64.random(in: 1...UInt64.max)
    /// What is ingested goes to the brokers before there is a member: it waits for no agreement about the simulated fleet.
    private typealias Link = (bus: NATSBus, ingest: ClusterMember.Ingest?)
    private var link: Link?
    private var linking: Task<Link, any Error>?
    private var told: ClusterJournal
    /// What is to be written down of the run is in a file.
    private var hasKeptEnded = false

    init(_ settings: DaemonSettings.Cluster, _ around: Surroundings) {
        self.settings = settings
        self.around = around
        name = settings.worker ?? Self.hostName()
        told = ClusterJournal(Logger(label: "cluster"), around.metrics)
    }

    nonisolated var names: RunNames { around.names }
    nonisolated var member: ClusterMember? { joined.withLock { $0 } }
    /// Whom to ask about the cluster: also while it goes over from one run to the next.
    nonisolated var shown: ClusterMember? { member ?? leaving.withLock { $0 } }
    nonisolated var isConnected: Bool { linkedBus.withLock { $0?.isConnected } ?? false }
    /// Why it has not joined; `nil` when it has.
    nonisolated var problem: String? { obstacle.withLock { $0 } }
    nonisolated var monitoredQueues: [MonitoredQueue] {
        member?.parts.simulation?.monitoredQueues ?? []
    }

    /// The first part of the host's name, with `-` for what subjects cannot have.
    private static func hostName() -> String {
        var bytes = [CChar](repeating: 0, count: 256)
        gethostname(&bytes, 255)
        let text = String(decoding: bytes.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let name = text.prefix { $0 != "." }.prefix(64).map { letter in
            letter.isASCII && (letter.isLetter || letter.isNumber || letter == "_") ? letter : "-"
        }
        return name.isEmpty ? "worker" : String(name)
    }

    nonisolated var ingest: SharedIngest? { shared.withLock { $0 } }

    /// The map of what is ingested; the same on all members that have the same windows.
    private nonisolated var ingestMap: FleetMap? { settings.sharesIngest ? shareableMap : nil }

    /// As members have it that share what they ingest.
    nonisolated var shareableMap: FleetMap? {
        let partitions = settings.partitions > 0 ? settings.partitions : Self.ingestPartitions
        return FleetMap(
            cluster: settings.name, stream: StreamID.measured.name, slices: settings.slices,
            partitions: min(settings.slices, partitions), windowMs: around.measured.plan.finestMs, startMs: 0)
    }

    /// How large the fleet is, nobody knows beforehand.
    private static let ingestPartitions = 8
    /// Roll-ups and members have in memory what windows were made of that may be revised.
    private static let reviseMaxMs: Int64 = 600_000
    /// A roll-up that goes on must find on the brokers what windows were made of.
    nonisolated var reviseMs: Int64 {
        min(around.measured.plan.reviseWithinMs, Self.reviseMaxMs, settings.partialsKeepMs / 2)
    }

    /// From now on what the shards close of this stream is shared. Before anything is received.
    ///
    /// - Parameter sink: where closings go once their windows are stored by the brokers.
    nonisolated func share(_ stream: StreamIndex, sink: any SummarySink) {
        guard let map = ingestMap else { return }
        let ingest = SharedIngest(
            fleet: map, topology: around.streams.topology(stream),
            reviseMs: reviseMs, sink: sink)
        around.shares.share(stream, ingest)
        around.coverage.share(ingest)
        shared.withLock { $0 = ingest }
    }

    // MARK: Joining

    /// Does not wait: brokers that are away are no reason not to start.
    func start() throws {
        configured = try settings.simulation.map { try SharedFleet(settings, $0) }
        task = Task { await self.join() }
    }

    private static let nothingToPlay =
        "it waits for a run: colossusctl simulate start --shared, or cluster.simulation in the configuration"

    private func join() async {
        while !isStopping {
            do {
                let linked = try await linked()
                let fleet = try await newest(linked.bus)
                guard let run = fleet?.run else {
                    await idle()
                    continue
                }
                guard around.names.share(run) else { throw Self.playsAlone(run) }
                await saveEnded(before: run)
                let member = try await connect(fleet, linked.bus, linked.ingest)
                guard !isStopping else { return member.end() }
                install(member)
                obstacle.withLock { $0 = nil }
                tellJoined(member)
                await followed(member)
                guard !isStopping else { return }
                await leaveRun(member)
            } catch {
                // Brokers that are away are told of by whoever shares already.
                if member == nil || !Self.isOutage(error) { refused(error) }
                await shareAlone()
                try? await Task.sleep(for: .seconds(3))
            }
        }
        if member == nil { endLink() }
    }

    static func playsAlone(_ run: String) -> BusError {
        .failed(
            "a run named \(run) plays on this member already; stop it, or give the cluster's another name")
    }

    /// The run that was started last; before any was, and instead of the first one, that of the configuration.
    private func newest(_ bus: NATSBus) async throws -> SharedFleet? {
        let started = try await started(bus)
        if let started, configured == nil || started.map.run > 1 { return started }
        return configured
    }

    /// The fleet of what was read last, if these are its bytes.
    nonisolated func knownFleet(of bytes: [UInt8]) -> SharedFleet? {
        startedFleet.withLock { $0?.said.bytes == bytes ? $0?.fleet : nil }
    }

    func started(_ bus: NATSBus) async throws -> SharedFleet? {
        try await onQueue { [settings, startedFleet] in
            guard let known = try bus.lastNow(.leases, FleetMap.startSubject(settings.name)) else {
                return nil
            }
            // Where joining is refused it is asked for again and again. Brokers that were wiped number from 1 again.
            if let same = startedFleet.withLock({ $0 }), same.said == known { return same.fleet }
            let fleet = try SharedFleet(settings, SharedStart(decoding: known.bytes))
            startedFleet.withLock { $0 = (known, fleet) }
            return fleet
        }
    }

    /// Nobody has started a run yet: what is ingested is shared meanwhile.
    private func idle() async {
        let isNew = member == nil
        await shareAlone()
        let wait = ingest == nil ? Self.nothingToPlay : nil
        if ingest == nil || member != nil { obstacle.withLock { $0 = wait } }
        if isNew, let member { tellJoined(member) }
        try? await Task.sleep(for: .seconds(member == nil ? 1 : 3))
    }

    private static func isOutage(_ error: any Error) -> Bool {
        guard let error = error as? BusError else { return false }
        return error == .unavailable || error == .ambiguous
    }

    private func tellJoined(_ member: ClusterMember) {
        logger.notice(
            "this member has joined the cluster",
            metadata: JournalMessage.clusterJoined.metadata([
                "cluster": "\(settings.name)", "member": "\(name)", "run": "\(member.fleet?.run ?? "")",
                "roles": "\(settings.roles.map(\.rawValue).joined(separator: " "))",
                "slices": "\(member.map.slices)", "partitions": "\(member.map.partitions)",
            ]))
    }

    /// Whoever asks has waited long enough for brokers that are away.
    func broker() async throws -> NATSBus { try await linked().bus }

    private func refused(_ error: any Error) {
        let text = Self.words(error)
        let isNew = obstacle.withLock { known in
            defer { known = text }
            return known != text
        }
        guard isNew else { return }
        logger.error(
            "this member cannot join the cluster; it tries again",
            metadata: JournalMessage.clusterRefused.metadata([
                "cluster": "\(settings.name)", "reason": "\(text)",
            ]))
    }

    /// The brokers, and what is made of ingested telemetry there: once.
    private func linked() async throws -> Link {
        if let link { return link }
        // Whoever asks meanwhile waits for the same.
        if let linking { return try await linking.value }
        let linking = Task { try await makeLink() }
        self.linking = linking
        defer { self.linking = nil }
        return try await linking.value
    }

    private func makeLink() async throws -> Link {
        let (options, streams) = (natsOptions(), natsStreams())
        let bus = try await onQueue { try NATSBus(options, streams: streams) }
        if let text = bus.otherThanWanted {
            logger.warning("the brokers have the streams as they were made", metadata: ["stream": "\(text)"])
        }
        var parts: ClusterMember.Ingest?
        if let ingest { parts = try await ingested(ingest, bus, incarnation) }
        link = (bus, parts)
        linkedBus.withLock { $0 = bus }
        return (bus, parts)
    }

    /// Until this member may play the simulated fleet, it shares what it ingests.
    private func shareAlone() async {
        guard member == nil, !isStopping, let link, let parts = link.ingest else { return }
        guard let alone = try? await connect(nil, link.bus, parts) else { return }
        guard member == nil, !isStopping else { return }
        alone.complain { [weak self] in self?.problem }
        install(alone)
    }

    /// In the place of one that only shared what it ingests.
    private func install(_ member: ClusterMember) {
        timer?.cancel()
        joined.withLock { joined in
            joined?.retire()
            joined = member
        }
        forgetLeaving()
        hasKeptEnded = false
        startTicking(member)
    }

    private func forgetLeaving() {
        leaving.withLock { leaving in
            defer { leaving = nil }
            return leaving
        }?.retire()
    }

    /// Waits until another run was started, and all that is final of this one is stored here, as far as it comes.
    private func followed(_ member: ClusterMember) async {
        while !isStopping, !member.isFollowed { try? await Task.sleep(for: .milliseconds(200)) }
        var last = LastWindows()
        while !isStopping {
            let untold = member.untold
            if last.isEnough(untold: untold, isHeldUp: member.isHeldUp, nowMs: ClusterMember.nowMs()) {
                return tellUntold(untold, of: member)
            }
            try? await Task.sleep(for: .milliseconds(100))
        }
    }

    private func tellUntold(_ count: Int64?, of member: ClusterMember) {
        guard count != 0 else { return }
        logger.warning(
            "nothing more of the run before came; this reporter goes over without its last windows",
            metadata: [
                "run": "\(member.fleet?.run ?? "")", "windows": "\(count.map { "\($0)" } ?? "unknown")",
            ])
    }

    /// The run is over, and another one was started: its place is free for that one.
    private func leaveRun(_ member: ClusterMember) async {
        timer?.cancel()
        timer = nil
        obstacle.withLock { $0 = "it goes over to the run that was started" }
        leaving.withLock { $0 = member }
        joined.withLock { $0 = nil }
        _ = await Self.wait(4_000, queue) { member.endRun() }
        // The store may take its time.
        await shareAlone()
        await closeReported(member)
    }

    private func endLink() {
        forgetLeaving()
        link?.ingest?.stop()
        link?.bus.close()
        link = nil
        linkedBus.withLock { $0 = nil }
    }

    static func words(_ error: any Error) -> String {
        switch error {
        case BusError.unavailable: "no broker can be reached, or they have no leader"
        case BusError.ambiguous: "the brokers do not answer in time"
        case BusError.denied(let text): "the brokers refuse: \(text)"
        case BusError.failed(let text): text
        case BusError.full: "a stream is full"
        case BusError.conflict: "another member was faster"
        default: ControlError.line(error)
        }
    }

    private func connect(
        _ fleet: SharedFleet?, _ bus: NATSBus, _ ingested: ClusterMember.Ingest?
    ) async throws -> ClusterMember {
        let own = fleet.map { ClusterAgreement($0, startedMs: around.clock.nowMs()) }
        let (agreement, closed) = try await onQueue {
            guard let fleet, let own else { return (nil as ClusterAgreement?, Int64(-1)) }
            let agreement = try Self.agree(own, fleet.map, bus)
            return (agreement, try Self.closedThrough(fleet.map, bus))
        }
        var parts = ClusterMember.Parts()
        if let fleet, let agreement {
            parts = try await simulated(fleet, agreement, bus, closed: closed, incarnation)
        }
        parts.ingest = ingested
        guard let map = fleet?.map ?? ingest?.fleet else {
            throw BusError.failed("there is nothing to share")
        }
        parts.simulation?.start()
        return ClusterMember(
            map, fleet, ingested: shareableMap, name: name, roles: settings.roles.map(\.rawValue),
            incarnation: incarnation,
            leaseMs: settings.leaseMs, agreement: agreement, bus: bus, parts: parts,
            former: shown?.roster, drained: drained, logger: logger)
    }

    func onQueue<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            asking.async { continuation.resume(with: Result { try body() }) }
        }
    }

    /// Where nobody waits for what takes its time.
    nonisolated var aside: DispatchQueue { asking }

    // MARK: Ticks

    private func startTicking(_ member: ClusterMember) {
        let timer = DispatchSource.makeTimerSource(queue: queue)
        timer.schedule(deadline: .now(), repeating: .milliseconds(100), leeway: .milliseconds(10))
        let count = Locked(0)
        let pauses = pauses
        timer.setEventHandler { @Sendable [weak self] in
            pauses.withLock { pauses in
                let now = ClusterMember.nowMs()
                pauses.longestMs = max(pauses.longestMs, now - (pauses.lastMs ?? now))
                pauses.lastMs = now
            }
            member.tick()
            let number = count.withLock { number in
                number += 1
                return number
            }
            if number % 20 == 1 {
                member.tell()
                Task { await self?.look() }
            }
            if number % 100 == 1 { member.measureStreams() }
        }
        timer.activate()
        self.timer = timer as? DispatchSource
    }

    private func look() {
        guard let member, !isStopping else { return }
        let pauseMs = pauses.withLock { pauses in
            defer { pauses.longestMs = 0 }
            return pauses.longestMs
        }
        told.look(at: member, pauseMs: pauseMs)
        if !hasKeptEnded { hasKeptEnded = keepEnded(member) }
        // Known from here on, if somebody asks for the next run.
        if member.isOver { _ = over.forMs(member.map.fingerprint, nowMs: ClusterMember.nowMs()) }
    }

    // MARK: The end

    /// Hands everything over, which takes some tenths of a second, and 3 s at most; 5 s where a broker hangs.
    func stop() async {
        isStopping = true
        task?.cancel()
        guard let member else { return }
        // A queue of its own: the other may be held up by a broker that hangs, and so may this.
        let leaving = DispatchQueue(label: "colossus.cluster.leaving")
        let hasLeft = await Self.wait(4_000, leaving) {
            member.leave()
            for _ in 0..<60 where !member.holdsNothing { usleep(50_000) }
            member.tell()
            usleep(100_000)
        }
        timer?.cancel()
        timer = nil
        joined.withLock { $0 = nil }
        let hasEnded = await Self.wait(1_000, queue) { member.end() }
        if !hasLeft || !hasEnded {
            logger.warning("the brokers hang; this member leaves without them, and its leases run out")
        }
    }

    /// Whether `body` is over within `ms`; if not, it goes on by itself.
    private static func wait(
        _ ms: Int, _ queue: DispatchQueue, _ body: @escaping @Sendable () -> Void
    ) async -> Bool {
        await withCheckedContinuation { (continuation: CheckedContinuation<Bool, Never>) in
            let waiting = Locked<CheckedContinuation<Bool, Never>?>(continuation)
            let answer: @Sendable (Bool) -> Void = { isOver in
                let first = waiting.withLock { waiting in
                    defer { waiting = nil }
                    return waiting
                }
                first?.resume(returning: isOver)
            }
            queue.async { @Sendable in
                body()
                answer(true)
            }
            DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(ms)) { @Sendable in
                answer(false)
            }
        }
    }
}
