public import Telemetry

/// The windows that a worker's shards have closed, until they are in finals: what its partials are made of.
///
/// The bus of a core that plays a shared run. What the shards publish is kept here, by slices; the core's roller is only
/// told that a closing is over. Whoever plays the run waits (`admit`) while there are as many windows as may be: a
/// simulated window is late at worst, and never lost.
public final class ClosedWindows: PartialBus, PartialSource {
    private struct State {
        var building: [Int64: WindowShares] = [:]
        var ready: [Int64: WindowShares] = [:]
        var lastReady: Int64 = -1
        var sharesDone = 0
        /// Number of the last window that is in the finals of all partitions.
        var settled: Int64 = -1
        var waiting: [@Sendable () -> Void] = []
    }

    public let fleet: FleetMap
    private let slices: FleetSlices
    private let topology: TopologySnapshot
    private let shardCount: Int
    private let windowsMax: Int
    private let roller = EmbeddedBus()
    private let state = Locked(State())

    /// - Parameters:
    ///   - topology: complete; the run's fleet does not grow beyond its plan.
    ///   - shardCount: of the core.
    ///   - windowsMax: windows that are kept at most, besides one that is being closed.
    public init(
        fleet: FleetMap, slices: FleetSlices, topology: TopologySnapshot, shardCount: Int,
        windowsMax: Int = 64
    ) {
        self.fleet = fleet
        self.slices = slices
        self.topology = topology
        self.shardCount = shardCount
        self.windowsMax = windowsMax
    }

    public func subscribe(_ handler: @escaping @Sendable (WindowPartial) -> Void) {
        roller.subscribe(handler)
    }

    public func publish(_ partial: WindowPartial) {
        guard partial.isLast else { return add(partial) }
        state.withLock { state in
            state.sharesDone += 1
            guard state.sharesDone == shardCount else { return }
            state.sharesDone = 0
            let last = fleet.lastWindow(endedMs: partial.startMs + partial.resolutionMs)
            for (window, shares) in state.building where window <= last {
                if window > state.settled { state.ready[window] = shares }
                state.building[window] = nil
            }
            state.lastReady = max(state.lastReady, last)
        }
        roller.publish(partial)
    }

    private func add(_ partial: WindowPartial) {
        guard !partial.isLate, let window = fleet.window(startingMs: partial.startMs) else { return }
        state.withLock { state in
            // One that is settled already needs no memory; it counts as ready all the same.
            guard window > state.settled else { return }
            state.building[window, default: WindowShares()].add(partial, slices, topology)
        }
    }

    public func lastReadyWindow() -> Int64 { state.withLock { $0.lastReady } }

    public func firstKeptWindow() -> Int64 {
        state.withLock { $0.settled == .max ? .max : $0.settled + 1 }
    }

    public func groups(slice: Int, window: Int64) -> [PartialGroup] {
        let shares = state.withLock { $0.ready[window] }
        return shares?.groups(slice: slice, topology) ?? []
    }

    /// Windows that are kept.
    public var count: Int { state.withLock { $0.ready.count } }

    /// Whether the next window after the settled ones is there, or will be soon: before, a worker has nothing to give.
    public var hasCaughtUp: Bool { state.withLock { $0.lastReady >= $0.settled } }

    /// Everything up to this window is in finals.
    public func settle(through window: Int64) {
        let waiting: [@Sendable () -> Void] = state.withLock { state in
            guard window > state.settled else { return [] }
            state.settled = window
            state.ready = state.ready.filter { $0.key > window }
            guard state.ready.count < windowsMax else { return [] }
            defer { state.waiting = [] }
            return state.waiting
        }
        for body in waiting { body() }
    }

    /// Calls `body` when there is room for another window; at once, mostly.
    public func admit(_ body: @escaping @Sendable () -> Void) {
        let isFree = state.withLock { state in
            if state.ready.count < windowsMax { return true }
            state.waiting.append(body)
            return false
        }
        if isFree { body() }
    }
}
