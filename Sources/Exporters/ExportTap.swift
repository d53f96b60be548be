public import Simulation
import Synchronization
public import Telemetry

/// Stands between a run and the core, and shows each tick to whoever exports the run: what they serve is what the core
/// aggregates. It never waits for them.
public final class ExportTap: FleetSink {
    private let sink: any FleetSink
    private let taps = Mutex<[String: any TickTaker]>([:])

    public init(into sink: any FleetSink) { self.sink = sink }

    public func offer(_ tick: any FleetTick, stream: StreamIndex, done: @escaping @Sendable () -> Void) {
        if let tick = tick as? SimulatedTick {
            for taker in taps.withLock({ Array($0.values) }) { taker.take(tick) }
        }
        sink.offer(tick, stream: stream, done: done)
    }

    public func add(_ taker: any TickTaker, name: String) { taps.withLock { $0[name] = taker } }
    public func remove(name: String) { taps.withLock { $0[name] = nil } }
}

/// Gets the ticks of a run, on the run's queue: it must neither wait nor work long.
public protocol TickTaker: AnyObject, Sendable {
    func take(_ tick: SimulatedTick)
}

/// What an export has done so far.
public struct ExportCounts: Sendable, Equatable {
    /// Pages that were asked for, or requests that were sent.
    public var requests: Int64 = 0
    public var samples: Int64 = 0
    public var bytes: Int64 = 0
    /// Pages that a silent node did not answer, or requests that failed.
    public var failed: Int64 = 0
    /// Ticks that were not sent, because the one before was still on its way.
    public var dropped: Int64 = 0
    public var lastError: String?

    public init() {}
}
