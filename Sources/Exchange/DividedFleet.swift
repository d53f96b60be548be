public import Telemetry

/// Works out the windows of some slices from the ticks of a fleet: a core with the racks of these slices.
public struct SlicePlayer: Sendable {
    let windows: ClosedWindows
    /// Takes ticks in their order, also while others are under way.
    public let core: any FleetSink
    private let stream: StreamIndex
    private let end: @Sendable () -> Void

    /// - Parameters:
    ///   - windows: where the core publishes what it closes.
    ///   - stop: ends the stream of the core; each tick that was offered is done all the same.
    public init(
        _ windows: ClosedWindows, core: any FleetSink, stream: StreamIndex,
        stop: @escaping @Sendable () -> Void
    ) {
        self.windows = windows
        self.core = core
        self.stream = stream
        end = stop
    }

    func offer(_ tick: any FleetTick, done: @escaping @Sendable () -> Void) {
        core.offer(tick, stream: stream, done: done)
    }

    func stop() { end() }
}

/// A simulated fleet as a worker plays it: telemetry is worked out of the slices that it holds, and of no others.
///
/// A tick says of all nodes how they are, which is little work; the values of GPUs are made of it where somebody wants
/// them. Ticks are kept until their windows are in finals. Whoever takes a slice over plays it from the ticks that are
/// kept, after one that says what its GPUs had told before (`LastTold`): so it has the windows that are missing, with the
/// same bytes, as if it had played the slice from the beginning.
///
/// What is taken gets a player of its own, and who has others goes on with them meanwhile. Once slices have come to rest,
/// one player takes the place of all, as soon as it is as far.
public final class DividedFleet: PartialSource, FleetSink {
    private struct State {
        /// The oldest first: that one has a slice until a later one is as far.
        var shares: [Share] = []
        var held: Set<Int> = []
        /// No slices have come or gone since windows were last in finals.
        var isAtRest = false
        /// Of windows that are in no finals, in order.
        var ticks: [Kept] = []
        var bytes = 0
        /// Of those before.
        var past = LastTold()
        /// Number of the last window that is in the finals of all partitions.
        var settled: Int64 = -1
        /// Number of the last window that all ticks have come of.
        var ended: Int64 = -1
        var waiting: [@Sendable () -> Void] = []
        var isStopped = false

        func player(of slice: Int) -> SlicePlayer? {
            guard held.contains(slice) else { return nil }
            return shares.first { $0.slices.contains(slice) }?.player
        }
    }

    private struct Kept {
        var tick: any FleetTick
        var bytes: Int
    }

    private struct Share {
        var slices: Set<Int>
        var player: SlicePlayer
    }

    /// Besides one that takes the place of all.
    public static let playersMax = 4
    /// With more windows to play again, players stay as they are.
    private static let restWindowsMax: Int64 = 8

    public let fleet: FleetMap
    private let windowsMax: Int
    private let bytesMax: Int
    private let make: @Sendable (_ slices: Set<Int>) -> SlicePlayer
    private let state = Locked(State())

    /// - Parameters:
    ///   - windowsMax: windows that are kept at most, besides one that is being played; the fleet waits for room.
    ///   - bytesMax: what ticks behind two windows may take at most, by `FleetTick.bytes`.
    ///   - make: what works out some slices.
    public init(
        _ fleet: FleetMap, windowsMax: Int = 64, bytesMax: Int = .max,
        _ make: @escaping @Sendable (_ slices: Set<Int>) -> SlicePlayer
    ) {
        self.fleet = fleet
        self.windowsMax = windowsMax
        self.bytesMax = bytesMax
        self.make = make
    }

    // MARK: Ticks

    public func offer(_ tick: any FleetTick, stream: StreamIndex, done: @escaping @Sendable () -> Void) {
        let ended = fleet.lastWindow(endedMs: tick.timeMs)
        let players = state.withLock { state in
            state.ended = max(state.ended, ended)
            if ended + 1 > state.settled { keep(tick, &state) } else { state.past.take(tick) }
            return state.shares.map(\.player)
        }
        let countdown = Countdown(players.count) { [self] in admit(done) }
        for player in players { player.offer(tick) { countdown.pass() } }
    }

    private func keep(_ tick: any FleetTick, _ state: inout State) {
        let isShared = (state.ticks.last?.tick ?? state.past.last).map(tick.isUnchanged(since:)) ?? false
        let kept = Kept(tick: tick, bytes: isShared ? 0 : tick.bytes)
        state.ticks.append(kept)
        state.bytes += kept.bytes
    }

    /// The next tick waits until there is room for it.
    private func admit(_ done: @escaping @Sendable () -> Void) {
        let isFree = state.withLock { state in
            if hasRoom(state) { return true }
            state.waiting.append(done)
            return false
        }
        if isFree { done() }
    }

    private func hasRoom(_ state: State) -> Bool {
        let windows = state.ended - state.settled
        return state.isStopped || windows < windowsMax && (windows < 2 || state.bytes < bytesMax)
    }

    /// Everything up to this window is in finals.
    public func settle(through window: Int64) {
        let window = min(window, FleetMap.windowNumberMax)
        let (players, gone, waiting) = state.withLock { state in
            guard window > state.settled else {
                return ([SlicePlayer](), [SlicePlayer](), [@Sendable () -> Void]())
            }
            state.settled = window
            let count = state.ticks.firstIndex { fleet.lastWindow(endedMs: $0.tick.timeMs) + 1 > window }
            for kept in state.ticks.prefix(count ?? state.ticks.count) {
                state.past.take(kept.tick)
                state.bytes -= kept.bytes
            }
            state.ticks.removeFirst(count ?? state.ticks.count)
            let gone = rest(&state)
            let players = state.shares.map(\.player)
            guard hasRoom(state) else { return (players, gone, []) }
            defer { state.waiting = [] }
            return (players, gone, state.waiting)
        }
        for player in players { player.windows.settle(through: window) }
        for player in gone { player.stop() }
        for body in waiting { body() }
    }

