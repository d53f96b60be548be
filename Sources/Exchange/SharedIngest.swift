public import Telemetry

/// The way of what a worker ingests onto the bus: takes the shares of its shards off their way to the roller, and holds
/// each closing until its windows are stored by the brokers. Only then does the worker's own store hear of it, without
/// the columns; so what a killed worker had not told is still in its ingest log.
public final class SharedIngest: Sendable {
    private struct Held {
        var close: WindowClose
        /// How many windows must be stored before it goes on.
        var needed: UInt64
        var done: @Sendable () -> Void
    }

    private struct State {
        var book: OriginBook
        var shell: NodeShell<OriginMachine>?
        /// Before there is a shell.
        var waiting: [OriginWindow] = []
        var added: UInt64 = 0
        var held: [Held] = []
        /// Somebody hands over; closings keep their order.
        var isHandingOver = false
    }

    public let fleet: FleetMap
    private let reviseMs: Int64
    private let topology: Topology
    private let sink: any SummarySink
    private let state: Locked<State>

    /// - Parameters:
    ///   - topology: of the stream that is shared.
    ///   - sink: keeps where the stream stands.
    public init(fleet: FleetMap, topology: Topology, reviseMs: Int64, sink: any SummarySink) {
        self.fleet = fleet
        self.topology = topology
        self.reviseMs = reviseMs
        self.sink = sink
        state = Locked(State(book: OriginBook(fleet: fleet)))
    }

    /// The brokers are reached: what waits is published by this machine.
    public func publish(through shell: NodeShell<OriginMachine>) {
        state.withLock { state in
            state.shell = shell
            for window in state.waiting { shell.withMachine { $0.add(window) } }
            state.waiting = []
        }
    }

    public var status: OriginStatus {
        state.withLock { state in
            var status = state.shell?.withMachine { $0.status } ?? OriginStatus()
            status.waiting += state.waiting.count
            return status
        }
    }

    /// Windows that are kept for revisions, and late shares of others.
    public var book: (kept: Int, tooLate: UInt64) { state.withLock { ($0.book.count, $0.book.tooLate) } }

    /// A share on its way to the roller: what is left of it there.
    func take(_ partial: WindowPartial) -> WindowPartial {
        guard !partial.isLast else { return partial }
        let snapshot = topology.snapshot()
        state.withLock { $0.book.add(partial, snapshot) }
        var rest = WindowPartial(
            stream: partial.stream, shard: partial.shard, startMs: partial.startMs,
            resolutionMs: partial.resolutionMs)
        rest.sampleCount = partial.sampleCount
        rest.isLate = partial.isLate
        return rest
    }

    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        var lean = close
        lean.windows = close.windows.filter { $0.resolutionMs == fleet.windowMs }
        let numbers = lean.windows.map {
            (fleet.window(startingMs: $0.startMs) ?? 0, $0.coverage, close.nodes[$0.startMs] ?? WindowNodes())
        }
        for index in lean.windows.indices {
            lean.windows[index].levels = []
            lean.windows[index].timeline = nil
        }
        let lastMs = close.closedThroughMs - reviseMs
        state.withLock { state in
            for (window, coverage, more) in numbers {
                let whole = state.book.take(
                    window, coverage: coverage, topology: close.topology, more: more)
                state.added += 1
                if let shell = state.shell {
                    shell.withMachine { $0.add(whole) }
                } else {
                    state.waiting.append(whole)
                }
            }
            state.book.forget(before: fleet.lastWindow(endedMs: lastMs))
            state.held.append(Held(close: lean, needed: state.added, done: done))
        }
        tick()
    }

    /// Ten times a second: publishes on, and lets go of closings that are stored.
    public func tick() {
        state.withLock { $0.shell }?.tick()
        let isMine = state.withLock { state in
            defer { state.isHandingOver = true }
            return !state.isHandingOver
        }
        guard isMine else { return }
        while let next = takeStored() { sink.commit(next.close, done: next.done) }
    }

    private func takeStored() -> Held? {
        state.withLock { state in
            let published = state.shell?.withMachine { $0.status.published } ?? 0
            if let first = state.held.first, first.needed <= published { return state.held.removeFirst() }
            state.isHandingOver = false
            return nil
        }
    }
}
