import COpenSSL
public import NIOCore

/// The server's side of TLS on one connection, first in its pipeline: OpenSSL over memory.
///
/// Bytes pass through as they come and go, so that what slows a plain connection down slows this one down: nothing is
/// read that nobody asked for, and what is written is written on at once, its promise with its last bytes.
public final class TLSHandler: ChannelDuplexHandler {
    public typealias InboundIn = ByteBuffer
    public typealias InboundOut = ByteBuffer
    public typealias OutboundIn = ByteBuffer
    public typealias OutboundOut = ByteBuffer

    private enum State {
        case handshaking
        case open
        /// Our close_notify is out; the peer may go on.
        case finished
        /// Has been told why; what it still sends is read over.
        case failed
        case closed
    }

    private let session: TLSSession
    private let limits: TLSLimits
    private let counts: TLSCounts
    private var state = State.handshaking
    /// The peer has said that nothing more comes.
    private var isInputOver = false
    private var isQuiescing = false
    /// Somebody has asked for bytes and has not got any yet.
    private var isReadWanted = false
    /// Bytes of the network that led to nothing so far.
    private var idleBytes = 0
    private var waiting: [(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)] = []
    private var flushed = 0
    private var deadline: Scheduled<Void>?

    private let trust: TLSTrust

    init(_ session: TLSSession, trust: TLSTrust, limits: TLSLimits, counts: TLSCounts) {
        self.session = session
        self.trust = trust
        self.limits = limits
        self.counts = counts
    }

    public func handlerAdded(context: ChannelHandlerContext) {
        setDeadline(limits.handshake, context) { handler, context in
            let failure = TLSFailure(reason: .timeout, words: "the handshake was not over in time")
            handler.counts.failed(failure, peer: Self.peer(context))
            handler.abandon(context)
        }
    }

