import ControlAPI
import ControlServer
import Synchronization

/// A daemon that is not there: answers what it was given, and remembers what it was asked.
final class FakeControlPlane: ControlPlane {
    struct State: Sendable {
        var asked: [String] = []
        var ready = ReadyReply(ready: true, state: .running)
        var error: (any Error)?
    }

    private let state = Mutex(State())

    var asked: [String] { state.withLock { $0.asked } }

    func set(_ change: (inout State) -> Void) {
        state.withLock { change(&$0) }
    }

    private func note(_ what: String) throws {
        try state.withLock { state in
            state.asked.append(what)
            if let error = state.error { throw error }
        }
    }

    func status() async throws -> StatusReply {
        try note("status")
        var reply = StatusReply(
            version: "0.0.0", pid: 1, started: UTCTime(ms: 0), uptimeSeconds: 1, state: .running, ready: true)
        reply.simulations = [Self.run("colossus")]
        return reply
    }

    func ready() async throws -> ReadyReply {
        try note("ready")
        return state.withLock { $0.ready }
    }

    func summary(_ request: SummaryRequest) async throws -> SummaryReply {
        try note("summary \(request.query.text)")
        let end = request.at ?? UTCTime(ms: 10_000)
        return SummaryReply(
            stream: request.stream ?? "measured", resolution: "10s", windowStart: end.adding(ms: -10_000),
            windowEnd: end, level: request.level)
    }

    func timeline(_ request: TimelineRequest) async throws -> TimelineReply {
        try note("timeline \(request.query.text)")
        return TimelineReply(
            stream: "measured", resolution: "10s", points: [TimelineRow(time: UTCTime(ms: 0))])
    }

    func events(_ request: EventsRequest) async throws -> EventsReply {
        try note("events \(request.query.text)")
        return EventsReply(events: [], next: request.after ?? 0)
    }

    func topSeries(_ request: TopSeriesRequest) async throws -> TopSeriesReply {
        try note("top series \(request.query.text)")
        var reply = TopSeriesReply(series: 3, seriesMax: 10, seriesPerSenderMax: 5)
        reply.rows = [TopSeriesRow(by: .sender, name: "ingest/10.0.0.7", series: 3)]
        return reply
    }

    func simulations() async throws -> [SimulationStatus] {
        try note("simulations")
        return [Self.run("colossus")]
    }

    func simulation(run: String) async throws -> SimulationStatus {
        try note("simulation \(run)")
        guard run == "colossus" || run == "a/b" else {
            throw ControlError(
                .notFound, "There is no run \(run).", hint: "`colossusctl simulate status` lists them.")
        }
        return Self.run(run)
    }

    func startSimulation(_ start: SimulationStart) async throws -> SimulationStatus {
        try note("start \(start.run ?? "") \(start.scenarioText?.utf8.count ?? 0) bytes")
        return Self.run(start.run ?? "new")
    }

    func changeSimulation(run: String, _ action: SimulationAction) async throws -> SimulationStatus {
        try note("\(action) \(run)")
        return Self.run(run)
    }

    func removeSimulation(run: String) async throws -> SimulationStatus {
        try note("remove \(run)")
        return Self.run(run)
    }

    func inject(run: String, _ request: InjectionRequest) async throws -> InjectionReply {
        try note("inject \(request.kind) at \(request.at) for \(request.for ?? "-") into \(run)")
        return InjectionReply(run: run, kind: request.kind, at: request.at, time: UTCTime(ms: 1))
    }

    func truth(run: String, _ request: TruthRequest) async throws -> TruthReply {
        try note("truth \(run) \(request.injected) \(request.limit)")
        let row = FaultRow(
            time: UTCTime(ms: 0), kind: "memory", entity: "r0001-n1", gpu: 3, injected: true,
            detection: .hidden)
        return TruthReply(run: run, until: UTCTime(ms: 1), total: 1, faults: [row])
    }

    func exports() async throws -> [ExportStatus] {
        try note("exports")
        return [Self.export("a")]
    }

