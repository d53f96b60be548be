public import Telemetry

/// Works out the windows of some slices from the ticks of a fleet: a core with the racks of these slices.
public protocol SlicePlayer: Sendable {
    var windows: ClosedWindows { get }
    /// Ticks come in their order, also while others are under way; `done` is called once for each, also behind `stop`.
    func offer(_ tick: any FleetTick, done: @escaping @Sendable () -> Void)
    func stop()
}

/// A simulated fleet as a worker plays it: telemetry is worked out of the slices that it holds, and of no others.
///
/// A tick says of all nodes how they are, which is little work; the values of GPUs are made of it where somebody wants
/// them. Ticks are kept until their windows are in finals. Whoever takes a slice over plays it from the ticks that are
/// kept, after one that says what its GPUs had told before (`LastTold`): so it has the windows that are missing, with the
/// same bytes, as if it had played the slice from the beginning.
public final class DividedFleet: PartialSource, FleetSink {
    private struct State {
        var shares: [Share] = []
        /// By slice.
        var players: [Int: any SlicePlayer] = [:]
        /// Of windows that are in no finals, in order.
        var ticks: [any FleetTick] = []
        /// Of those before.
        var past = LastTold()
        /// Number of the last window that is in the finals of all partitions.
        var settled: Int64 = -1
        /// Number of the last window that all ticks have come of.
        var ended: Int64 = -1
        var waiting: [@Sendable () -> Void] = []
        var isStopped = false
    }

    private struct Share {
        var slices: Set<Int>
        var player: any SlicePlayer
    }

    /// Leases come a few at a time. With more players than that, one takes over what all have.
    public static let playersMax = 8

    public let fleet: FleetMap
    private let windowsMax: Int
    private let ticksMax: Int
    private let make: @Sendable (_ slices: Set<Int>) -> any SlicePlayer
    private let state = Locked(State())

    /// - Parameters:
    ///   - windowsMax: windows that are kept at most, besides one that is being played; the fleet waits for room.
    ///   - ticksMax: of those, ticks that are kept at most, behind two windows.
    ///   - make: what works out some slices.
    public init(
        _ fleet: FleetMap, windowsMax: Int = 64, ticksMax: Int = .max,
        _ make: @escaping @Sendable (_ slices: Set<Int>) -> any SlicePlayer
    ) {
        self.fleet = fleet
        self.windowsMax = windowsMax
        self.ticksMax = ticksMax
        self.make = make
    }

    // MARK: Ticks

    public func offer(_ tick: any FleetTick, stream: StreamIndex, done: @escaping @Sendable () -> Void) {
        let ended = fleet.lastWindow(endedMs: tick.timeMs)
        let players = state.withLock { state in
            state.ended = max(state.ended, ended)
            if ended + 1 > state.settled { state.ticks.append(tick) } else { state.past.take(tick) }
            return state.shares.map(\.player)
        }
        let countdown = Countdown(players.count) { [self] in admit(done) }
        for player in players { player.offer(tick) { countdown.pass() } }
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
        return state.isStopped || windows < windowsMax && (windows < 2 || state.ticks.count < ticksMax)
    }

    /// Everything up to this window is in finals.
    public func settle(through window: Int64) {
        let (players, waiting) = state.withLock { state in
            guard window > state.settled else { return ([any SlicePlayer](), [@Sendable () -> Void]()) }
            state.settled = window
            let count = state.ticks.firstIndex { fleet.lastWindow(endedMs: $0.timeMs) + 1 > window }
            for tick in state.ticks.prefix(count ?? state.ticks.count) { state.past.take(tick) }
            state.ticks.removeFirst(count ?? state.ticks.count)
            let players = state.shares.map(\.player)
            guard hasRoom(state) else { return (players, []) }
            defer { state.waiting = [] }
            return (players, state.waiting)
        }
        for player in players { player.windows.settle(through: window) }
        for body in waiting { body() }
    }

    /// Nobody waits any more.
    public func stop() {
        let (players, waiting) = state.withLock { state in
            state.isStopped = true
            defer { (state.shares, state.players, state.waiting, state.ticks) = ([], [:], [], []) }
            return (state.shares.map(\.player), state.waiting)
        }
        for player in players { player.stop() }
        for body in waiting { body() }
    }

    // MARK: Slices

    public func hold(_ slices: Set<Int>) {
        let gone = state.withLock { state in
            guard !state.isStopped else { return [any SlicePlayer]() }
            let before = state.shares
            // Nobody plays what is not held.
            state.shares.removeAll { !$0.slices.isSubset(of: slices) }
            var new = slices
            for share in state.shares { new.subtract(share.slices) }
            if !new.isEmpty, state.shares.count >= Self.playersMax { (state.shares, new) = ([], slices) }
            if !new.isEmpty { state.shares.append(Share(slices: new, player: player(new, state))) }
            state.players = [:]
            for share in state.shares {
                for slice in share.slices { state.players[slice] = share.player }
            }
            return before.filter { old in !state.shares.contains { $0.slices == old.slices } }.map(\.player)
        }
        for player in gone { player.stop() }
    }

    /// One that has what is kept. Under the lock, so that what comes now comes behind that.
    private func player(_ slices: Set<Int>, _ state: State) -> any SlicePlayer {
        let player = make(slices)
        player.windows.settle(through: state.settled)
        if let past = state.past.tick { player.offer(past) {} }
        for tick in state.ticks { player.offer(tick) {} }
        return player
    }

    public func lastReadyWindow(slice: Int) -> Int64 {
        state.withLock { $0.players[slice]?.windows.lastReadyWindow() ?? -1 }
    }

    public func firstKeptWindow() -> Int64 { state.withLock { $0.settled + 1 } }

    public func groups(slice: Int, window: Int64) -> [PartialGroup] {
        state.withLock { $0.players[slice]?.windows }?.groups(slice: slice, window: window) ?? []
    }

    // MARK: For those who look on

    /// The last window of which all is worked out that is held.
    public var lastReadyWindow: Int64 {
        state.withLock { state in
            state.shares.reduce(state.ended) { min($0, $1.player.windows.lastReadyWindow()) }
        }
    }

    /// Windows that are kept.
    public var count: Int { state.withLock { Int(max(0, $0.ended - $0.settled)) } }

    /// Whether the next window after the settled ones is there, or will be soon: before, a worker has nothing to give.
    public var hasCaughtUp: Bool { state.withLock { $0.ended >= $0.settled } }

    /// Slices that are worked out.
    public var playedCount: Int { state.withLock { $0.players.count } }

    public var players: [any SlicePlayer] { state.withLock { $0.shares.map(\.player) } }
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
