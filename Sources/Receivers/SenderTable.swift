import Synchronization
public import Telemetry

/// Numbers those who deliver samples: by listener and peer address, without the port.
///
/// What a request says about itself is not asked: a sender's name decides whose watermark its samples move.
public final class SenderTable: Sendable {
    private struct State {
        var numbers: [String: SenderID] = [:]
        var names: [String] = []
    }

    private let state = Mutex(State())
    private let sendersMax: Int

    public init(sendersMax: Int = ReceiverLimits().senders) { self.sendersMax = sendersMax }

    /// The number of a sender, or `nil` when there are too many.
    public func number(listener: String, peer: String) -> SenderID? {
        number(name: listener + "/" + peer)
    }

    /// The number of a sender by the name that it has here.
    public func number(name: String) -> SenderID? {
        state.withLock { state in
            if let known = state.numbers[name] { return known }
            guard state.names.count < sendersMax else { return nil }
            let number = SenderID(rawValue: UInt32(state.names.count))
            state.numbers[name] = number
            state.names.append(name)
            return number
        }
    }

    /// The name behind a number that this table has given out: `ingest/10.0.0.7`.
    public func name(_ sender: SenderID) -> String? {
        state.withLock {
            $0.names.indices.contains(Int(sender.rawValue)) ? $0.names[Int(sender.rawValue)] : nil
        }
    }

    public var count: Int { state.withLock { $0.names.count } }
}
