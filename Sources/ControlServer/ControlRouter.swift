import ControlAPI
import Logging
import NIOHTTP1

/// The table of routes behind one address: finds the handler of a request, and turns all that is thrown into answers.
struct ControlRouter: Sendable {
    /// One path with its method. A segment `:name` of the pattern is any one segment.
    private struct Entry: Sendable {
        var method: HTTPMethod
        var pattern: [Substring]
        var answer: @Sendable (_ request: ControlRequest, _ name: String) async throws -> ControlAnswer

        /// What stands in the place of `:name`, or `nil` when the path is another.
        func match(_ segments: [Substring]) -> Substring? {
            guard segments.count == pattern.count else { return nil }
            var name: Substring = ""
            for (wanted, given) in zip(pattern, segments) where wanted != given {
                guard wanted.first == ":" else { return nil }
                name = given
            }
            return name
        }
    }

    private var entries: [Entry] = []
    /// Judges every request first, whatever its path.
    private var guarding: @Sendable (ControlRequest) throws -> Void = { _ in }
    /// Whether connections without a certificate are answered once each.
    private(set) var wantsCertificate: @Sendable () -> Bool = { false }
    private let logger: Logger

    private init(logger: Logger) { self.logger = logger }

    /// Everything, for callers whom the kernel names.
    static func control(plane: any ControlPlane, policy: AccessPolicy, logger: Logger) -> ControlRouter {
        var router = ControlRouter(logger: logger)
        for route in Route.all {
            router.on(route.method, "/v1/" + route.path) { request, name in
                guard policy.allows(route.access, peer: request.peer) else { throw refusal(request.peer) }
                if route.access == .write {
                    logger.info(
                        "asked to change something",
                        metadata: [
                            "path": .string(request.path),
                            "peer_uid": .stringConvertible(request.peer?.uid ?? 0),
                            "peer_pid": .stringConvertible(request.peer?.pid ?? 0),
                        ])
                }
                return try await answer(route, request, name, plane)
            }
        }
        return router
    }

    /// What may be read without credentials, on a TCP address.
    static func web(
        plane: any ControlPlane, hosts: Set<String>,
        refusal: @escaping @Sendable (_ authorization: [String], _ certificate: [String]?) -> String?,
        wantsCertificate: @escaping @Sendable () -> Bool = { false },
        metricsText: @escaping @Sendable () -> String,
        logger: Logger
    ) -> ControlRouter {
        var router = ControlRouter(logger: logger)
        router.wantsCertificate = wantsCertificate
        let own = WebGuard(hosts: hosts)
        router.guarding = { request in
            if let refusal = own.refusal(of: request) { throw refusal }
            // Whoever starts and watches services has no token, and learns nothing more there.
            guard request.path != "/healthz", request.path != "/readyz" else { return }
            if let sentence = refusal(request.headers["authorization"], request.certificate) {
                throw ControlError(
                    .unauthorized, sentence,
                    hint: "web.tokens and web.tls of the configuration say who may read.")
            }
        }
        for route in Route.all where route.isOnWeb {
            router.on(route.method, "/api/v1/" + route.path) { request, name in
                try await answer(route, request, name, plane)
            }
        }
        router.on(.GET, "/metrics") { _, _ in
            .text(metricsText(), type: "text/plain; version=0.0.4; charset=utf-8")
        }
        router.on(.GET, "/healthz") { _, _ in .text("ok\n") }
        router.on(.GET, "/readyz") { _, _ in
            let reply = try await plane.ready()
            return reply.ready
                ? .text("ready\n")
                : .text("not ready: \(reply.reason ?? reply.state.rawValue)\n", status: 503)
        }
        return router
    }

    private mutating func on(
        _ method: HTTPMethod, _ path: String,
        _ answer: @escaping @Sendable (ControlRequest, String) async throws -> ControlAnswer
    ) {
        entries.append(Entry(method: method, pattern: path.split(separator: "/"), answer: answer))
    }

    /// Never throws: what goes wrong becomes a JSON error.
    func respond(to request: ControlRequest) async -> ControlAnswer {
        do {
            try guarding(request)
            let segments = request.path.split(separator: "/")
            let matching = entries.compactMap { entry in entry.match(segments).map { (entry, $0) } }
            // HEAD is GET without a body.
            let wanted = request.method == .HEAD ? .GET : request.method
            guard let (entry, name) = matching.first(where: { $0.0.method == wanted }) else {
                throw Self.unknown(request, methods: matching.map(\.0.method.rawValue))
            }
            return try await entry.answer(request, String(name))
        } catch let error as ControlError {
            return .error(error)
        } catch is CancellationError {
            return .error(ControlError(.tryAgain, "colossusd is stopping.", hint: "Try again."))
        } catch {
            logger.error(
                "a control request failed",
                metadata: ["path": .string(request.path), "error": .string(String(describing: error))])
            return .error(
                ControlError(
                    .failed, "colossusd could not answer: \(error).",
                    hint: "Look at `journalctl -u colossusd`."))
        }
    }

    private static func answer(
        _ route: Route, _ request: ControlRequest, _ name: String, _ plane: any ControlPlane
    ) async throws -> ControlAnswer {
        guard let decoded = name.contains("%") ? QueryString.decode(name) : name else {
            throw ControlError(.badRequest, "The path \(request.path) is not percent-encoded UTF-8.")
        }
        let call = Call(
            plane: plane, query: try QueryString(parsing: request.query), name: decoded, body: request.body)
        return try .json(await route.answer(call))
    }

    /// - Parameter methods: those that the path has.
    private static func unknown(_ request: ControlRequest, methods: [String]) -> ControlError {
        if methods.isEmpty {
            return ControlError(
                .notFound, "There is nothing at \(request.path).", hint: "colossusd(8) lists the paths.")
        }
        return ControlError(
            .methodNotAllowed, "\(request.method.rawValue) is not for \(request.path).",
            hint: "Use \(methods.joined(separator: " or ")).")
    }

    /// `overflowuid` of the kernel.
    private static let nobody: UInt32 = 65_534

    private static func refusal(_ peer: Peer?) -> ControlError {
        ControlError(
            .notPermitted,
            // In a user namespace of the service (PrivateUsers=), other users have no number of their own.
            peer.map {
                ($0.uid == Self.nobody ? "You" : "User \($0.uid)") + " may read, but not change anything."
            } ?? "The caller is unknown.",
            hint: "Use sudo, or become a member of the group colossusd-operators.")
    }
}