    private func setDeadline(
        _ duration: Duration, _ context: ChannelHandlerContext,
        _ strike: @escaping (TLSHandler, ChannelHandlerContext) -> Void
    ) {
        deadline?.cancel()
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(duration)) { [weak self] in
            if let self { strike(self, context) }
        }
    }

    // MARK: What comes in

    public func read(context: ChannelHandlerContext) {
        isReadWanted = true
        readOn(context)
    }

    /// Whoever does not take what he is owed gets no more of it: what he sends can make answers of TLS's own.
    private func readOn(_ context: ChannelHandlerContext) {
        let isOpen = state == .open || state == .finished
        if !isOpen || isInputOver || context.channel.isWritable { context.read() }
    }

    public func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, isReadWanted, state == .open || state == .finished { context.read() }
        context.fireChannelWritabilityChanged()
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        switch state {
        case .handshaking: shakeHands(&bytes, context)
        case .open, .finished: if !isInputOver { decrypt(&bytes, context) }
        case .failed:
            idleBytes += bytes.readableBytes
            if idleBytes > limits.handshakeBytes { abandon(context) }
        case .closed: break
        }
    }

    public func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        switch state {
        // Whoever asked for bytes is still owed some: a record that is not whole yet is none.
        case .handshaking, .failed: context.read()
        case .open, .finished: if isReadWanted, !isInputOver { readOn(context) }
        case .closed: break
        }
    }

    private func shakeHands(_ bytes: inout ByteBuffer, _ context: ChannelHandlerContext) {
        idleBytes += bytes.readableBytes
        guard idleBytes <= limits.handshakeBytes else {
            let words = "more than \(limits.handshakeBytes) bytes came before the handshake was over"
            return fail(TLSFailure(reason: .tooMuch, words: words), context)
        }
        switch session.handshake(&bytes) {
        case .unfinished: sendOutput(context)
        case .failed(let failure): fail(failure, context)
        case .finished:
            state = .open
            idleBytes = 0
            deadline?.cancel()
            counts.established(version: session.version)
            // A peer that has gone is noticed by sending, at once: from here on each step looks whether it is the last.
            sendOutput(context)
            guard state == .open else { return }
            let shown = session.shown
            var news = TLSEstablished(version: session.version, peerNames: shown?.names)
            if let shown { news.lapse = trust.lapse(shown, peer: Self.peer(context)) }
            context.fireUserInboundEventTriggered(news)
            encrypt(context)
            if state == .open { decrypt(&bytes, context) }
        }
    }

    private func decrypt(_ bytes: inout ByteBuffer, _ context: ChannelHandlerContext) {
        // Floods of what TLS itself is asked for, as of new keys, lead nowhere.
        idleBytes += bytes.readableBytes
        var plain = context.channel.allocator.buffer(capacity: bytes.readableBytes + (16 << 10))
        let reading = session.read(&bytes, into: &plain)
        sendOutput(context)
        if plain.readableBytes > 0, state != .closed {
            isReadWanted = false
            idleBytes = 0
            context.fireChannelRead(Self.wrapInboundOut(plain))
        }
        // Whoever got that may have closed.
        guard state == .open || state == .finished else { return }
        switch reading {
        case .needsMore:
            guard idleBytes > limits.handshakeBytes else { return }
            let words = "more than \(limits.handshakeBytes) bytes came with nothing in them"
            fail(TLSFailure(reason: .tooMuch, words: words), context)
        case .ended:
            isInputOver = true
            // What has been asked is answered; then there is nothing more to do.
            quiesce(ChannelShouldQuiesceEvent(), context)
        case .failed(let failure): fail(failure, context)
        }
    }

    public func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelShouldQuiesceEvent { return quiesce(event, context) }
        context.fireUserInboundEventTriggered(event)
    }

    /// NIO's HTTP pipeline wants to hear it once.
    private func quiesce(_ event: ChannelShouldQuiesceEvent, _ context: ChannelHandlerContext) {
        guard !isQuiescing else { return }
        isQuiescing = true
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: What goes out

    public func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard state == .open || state == .handshaking else {
            promise?.fail(ChannelError.outputClosed)
            return
        }
        waiting.append((Self.unwrapOutboundIn(data), promise))
    }

    public func flush(context: ChannelHandlerContext) {
        flushed = waiting.count
        encrypt(context)
    }

    /// Sends on what was flushed, piece by piece.
    private func encrypt(_ context: ChannelHandlerContext) {
        guard state == .open, flushed > 0 else { return }
        let ready = waiting.prefix(flushed)
        waiting.removeFirst(flushed)
        flushed = 0
        var failure: TLSFailure?
        for var (bytes, promise) in ready {
            while bytes.readableBytes > 0, failure == nil {
                failure = session.write(&bytes)
                guard let output = session.takeOutput(context.channel.allocator) else { continue }
                let isLast = bytes.readableBytes == 0 && failure == nil
                context.write(Self.wrapOutboundOut(output), promise: isLast ? promise : nil)
                if isLast { promise = nil }
            }
            if failure == nil, let promise {
                // There was nothing in it; it is written when what came before it is.
                let nothing = context.channel.allocator.buffer(capacity: 0)
                context.write(Self.wrapOutboundOut(nothing), promise: promise)
            } else {
                promise?.fail(ChannelError.outputClosed)
            }
        }
        context.flush()
        if let failure { fail(failure, context) }
    }

    private func sendOutput(_ context: ChannelHandlerContext) {
        guard let output = session.takeOutput(context.channel.allocator) else { return }
        context.writeAndFlush(Self.wrapOutboundOut(output), promise: nil)
    }

    // MARK: The end

    public func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if state == .open, mode != .input {
            session.finish()
            sendOutput(context)
            state = .finished
        }
        if mode == .all { end() }
        context.close(mode: mode, promise: promise)
    }

    public func channelInactive(context: ChannelHandlerContext) {
        if state == .handshaking {
            let failure = TLSFailure(reason: .closed, words: "the peer has gone during the handshake")
            counts.failed(failure, peer: Self.peer(context), isWorthALine: idleBytes > 0)
        }
        end()
        context.fireChannelInactive()
    }

    public func handlerRemoved(context: ChannelHandlerContext) { end() }

    /// The peer is told by the alert. Closing at once, with bytes of his unread, could cost him that.
    private func fail(_ failure: TLSFailure, _ context: ChannelHandlerContext) {
        guard state != .closed else { return }
        counts.failed(failure, peer: Self.peer(context))
        end()
        // The alert.
        sendOutput(context)
        guard context.channel.isActive else { return }
        state = .failed
        idleBytes = 0
        context.close(mode: .output, promise: nil)
        setDeadline(limits.farewell, context) { handler, context in handler.abandon(context) }
    }

    private func abandon(_ context: ChannelHandlerContext) {
        end()
        context.close(promise: nil)
    }

    private func end() {
        state = .closed
        deadline?.cancel()
        deadline = nil
        let left = waiting
        waiting = []
        flushed = 0
        for one in left { one.promise?.fail(ChannelError.outputClosed) }
    }

    private static func peer(_ context: ChannelHandlerContext) -> String {
        context.remoteAddress?.ipAddress ?? "unknown"
    }
}
