import FoundationEssentials

/// Talks to a colossusd over its control socket, one request a connection. Every call blocks until the answer is
/// there, and throws `ControlError`.
public struct ControlClient: Sendable {
    /// Makes a connection to a path. Tests give their own.
    public typealias Dial =
        @Sendable (_ path: String, _ deadline: Deadline) throws(ControlError) -> any ControlConnection

    public let socketPath: String
    /// For one request from connecting to the last byte.
    public var timeout: Duration
    private let dial: Dial

    public init(
        socketPath: String, timeout: Duration = .seconds(30),
        dial: @escaping Dial = { path, deadline throws(ControlError) in
            try UnixSocketConnection(path: path, deadline: deadline)
        }
    ) {
        self.socketPath = socketPath
        self.timeout = timeout
        self.dial = dial
    }

    public func status() throws(ControlError) -> StatusReply { try get("/v1/status") }
    public func ready() throws(ControlError) -> ReadyReply { try get("/v1/ready") }
    public func simulations() throws(ControlError) -> SimulationsReply { try get("/v1/simulations") }
    public func endpoints() throws(ControlError) -> EndpointsReply { try get("/v1/endpoints") }

    public func summary(_ request: SummaryRequest) throws(ControlError) -> SummaryReply {
        try get("/v1/summary" + request.query.text)
    }

    public func inventory(_ request: InventoryRequest) throws(ControlError) -> InventoryReply {
        try get("/v1/inventory" + request.query.text)
    }

    public func timeline(_ request: TimelineRequest) throws(ControlError) -> TimelineReply {
        try get("/v1/timeline" + request.query.text)
    }

    public func events(_ request: EventsRequest) throws(ControlError) -> EventsReply {
        try get("/v1/events" + request.query.text)
    }

    public func topSeries(_ request: TopSeriesRequest) throws(ControlError) -> TopSeriesReply {
        try get("/v1/top/series" + request.query.text)
    }

    public func simulation(run: String) throws(ControlError) -> SimulationReply {
        try get("/v1/simulations/" + QueryString.encode(run))
    }

    public func startSimulation(_ start: SimulationStart) throws(ControlError) -> SimulationReply {
        try post("/v1/simulations", start)
    }

    public func changeSimulation(
        run: String, _ action: SimulationAction
    ) throws(ControlError) -> SimulationReply {
        let path = "/v1/simulations/" + QueryString.encode(run)
        switch action {
        case .stop: return try post(path + "/stop")
        case .pause: return try post(path + "/pause")
        case .resume: return try post(path + "/resume")
        case .speed(let speed): return try post(path + "/speed", SpeedChange(speed: speed))
        }
    }

    public func removeSimulation(run: String) throws(ControlError) -> SimulationReply {
        try post("/v1/simulations/" + QueryString.encode(run) + "/remove")
    }

    public func inject(run: String, _ request: InjectionRequest) throws(ControlError) -> InjectionReply {
        try post("/v1/simulations/" + QueryString.encode(run) + "/inject", request)
    }

    public func truth(run: String, _ request: TruthRequest) throws(ControlError) -> TruthReply {
        try get("/v1/simulations/" + QueryString.encode(run) + "/truth" + request.query.text)
    }

    public func exports() throws(ControlError) -> ExportsReply { try get("/v1/exports") }

    public func export(name: String) throws(ControlError) -> ExportReply {
        try get("/v1/exports/" + QueryString.encode(name))
    }

    public func startExport(_ start: ExportStart) throws(ControlError) -> ExportReply {
        try post("/v1/exports", start)
    }

    public func stopExport(name: String) throws(ControlError) -> ExportReply {
        try post("/v1/exports/" + QueryString.encode(name) + "/stop")
    }

    public func testEndpoint(name: String) throws(ControlError) -> EndpointTestReply {
        try post("/v1/endpoints/" + QueryString.encode(name) + "/test")
    }

    public func changeEndpoint(
        name: String, _ action: EndpointAction
    ) throws(ControlError) -> EndpointChangeReply {
        let path = "/v1/endpoints/" + QueryString.encode(name)
        switch action {
        case .pause: return try post(path + "/pause")
        case .resume: return try post(path + "/resume")
        case .drain: return try post(path + "/drain")
        case .replay(let replay): return try post(path + "/replay", replay)
        }
    }

    public func alerts(_ request: AlertsRequest) throws(ControlError) -> AlertsReply {
        try get("/v1/alerts" + request.query.text)
    }

    public func alertRules() throws(ControlError) -> AlertRulesReply { try get("/v1/alerts/rules") }

    public func deadLetters(_ request: DeadLettersRequest) throws(ControlError) -> DeadLettersReply {
        try get("/v1/deadletters" + request.query.text)
    }

    public func deadLetter(number: Int64) throws(ControlError) -> DeadLetterReply {
        try get("/v1/deadletters/\(number)")
    }

    /// Sends dead letters again, one after the other, until all were tried or the daemon has had enough.
    public func replayDeadLetters(
        _ selection: DeadLetterSelection
    ) throws(ControlError) -> DeadLettersDoneReply { try post("/v1/deadletters/replay", selection) }

    /// The same, as often as it takes until each was tried once; ends early where an endpoint takes nothing now.
    ///
    /// - Parameter progress: gets what is done so far.
    public func replayAllDeadLetters(
        _ selection: DeadLetterSelection, progress: (DeadLettersDoneReply) -> Void
    ) throws(ControlError) -> DeadLettersDoneReply {
        var selection = selection
        var sum = DeadLettersDoneReply()
        while true {
            sum.add(try replayDeadLetters(selection))
            // Whoever answers: it never begins anew.
            guard sum.truncated, let next = sum.next, next > selection.after ?? 0 else { return sum }
            progress(sum)
            selection.after = next
        }
    }

