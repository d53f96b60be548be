import ControlAPI
import Dispatch
import Exchange
import FoundationEssentials
import Logging
import NATSExchange
import SystemdSupport
import Telemetry

/// A member that has joined: its roles' machines, what it knows of the others, and what it tells them.
///
/// Everything here runs on the cluster's own queue, which may wait for the brokers; callbacks of the bus only put
/// something down.
final class ClusterMember: Sendable {
    struct Parts: Sendable {
        var worker: NodeShell<WorkerMachine>?
        var rollup: NodeShell<RollupMachine>?
        var former: NodeShell<FormerRunMachine>?
        var simulation: SharedRun?
        var reporter: FleetReporter?
        var control: SharedControl?
        var ingest: Ingest?
    }

    /// What is made of the telemetry that members ingest.
    struct Ingest: Sendable {
        var shared: SharedIngest
        var origin: NodeShell<OriginMachine>?
        var rollup: NodeShell<RollupMachine>?
        var reporter: IngestReporter?

        func stop() {
            origin?.stop()
            rollup?.stop()
            reporter?.stop()
        }
    }

    private struct State {
        var roster: ClusterRoster
        var cursors: [any BusCursor] = []
        var mustWatch = true
        /// Once is enough: it may fall behind again, and has what it gives.
        var hasCaughtUp = false
        var hasLeft = false
        var streams: [String: NATSBus.Measure] = [:]
        var toldSlices: [Int] = []
        var toldFull = 0
        /// Of the partitions that are closed here, and when it was told.
        var toldClosed: [Int64] = []
        var toldMs: Int64 = 0
        /// Why it only shares what it ingests.
        var complaint: (@Sendable () -> String?)?
        /// Number of the newest run that was started.
        var newestRun: UInt64 = 0
    }

    /// Of the simulated fleet; where none is shared, of what is ingested.
    let map: FleetMap
    let fleet: SharedFleet?
    let name: String
    let agreement: ClusterAgreement?
    let bus: NATSBus
    let parts: Parts
    private let roles: [String]
    private let incarnation: UInt64
    private let leaseMs: Int64
    private let logger: Logger
    private let state: Locked<State>
    /// Somebody wants it so, whatever run it plays; else it drains only until its simulation has caught up.
    private let drained: Locked<Bool>

    init(
        _ map: FleetMap, _ fleet: SharedFleet?, ingested: FleetMap?, name: String, roles: [String],
        incarnation: UInt64,
        leaseMs: Int64, agreement: ClusterAgreement?, bus: NATSBus, parts: Parts,
        former: ClusterRoster?, drained: Locked<Bool>, logger: Logger
    ) {
        self.map = map
        self.fleet = fleet
        self.name = name
        self.roles = roles
        self.incarnation = incarnation
        self.leaseMs = leaseMs
        self.agreement = agreement
        self.bus = bus
        self.parts = parts
        self.drained = drained
        self.logger = logger
        state = Locked(
            State(roster: ClusterRoster(fleet: map, ingested: ingested, leaseMs: leaseMs, former: former)))
        parts.worker?.withMachine { $0.drain() }
    }

    static func nowMs() -> Int64 { Int64(DispatchTime.now().uptimeNanoseconds / 1_000_000) }

    var roster: ClusterRoster { state.withLock { $0.roster } }
    /// How the streams are, by their names.
    var streams: [String: NATSBus.Measure] { state.withLock { $0.streams } }
    var replicaLag: [String: UInt64] { streams.mapValues { $0.lag.values.max() ?? 0 } }

    // MARK: Ticks

    /// Ten times a second.
    func tick() {
        watch()
        settle()
        parts.control?.tick()
        // What it plays is not what the others play.
        let isAstray = (parts.control?.missed ?? 0) > 0
        let hasCaughtUp = parts.simulation?.windows.hasCaughtUp ?? true
        let isDrained = drained.withLock { $0 }
        let wanted = state.withLock { state in
            state.hasCaughtUp = state.hasCaughtUp || hasCaughtUp
            return state.hasCaughtUp && !isDrained && !state.hasLeft && !isAstray
        }
        parts.worker?.withMachine { wanted ? $0.resume() : $0.drain() }
        parts.worker?.tick()
        parts.rollup?.withMachine { $0.hold(mustHold) }
        parts.rollup?.tick()
        if let former = parts.former, !former.withMachine({ $0.isDone }) {
            let areAllHere = state.withLock { $0.roster.areAllHere(nowMs: Self.nowMs()) }
            former.withMachine { $0.follow(areAllHere: areAllHere) }
            former.tick()
        }
        parts.reporter?.tick()
        parts.ingest?.shared.tick()
        parts.ingest?.rollup?.tick()
        parts.ingest?.reporter?.tick()
        tellChange()
    }

    /// Whether a worker that lives has said that the stream has no room for what it has, or nobody has been heard yet.
    private var mustHold: Bool {
        let now = Self.nowMs()
        return state.withLock { $0.roster.entries[name] == nil || $0.roster.waitForRoom(nowMs: now) }
    }

