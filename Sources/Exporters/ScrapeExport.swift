import NIOCore
import NIOHTTP1
import NIOPosix
public import Simulation
import Synchronization

/// Scrape ports for some nodes of a run: each port answers `GET /metrics` as the dcgm-exporter of one node would.
///
/// A silent node does not answer: its connection is closed, so that a scraper sees it as down. It serves the tick that the
/// core has got last.
public final class ScrapeExport: TickTaker {
    public static let nodesMax = 1_024
    static let connectionsMax = 4_096
    static let headerBytesMax = 16 << 10
    private static let unreadBytesMax = 1_048_576
    static let idleSeconds: Int64 = 300

    private struct Listening: Sendable {
        var group: MultiThreadedEventLoopGroup
        var listeners: [any Channel]
    }

    /// What the connections need.
    final class Feed: Sendable {
        let pages: [ExporterPage]
        let showsTime: Bool
        let tick = Mutex<SimulatedTick?>(nil)
        let counts = Mutex(ExportCounts())
        let connections = Atomic<Int>(0)

        init(pages: [ExporterPage], showsTime: Bool) {
            self.pages = pages
            self.showsTime = showsTime
        }

        /// The page of a node; `nil` for no answer.
        func page(_ number: Int) -> [UInt8]? {
            let tick = tick.withLock { $0 }
            let page = tick.flatMap { pages[number].text($0, timeMs: showsTime ? $0.timeMs : nil) }
            counts.withLock { counts in
                counts.requests += 1
                counts.bytes += Int64(page?.count ?? 0)
                if page == nil { counts.failed += 1 }
            }
            return page
        }
    }

    private let host: String
    private let feed: Feed
    private let listening = Mutex<Listening?>(nil)

    /// - Parameters:
    ///   - nodes: numbers in the plan, one port each.
    ///   - showsTime: writes the simulated time behind each value, in place of letting the scraper say when.
    public init(plan: FleetPlan, nodes: Range<Int>, host: String, showsJob: Bool, showsTime: Bool) {
        self.host = host
        feed = Feed(
            pages: nodes.map { ExporterPage(plan: plan, node: $0, showsJob: showsJob) }, showsTime: showsTime)
    }

    public var counts: ExportCounts { feed.counts.withLock { $0 } }

    public func take(_ tick: SimulatedTick) { feed.tick.withLock { $0 = tick } }

    /// Opens the ports; all or none of them.
    ///
    /// - Parameter port: of the first node, the others follow; 0 for free ones.
    /// - Returns: the port of each node.
    public func start(port: Int) async throws -> [Int] {
        precondition(listening.withLock { $0 == nil }, "the export runs already")
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var listeners: [any Channel] = []
        do {
            for number in feed.pages.indices {
                let wanted = port == 0 ? 0 : port + number
                listeners.append(try await bootstrap(group, number).bind(host: host, port: wanted).get())
            }
        } catch {
            for listener in listeners { try? await listener.close() }
            try? await group.shutdownGracefully()
            throw error
        }
        listening.withLock { $0 = Listening(group: group, listeners: listeners) }
        return listeners.map { $0.localAddress?.port ?? 0 }
    }

    public func stop() async {
        guard let listening = listening.withLock({ $0.take() }) else { return }
        for listener in listening.listeners { try? await listener.close() }
        // Takes the open connections along.
        try? await listening.group.shutdownGracefully()
    }

    private func bootstrap(_ group: MultiThreadedEventLoopGroup, _ number: Int) -> ServerBootstrap {
        let feed = feed
        return ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 64)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            // A page fits in, several that nobody reads do not.
            .childChannelOption(
                .writeBufferWaterMark, value: .init(low: Self.unreadBytesMax / 2, high: Self.unreadBytesMax)
            )
            .childChannelInitializer { channel in
                guard feed.connections.load(ordering: .relaxed) < Self.connectionsMax else {
                    return channel.close()
                }
                feed.connections.add(1, ordering: .relaxed)
                channel.closeFuture.whenComplete { _ in feed.connections.subtract(1, ordering: .relaxed) }
                return channel.eventLoop.makeCompletedFuture {
                    var heads = NIOHTTPDecoderLimitConfiguration()
                    heads.maxHeaderFieldSize = Self.headerBytesMax
                    heads.maxHeaderListSize = Self.headerBytesMax
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.configureHTTPServerPipeline(
                        withPipeliningAssistance: true, withErrorHandling: true)
                    try pipeline.addHandlers([
                        IdleStateHandler(allTimeout: .seconds(Self.idleSeconds)),
                        ScrapeConnection(feed: feed, number: number),
                    ])
                }
            }
    }
}

/// One connection of a scraper.
private final class ScrapeConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let feed: ScrapeExport.Feed
    private let number: Int
    private var head: HTTPRequestHead?

    init(feed: ScrapeExport.Feed, number: Int) {
        self.feed = feed
        self.number = number
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head): self.head = head
        // Nobody has to send one; what comes is not kept.
        case .body: break
        case .end:
            guard let head else { return }
            self.head = nil
            answer(head, context)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
    }

    /// Who asks and does not read is let go, before answers pile up.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if !context.channel.isWritable { context.close(promise: nil) }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard context.channel.isActive, context.channel.isWritable else {
            context.close(promise: nil)
            return
        }
        let path = head.uri.split(separator: "?", maxSplits: 1).first ?? ""
        guard head.method == .GET || head.method == .HEAD else {
            return send(.methodNotAllowed, Array("only GET\n".utf8), "text/plain", head, context)
        }
        switch path {
        case "/metrics":
            guard let page = feed.page(number) else {
                context.close(promise: nil)
                return
            }
            send(.ok, page, ExporterPage.contentType, head, context)
        case "/health": send(.ok, Array("OK\n".utf8), "text/plain", head, context)
        case "/":
            let page =
                "<html><head><title>GPU Exporter</title></head><body><p><a href=\"./metrics\">Metrics</a></p>"
            send(.ok, Array((page + "</body></html>\n").utf8), "text/html", head, context)
        default: send(.notFound, Array("404 page not found\n".utf8), "text/plain", head, context)
        }
    }

    private func send(
        _ status: HTTPResponseStatus, _ body: [UInt8], _ type: String, _ head: HTTPRequestHead,
        _ context: ChannelHandlerContext
    ) {
        var headers = HTTPHeaders([("Content-Type", type), ("Content-Length", String(body.count))])
        if !head.isKeepAlive { headers.add(name: "Connection", value: "close") }
        let answer = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        context.write(Self.wrapOutboundOut(.head(answer)), promise: nil)
        if head.method != .HEAD {
            let buffer = context.channel.allocator.buffer(bytes: body)
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        }
        let channel = context.channel
        let done = context.eventLoop.makePromise(of: Void.self)
        if !head.isKeepAlive { done.futureResult.whenComplete { _ in channel.close(promise: nil) } }
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: done)
    }
}