    public func dropDeadLetters(
        _ selection: DeadLetterSelection
    ) throws(ControlError) -> DeadLettersDoneReply { try post("/v1/deadletters/drop", selection) }

    public func cluster() throws(ControlError) -> ClusterReply { try get("/v1/cluster") }

    public func clusterSlices() throws(ControlError) -> ClusterSlicesReply { try get("/v1/cluster/slices") }

    /// Returns when the worker has no slices any more, or after some seconds.
    public func drainWorker(name: String) throws(ControlError) -> ClusterChangeReply {
        try post("/v1/cluster/workers/" + QueryString.encode(name) + "/drain")
    }

    public func rebalanceCluster() throws(ControlError) -> ClusterChangeReply {
        try post("/v1/cluster/rebalance")
    }

    /// Begins a copy of the history; `storeJob` says how far it is.
    public func startBackup(file: String) throws(ControlError) -> StoreJobReply {
        try post("/v1/store/backup", StoreBackupRequest(file: file))
    }

    public func startVerification() throws(ControlError) -> StoreJobReply { try post("/v1/store/verify") }

    public func storeJob() throws(ControlError) -> StoreJobReply { try get("/v1/store/job") }

    public func maintenance() throws(ControlError) -> MaintenanceReply { try get("/v1/maintenance") }

    public func startMaintenance(_ start: MaintenanceStart) throws(ControlError) -> MaintenanceReply {
        try post("/v1/maintenance/start", start)
    }

    public func endMaintenance(_ end: MaintenanceEnd) throws(ControlError) -> MaintenanceReply {
        try post("/v1/maintenance/end", end)
    }

    public func metrics() throws(ControlError) -> MetricsReply { try get("/v1/metrics") }

    public func trace(_ request: TraceRequest) throws(ControlError) -> TraceReply {
        try get("/v1/trace" + request.query.text)
    }

    public func checkConfiguration(_ request: ConfigCheckRequest) throws(ControlError) -> ConfigCheckReply {
        try post("/v1/config/check", request)
    }

    /// What the daemon runs on.
    public func configuration() throws(ControlError) -> ConfigReply { try get("/v1/config") }

    public func logLevel() throws(ControlError) -> LogLevelReply { try get("/v1/log-level") }

    public func setLogLevel(_ change: LogLevelChange) throws(ControlError) -> LogLevelReply {
        try post("/v1/log-level", change)
    }

    /// Returns when the new configuration is in force.
    public func reload() throws(ControlError) -> ReloadReply { try post("/v1/reload") }
}

extension ControlClient {
    private struct Nothing: Encodable {}

    private func get<R: Reply>(_ target: String) throws(ControlError) -> R {
        try decode(exchange("GET", target, body: nil))
    }

    private func post<R: Reply>(_ target: String) throws(ControlError) -> R {
        try post(target, Nothing())
    }

    private func post<R: Reply>(_ target: String, _ body: some Encodable) throws(ControlError) -> R {
        let bytes: [UInt8]
        do {
            bytes = Array(try ControlJSON.encode(body))
        } catch {
            throw ControlError(.badRequest, "The request cannot be written as JSON: \(error).")
        }
        guard bytes.count <= ControlLimits.requestBytesMax else {
            throw ControlError(
                .tooLarge, "The request is larger than \(ControlLimits.requestBytesMax) bytes.")
        }
        return try decode(exchange("POST", target, body: bytes))
    }

    /// One request, one reply of any status.
    public func exchange(_ method: String, _ target: String, body: [UInt8]?) throws(ControlError) -> HTTPReply
    {
        let deadline = Deadline(after: timeout)
        let connection = try dial(socketPath, deadline)
        var head =
            "\(method) \(target) HTTP/1.1\r\nHost: colossusd\r\nConnection: close\r\nAccept: application/json\r\n"
        if let body { head += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n" }
        try connection.send(Array((head + "\r\n").utf8) + (body ?? []), until: deadline)
        var parser = HTTPReplyParser()
        while true {
            // A peer that sends a byte a second must not keep us for ever: the deadline is for the whole reply.
            guard deadline.millisecondsLeft > 0 else {
                throw ControlError(
                    .tryAgain, "colossusd did not finish its answer in time.", hint: "Try again.")
            }
            if let reply = try parser.push(connection.receive(until: deadline)) { return reply }
        }
    }

    private func decode<R: Reply>(_ reply: HTTPReply) throws(ControlError) -> R {
        let data = Data(reply.body)
        if (200...299).contains(reply.status) {
            do {
                let value = try ControlJSON.decode(R.self, from: data)
                if value.schema == R.schemaName { return value }
            } catch {
                // Falls through: what came is not what was asked for.
            }
            throw ControlError(
                .failed, "The answer is not \(R.schemaName).",
                hint: "colossusctl and colossusd are of different versions: install the same.")
        }
        if let error = try? ControlJSON.decode(ControlError.self, from: data) { throw error }
        throw Self.error(status: reply.status)
    }

    private static func error(status: Int) -> ControlError {
        let message = "colossusd answered with HTTP status \(status)."
        switch status {
        case 403: return ControlError(.notPermitted, message)
        case 404: return ControlError(.notFound, message)
        case 413: return ControlError(.tooLarge, message)
        case 503, 429: return ControlError(.tryAgain, message, hint: "Try again.")
        default: return ControlError(.failed, message, hint: "Look at `journalctl -u colossusd`.")
        }
    }
}
