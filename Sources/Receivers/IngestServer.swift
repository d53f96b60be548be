public import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
public import TLS
public import Telemetry
public import WireFormats

/// Where a server came to listen.
public struct BoundAddress: Sendable, Hashable {
    public var host: String
    public var port: Int
}

/// Takes real telemetry over HTTP: `POST /api/v1/write` (remote write 1.0), `POST /api/v1/import` (exposition text)
/// and `POST /api/v1/events` (JSON lines).
///
/// Every sample that is decoded is either handed to the sink, which counts it as received, or counted here, as
/// received and dropped, in a ledger that goes to `account`. A request that is refused counts nothing.
public final class IngestServer: Sendable {
    private struct Running: Sendable {
        var group: MultiThreadedEventLoopGroup
        var listener: any Channel
    }

    private let configuration: IngestConfiguration
    let core: IngestCore
    private let budget: BodyBudget
    private let connections: ConnectionTable
    /// `nil`: connections are plain.
    private let tls: TLSAcceptor?
    private let running = Mutex<Running?>(nil)

    /// - Parameters:
    ///   - stream: where everything that comes in belongs; its topology is that of `streams`.
    ///   - inventory: where nodes stand; it wins over labels.
    ///   - senders: to be shared by all receivers of a process, because it numbers senders; without it, one of its own.
    ///   - access: the tokens that are taken; none: whoever reaches the address may send.
    ///   - tls: what connections speak TLS with.
    ///   - logging: keeps what is taken in a log before it is answered; the log is repeated after `start`.
    ///   - account: gets what was rejected before the sink, after each request.
    public init(
        configuration: IngestConfiguration, sink: any BatchSink, events: any EventSink, streams: Streams,
        stream: StreamIndex, inventory: Inventory? = nil, senders: SenderTable? = nil,
        access: BearerCheck = BearerCheck(), tls: TLSAcceptor? = nil, logging: IngestLogging? = nil,
        account: @escaping @Sendable (Ledger, StreamIndex) -> Void, clock: WallClock, metrics: Metrics,
        logger: Logger
    ) {
        self.configuration = configuration
        self.tls = tls
        let limits = configuration.limits
        let streamID = streams.id(stream)
        let own = IngestMetrics(metrics)
        let hasher = IdentityHasher()
        let access = IngestAccess(access)
        let registry = SeriesRegistry(
            stream: stream, streamID: streamID, topology: streams.topology(stream), sink: sink,
            events: events, inventory: inventory, limits: limits, laneCount: max(1, configuration.threads),
            hasher: hasher)
        core = IngestCore(
            limits: limits, listenerName: configuration.listenerName, sink: sink, events: events,
            stream: stream, streamID: streamID, topology: streams.topology(stream), registry: registry,
            senders: senders ?? SenderTable(sendersMax: limits.senders),
            hasher: hasher, clock: clock,
            rules: RequestRules(
                hosts: configuration.hostNames + [configuration.host], bodyBytes: limits.bodyBytes,
                access: access), access: access,
            metrics: own, logger: logger, logged: logging.map { LoggedPath($0) }, account: account)
        registry.watchSilence()
        metrics.computed("colossus_ingest_series", "Series that have a place in the aggregation.") {
            Double(registry.seriesCount)
        }
        budget = BodyBudget(limit: limits.bodyBytesInAll)
        connections = ConnectionTable(limit: limits.connections, gauge: own.connections)
    }

