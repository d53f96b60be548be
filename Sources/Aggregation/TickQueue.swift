import Telemetry

/// The ticks of a fleet that were offered: one at a time goes through the shards, and nobody is told that his tick
/// is done while closings are behind, so that a fast simulation waits for the sink.
struct TickQueue {
    struct Offered: Sendable {
        var tick: any FleetTick
        var done: @Sendable () -> Void
    }

    /// From `next` on; those before are gone.
    private var waiting: [Offered?] = []
    private var next = 0
    private var running: Offered?
    /// Gone through the shards, but held back.
    private var held: [@Sendable () -> Void] = []
    /// Starts of windows that ticks fell into and that are not closed.
    private var ticked: Set<Int64> = []
    private var count = 0
    private(set) var hasSeenAny = false

    var isBusy: Bool { running != nil || next < waiting.count }
    var firstTickedMs: Int64? { ticked.min() }
    var lastTickedMs: Int64? { ticked.max() }

    mutating func append(_ offered: Offered) {
        hasSeenAny = true
        waiting.append(offered)
    }

    /// The tick that goes through the shards next, with its number.
    mutating func start() -> (tick: any FleetTick, number: Int)? {
        guard running == nil, held.isEmpty, next < waiting.count, let offered = waiting[next] else {
            return nil
        }
        waiting[next] = nil
        next += 1
        if next == waiting.count { (waiting, next) = ([], 0) }
        running = offered
        count += 1
        return (offered.tick, count - 1)
    }

    mutating func finished() {
        if let running { held.append(running.done) }
        running = nil
    }

    mutating func release() -> [@Sendable () -> Void] {
        defer { held = [] }
        return held
    }

    mutating func noteTicked(_ startMs: Int64) { ticked.insert(startMs) }

    mutating func takeTicked(_ isOver: (Int64) -> Bool) -> [Int64] {
        let over = ticked.filter(isOver)
        ticked.subtract(over)
        return over.sorted()
    }
}

extension StreamControl {
    func offer(_ tick: any FleetTick, done: @escaping @Sendable () -> Void) {
        state.withLock { state in
            precondition(!state.hasSeries, "a stream is fed by ticks or by samples, not by both")
            state.ticks.append(.init(tick: tick, done: done))
            startTick(&state)
        }
    }

    private func startTick(_ state: inout State) {
        guard let (tick, number) = state.ticks.start() else { return }
        let plan = shared.spec.plan
        if tick.timeMs >= max(0, state.sealedThroughMs ?? 0) {
            state.ticks.noteTicked(plan.start(tick.timeMs))
            advance(&state, toMs: tick.timeMs)
        }
        let every = Int64(max(1, shared.spec.sketchEvery))
        let place = shared.spec.tickMs.map { floorMultiple(tick.timeMs, $0) / $0 } ?? Int64(number)
        let run = TickRun(
            tick, topology: shared.topology.snapshot(), jobs: tick.jobs.map { shared.jobNames.number($0) },
            feedsSketches: place % every == 0, shardCount: shards.count
        ) { [self] in tickFinished() }
        for shard in shards { shard.run(run, shared.index) }
    }

    private func tickFinished() {
        let released = state.withLock { state in
            state.ticks.finished()
            return releaseTicks(&state)
        }
        for done in released { done() }
        roller.poke()
    }

    /// Lets those go whose ticks are done, unless closings are behind; and starts the next tick.
    func releaseTicks(_ state: inout State) -> [@Sendable () -> Void] {
        // One step on its way is as it should be; a second one waiting is not.
        guard unclosedCount(state) <= 1 else { return [] }
        let released = state.ticks.release()
        startTick(&state)
        return released
    }
}
