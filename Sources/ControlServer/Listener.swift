import FoundationEssentials
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

/// What a handler knows about the connection.
struct ConnectionContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
    }
}

/// One address that HTTP is served on, from binding to closing.
final class Listener: Sendable {
    /// Where it really listens.
    let channel: any Channel
    private let serving: Task<Void, any Error>

    private static let limits = HTTP1Channel.Configuration(
        idleTimeout: .seconds(60),
        httpDecoderConfiguration: .init(
            maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 32 << 10, maxHeaderFieldCount: 64))

    /// Listens on a socket that was opened by somebody else; it takes over the descriptor.
    init(
        _ router: Router<ConnectionContext>, passed descriptor: Int32, connectionsMax: Int, logger: Logger
    ) async throws {
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .critical)
        let log = quiet
        let http = PassedListener.http(router, configuration: Self.limits, logger: log)
        let server = try await PassedListener.bind(
            descriptor, http, connectionsMax: connectionsMax, logger: log)
        channel = server.channel
        serving = Task { try await PassedListener.serve(server, http, logger: log) }
    }

    /// Returns once the address is bound.
    init(
        _ router: Router<ConnectionContext>, at address: BindAddress, connectionsMax: Int, logger: Logger
    ) async throws {
        // Hummingbird reports each start, and each stop as an error; that is ours to say.
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .critical)
        let (bound, continuation) = AsyncThrowingStream<any Channel, any Error>.makeStream()
        let application = Application(
            router: router,
            server: .http1(configuration: Self.limits),
            configuration: ApplicationConfiguration(
                address: address, serverName: nil,
                availableConnectionsDelegate: .maximum(connectionsMax, logger: quiet)),
            onServerRunning: { continuation.yield($0) },
            logger: quiet)
        serving = Task {
            do {
                try await application.run()
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
                throw error
            }
        }
        var iterator = bound.makeAsyncIterator()
        guard let channel = try await iterator.next() else { throw CancellationError() }
        self.channel = channel
    }

    /// Closes it and every connection.
    func close() async {
        serving.cancel()
        _ = await serving.result
    }
}