    /// Listens. Throws when the address cannot be had.
    @discardableResult
    public func start() async throws -> BoundAddress {
        precondition(running.withLock { $0 == nil }, "the server runs already")
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, configuration.threads))
        do {
            let listener = try await bind(group)
            let core = core
            group.any().scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in
                core.registry.tellJobs(nowMs: core.clock.nowMs())
                core.registry.retire(nowMs: core.clock.nowMs())
            }
            running.withLock { $0 = Running(group: group, listener: listener) }
            startReplay()
            let address = BoundAddress(
                host: listener.localAddress?.ipAddress ?? configuration.host,
                port: listener.localAddress?.port ?? 0)
            core.logger.info(
                "listening for telemetry", metadata: ["listen": "\(address.host):\(address.port)"])
            return address
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
    }

    /// Repeats the log on a thread that ends with it.
    private func startReplay() {
        guard let path = core.logged else { return }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        IngestReplay.start(core, path, group: group) { group.shutdownGracefully { _ in } }
    }

    /// How far the log is repeated; `nil` without a log.
    public var replay: ReplayProgress? { core.logged?.progress.withLock { $0 } }

    /// Stops accepting, lets running requests finish for `grace`, then closes what is left.
    public func stop(grace: Duration = .seconds(5)) async {
        await stop(grace: grace, settling: .seconds(2))
    }

    /// - Parameter settling: at most so long are those waited for that have not asked yet.
    func stop(grace: Duration, settling: Duration) async {
        let running = running.withLock { $0.take() }
        guard let running else { return }
        await Self.stopAccepting(running)
        // Whoever was accepted at the last moment has yet to send its request.
        let settled = ContinuousClock.now + min(grace, settling)
        try? await Task.sleep(for: min(grace, Self.settling))
        while connections.hasSilent, ContinuousClock.now < settled {
            try? await Task.sleep(for: .milliseconds(10))
        }
        let open = connections.stop()
        for channel in open {
            // Idle ones close, the others after the answer they owe.
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        let loop = running.group.any()
        let gone = loop.makePromise(of: Void.self)
        EventLoopFuture.andAllComplete(open.map(\.closeFuture), on: loop).whenComplete { _ in
            gone.succeed(())
        }
        let timer = loop.scheduleTask(in: TimeAmount(grace)) { gone.succeed(()) }
        try? await gone.futureResult.get()
        timer.cancel()
        for channel in open { channel.close(promise: nil) }
        try? await running.group.shutdownGracefully()
        core.registry.tellJobs(nowMs: core.clock.nowMs(), all: true)
        core.logger.info("stopped listening for telemetry")
    }

    /// Accepts no more, and closes the listener when all that were accepted are set up: NIO's `AcceptHandler` closes those
    /// whose listener went before.
    private static func stopAccepting(_ running: Running) async {
        try? await running.listener.setOption(.autoRead, value: false).get()
        // They are set up on their own loops, and handed over on the listener's.
        for loop in running.group.makeIterator() { try? await loop.submit {}.get() }
        try? await running.listener.eventLoop.submit {}.get()
        try? await running.listener.close()
    }

    /// The inventory in force; an empty one where there is none.
    public var inventory: Inventory { core.registry.inventory }

    /// Takes a new inventory: nodes move to where it has them, with their windows from now on; nobody waits any more for
    /// those that the one before had and it has not. `nil` leaves all where it is, and none is removed any more.
    public func reload(inventory: Inventory?) -> FleetChange {
        let change = core.registry.take(inventory)
        if change != FleetChange() {
            core.logger.notice(
                "the fleet stands as the new inventory says",
                metadata: [
                    "event": "inventory_moved", "nodes": "\(change.moved.count)",
                    "removed": "\(change.removed.count)", "returned": "\(change.returned.count)",
                ])
        }
        return change
    }

    /// Takes others who may send, for the next request of each connection on.
    public func reload(access: BearerCheck) { core.access.replace(access) }

    /// Series that have a place in the aggregation.
    public var seriesCount: Int { core.registry.seriesCount }
    /// The senders with the most series, most first.
    public func topSenders(_ count: Int) -> [(name: String, series: Int)] {
        core.registry.senders.sorted { ($1.series, $0.sender.rawValue) < ($0.series, $1.sender.rawValue) }
            .prefix(count).map { (core.senders.name($0.sender) ?? "?", $0.series) }
    }
    /// Connections that are open.
    public var connectionCount: Int { connections.count }

    private func bind(_ group: MultiThreadedEventLoopGroup) async throws -> any Channel {
        let lanes = try await lanes(group)
        let (core, budget, connections, tls) = (core, budget, connections, tls)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.recvAllocator, value: Self.allocator)
            .childChannelInitializer { channel in
                guard connections.add(channel) else {
                    core.metrics.rejected("connections")
                    return channel.close()
                }
                return channel.eventLoop.makeCompletedFuture {
                    guard let lane = lanes[ObjectIdentifier(channel.eventLoop)]?.value else {
                        preconditionFailure("a channel on an event loop of another group")
                    }
                    try Self.assemble(channel, core, lane.decode, lane.round, budget, connections, tls)
                }
            }
        if let descriptor = configuration.listeningDescriptor {
            return try await bootstrap.withBoundSocket(descriptor).get()
        }
        return try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
    }

    /// What an event loop alone uses.
    private struct LoopLane {
        let decode: DecodeLane
        let round: DeliveryRound
    }

    /// One lane for each event loop.
    private func lanes(
        _ group: MultiThreadedEventLoopGroup
    ) async throws -> [ObjectIdentifier: NIOLoopBound<LoopLane>] {
        var lanes: [ObjectIdentifier: NIOLoopBound<LoopLane>] = [:]
        for (number, loop) in group.makeIterator().enumerated() {
            let core = core
            lanes[ObjectIdentifier(loop)] = try await loop.submit {
                let lane = NIOLoopBound(
                    LoopLane(decode: DecodeLane(core: core), round: DeliveryRound(core: core, loop: loop)),
                    eventLoop: loop)
                loop.scheduleRepeatedTask(initialDelay: .milliseconds(100), delay: .milliseconds(100)) { _ in
                    lane.value.decode.sweep(lane: number)
                }
                return lane
            }.get()
        }
        return lanes
    }

    /// From the last connection that was accepted to the end of those without a request.
    private static let settling = Duration.milliseconds(200)
    private static let allocator = AdaptiveRecvByteBufferAllocator(
        minimum: 4_096, initial: 65_536, maximum: 1 << 20)

    private static func assemble(
        _ channel: any Channel, _ core: IngestCore, _ lane: DecodeLane, _ round: DeliveryRound,
        _ budget: BodyBudget, _ connections: ConnectionTable, _ tls: TLSAcceptor?
    ) throws {
        var heads = NIOHTTPDecoderLimitConfiguration()
        heads.maxHeaderFieldSize = core.limits.headerBytes
        heads.maxHeaderListSize = core.limits.headerBytes
        heads.maxHeaderFieldCount = core.limits.headerCount
        let pipeline = channel.pipeline.syncOperations
        // Before the timer: what is no whole record yet is no traffic.
        if let handler = try tls?.makeHandler() { try pipeline.addHandler(handler) }
        try pipeline.addHandler(
            IdleStateHandler(readTimeout: TimeAmount(core.limits.idleTimeout)))
        let connection = IngestConnection(
            core: core, lane: lane, round: round, budget: budget, connections: connections)
        try pipeline.addHandler(HeadDeadline(connection, limit: TimeAmount(core.limits.requestTimeout)))
        try pipeline.addHandler(HTTPResponseEncoder())
        try pipeline.addHandler(
            ByteToMessageHandler(
                HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: heads),
                // Heads are far smaller, and bodies are passed on as they come.
                maximumBufferSize: 4 << 20))
        try pipeline.addHandler(HTTPServerPipelineHandler())
        try pipeline.addHandler(HTTPServerProtocolErrorHandler())
        try pipeline.addHandler(connection)
    }
}
