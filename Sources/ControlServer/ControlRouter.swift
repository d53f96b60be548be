import ControlAPI
import HTTPTypes
import Hummingbird
import Logging

/// Puts the table of routes behind an address.
enum ControlRouter {
    /// Everything, for callers whom the kernel names.
    static func control(
        plane: any ControlPlane, policy: AccessPolicy, logger: Logger
    ) -> Router<ConnectionContext> {
        let router = Router(context: ConnectionContext.self, options: [.autoGenerateHeadEndpoints])
        let known = Route.all.map { (pattern: "/v1/" + $0.path, method: $0.method.rawValue) }
        router.add(middleware: ErrorAnswers(methods: { methods(for: $0, among: known) }, logger: logger))
        for route in Route.all {
            router.on(RouterPath("/v1/" + route.path), method: route.method) { request, context in
                let peer = await Peer.of(context.channel)
                guard policy.allows(route.access, peer: peer) else { throw refusal(peer) }
                if route.access == .write {
                    logger.info(
                        "asked to change something",
                        metadata: [
                            "path": .string(request.uri.path), "peer_uid": .stringConvertible(peer?.uid ?? 0),
                            "peer_pid": .stringConvertible(peer?.pid ?? 0),
                        ])
                }
                return try await answer(route, request, context, plane)
            }
        }
        return router
    }

    /// What may be read without credentials, on a TCP address.
    static func web(
        plane: any ControlPlane, hosts: Set<String>, metricsText: @escaping @Sendable () -> String,
        logger: Logger
    ) -> Router<ConnectionContext> {
        let router = Router(context: ConnectionContext.self, options: [.autoGenerateHeadEndpoints])
        let table = Route.all.filter(\.isOnWeb)
        let plain = ["/metrics", "/healthz", "/readyz"]
        let known = (table.map { "/api/v1/" + $0.path } + plain).map { (pattern: $0, method: "GET") }
        router.add(middleware: ErrorAnswers(methods: { methods(for: $0, among: known) }, logger: logger))
        router.add(middleware: WebGuard(hosts: hosts))
        for route in table {
            router.on(RouterPath("/api/v1/" + route.path), method: route.method) { request, context in
                try await answer(route, request, context, plane)
            }
        }
        router.get("/metrics") { _, _ in
            Response.text(metricsText(), type: "text/plain; version=0.0.4; charset=utf-8")
        }
        router.get("/healthz") { _, _ in Response.text("ok\n") }
        router.get("/readyz") { _, _ in
            let reply = try await plane.ready()
            return reply.ready
                ? Response.text("ready\n")
                : Response.text("not ready: \(reply.reason ?? reply.state.rawValue)\n", status: 503)
        }
        return router
    }

    private static func answer(
        _ route: Route, _ request: Request, _ context: ConnectionContext, _ plane: any ControlPlane
    ) async throws -> Response {
        let body = try await request.body.collect(upTo: ControlLimits.requestBytesMax)
        let name = context.parameters.get("name") ?? ""
        guard let decoded = name.contains("%") ? QueryString.decode(name) : name else {
            throw ControlError(.badRequest, "The path \(request.uri.path) is not percent-encoded UTF-8.")
        }
        let call = Call(
            plane: plane, query: try QueryString(parsing: request.uri.query ?? ""), name: decoded,
            body: Array(body.readableBytesView))
        return try .json(await route.answer(call))
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

    /// The methods that the table has for a path.
    static func methods(for path: String, among known: [(pattern: String, method: String)]) -> [String] {
        let segments = path.split(separator: "/", omittingEmptySubsequences: true)
        return known.filter { entry in
            let pattern = entry.pattern.split(separator: "/", omittingEmptySubsequences: true)
            return pattern.count == segments.count
                && zip(pattern, segments).allSatisfy { $0.first == ":" || $0 == $1 }
        }.map(\.method)
    }
}
