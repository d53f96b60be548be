public import ControlAPI

/// What the daemon can be asked for. Everything here is called from many connections at once. What goes wrong is
/// thrown as `ControlError`; any other error is answered as `failed` and logged.
public protocol ControlPlane: Sendable {
    func status() async throws -> StatusReply
    func ready() async throws -> ReadyReply
    func summary(_ request: SummaryRequest) async throws -> SummaryReply
    func timeline(_ request: TimelineRequest) async throws -> TimelineReply
    func events(_ request: EventsRequest) async throws -> EventsReply

    func alerts(_ request: AlertsRequest) async throws -> AlertsReply
    func alertRules() async throws -> AlertRulesReply

    /// How many series there are, and whose.
    func topSeries(_ request: TopSeriesRequest) async throws -> TopSeriesReply

    func simulations() async throws -> [SimulationStatus]
    /// One run, with its milestones. Throws `notFound`.
    func simulation(run: String) async throws -> SimulationStatus
    /// Returns once the run is under way. Throws `badConfiguration` for a bad scenario, `conflict` for a run that exists.
    func startSimulation(_ start: SimulationStart) async throws -> SimulationStatus
    /// Returns once it is done.
    func changeSimulation(run: String, _ action: SimulationAction) async throws -> SimulationStatus
    /// Forgets a run that is over; its last status.
    func removeSimulation(run: String) async throws -> SimulationStatus
    /// Returns once the fault is part of the run and stored.
    func inject(run: String, _ request: InjectionRequest) async throws -> InjectionReply
    func truth(run: String, _ request: TruthRequest) async throws -> TruthReply

    func exports() async throws -> [ExportStatus]
    /// Throws `notFound`.
    func export(name: String) async throws -> ExportStatus
    /// Returns once its ports are open.
    func startExport(_ start: ExportStart) async throws -> ExportStatus
    /// Returns once its ports are closed; its last status.
    func stopExport(name: String) async throws -> ExportStatus

    func endpoints() async throws -> [EndpointStatus]
    /// Throws `notFound`; an endpoint that refuses is a reply with `ok` false.
    func testEndpoint(name: String) async throws -> EndpointTestReply

    /// Throws `notFound`.
    func changeEndpoint(name: String, _ action: EndpointAction) async throws -> EndpointChangeReply
    func deadLetters(_ request: DeadLettersRequest) async throws -> DeadLettersReply
    /// Throws `notFound`.
    func deadLetter(number: Int64) async throws -> DeadLetterReply
    /// Sends them again; what is taken is no dead letter any more. Bounded in time: `truncated` says that there is more.
    func replayDeadLetters(_ selection: DeadLetterSelection) async throws -> DeadLettersDoneReply
    func dropDeadLetters(_ selection: DeadLetterSelection) async throws -> DeadLettersDoneReply

    /// The cluster that the daemon is a member of. Throws `notFound` where it works alone.
    func cluster() async throws -> ClusterReply
    func clusterSlices() async throws -> ClusterSlicesReply
    /// Returns when the worker has no slices any more, or after some seconds. Throws `notFound`.
    func drainWorker(name: String) async throws -> ClusterChangeReply
    func rebalanceCluster() async throws -> ClusterChangeReply

    /// Begins a copy of the history, or a look at it, and returns at once. Throws `conflict` while another is under way.
    func startBackup(_ request: StoreBackupRequest) async throws -> StoreJobReply
    func startVerification() async throws -> StoreJobReply
    /// How far the last of them is. Throws `notFound` before the first.
    func storeJob() async throws -> StoreJobReply

    /// Throws `notFound` for an entity or a time that there is not.
    func inventory(_ request: InventoryRequest) async throws -> InventoryReply

    func maintenance() async throws -> MaintenanceReply
    /// Throws `notFound` for an entity that there is not.
    func startMaintenance(_ start: MaintenanceStart) async throws -> MaintenanceReply
    func endMaintenance(_ end: MaintenanceEnd) async throws -> MaintenanceReply

    /// What `/metrics` of the web listener says.
    func metricsText() async throws -> MetricsReply

    /// Throws `notFound` for a GPU or a field that there is not.
    func trace(_ request: TraceRequest) async throws -> TraceReply

    /// What is in force.
    func configuration() async throws -> ConfigReply
    func checkConfiguration(_ request: ConfigCheckRequest) async throws -> ConfigCheckReply
    /// Returns once the new configuration is in force. Throws `badConfiguration` and keeps the old one otherwise.
    func reload() async throws -> ReloadReply

    func logLevel() async throws -> LogLevelReply
    /// Throws `badRequest` for a level or a subsystem that there is not.
    func setLogLevel(_ change: LogLevelChange) async throws -> LogLevelReply
}
