import Dispatch
import Exchange
import NATSExchange
import Telemetry

// What the brokers know of the run that the members share.
extension ClusterNode {
    /// What the first member has written down, or what we write down as the first.
    static func agree(
        _ own: ClusterAgreement, _ map: FleetMap, _ bus: NATSBus
    ) throws -> ClusterAgreement {
        let subject = map.agreementSubject
        for _ in 0..<10 {
            if let known = try bus.lastNow(.leases, subject) {
                guard let other = ClusterAgreement(known.bytes) else {
                    throw BusError.failed("what the cluster has agreed upon cannot be read")
                }
                if let difference = own.difference(from: other) {
                    throw BusError.failed("the cluster plays another run: \(difference)")
                }
                return other
            }
            let stored = bus.waiting { bus.compareAndSet(subject, own.bytes, expecting: 0, done: $0) }
            if try Self.isStored(stored) { return own }
        }
        throw BusError.ambiguous
    }

    /// Whether it is; if not, only reading tells what is there instead. Throws what asking again does not change.
    private static func isStored(_ answer: Result<UInt64, BusError>) throws -> Bool {
        switch answer {
        case .success: return true
        case .failure(.conflict), .failure(.ambiguous), .failure(.unavailable): return false
        case .failure(let error): throw error
        }
    }

    /// From now on nobody joins who could not follow what is asked of the run.
    func closeToOthers(_ map: FleetMap) async throws {
        let bus = try await broker()
        try await onQueue {
            for _ in 0..<10 {
                guard let known = try bus.lastNow(.leases, map.agreementSubject),
                    var agreement = ClusterAgreement(known.bytes)
                else { throw BusError.failed("what the cluster has agreed upon is gone, or cannot be read") }
                guard agreement.v < ClusterAgreement.controlled else { return }
                agreement.v = ClusterAgreement.controlled
                let bytes = agreement.bytes
                let stored = bus.waiting {
                    bus.compareAndSet(map.agreementSubject, bytes, expecting: known.sequence, done: $0)
                }
                if try Self.isStored(stored) { return }
            }
            throw BusError.ambiguous
        }
    }

    /// Number of the last window that all partitions have closed; -1 before.
    static func closedThrough(_ map: FleetMap, _ bus: NATSBus) throws -> Int64 {
        var least = Int64.max
        for partition in 0..<map.partitions {
            let last = try bus.lastNow(.finals, map.finalSubject(partition))
            guard let last, let final = try? FinalRecord(decoding: last.bytes) else { return -1 }
            guard final.fleet == map.fingerprint else {
                throw BusError.failed(
                    "the brokers hold windows of another fleet; give the cluster a new name")
            }
            least = min(least, final.window)
        }
        return least
    }
}

extension Bus {
    /// Waits for an answer, on a thread that may.
    func waiting<Value: Sendable>(
        _ body: (@escaping @Sendable (Result<Value, BusError>) -> Void) -> Void
    ) -> Result<Value, BusError> {
        let arrived = DispatchSemaphore(value: 0)
        let answer = Locked<Result<Value, BusError>>(.failure(.ambiguous))
        body { result in
            answer.withLock { $0 = result }
            arrived.signal()
        }
        arrived.wait()
        return answer.withLock { $0 }
    }

    func lastNow(_ stream: BusStream, _ subject: Subject) throws(BusError) -> StoredMessage? {
        try waiting { last(stream, subject, done: $0) }.get()
    }
}