    /// Nobody waits any more.
    public func stop() {
        let (players, waiting) = state.withLock { state in
            state.isStopped = true
            defer { (state.shares, state.held, state.waiting, state.ticks) = ([], [], [], []) }
            return (state.shares.map(\.player), state.waiting)
        }
        for player in players { player.stop() }
        for body in waiting { body() }
    }

    // MARK: Slices

    public func hold(_ slices: Set<Int>) {
        let gone = state.withLock { state in
            guard !state.isStopped, slices != state.held else { return [SlicePlayer]() }
            state.held = slices
            state.isAtRest = false
            var gone = state.shares.filter { $0.slices.isDisjoint(with: slices) }
            state.shares.removeAll { $0.slices.isDisjoint(with: slices) }
            if !missing(state).isEmpty {
                if state.shares.count >= Self.playersMax,
                    let least = state.shares.indices.min(by: { count(state, $0) < count(state, $1) })
                {
                    gone.append(state.shares.remove(at: least))
                }
                play(missing(state), &state)
            }
            return gone.map(\.player)
        }
        for player in gone { player.stop() }
    }

    private func missing(_ state: State) -> Set<Int> {
        state.shares.reduce(into: state.held) { $0.subtract($1.slices) }
    }

    private func count(_ state: State, _ share: Int) -> Int {
        state.shares[share].slices.intersection(state.held).count
    }

    /// By a player that has what is kept. Under the lock, so that what comes now comes behind that.
    private func play(_ slices: Set<Int>, _ state: inout State) {
        let player = make(slices)
        player.windows.settle(through: state.settled)
        if let past = state.past.tick { player.offer(past) {} }
        for kept in state.ticks { player.offer(kept.tick) {} }
        state.shares.append(Share(slices: slices, player: player))
    }

    /// Windows have come into finals: little is kept now, so that another player is soon as far as those that there are.
    ///
    /// - Returns: who is not needed any more.
    private func rest(_ state: inout State) -> [SlicePlayer] {
        var gone: [SlicePlayer] = []
        var index = 0
        while index < state.shares.count {
            let share = state.shares[index]
            let through = share.player.windows.lastReadyWindow()
            var only = share.slices.intersection(state.held)
            for later in state.shares[(index + 1)...] where later.player.windows.lastReadyWindow() >= through
            {
                only.subtract(later.slices)
            }
            if only.isEmpty { gone.append(state.shares.remove(at: index).player) } else { index += 1 }
        }
        let isCalm = state.isAtRest && state.ended - state.settled <= Self.restWindowsMax
        if isCalm, state.shares.count <= Self.playersMax, let last = state.shares.last,
            last.slices != state.held
        {
            play(state.held, &state)
        }
        state.isAtRest = true
        return gone
    }

    public func lastReadyWindow(slice: Int) -> Int64 {
        state.withLock { max($0.settled, $0.player(of: slice)?.windows.lastReadyWindow() ?? -1) }
    }

    public func firstKeptWindow() -> Int64 { state.withLock { $0.settled + 1 } }

    public func groups(slice: Int, window: Int64) -> [PartialGroup] {
        state.withLock { $0.player(of: slice)?.windows }?.groups(slice: slice, window: window) ?? []
    }

    // MARK: For those who look on

    /// The last window of which all is worked out that is held, or that is in finals.
    public var lastReadyWindow: Int64 {
        state.withLock { state in
            var left = state.held
            var ready = state.ended
            for share in state.shares where !left.isDisjoint(with: share.slices) {
                left.subtract(share.slices)
                ready = min(ready, share.player.windows.lastReadyWindow())
            }
            return max(ready, state.settled)
        }
    }

    /// How far others may take it that the fleet is played, of a member whose ticks have come up to a time: who works
    /// nothing out would be far ahead of those who do.
    public func progressMs(_ playedMs: Int64) -> Int64 {
        state.withLock { $0.held.isEmpty ? min(playedMs, fleet.windowEndMs($0.settled + 2)) : playedMs }
    }

    /// Windows that are kept.
    public var count: Int { state.withLock { Int(max(0, $0.ended - $0.settled)) } }

    /// Whether the next window after the settled ones is there, or will be soon: before, a worker has nothing to give.
    public var hasCaughtUp: Bool { state.withLock { $0.ended >= $0.settled } }

    /// Slices that are worked out: those that are held, and until slices have come to rest, some that were.
    public var playedCount: Int {
        state.withLock { $0.shares.reduce(into: Set<Int>()) { $0.formUnion($1.slices) }.count }
    }

    public var players: [SlicePlayer] { state.withLock { $0.shares.map(\.player) } }
}

/// Calls something once it was passed so many times.
private final class Countdown: Sendable {
    private let left: Locked<Int>
    private let body: @Sendable () -> Void

    init(_ count: Int, _ body: @escaping @Sendable () -> Void) {
        left = Locked(count)
        self.body = body
        if count == 0 { body() }
    }

    func pass() {
        let isLast = left.withLock { left in
            left -= 1
            return left == 0
        }
        if isLast { body() }
    }
}
