import ControlAPI
import FoundationEssentials
import NIOHTTP1

/// One request, decoded as far as all have it in common.
struct Call: Sendable {
    var plane: any ControlPlane
    var query: QueryString
    /// The part of the path that the route names, percent-decoded: a run, an endpoint.
    var name: String
    var body: [UInt8]

    /// The body as JSON; an empty one is an empty object.
    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        do {
            return try ControlJSON.decode(type, from: Data(body.isEmpty ? Array("{}".utf8) : body))
        } catch {
            throw ControlError(
                .badRequest, "The body is not what \(type) is written as: \(Self.place(error)).",
                hint: "Send a JSON object as colossusd(8) describes it.")
        }
    }

    /// The part of the path that the route names, as a number.
    func number() throws -> Int64 {
        guard let number = Int64(name), number > 0 else {
            throw ControlError(.badRequest, "\(name) is not a number.", hint: "Write a whole number from 1.")
        }
        return number
    }

    func deadLetterSelection() throws -> DeadLetterSelection {
        let selection = try decode(DeadLetterSelection.self)
        try selection.check()
        return selection
    }

    private static func place(_ error: any Error) -> String {
        switch error {
        case DecodingError.keyNotFound(let key, _): "\(key.stringValue) is missing"
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
            (context.codingPath.last?.stringValue ?? "the body") + " has the wrong type"
        case DecodingError.dataCorrupted: "it is not valid JSON"
        default: "it cannot be read"
        }
    }
}

/// A line of the table: which request is answered by what.
struct Route: Sendable {
    var method: HTTPMethod
    /// Behind `/v1/`; `:name` is one segment.
    var path: String
    /// Also on the web listener, behind `/api/v1/`.
    var isOnWeb = false
    var answer: @Sendable (Call) async throws -> any Reply

    /// Reading is GET and changing is POST; nothing else decides who may ask.
    var access: AccessPolicy.Access { method == .GET ? .read : .write }

    static func read(
        _ path: String, web: Bool = false, _ answer: @escaping @Sendable (Call) async throws -> any Reply
    ) -> Route {
        Route(method: .GET, path: path, isOnWeb: web, answer: answer)
    }

    static func write(
        _ path: String, _ answer: @escaping @Sendable (Call) async throws -> any Reply
    ) -> Route {
        Route(method: .POST, path: path, answer: answer)
    }

    static let all: [Route] = [
        .read("status", web: true) { try await $0.plane.status() },
        .read("ready") { try await $0.plane.ready() },
        .read("summary", web: true) { try await $0.plane.summary(SummaryRequest(query: $0.query)) },
        .read("inventory", web: true) { try await $0.plane.inventory(InventoryRequest(query: $0.query)) },
        .read("timeline", web: true) { try await $0.plane.timeline(TimelineRequest(query: $0.query)) },
        .read("events", web: true) { try await $0.plane.events(EventsRequest(query: $0.query)) },
        .read("alerts", web: true) { try await $0.plane.alerts(AlertsRequest(query: $0.query)) },
        .read("alerts/rules", web: true) { try await $0.plane.alertRules() },
        .read("top/series", web: true) { try await $0.plane.topSeries(TopSeriesRequest(query: $0.query)) },
        .read("simulations", web: true) { SimulationsReply(try await $0.plane.simulations()) },
        .read("simulations/:name", web: true) {
            SimulationReply(try await $0.plane.simulation(run: $0.name))
        },
        // Works out a whole trajectory: not for whoever reaches the web listener.
        .read("simulations/:name/truth") {
            try await $0.plane.truth(run: $0.name, TruthRequest(query: $0.query))
        },
        .read("exports", web: true) { ExportsReply(try await $0.plane.exports()) },
        .read("exports/:name", web: true) { ExportReply(try await $0.plane.export(name: $0.name)) },
        .read("endpoints", web: true) { EndpointsReply(try await $0.plane.endpoints()) },
        .write("simulations") {
            SimulationReply(try await $0.plane.startSimulation($0.decode(SimulationStart.self)))
        },
        .write("simulations/:name/stop") { try await change($0, .stop) },
        .write("simulations/:name/pause") { try await change($0, .pause) },
        .write("simulations/:name/resume") { try await change($0, .resume) },
        .write("simulations/:name/speed") { try await change($0, .speed($0.decode(SpeedChange.self).speed)) },
        .write("simulations/:name/inject") {
            try await $0.plane.inject(run: $0.name, $0.decode(InjectionRequest.self))
        },
        .write("simulations/:name/remove") {
            SimulationReply(try await $0.plane.removeSimulation(run: $0.name))
        },
        .write("exports") { ExportReply(try await $0.plane.startExport($0.decode(ExportStart.self))) },
        .write("exports/:name/stop") { ExportReply(try await $0.plane.stopExport(name: $0.name)) },
        .write("endpoints/:name/test") { try await $0.plane.testEndpoint(name: $0.name) },
        .write("endpoints/:name/pause") { try await $0.plane.changeEndpoint(name: $0.name, .pause) },
        .write("endpoints/:name/resume") { try await $0.plane.changeEndpoint(name: $0.name, .resume) },
        .write("endpoints/:name/drain") { try await $0.plane.changeEndpoint(name: $0.name, .drain) },
        .write("endpoints/:name/replay") {
            try await $0.plane.changeEndpoint(name: $0.name, .replay($0.decode(EndpointReplay.self)))
        },
        .read("deadletters") { try await $0.plane.deadLetters(DeadLettersRequest(query: $0.query)) },
        .read("deadletters/:name") { try await $0.plane.deadLetter(number: $0.number()) },
        .write("deadletters/replay") { try await $0.plane.replayDeadLetters($0.deadLetterSelection()) },
        .write("deadletters/drop") { try await $0.plane.dropDeadLetters($0.deadLetterSelection()) },
        .read("cluster", web: true) { try await $0.plane.cluster() },
        .read("cluster/slices", web: true) { try await $0.plane.clusterSlices() },
        .write("cluster/workers/:name/drain") { try await $0.plane.drainWorker(name: $0.name) },
        .write("cluster/rebalance") { try await $0.plane.rebalanceCluster() },
        .write("store/backup") { try await $0.plane.startBackup($0.decode(StoreBackupRequest.self)) },
        .write("store/verify") { try await $0.plane.startVerification() },
        .read("store/job") { try await $0.plane.storeJob() },
        .read("maintenance", web: true) { try await $0.plane.maintenance() },
        .write("maintenance/start") { try await $0.plane.startMaintenance($0.decode(MaintenanceStart.self)) },
        .write("maintenance/end") { try await $0.plane.endMaintenance($0.decode(MaintenanceEnd.self)) },
        .read("metrics") { try await $0.plane.metricsText() },
        .read("trace") { try await $0.plane.trace(TraceRequest(query: $0.query)) },
        .write("config/check") { try await $0.plane.checkConfiguration($0.decode(ConfigCheckRequest.self)) },
        .write("reload") { try await $0.plane.reload() },
        .read("config") { try await $0.plane.configuration() },
        .read("log-level") { try await $0.plane.logLevel() },
        .write("log-level") { try await $0.plane.setLogLevel($0.decode(LogLevelChange.self)) },
    ]

    private static func change(_ call: Call, _ action: SimulationAction) async throws -> any Reply {
        SimulationReply(try await call.plane.changeSimulation(run: call.name, action))
    }
}
