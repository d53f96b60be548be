public import Telemetry

/// The windows that a core has closed of the slices it plays, until they are in finals: what a worker's partials are made of.
///
/// The bus of a core that plays a shared run. What the shards publish is kept here, by slices; the core's roller is only
/// told that a closing is over.
public final class ClosedWindows: PartialBus {
    private struct State {
        var building: [Int64: WindowShares] = [:]
        var ready: [Int64: WindowShares] = [:]
        var lastReady: Int64 = -1
        var sharesDone = 0
        /// Number of the last window that is in the finals of all partitions.
        var settled: Int64 = -1
    }

    public let fleet: FleetMap
    private let slices: FleetSlices
    private let topology: TopologySnapshot
    private let shardCount: Int
    private let roller = EmbeddedBus()
    private let state = Locked(State())

    /// - Parameters:
    ///   - topology: complete; the run's fleet does not grow beyond its plan.
    ///   - shardCount: of the core.
    public init(fleet: FleetMap, slices: FleetSlices, topology: TopologySnapshot, shardCount: Int) {
        self.fleet = fleet
        self.slices = slices
        self.topology = topology
        self.shardCount = shardCount
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

    /// The last window that is over, by its number.
    public func lastReadyWindow() -> Int64 { state.withLock { $0.lastReady } }

    /// A slice's share of a window that is over and in no finals.
    public func groups(slice: Int, window: Int64) -> [PartialGroup] {
        let shares = state.withLock { $0.ready[window] }
        return shares?.groups(slice: slice, topology) ?? []
    }

    /// Windows that are kept.
    public var count: Int { state.withLock { $0.ready.count } }

    /// Everything up to this window is in finals.
    public func settle(through window: Int64) {
        state.withLock { state in
            guard window > state.settled else { return }
            state.settled = window
            state.ready = state.ready.filter { $0.key > window }
        }
    }
}
