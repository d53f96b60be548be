import Dispatch
import Telemetry
import WireFormats

/// The bodies of a fleet, and others of some of them with the same series in another order.
struct Payloads {
    let payloads: [Payload]
    /// By the number of the payload.
    let others: [Int: Payload]

    init(_ options: IngestOptions) throws {
        let order = PayloadMaker.order(options.order, count: options.series / 160 * 160)
        let size = options.perRequest == 0 ? 160 : options.perRequest
        let parts = stride(from: 0, to: order.count, by: size).map { order[$0..<min($0 + size, order.count)] }
        let isVersion2 = options.version == 2
        payloads = Self.map(parts) { PayloadMaker.body($0, isVersion2: isVersion2) }
        let every = options.reorderEvery
        let mixed = every == 0 ? [] : stride(from: 0, to: parts.count, by: every).map { $0 }
        let bodies = Self.map(mixed) { number in
            PayloadMaker.body(PayloadMaker.shuffled(Array(parts[number]))[...], isVersion2: isVersion2)
        }
        others = Dictionary(uniqueKeysWithValues: zip(mixed, bodies))
        if let first = payloads.first {
            try Self.check(first, isVersion2, nodes: options.series / PayloadMaker.seriesPerNode)
        }
    }

    /// On all cores.
    private static func map<Part: Sendable>(
        _ parts: [Part], _ make: @Sendable (Part) -> Payload
    ) -> [Payload] {
        let made = Locked([Payload?](repeating: nil, count: parts.count))
        DispatchQueue.concurrentPerform(iterations: parts.count) { number in
            let body = make(parts[number])
            made.withLock { $0[number] = body }
        }
        return made.withLock { $0 }.compactMap { $0 }
    }

    /// A body that was set anew is a valid block and a valid message, all of whose samples have the new time and other
    /// values than before.
    private static func check(_ payload: Payload, _ isVersion2: Bool, nodes: Int) throws {
        var payload = payload
        var before: [UInt64] = []
        for (pass, timeMs) in [(3, Int64(1_700_000_000_123)), (4, 1_800_000_000_321)] {
            payload.set(Payload.Pass(pass, timeMs: timeMs, nodes: nodes, churnEvery: 2))
            let message = try Snappy.decode(payload.bytes, limit: 1 << 30)
            var request = WriteRequest()
            let hasher = IdentityHasher()
            if isVersion2 {
                try RemoteWrite2Decoder.decode(
                    message.span.bytes, hasher: hasher, salt: 0, samplesMax: .max, into: &request)
            } else {
                try RemoteWriteDecoder.decode(
                    message.span.bytes, hasher: hasher, salt: 0, samplesMax: .max, into: &request)
            }
            let values = request.samples.map { $0.value.bitPattern }
            guard values.count == payload.sampleCount, request.samples.allSatisfy({ $0.timeMs == timeMs }),
                zip(values, before).allSatisfy({ $0 != $1 })
            else { throw BenchError("a body that was made for the sender is not what it should be") }
            before = values
        }
    }
}