    /// Who has which slice, and who finds no room, is told at once; what is closed soon, for workers keep it until then;
    /// everything else in its time.
    private func tellChange() {
        let now = Self.nowMs()
        let worker = parts.worker?.withMachine { $0.status(nowMs: now) } ?? WorkerStatus()
        let closed = parts.rollup?.withMachine { $0.status(nowMs: now).partitions.map(\.closed) } ?? []
        let isNew = state.withLock { state in
            if state.toldSlices != worker.slices || (state.toldFull > 0) != (worker.full > 0) { return true }
            return state.toldClosed != closed && now - state.toldMs >= 500
        }
        guard isNew else { return }
        state.withLock { state in
            (state.toldSlices, state.toldFull) = (worker.slices, worker.full)
            (state.toldClosed, state.toldMs) = (closed, now)
        }
        tell()
    }

    private func watch() {
        let must = state.withLock { state in
            defer { state.mustWatch = false }
            return state.mustWatch
        }
        guard must else { return }
        let cursor = bus.watch(map.noteSubjects) { [weak self] delivery in self?.told(delivery) }
        let request = bus.respond(map.requestSubject(name), group: nil) { [weak self] bytes in
            self?.answer(bytes) ?? []
        }
        let starts = bus.watch(FleetMap.startSubject(map.cluster)) { [weak self] in self?.tellStarts($0) }
        let old = state.withLock { state in
            defer { state.cursors = [cursor, request, starts] }
            return state.cursors
        }
        for cursor in old { cursor.close() }
    }

    private func tellStarts(_ delivery: BusDelivery) {
        state.withLock { state in
            switch delivery {
            case .messages(let messages):
                let numbers = messages.compactMap { SharedStart.number(of: $0.bytes) }
                state.newestRun = max(state.newestRun, numbers.max() ?? 0)
            case .ended: state.mustWatch = true
            }
        }
    }

    /// Whether another run was started behind the one that it plays or reports.
    var isFollowed: Bool { fleet != nil && state.withLock { $0.newestRun } > map.run }

    /// Whether nothing more is played of the run.
    var isOver: Bool {
        guard let control = parts.control, let log = control.status.log else { return false }
        return log.isStopped || log.horizonMs >= control.base.endMs
    }

    /// How many windows that the run has are not stored here yet; 0 without the role, `nil` where nobody knows.
    var untold: Int64? {
        guard let reported = parts.reporter?.status.reported, let control = parts.control else { return 0 }
        // It may have joined just now: how far the run went is read after that.
        guard let log = control.status.log else { return nil }
        let stop = log.isStopped ? log.entries.last?.atMs : nil
        return max(0, map.lastWindow(endedMs: min(control.base.endMs, stop ?? .max)) - reported)
    }

    /// Whether nothing final can be stored just now, for a reason that passes: the brokers are away, what was asked of the run
    /// is being worked out, or a window is on its way to the store.
    var isHeldUp: Bool {
        guard let status = parts.reporter?.status else { return false }
        let knownMs = parts.control?.status.log?.horizonMs ?? .min
        return !bus.isConnected || status.isStoring || status.throughMs < knownMs
    }

    private func told(_ delivery: BusDelivery) {
        let now = Self.nowMs()
        state.withLock { state in
            switch delivery {
            case .messages(let messages): for one in messages { state.roster.observe(one, nowMs: now) }
            case .ended: state.mustWatch = true
            }
        }
    }

    /// Lets go of windows that are reported.
    private func settle() {
        guard let simulation = parts.simulation else { return }
        var closed = state.withLock { $0.roster.closedThrough(partitions: map.partitions) } ?? -1
        if let own = parts.rollup?.withMachine({ $0.status(nowMs: Self.nowMs()).partitions }),
            own.count == map.partitions, let least = own.map(\.closed).min()
        {
            closed = max(closed, least)
        }
        simulation.windows.settle(through: closed)
    }

    /// - Parameter problem: why it is not a whole member yet.
    func complain(_ problem: @escaping @Sendable () -> String?) {
        state.withLock { $0.complaint = problem }
    }

    // MARK: Telling

    /// Every two seconds.
    func tell() {
        let message = BusMessage(stream: .leases, subject: map.noteSubject(name), bytes: note().bytes)
        bus.publish(message, expecting: .none) { _ in }
    }

