import Playback
import Synchronization
import Telemetry

/// Takes ticks and events and remembers them; answers at once, or when it is told to.
final class RecordingSink: FleetSink, EventSink {
    struct Seen: Equatable {
        var timeMs: Int64
        /// The values of everything that reports, folded together.
        var fingerprint: UInt64
    }

    private struct State {
        var ticks: [Seen] = []
        var events: [Event] = []
        /// What came first: events are marked with their number at that time.
        var eventsBeforeTick: [Int] = []
        var held: [@Sendable () -> Void] = []
        var endings: [RunStatus] = []
    }

    private let state = Mutex(State())
    private let holds: Bool

    init(holds: Bool = false) { self.holds = holds }

    var ticks: [Seen] { state.withLock { $0.ticks } }
    var times: [Int64] { ticks.map(\.timeMs) }
    var events: [Event] { state.withLock { $0.events } }
    var eventsBeforeTick: [Int] { state.withLock { $0.eventsBeforeTick } }
    var endings: [RunStatus] { state.withLock { $0.endings } }
    var heldCount: Int { state.withLock { $0.held.count } }

    func offer(_ tick: any FleetTick, stream: StreamIndex, done: @escaping @Sendable () -> Void) {
        let seen = Seen(timeMs: tick.timeMs, fingerprint: Self.fingerprint(tick))
        state.withLock {
            $0.ticks.append(seen)
            $0.eventsBeforeTick.append($0.events.count)
            if holds { $0.held.append(done) }
        }
        if !holds { done() }
    }

    func emit(_ events: [Event]) { state.withLock { $0.events += events } }

    func ended(_ status: RunStatus) { state.withLock { $0.endings.append(status) } }

    /// Finishes the oldest tick that is held.
    func release() {
        let done = state.withLock { $0.held.isEmpty ? nil : $0.held.removeFirst() }
        done?()
    }

    private static func fingerprint(_ tick: any FleetTick) -> UInt64 {
        var values = [Double](repeating: 0, count: tick.fields.count * 64)
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for rack in 0..<tick.rackCount {
            var span = values.mutableSpan
            let result = tick.fill(rack: rack, into: &span)
            hash = (hash ^ result.expected ^ result.faulted) &* 0x100_0000_01b3
            for gpu in 0..<64 where result.reporting >> UInt64(gpu) & 1 == 1 {
                for field in tick.fields.indices {
                    hash = (hash ^ values[field * 64 + gpu].bitPattern) &* 0x100_0000_01b3
                }
            }
        }
        return hash
    }
}
