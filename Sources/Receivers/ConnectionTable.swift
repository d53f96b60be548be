import NIOCore
import Synchronization
import Telemetry

/// The open connections of a server, up to a limit.
final class ConnectionTable: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        /// Those that have not asked for anything yet.
        var silent: Set<ObjectIdentifier> = []
        var isStopping = false
    }

    private let state = Mutex(State())
    private let limit: Int
    private let gauge: Gauge

    init(limit: Int, gauge: Gauge) {
        self.limit = limit
        self.gauge = gauge
    }

    var count: Int { state.withLock { $0.channels.count } }

    /// `false` if there is no room. Channels leave the table by themselves when they are closed.
    func add(_ channel: any Channel) -> Bool {
        let key = ObjectIdentifier(channel)
        let isIn = state.withLock { state in
            guard !state.isStopping, state.channels.count < limit else { return false }
            state.channels[key] = channel
            state.silent.insert(key)
            gauge.set(Double(state.channels.count))
            return true
        }
        guard isIn else { return false }
        channel.closeFuture.whenComplete { [self] _ in
            state.withLock { state in
                state.channels[key] = nil
                state.silent.remove(key)
                gauge.set(Double(state.channels.count))
            }
        }
        return true
    }

    /// The head of its first request has come.
    func spoke(_ channel: any Channel) {
        state.withLock { _ = $0.silent.remove(ObjectIdentifier(channel)) }
    }

    /// Whether somebody is connected who has not asked for anything yet.
    var hasSilent: Bool { state.withLock { !$0.silent.isEmpty } }

    /// Lets nobody in any more, and returns who is there.
    func stop() -> [any Channel] {
        state.withLock { state in
            state.isStopping = true
            return Array(state.channels.values)
        }
    }
}

/// Memory for the bodies of all connections of a server together.
final class BodyBudget: Sendable {
    private let used = Atomic<Int>(0)
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    func take(_ bytes: Int) -> Bool {
        let (_, now) = used.add(bytes, ordering: .relaxed)
        if now <= limit { return true }
        used.subtract(bytes, ordering: .relaxed)
        return false
    }

    func give(_ bytes: Int) { used.subtract(bytes, ordering: .relaxed) }
}
