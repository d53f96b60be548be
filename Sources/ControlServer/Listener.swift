import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import TLS

/// Where to listen.
enum ListenAddress: Sendable {
    case unixSocket(path: String)
    case host(String, port: Int)
    /// A listening socket that somebody else has opened and keeps: systemd. The descriptor is taken over; closing it
    /// closes our copy alone, so that connections wait for the next process instead of being refused.
    case passed(Int32)
}

/// One address that HTTP is served on, from binding to closing.
final class Listener: Sendable {
    /// Where it really listens.
    let channel: any Channel
    private let connections: OpenConnections

    /// Heads are far smaller, and bodies are passed on as they come.
    private static let undecodedBytesMax = 2 << 20
    private static var headLimits: NIOHTTPDecoderLimitConfiguration {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 16 << 10
        limits.maxHeaderListSize = 32 << 10
        limits.maxHeaderFieldCount = 64
        return limits
    }

    /// Returns once the address is bound.
    ///
    /// - Parameters:
    ///   - connectionsMax: those beyond are closed at once.
    ///   - tls: what connections speak TLS with.
    init(
        _ router: ControlRouter, at address: ListenAddress, connectionsMax: Int, tls: TLSAcceptor? = nil
    ) async throws {
        let connections = OpenConnections(limit: connectionsMax)
        self.connections = connections
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 256)
            .childChannelInitializer { channel in
                guard connections.add(channel) else { return channel.close() }
                return channel.eventLoop.makeCompletedFuture { try Self.assemble(channel, router, tls) }
            }
        channel =
            switch address {
            case .unixSocket(let path): try await bootstrap.bind(unixDomainSocketPath: path).get()
            case .host(let host, let port):
                try await bootstrap.serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .bind(host: host, port: port).get()
            case .passed(let descriptor): try await bootstrap.withBoundSocket(descriptor).get()
            }
    }

    private static func assemble(
        _ channel: any Channel, _ router: ControlRouter, _ tls: TLSAcceptor?
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        if let handler = try tls?.makeHandler() { try pipeline.addHandler(handler) }
        try pipeline.addHandler(HTTPResponseEncoder())
        try pipeline.addHandler(
            ByteToMessageHandler(
                HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: headLimits),
                maximumBufferSize: undecodedBytesMax))
        try pipeline.addHandler(HTTPServerPipelineHandler())
        try pipeline.addHandler(HTTPServerProtocolErrorHandler())
        try pipeline.addHandler(ControlConnection(router: router))
    }

    /// Closes it and every connection.
    func close() async {
        try? await channel.close()
        for connection in connections.stop() { try? await connection.close() }
    }
}

/// The open connections of a listener, up to a limit.
private final class OpenConnections: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var isStopping = false
    }

    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// `false` if there is no room. Connections leave by themselves when they are closed.
    func add(_ channel: any Channel) -> Bool {
        let key = ObjectIdentifier(channel)
        let isIn = state.withLock { state in
            guard !state.isStopping, state.channels.count < limit else { return false }
            state.channels[key] = channel
            return true
        }
        guard isIn else { return false }
        channel.closeFuture.whenComplete { [self] _ in state.withLock { $0.channels[key] = nil } }
        return true
    }

    /// Lets nobody in any more, and returns who is there.
    func stop() -> [any Channel] {
        state.withLock { state in
            state.isStopping = true
            return Array(state.channels.values)
        }
    }
}
