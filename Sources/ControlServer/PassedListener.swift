import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix

/// HTTP on a listening socket that somebody else has opened and keeps: systemd. Closing this closes our copy alone, so
/// that connections wait for the next process instead of being refused.
///
/// Hummingbird's server binds its addresses itself; this is its loop over connections without that.
enum PassedListener {
    typealias Server = NIOAsyncChannel<HTTP1Channel.Value, Never>

    /// Takes over the descriptor.
    static func bind(
        _ descriptor: Int32, _ http: HTTP1Channel, connectionsMax: Int, logger: Logger
    ) async throws -> Server {
        try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        AvailableConnectionsChannelHandler(
                            delegate: MaximumAvailableConnections(connectionsMax, logger: logger)))
                }
            }
            .bind(descriptor) { http.setup(channel: $0, logger: logger) }
    }

    /// Serves until it is cancelled.
    static func serve(_ server: Server, _ http: HTTP1Channel, logger: Logger) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            try await server.executeThenClose { connections in
                for try await connection in connections {
                    group.addTask { await http.handle(value: connection, logger: logger) }
                }
            }
        }
    }

    /// What Hummingbird's application does with a request: asks the router, and writes its answer.
    static func http(
        _ router: Router<ConnectionContext>, configuration: HTTP1Channel.Configuration, logger: Logger
    ) -> HTTP1Channel {
        let responder = router.buildResponder()
        return HTTP1Channel(
            responder: { request, writer, channel in
                let context = ConnectionContext(source: .init(channel: channel, logger: logger))
                let response: Response
                do {
                    response = try await responder.respond(to: request, context: context)
                } catch {
                    // `ErrorAnswers` has turned everything else into an answer.
                    response = Response(status: .internalServerError)
                }
                try await writer.write(response: response.head, body: response.body)
            }, configuration: configuration)
    }
}
