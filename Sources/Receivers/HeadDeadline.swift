import NIOCore

/// Closes a connection whose request head does not come in within the time for a request.
///
/// It stands before the decoder and looks again behind it: a head that comes in one piece, as all usual ones do, costs
/// no timer.
final class HeadDeadline: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connection: IngestConnection
    private let limit: TimeAmount
    /// The number of the request whose head is waited for.
    private var awaited: Int?
    private var timer: Scheduled<Void>?

    init(_ connection: IngestConnection, limit: TimeAmount) {
        self.connection = connection
        self.limit = limit
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What ends a request, or is a whole one that was answered at once, leaves nothing to wait for.
        let (before, isNext) = (connection.requests, connection.isBetweenRequests)
        context.fireChannelRead(data)
        guard isNext, connection.isBetweenRequests, connection.requests == before, awaited != before,
            context.channel.isActive
        else { return }
        awaited = connection.requests
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { [weak self] in
            guard let self, connection.isBetweenRequests, awaited == connection.requests else { return }
            connection.headIsSlow(context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        context.fireChannelInactive()
    }
}
