import Logging
import NIOCore
import NIOHTTP1
import TLS
import Telemetry

/// One connection: collects a request, has it decoded, delivers it, answers.
///
/// NIO's pipeline handler before it lets one request in at a time, and does not read the socket while a request waits
/// for credit: so the sender is slowed down by TCP.
final class IngestConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// Between requests.
        case idle
        case collecting(IngestPlan)
        /// Decoded, and among what goes on at the end of the loop's round.
        case delivering(until: NIODeadline)
        /// Answered before the body had come in: the rest of it is read over, then the connection is closed.
        case discarding
        /// Decoded, and out of credit.
        case waiting(Delivery, until: NIODeadline)
        /// In the core; the log has yet to say that it is safe.
        case logging(Answer)
        case closed
    }

    private let core: IngestCore
    private let lane: DecodeLane
    private let round: DeliveryRound
    private let budget: BodyBudget
    private let connections: ConnectionTable
    private var state = State.idle
    private var place = LearnedPlace()
    /// The last head that was found good, of a request that keeps the connection.
    private var accepted: AcceptedHead?
    private var body = ByteBuffer()
    /// The body, when it came in one piece.
    private var whole: ByteBuffer?
    /// What `Content-Length` says.
    private var announced = 0
    private var held = 0
    private var keepsAlive = true
    private var path = "other"
    /// With the certificate that the sender has shown.
    private var established: TLSEstablished?
    private var sender: KnownSender?
    private var context: ChannelHandlerContext?
    private var deadline: Scheduled<Void>?
    /// The loop's round in which the last request was answered.
    private(set) var answeredRound: UInt64?
    /// Heads that have come.
    private(set) var requests = 0
    var isBetweenRequests: Bool { if case .idle = state { true } else { false } }

    /// Who sends, by the identity that he shows.
    private struct KnownSender {
        let identity: String?
        let number: SenderID
        let name: String
    }

    /// A body buffer that had to grow beyond this is given back after the request.
    private static let bytesKept = 1 << 20
    private static let retryEvery = TimeAmount.milliseconds(20)

    init(
        core: IngestCore, lane: DecodeLane, round: DeliveryRound, budget: BodyBudget,
        connections: ConnectionTable
    ) {
        self.core = core
        self.lane = lane
        self.round = round
        self.budget = budget
        self.connections = connections
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (Self.unwrapInboundIn(data), state) {
        case (.head(let head), .idle): begin(head, context)
        case (.body(let part), .collecting): collect(part, context)
        case (.end, .collecting(let plan)): decode(plan, context)
        case (.end, .discarding): close(context)
        // Parts of a request that was answered already.
        default: break
        }
    }

    // MARK: Receiving

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        if requests == 0 { connections.spoke(context.channel) }
        requests += 1
        announced = head.announcedLength
        if let lapse = established?.lapse() {
            accepted = nil
            return refuseEarly(.refused(.forbidden, "certificate", lapse), context)
        }
        // Read before the tokens are: a change in between judges once more.
        let generation = core.access.generation
        if let last = accepted, last.generation == generation, last.isLike(head) {
            // A sender says the same before each body: it was judged once.
            guard announced <= core.limits.bodyBytes else {
                return refuseEarly(core.rules.tooLarge, context)
            }
            state = .collecting(last.plan)
            return
        }
        accepted = nil
        // After a request to speak something else, NIO's decoder understands nothing more on the connection.
        keepsAlive =
            head.isKeepAlive && head.method != .CONNECT && !head.headers.contains(name: "upgrade")
        path = IngestRoute(rawValue: String(head.uri.prefix { $0 != "?" }))?.rawValue ?? "other"
        let plan: IngestPlan
        do {
            plan = try core.rules.plan(head, certificate: established?.peerNames)
        } catch {
            refuseEarly(error, context)
            return
        }
        state = .collecting(plan)
        if keepsAlive, head.headers["expect"].isEmpty {
            accepted = AcceptedHead(head, plan, generation: generation)
        }
        if head.headers["expect"].contains(where: { $0.lowercased() == "100-continue" }) {
            let go = HTTPResponseHead(version: .http1_1, status: .continue)
            context.writeAndFlush(Self.wrapOutboundOut(.head(go)), promise: nil)
        }
    }

    private func collect(_ part: ByteBuffer, _ context: ChannelHandlerContext) {
        guard body.readableBytes + part.readableBytes <= core.limits.bodyBytes else {
            refuseEarly(core.rules.tooLarge, context)
            return
        }
        guard budget.take(part.readableBytes) else {
            let busy = "Too many large requests are under way; try again."
            refuseEarly(
                .refused(.tooManyRequests, "memory", busy, headers: [("Retry-After", "1")]), context)
            return
        }
        held += part.readableBytes
        if body.readableBytes == 0, part.readableBytes == announced {
            // All of it at once, as most bodies come: it is decoded before this buffer is needed again.
            whole = part
        } else {
            body.writeImmutableBuffer(part)
        }
    }

    /// Answers before the request is complete. The rest is read over until it ends, or the deadline strikes: closing
    /// at once could cost the client the answer.
    private func refuseEarly(_ answer: Answer, _ context: ChannelHandlerContext) {
        state = .discarding
        keepsAlive = false
        respond(answer, context)
    }

    /// What came in one piece needs no deadline.
    func channelReadComplete(context: ChannelHandlerContext) {
        switch state {
        case .collecting, .discarding: if deadline == nil { setDeadline(context) }
        case .idle, .delivering, .waiting, .logging, .closed: break
        }
        context.fireChannelReadComplete()
    }

    private func setDeadline(_ context: ChannelHandlerContext) {
        let amount = TimeAmount(core.limits.requestTimeout)
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: amount) { [weak self] in
            self?.deadline = nil
            self?.timeIsUp(context)
        }
    }

    private func timeIsUp(_ context: ChannelHandlerContext) {
        switch state {
        case .collecting:
            refuseEarly(
                .refused(.requestTimeout, "slow_body", "The request did not come in within the time limit."),
                context)
            close(context)
        case .discarding: close(context)
        case .idle, .delivering, .waiting, .logging, .closed: break
        }
    }

    /// Its request has no whole head yet, and its time is up.
    func headIsSlow(_ context: ChannelHandlerContext) {
        core.metrics.rejected("slow_head")
        close(context)
    }

    // MARK: Decoding and delivering

    private func decode(_ plan: IngestPlan, _ context: ChannelHandlerContext) {
        deadline?.cancel()
        deadline = nil
        guard let sender = sender(plan.identity, context) else {
            let crowd = "There are more senders than this service can tell apart."
            finish(.refused(.serviceUnavailable, "senders", crowd, headers: [("Retry-After", "60")]), context)
            return
        }
        core.metrics.bytes.add(Int64(held))
        do {
            // As an argument and no longer: the buffer has to be nobody else's when it is used again.
            var delivery = try lane.decode(
                plan, whole ?? body, sender: sender.number, arrivalMs: core.clock.nowMs(), after: &place)
            delivery.format = plan.format
            self.context = context
            deliver(delivery, sender, until: .now() + TimeAmount(core.limits.creditTimeout))
        } catch {
            finish(error, context)
        }
    }

    /// Numbers never change, so that a sender is looked up once.
    private func sender(_ identity: String?, _ context: ChannelHandlerContext) -> KnownSender? {
        if let sender, sender.identity == identity { return sender }
        // Who says who he is is that sender, from wherever he comes.
        let peer = identity ?? context.channel.remoteAddress?.ipAddress ?? "local"
        guard let number = core.senders.number(listener: core.listenerName, peer: peer) else { return nil }
        sender = KnownSender(identity: identity, number: number, name: core.senders.name(number) ?? "")
        return sender
    }

    private func deliver(_ delivery: Delivery, _ sender: KnownSender, until end: NIODeadline) {
        state = .delivering(until: end)
        round.add(.init(delivery: delivery, sender: sender.name, body: whole ?? body), of: self)
    }

    /// What became of it.
    func delivered(_ delivery: Delivery, _ outcome: IngestCore.Delivered) {
        // Whoever has gone meanwhile gets no answer; what was taken counts.
        guard case .delivering(let end) = state, let context else { return }
        let late: Answer
        switch outcome {
        case .done: return finish(delivery.answer, context)
        case .logging:
            state = .logging(delivery.answer)
            return
        case .refused: return finish(Self.logIsFull, context)
        case .full: late = Self.isBusy
        case .noRoom: late = Self.isBehind
        }
        guard NIODeadline.now() < end else { return finish(late, context) }
        state = .waiting(delivery, until: end)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.retryEvery) { [weak self] in
            guard let self, case .waiting(let delivery, let end) = state, let sender else { return }
            deliver(delivery, sender, until: end)
        }
    }

    /// The log has said whether the record is safe.
    func logged(isSafe: Bool) {
        guard case .logging(let answer) = state, let context else { return }
        finish(isSafe ? answer : Self.logIsFull, context)
    }

    private static let isBusy = Answer.refused(
        .tooManyRequests, "no_credit",
        "The service is busy and has taken nothing of this for good; send it again.",
        headers: [("Retry-After", "1")])
    /// 503, because it may take minutes, and senders that give up after a 429 go on after this.
    private static let isBehind = Answer.refused(
        .serviceUnavailable, "windows",
        "So many windows are open that some must close before this can open others; send it again.",
        headers: [("Retry-After", "5")])
    private static let logIsFull = Answer.refused(
        .serviceUnavailable, "ingest_log",
        "The ingest log cannot take more at the moment; send it again.", headers: [("Retry-After", "5")])

    // MARK: Answering

    private func finish(_ answer: Answer, _ context: ChannelHandlerContext) {
        state = .idle
        // With the answer the next request may come in, which says what it wants.
        let isLast = !keepsAlive
        answeredRound = round.number
        respond(answer, context)
        if isLast { close(context) }
    }

    private func respond(_ answer: Answer, _ context: ChannelHandlerContext) {
        release()
        core.metrics.answered(answer, path: path)
        if answer.reason != nil {
            core.logger.debug(
                "a request was refused",
                metadata: [
                    "path": "\(path)", "status": "\(answer.status.code)", "reason": "\(answer.reason ?? "")",
                    "peer": "\(context.channel.remoteAddress?.ipAddress ?? "local")",
                ])
        }
        var headers = HTTPHeaders(answer.headers)
        if answer.status != .noContent {
            headers.add(name: "Content-Type", value: answer.contentType)
            headers.add(name: "Content-Length", value: String(answer.body.utf8.count))
        }
        if !keepsAlive { headers.add(name: "Connection", value: "close") }
        let head = HTTPResponseHead(version: .http1_1, status: answer.status, headers: headers)
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        if !answer.body.isEmpty {
            let text = context.channel.allocator.buffer(string: answer.body)
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(text))), promise: nil)
        }
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    /// Gives back the body's memory.
    private func release() {
        budget.give(held)
        held = 0
        whole = nil
        if body.capacity > Self.bytesKept { body = ByteBuffer() } else { body.clear() }
    }

    private func close(_ context: ChannelHandlerContext) {
        state = .closed
        context.close(promise: nil)
    }

    // MARK: What else happens to a connection

    func channelInactive(context: ChannelHandlerContext) {
        state = .closed
        deadline?.cancel()
        self.context = nil
        release()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch (event, state) {
        case (is IdleStateHandler.IdleStateEvent, .idle): close(context)
        case (let news as TLSEstablished, _): established = news
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        // Answers are small: whoever lets 64 KiB of them pile up does not read them.
        if !context.channel.isWritable { close(context) }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Broken HTTP was answered with 400 by the handler before this one; a broken connection needs no answer.
        if error is HTTPParserError { core.metrics.rejected("bad_http") }
        close(context)
    }
}
