import ControlAPI
import NIOCore
import NIOHTTP1
import TLS

/// One connection: collects a request, has it answered, writes the answer.
///
/// NIO's pipeline handler before it lets one request in at a time.
final class ControlConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// Between requests.
        case idle
        case collecting(HTTPRequestHead)
        /// Refused before its body had come in, which is read over; then the connection is closed.
        case discarding
        case answering(HTTPRequestHead, Task<Void, Never>)
        /// Until the caller has taken the answer: only then is the next request let in.
        case writing
        case closed
    }

    private let router: ControlRouter
    private var state = State.idle
    private var body: [UInt8] = []
    private var deadline: Scheduled<Void>?
    /// With the certificate that the caller has shown.
    private var established: TLSEstablished?

    /// In which the head of a request has to come, counted from the end of the last one.
    private static let headTimeout = TimeAmount.seconds(60)
    /// The same for the one request of a stranger.
    private static let strangerTimeout = TimeAmount.seconds(10)
    /// In which a request has to come in whole, once its head is there.
    private static let requestTimeout = TimeAmount.seconds(30)
    /// In which an answer has to be taken.
    private static let writeTimeout = TimeAmount.seconds(60)

    init(router: ControlRouter) { self.router = router }

    func handlerAdded(context: ChannelHandlerContext) { setDeadline(Self.headTimeout, context) }

    private func setDeadline(_ amount: TimeAmount, _ context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: amount) { [weak self] in
            self?.close(context)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (Self.unwrapInboundIn(data), state) {
        case (.head(let head), .idle): begin(head, context)
        case (.body(let part), .collecting(let head)):
            guard body.count + part.readableBytes <= ControlLimits.requestBytesMax else {
                return refuse(head, context)
            }
            body.append(contentsOf: part.readableBytesView)
        case (.end, .collecting(let head)): answer(head, context)
        case (.end, .discarding): close(context)
        // Parts of a request that was answered already.
        default: break
        }
    }

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        setDeadline(Self.requestTimeout, context)
        let announced = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
        guard announced <= ControlLimits.requestBytesMax else { return refuse(head, context) }
        if let lapse = established?.lapse() {
            var answer = ControlAnswer.error(ControlError(.notPermitted, lapse))
            answer.closes = true
            return refuse(head, context, answer)
        }
        state = .collecting(head)
        if head.headers["expect"].contains(where: { $0.lowercased() == "100-continue" }) {
            let go = HTTPResponseHead(version: .http1_1, status: .continue)
            context.writeAndFlush(Self.wrapOutboundOut(.head(go)), promise: nil)
        }
    }

    /// Closing at once, with the body unread, could cost the caller the answer.
    private func refuse(
        _ head: HTTPRequestHead, _ context: ChannelHandlerContext, _ answer: ControlAnswer = .tooLarge
    ) {
        body = []
        state = .discarding
        write(answer, head, context, promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        deadline?.cancel()
        let whole = body
        body = []
        let (router, channel, names) = (router, context.channel, established?.peerNames)
        let own = NIOLoopBound((connection: self, context: context), eventLoop: context.eventLoop)
        let task = Task {
            let peer = await Peer.of(channel)
            let request = ControlRequest(head, body: whole, peer: peer, certificate: names)
            let answer = await router.respond(to: request)
            channel.eventLoop.execute {
                let (connection, context) = own.value
                connection.finish(answer, context)
            }
        }
        state = .answering(head, task)
    }

    /// Has shown no certificate where one is wanted: such connections do not stay.
    private var isStranger: Bool {
        guard let established else { return false }
        return established.peerNames == nil && router.wantsCertificate()
    }

    private func finish(_ answer: ControlAnswer, _ context: ChannelHandlerContext) {
        guard case .answering(let head, _) = state else { return }
        var answer = answer
        if isStranger { answer.closes = true }
        state = .writing
        setDeadline(Self.writeTimeout, context)
        let promise = context.eventLoop.makePromise(of: Void.self)
        write(answer, head, context, promise: promise)
        let closes = answer.closes || !Self.keeps(head)
        promise.futureResult.assumeIsolated().whenComplete { [weak self] _ in
            self?.written(context, closes: closes)
        }
    }

    /// The end lets the next request in, so it comes when the answer is out: whoever sends and never reads gets no further.
    private func written(_ context: ChannelHandlerContext, closes: Bool) {
        guard case .writing = state else { return }
        state = .idle
        setDeadline(Self.headTimeout, context)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        if closes { close(context) }
    }

    /// Writes all of it but the end.
    private func write(
        _ answer: ControlAnswer, _ head: HTTPRequestHead, _ context: ChannelHandlerContext,
        promise: EventLoopPromise<Void>?
    ) {
        var headers = answer.headers
        if !Self.keeps(head), !answer.closes { headers.add(name: "Connection", value: "close") }
        let reply = HTTPResponseHead(version: .http1_1, status: answer.status, headers: headers)
        guard head.method != .HEAD else {
            return context.writeAndFlush(Self.wrapOutboundOut(.head(reply)), promise: promise)
        }
        context.write(Self.wrapOutboundOut(.head(reply)), promise: nil)
        let bytes = context.channel.allocator.buffer(bytes: answer.body)
        context.writeAndFlush(Self.wrapOutboundOut(.body(.byteBuffer(bytes))), promise: promise)
    }

    /// After a request to speak something else, nothing more is understood on the connection: NIO's decoder stops there.
    private static func keeps(_ head: HTTPRequestHead) -> Bool {
        head.isKeepAlive && head.method != .CONNECT && !head.headers.contains(name: "upgrade")
    }

    private func close(_ context: ChannelHandlerContext) {
        end()
        context.close(promise: nil)
    }

    /// Whoever has gone needs no answer.
    private func end() {
        deadline?.cancel()
        body = []
        if case .answering(_, let task) = state { task.cancel() }
        state = .closed
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let news = event as? TLSEstablished {
            established = news
            if isStranger { setDeadline(Self.strangerTimeout, context) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Broken HTTP was answered with 400 by the handler before this one; a broken connection needs no answer.
        close(context)
    }
}
