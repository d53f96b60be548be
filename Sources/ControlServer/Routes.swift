import ControlAPI
import FoundationEssentials
import Hummingbird

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
    var method: HTTPRequest.Method
    /// Behind `/v1/`; `:name` is one segment.
    var path: String
    /// Also on the web listener, behind `/api/v1/`.
    var isOnWeb = false
    var answer: @Sendable (Call) async throws -> any Reply

    /// Reading is GET and changing is POST; nothing else decides who may ask.
    var access: AccessPolicy.Access { method == .get ? .read : .write }

    static func read(
        _ path: String, web: Bool = false, _ answer: @escaping @Sendable (Call) async throws -> any Reply
    ) -> Route {
        Route(method: .get, path: path, isOnWeb: web, answer: answer)
    }

    static func write(
        _ path: String, _ answer: @escaping @Sendable (Call) async throws -> any Reply
    ) -> Route {
        Route(method: .post, path: path, answer: answer)
    }

    static let all: [Route] = [
        .read("status", web: true) { try await $0.plane.status() },
        .read("ready") { try await $0.plane.ready() },
        .read("summary", web: true) { try await $0.plane.summary(SummaryRequest(query: $0.query)) },
        .read("timeline", web: true) { try await $0.plane.timeline(TimelineRequest(query: $0.query)) },
        .read("events", web: true) { try await $0.plane.events(EventsRequest(query: $0.query)) },
        .read("simulations", web: true) { SimulationsReply(try await $0.plane.simulations()) },
        .read("simulations/:name", web: true) {
            SimulationReply(try await $0.plane.simulation(run: $0.name))
        },
        .read("endpoints", web: true) { EndpointsReply(try await $0.plane.endpoints()) },
        .write("simulations") {
            SimulationReply(try await $0.plane.startSimulation($0.decode(SimulationStart.self)))
        },
        .write("simulations/:name/stop") { try await change($0, .stop) },
        .write("simulations/:name/pause") { try await change($0, .pause) },
        .write("simulations/:name/resume") { try await change($0, .resume) },
        .write("simulations/:name/speed") { try await change($0, .speed($0.decode(SpeedChange.self).speed)) },
        .write("endpoints/:name/test") { try await $0.plane.testEndpoint(name: $0.name) },
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
