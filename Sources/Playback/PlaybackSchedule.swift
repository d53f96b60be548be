/// Decides which tick is due when: the pace, the pauses and what is on its way, without any queue or clock.
struct PlaybackSchedule: Sendable {
    enum State: Sendable, Equatable { case running, paused, stopped, finished }

    enum Action: Equatable {
        /// Plays the tick of that time; `played` is implied, `completed` follows when the sink is done.
        case play(timeMs: Int64)
        /// Nothing is due before then.
        case wait(untilNs: Int64)
        /// Paused, or enough is on its way: something else will call again.
        case rest
        /// All is over, and all is delivered.
        case end
    }

    /// Ticks that the sink may be working on.
    static let inFlightMax = 2

    let startMs: Int64
    let endMs: Int64
    private(set) var state = State.running
    private(set) var pace: Pace
    private(set) var tickMs: Int64
    private(set) var inFlight = 0
    private(set) var nextMs: Int64
    private(set) var lastMs: Int64?
    /// Nothing is played beyond this; who shares a run is told how far.
    private var throughMs = Int64.max
    /// What is still to come, in order.
    private var turns: [PlaybackTurn] = []
    /// A turn has let it stand, and another will let it go on.
    private(set) var stands = false
    /// Turns that came after a tick that they were to change.
    private(set) var missedTurns = 0
    /// At `anchorNs` the run stood (or should have stood) at `anchorMs`.
    private var anchorNs: Int64
    private var anchorMs: Double

    /// - Parameter firstMs: the first tick is the first on the grid that is not before this.
    init(startMs: Int64, endMs: Int64, firstMs: Int64, pace: Pace, tickMs: Int64, nowNs: Int64) {
        self.startMs = startMs
        self.endMs = endMs
        self.pace = pace
        self.tickMs = tickMs
        let offset = max(0, firstMs - startMs)
        nextMs = startMs + (offset + tickMs - 1) / tickMs * tickMs
        anchorNs = nowNs
        anchorMs = Double(nextMs)
    }

    /// Adds what is to come, behind what is known of it.
    mutating func follow(_ more: [PlaybackTurn], throughMs: Int64) {
        turns += more
        self.throughMs = throughMs
    }

    mutating func next(nowNs: Int64) -> Action {
        while state == .running, let turn = turns.first, nextMs > turn.atMs { take(turn) }
        switch state {
        case .stopped, .finished: return inFlight == 0 ? .end : .rest
        case .paused: return .rest
        case .running: break
        }
        guard nextMs <= endMs else {
            guard inFlight == 0 else { return .rest }
            state = .finished
            return .end
        }
        guard inFlight < Self.inFlightMax, !stands, nextMs <= throughMs else { return .rest }
        if let dueNs, dueNs > nowNs { return .wait(untilNs: dueNs) }
        let timeMs = nextMs
        inFlight += 1
        lastMs = timeMs
        nextMs = grid(after: timeMs)
        return .play(timeMs: timeMs)
    }

    mutating func completed() { inFlight -= 1 }

    mutating func pause(nowNs: Int64) {
        guard state == .running else { return }
        anchor(nowNs)
        state = .paused
    }

    mutating func resume(nowNs: Int64) {
        guard state == .paused else { return }
        anchorNs = nowNs
        state = .running
    }

    mutating func stop() {
        if state != .finished { state = .stopped }
    }

    /// From where the run stands now; what it was behind is forgiven.
    mutating func change(_ pace: Pace, tickMs: Int64, nowNs: Int64) {
        if state == .running { anchor(nowNs) }
        self.pace = pace
        self.tickMs = tickMs
        if let lastMs { nextMs = grid(after: lastMs) }
    }

    private mutating func take(_ turn: PlaybackTurn) {
        turns.removeFirst()
        if let lastMs, lastMs > turn.atMs { missedTurns += 1 }
        if turn.stops { return state = .stopped }
        pace = turn.pace
        tickMs = turn.tickMs
        stands = turn.stands
        // By the turn's time and not by the last tick, so that whoever takes it plays the same ticks.
        let fromMs = max(turn.atMs, lastMs ?? turn.atMs)
        nextMs = fromMs < startMs ? startMs : grid(after: fromMs)
        (anchorNs, anchorMs) = (turn.anchorNs, Double(turn.atMs))
    }

    /// How long the next tick has been due, nanoseconds.
    func lagNs(nowNs: Int64) -> Int64 {
        guard state == .running, !stands, nextMs <= endMs, let dueNs else { return 0 }
        return max(0, nowNs - dueNs)
    }

    /// When the next tick is due; `nil` at once.
    private var dueNs: Int64? {
        guard case .times(let factor) = pace else { return nil }
        let wait = (Double(nextMs) - anchorMs) / factor * 1e6
        return wait < 9e18 ? anchorNs &+ Int64(wait) : .max
    }

    /// Sets the anchor at the present position: between the last tick and the next.
    private mutating func anchor(_ nowNs: Int64) {
        var position = Double(lastMs ?? nextMs)
        if case .times(let factor) = pace, lagNs(nowNs: nowNs) == 0 {
            position = max(position, anchorMs + Double(nowNs - anchorNs) / 1e6 * factor)
        }
        anchorMs = min(position, Double(nextMs))
        anchorNs = nowNs
    }

    private func grid(after timeMs: Int64) -> Int64 {
        startMs + ((timeMs - startMs) / tickMs + 1) * tickMs
    }
}