    func export(name: String) async throws -> ExportStatus {
        try note("export \(name)")
        return Self.export(name)
    }

    func startExport(_ start: ExportStart) async throws -> ExportStatus {
        try note("export \(start.run) \(start.nodes ?? 0) nodes to \(start.url ?? "ports")")
        return Self.export(start.name ?? start.run)
    }

    func stopExport(name: String) async throws -> ExportStatus {
        try note("stop export \(name)")
        return Self.export(name)
    }

    static func export(_ name: String) -> ExportStatus {
        ExportStatus(
            name: name, run: "colossus", kind: "scrape", nodes: 1, firstNode: "r0001-n1",
            simulatedTime: false,
            targets: [
                ExportTarget(
                    address: "127.0.0.1:9400", node: "r0001-n1", rack: "r0001", array: "a001", hall: "h1")
            ])
    }

    func endpoints() async throws -> [EndpointStatus] {
        try note("endpoints")
        return [EndpointStatus(name: "file", kind: "file", target: "/tmp/x", state: .ok)]
    }

    func testEndpoint(name: String) async throws -> EndpointTestReply {
        try note("test \(name)")
        return EndpointTestReply(name: name, ok: true, status: 204, milliseconds: 1, message: "delivered")
    }

    func changeEndpoint(name: String, _ action: EndpointAction) async throws -> EndpointChangeReply {
        switch action {
        case .replay(let replay): try note("replay \(name) \(replay.from) \(replay.to)")
        default: try note("\(action) \(name)")
        }
        return EndpointChangeReply(
            EndpointStatus(name: name, kind: "file", target: "/tmp/x", state: .paused), done: true,
            message: "done")
    }

    func startBackup(_ request: StoreBackupRequest) async throws -> StoreJobReply {
        try note("backup \(request.file)")
        return StoreJobReply(kind: .backup, state: .running, file: request.file)
    }

    func startVerification() async throws -> StoreJobReply {
        try note("verify")
        return StoreJobReply(kind: .verify, state: .running, file: "history.sqlite")
    }

    func storeJob() async throws -> StoreJobReply {
        try note("job")
        return StoreJobReply(kind: .backup, state: .done, file: "/b")
    }

    func inventory(_ request: InventoryRequest) async throws -> InventoryReply {
        try note("inventory of \(request.entity ?? "")\(request.removed ? ", removed" : "")")
        return InventoryReply(
            stream: "measured", version: 7, site: "s",
            nodes: [InventoryRow(node: "n1", rack: "r1", array: "a1", hall: "h1", gpus: 8, standing: .listed)]
        )
    }

    func maintenance() async throws -> MaintenanceReply {
        try note("maintenance")
        return MaintenanceReply(maintenance: [], gpus: 0)
    }

    func startMaintenance(_ start: MaintenanceStart) async throws -> MaintenanceReply {
        try note("maintenance of \(start.entity): \(start.reason ?? "")")
        return MaintenanceReply(
            maintenance: [MaintenanceRow(entity: start.entity, since: UTCTime(ms: 0), until: start.until)],
            gpus: 8)
    }

    func endMaintenance(_ end: MaintenanceEnd) async throws -> MaintenanceReply {
        try note("maintenance of \(end.entity) ends")
        return MaintenanceReply(maintenance: [], gpus: 0)
    }

    func metricsText() async throws -> MetricsReply {
        try note("metrics")
        return MetricsReply(text: "up 1\n")
    }

    func trace(_ request: TraceRequest) async throws -> TraceReply {
        try note("trace \(request.gpu) \(request.field)")
        return TraceReply(gpu: request.gpu, field: request.field, verdict: "it is committed")
    }

    func alerts(_ request: AlertsRequest) async throws -> AlertsReply {
        try note("alerts \(request.query.text)")
        return AlertsReply([])
    }

    func alertRules() async throws -> AlertRulesReply {
        try note("alert rules")
        return AlertRulesReply([], streams: "measured")
    }

