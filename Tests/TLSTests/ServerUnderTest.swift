import Foundation
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import TLS
import Telemetry
import TestSupport
import Testing

/// An HTTP server behind a `TLSHandler`, on a free port: it says how many bytes came and from whom.
final class ServerUnderTest: Sendable {
    let certificates: TestCertificates
    let acceptor: TLSAcceptor
    let metrics = Metrics()
    let log = CollectedLog()
    /// Added to the time of day, for all but OpenSSL.
    let ahead: Ahead
    /// What the last connection began with.
    var established: TLSEstablished? { news.last.withLock { $0 } }
    /// Answers to `/held` that are half out and wait for `release`.
    var heldCount: Int { news.held.withLock { $0 } }
    private let news = News()
    private let gate = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Void.self)
    private let channel: any Channel

    var port: Int { channel.localAddress?.port ?? 0 }

    static func run(
        limits: TLSLimits = TLSLimits(),
        _ change: (TestCertificates, inout TLSFiles) throws -> Void = { _, _ in },
        _ body: (ServerUnderTest) async throws -> Void
    ) async throws {
        let server = try await ServerUnderTest(limits: limits, change)
        do {
            try await body(server)
        } catch {
            server.release()
            try? await server.channel.close()
            throw error
        }
        server.release()
        try? await server.channel.close()
    }

    private init(
        limits: TLSLimits, _ change: (TestCertificates, inout TLSFiles) throws -> Void
    ) async throws {
        certificates = try TestCertificates()
        var files = TLSFiles(
            certificate: certificates.certificate("server"), key: certificates.key("server"))
        try change(certificates, &files)
        let (log, ahead) = (log, Ahead())
        self.ahead = ahead
        acceptor = TLSAcceptor(
            listener: "test",
            clock: WallClock {
                Int64(Date().timeIntervalSince1970 * 1_000) + ahead.seconds.withLock { $0 } * 1_000
            },
            metrics: metrics, logger: Logger(label: "test") { _ in log.handler }, limits: limits)
        acceptor.replace(try TLSContext(files))
        let (acceptor, news, gate) = (acceptor, news, gate.futureResult)
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 256)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let handler = try acceptor.makeHandler() { try pipeline.addHandler(handler) }
                    try pipeline.configureHTTPServerPipeline()
                    try pipeline.addHandler(Responder(news, gate: gate))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    /// Lets the rest of the answers to `/held` go.
    func release() { gate.succeed() }

    /// Runs curl, which trusts the test's authority.
    func curl(_ arguments: [String], path: String = "/", scheme: String = "https") async throws -> Reply {
        let name = scheme == "https" ? "localhost" : "127.0.0.1"
        let result = try await TestCertificates.runAside(
            "curl",
            [
                "--silent", "--show-error", "--max-time", "90", "--http1.1", "--cacert",
                certificates.certificate("ca"),
            ] + arguments + ["\(scheme)://\(name):\(port)\(path)"])
        return Reply(status: result.status, output: result.output)
    }

    func client(_ name: String) -> [String] {
        ["--cert", certificates.certificate(name), "--key", certificates.key(name)]
    }

    struct Reply {
        /// Of curl: 0 when there was an answer.
        var status: Int32
        var output: String
    }

    func metric(_ line: String) -> Bool {
        metrics.exposition().split(separator: "\n").contains(Substring(line))
    }

    /// Waits until failures of that reason are counted.
    func failed(_ reason: String, _ count: Int = 1) async throws -> Bool {
        let line = "colossus_tls_failures_total{listener=\"test\",reason=\"\(reason)\"} \(count)"
        return try await poll { self.metric(line) }
    }

    func poll(_ condition: () -> Bool) async throws -> Bool {
        let deadline = ContinuousClock.now + .seconds(90)
        while !condition() {
            guard ContinuousClock.now < deadline else { return false }
            try await Task.sleep(for: .milliseconds(20))
        }
        return true
    }
}

/// What connections tell the test.
private final class News: Sendable {
    let last = Mutex<TLSEstablished?>(nil)
    let held = Mutex(0)
}

/// How far a clock is ahead.
final class Ahead: Sendable { let seconds = Mutex<Int64>(0) }

/// `GET /n` is answered with n bytes, `/held` with 2,000, the half of them when the test says so, all else with what came: its length, and the names in the certificate.
private final class Responder: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let news: News
    private let gate: EventLoopFuture<Void>
    private var established: TLSEstablished?
    private var count = 0
    private var uri = ""
    private var keepsAlive = true

    init(_ news: News, gate: EventLoopFuture<Void>) {
        self.news = news
        self.gate = gate
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSEstablished {
            established = event
            news.last.withLock { $0 = event }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head): (uri, count, keepsAlive) = (head.uri, 0, head.isKeepAlive)
        case .body(let part): count += part.readableBytes
        case .end: uri == "/held" ? hold(context) : answer(context)
        }
    }

    private func hold(_ context: ChannelHandlerContext) {
        let half = context.channel.allocator.buffer(repeating: 0x61, count: 1_000)
        let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["Content-Length": "2000"])
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.body(.byteBuffer(half))), promise: nil)
        news.held.withLock { $0 += 1 }
        gate.hop(to: context.eventLoop).assumeIsolated().whenComplete { _ in
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(half))), promise: nil)
            context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        let names = established?.peerNames.map { $0.joined(separator: ",") } ?? "none"
        var body = context.channel.allocator.buffer(
            string: "\(count) bytes, \(established?.version ?? "plain"), \(names)\n")
        if let size = Int(uri.dropFirst()) {
            body.clear()
            body.writeRepeatingByte(0x61, count: size)
        }
        let head = HTTPResponseHead(
            version: .http1_1, status: .ok, headers: ["Content-Length": "\(body.readableBytes)"])
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        if !keepsAlive { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// Lines of a log, with their metadata.
final class CollectedLog: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }

    var handler: any LogHandler { Handler(log: self) }

    private struct Handler: LogHandler {
        let log: CollectedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let pairs = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            log.lines.withLock {
                $0.append("\(event.level) \(event.message) \(pairs.joined(separator: " "))")
            }
        }
    }
}