    func note() -> ClusterNote {
        let now = Self.nowMs()
        var note = ClusterNote(
            fleet: map, member: name, incarnation: incarnation, roles: roles,
            version: Colossusd.version)
        note.hasLeft = state.withLock { $0.hasLeft }
        note.isDraining = drained.withLock { $0 }
        if let status = parts.worker?.withMachine({ $0.status(nowMs: now) }) {
            note.slices = status.slices
            note.epochs = status.epochs
            note.share = status.share
            note.published = status.published
            note.retried = status.retried
            note.leaseLosses = status.leaseLosses
            note.full = status.full
            note.problem = status.problem
        }
        if let windows = parts.simulation?.windows {
            note.ready = windows.lastReadyWindow
            note.kept = windows.count
        }
        let isIngest = fleet == nil
        let rollup = isIngest ? parts.ingest?.rollup : parts.rollup
        if let status = rollup?.withMachine({ $0.status(nowMs: now) }) {
            note.partitions = status.partitions.map {
                .init(partition: $0.partition, closed: $0.closed, open: $0.open, late: $0.merged.late)
            }
            note.closed = status.closed
            note.incomplete = status.incomplete
            note.problem = note.problem ?? status.problem
        }
        // What both wait for is told once.
        note.problem = note.problem ?? parts.ingest?.rollup?.withMachine { $0.status(nowMs: now).problem }
        if let status = isIngest ? parts.ingest?.reporter?.status : parts.reporter?.status {
            note.reported = status.reported
            note.lagMs = status.lagMs
        }
        if let status = parts.ingest?.shared.status {
            if isIngest {
                note.ready = status.window
                note.kept = status.waiting
                note.published = status.published
                note.retried = status.retried
            }
            note.problem = note.problem ?? status.problem
        }
        if fleet != nil { note.run = map.run }
        if let control = parts.control {
            note.control = control.applied
            note.problem = note.problem ?? control.status.problem
        }
        note.problem = note.problem ?? state.withLock { $0.complaint }?()
        note.problem = note.problem ?? (bus.isConnected ? bus.refused.last : "no broker can be reached")
        return note
    }

    /// How far the copies of the streams are behind their leaders, and how large they are.
    func measureStreams() {
        for stream in BusStream.allCases {
            bus.measure(stream) { [weak self] result in
                guard case .success(let measure) = result else { return }
                self?.state.withLock { $0.streams[stream.rawValue] = measure }
                if stream == .partials { self?.followRetention() }
            }
        }
    }

    /// Operators may change a stream while members are there.
    private func followRetention() {
        let keepMs = bus.keepsMs(.partials)
        parts.worker?.withMachine { $0.keep(partialsMs: keepMs) }
        parts.rollup?.withMachine { $0.keep(partialsMs: keepMs) }
        parts.ingest?.rollup?.withMachine { $0.keep(partialsMs: keepMs) }
    }

    // MARK: Orders

    private func answer(_ bytes: [UInt8]) -> [UInt8] {
        guard bytes.count <= 1_024,
            let order = try? JSONDecoder().decode(ClusterOrder.self, from: Data(bytes)), order.v == 1
        else { return Self.encode(ClusterAnswer(ok: false, text: "that is no request")) }
        return Self.encode(obey(order))
    }

    private static func encode(_ answer: ClusterAnswer) -> [UInt8] {
        (try? JSONEncoder().encode(answer)).map(Array.init) ?? []
    }

    /// Notes it down; the next tick does it.
    func obey(_ order: ClusterOrder) -> ClusterAnswer {
        guard parts.worker != nil else { return ClusterAnswer(ok: false, text: "\(name) is no worker") }
        let drains = order.verb == .drain
        let changed = drained.withLock { isDrained in
            defer { isDrained = drains }
            return isDrained != drains
        }
        if changed {
            logger.notice(
                drains ? "this worker gives its slices away" : "this worker takes slices again",
                metadata: JournalMessage.clusterDrained.metadata([
                    "member": "\(name)", "draining": "\(drains)",
                ]))
        }
        tell()
        return ClusterAnswer(ok: true, text: drains ? "it gives its slices away" : "it takes slices")
    }

    // MARK: The end

    /// Gives everything away.
    func leave() {
        state.withLock { $0.hasLeft = true }
        parts.worker?.withMachine { $0.drain() }
        parts.rollup?.withMachine { $0.drain() }
        parts.reporter?.stop()
        parts.ingest?.rollup?.withMachine { $0.drain() }
        parts.ingest?.reporter?.stop()
    }

    var holdsNothing: Bool {
        let now = Self.nowMs()
        let slices = parts.worker?.withMachine { $0.status(nowMs: now).slices.count } ?? 0
        let partitions = parts.rollup?.withMachine { $0.status(nowMs: now).partitions.count } ?? 0
        let ingested = parts.ingest?.rollup?.withMachine { $0.status(nowMs: now).partitions.count } ?? 0
        return slices + partitions + ingested == 0
    }

    func end() {
        endRun()
        retire()
        parts.ingest?.stop()
        bus.close()
    }

    /// What it does for the simulated run is over; what it ingests goes on, and so does what it hears of others.
    func endRun() {
        parts.worker?.stop()
        parts.rollup?.stop()
        parts.former?.stop()
        parts.simulation?.stop()
        parts.reporter?.stop()
        parts.control?.stop()
    }

    /// Another one goes on with its parts.
    func retire() {
        let cursors = state.withLock { state in
            defer { state.cursors = [] }
            return state.cursors
        }
        for cursor in cursors { cursor.close() }
    }
}