    func deadLetters(_ request: DeadLettersRequest) async throws -> DeadLettersReply {
        try note("deadletters \(request.query.text)")
        return DeadLettersReply([Self.letter])
    }

    func deadLetter(number: Int64) async throws -> DeadLetterReply {
        try note("deadletter \(number)")
        return DeadLetterReply(Self.letter, headers: [])
    }

    func replayDeadLetters(_ selection: DeadLetterSelection) async throws -> DeadLettersDoneReply {
        let after = selection.after.map { " after \($0)" } ?? ""
        try note("replay \(selection.numbers ?? []) \(selection.endpoint ?? "")\(after)")
        var reply = DeadLettersDoneReply()
        reply.delivered = 2
        // One that has more than a request works off, and one that is not there in the middle of it.
        if selection.endpoint == "many" || selection.endpoint == "down" {
            (reply.refused, reply.problems) = (1, ["17: no", "18: no", "19: no", "20: no"])
            switch selection.after {
            case nil: (reply.truncated, reply.next) = (true, 1_000)
            case 1_000?: (reply.truncated, reply.next) = (true, selection.endpoint == "down" ? nil : 2_000)
            default: break
            }
        }
        return reply
    }

    func cluster() async throws -> ClusterReply {
        var reply = ClusterReply(cluster: "prod", member: "w1", connected: true)
        reply.members = [
            ClusterMemberStatus(
                name: "w1", state: .active, roles: ["worker"], version: "0.0.0", heardSeconds: 1)
        ]
        return reply
    }

    func clusterSlices() async throws -> ClusterSlicesReply {
        ClusterSlicesReply([ClusterSliceRow(slice: 0, partition: 0, arrays: ["a001"])])
    }

    func drainWorker(name: String) async throws -> ClusterChangeReply {
        try note("drain worker \(name)")
        return ClusterChangeReply(
            [ClusterMemberChange(member: name, ok: true, message: "", slices: 0)], done: true)
    }

    func rebalanceCluster() async throws -> ClusterChangeReply {
        try note("rebalance")
        return ClusterChangeReply([], done: true)
    }

    func dropDeadLetters(_ selection: DeadLetterSelection) async throws -> DeadLettersDoneReply {
        try note("drop \(selection.numbers ?? []) \(selection.endpoint ?? "")")
        var reply = DeadLettersDoneReply()
        reply.dropped = 1
        return reply
    }

    private static let letter = DeadLetterRow(
        number: 17, endpoint: "file", id: "measured/10000/0/0/0", time: UTCTime(ms: 0), status: 400,
        reason: "HTTP 400")

    func checkConfiguration(_ request: ConfigCheckRequest) async throws -> ConfigCheckReply {
        try note("check \(request.path ?? "")")
        return ConfigCheckReply(path: request.path ?? "own")
    }

    func configuration() async throws -> ConfigReply {
        try note("config")
        return ConfigReply(path: "a.yaml", entries: [ConfigEntry(key: "log.level", value: "info")])
    }

    func logLevel() async throws -> LogLevelReply {
        try note("log-level")
        return LogLevelReply(level: "info", subsystems: [:], heldBack: 0)
    }

    func setLogLevel(_ change: LogLevelChange) async throws -> LogLevelReply {
        try note("log-level \(change.level ?? "default") \(change.subsystem ?? "")")
        return LogLevelReply(level: change.level ?? "info", subsystems: [:], heldBack: 0)
    }

    func reload() async throws -> ReloadReply {
        try note("reload")
        return ReloadReply(files: ["a.yaml"], changed: ["windows.lateness"])
    }

    static func run(_ name: String) -> SimulationStatus {
        SimulationStatus(
            run: name, scenario: "colossus", seed: 1, state: .running, speed: "1d/s", start: UTCTime(ms: 0),
            end: UTCTime(ms: 1), now: TimelineRow(time: UTCTime(ms: 0)))
    }
}
