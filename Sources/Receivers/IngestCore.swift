import Logging
import NIOCore
import Telemetry
import WireFormats

/// What all connections of a server share.
struct IngestCore: Sendable {
    let limits: ReceiverLimits
    let listenerName: String
    let sink: any BatchSink
    let events: any EventSink
    let stream: StreamIndex
    let streamID: StreamID
    let topology: Topology
    let registry: SeriesRegistry
    let senders: SenderTable
    let hasher: IdentityHasher
    let clock: WallClock
    let rules: RequestRules
    let access: IngestAccess
    let metrics: IngestMetrics
    let logger: Logger
    /// `nil`: what is taken is not logged.
    let logged: LoggedPath?
    let account: @Sendable (Ledger, StreamIndex) -> Void
}

/// Samples that are on their way into the sink, with what there is to do when they are in.
struct Delivery {
    var batches: [SampleBatch]
    /// Batches before this one are in the sink.
    var taken = 0
    var rejected: Ledger
    /// Event times of the samples.
    var oldestMs: Int64?
    var newestMs: Int64?
    var sampleCount: Int
    var sender: SenderID
    var arrivalMs: Int64
    var answer: Answer
    var events: [Event] = []
    /// Of the body, for the log.
    var format: UInt16 = 0
    /// The same, when it was worked out.
    var check: JournalCheck?

    init(_ builder: borrowing BatchBuilder, answer: Answer) {
        batches = builder.batches
        rejected = builder.rejected
        oldestMs = builder.oldestMs == .max ? nil : builder.oldestMs
        newestMs = builder.newestMs == .min ? nil : builder.newestMs
        sampleCount = builder.sampleCount
        sender = builder.sender
        arrivalMs = builder.arrivalMs
        self.answer = answer
    }

    /// Of a request without samples.
    init(sender: SenderID, arrivalMs: Int64, answer: Answer) {
        batches = []
        rejected = Ledger()
        sampleCount = 0
        self.sender = sender
        self.arrivalMs = arrivalMs
        self.answer = answer
    }
}

extension IngestCore {
    /// Offers what is left of a delivery; `false` if the sink is out of credit, then call it again later.
    ///
    /// A request that is too large for one offer goes in pieces. If it is given up in the middle, its sender sends
    /// it again, and what had been taken is dropped as `duplicate`.
    func deliver(_ delivery: inout Delivery) -> Bool {
        while delivery.taken < delivery.batches.count {
            let end = min(delivery.taken + limits.batchesPerOffer, delivery.batches.count)
            let isAll = end - delivery.taken == delivery.batches.count
            let batches = isAll ? delivery.batches : Array(delivery.batches[delivery.taken..<end])
            guard sink.offer(batches) == .accepted else { return false }
            delivery.taken = end
        }
        if let newestMs = delivery.newestMs {
            sink.observed(
                sender: delivery.sender, stream: stream, oldestMs: delivery.oldestMs ?? newestMs,
                newestMs: newestMs, arrivalMs: delivery.arrivalMs)
        }
        if delivery.rejected.received > 0 { account(delivery.rejected, stream) }
        if !delivery.events.isEmpty { events.emit(delivery.events) }
        metrics.samples.add(Int64(delivery.sampleCount))
        return true
    }
}
