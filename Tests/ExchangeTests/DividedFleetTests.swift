import Exchange
import Synchronization
import Telemetry
import Testing

@Suite struct DividedFleetTests {
    /// Two racks with one field; a GPU's value is the tick's time and its number.
    struct Tick: FleetTick {
        var timeMs: Int64
        var reporting: [UInt64] = [0xff, 0xff]
        /// Of what it shares with others.
        var version = 0
        var bytes = 0
        var fields: [FieldIndex] { [.powerUsage] }
        var jobs: [String] { [] }
        var rackCount: Int { reporting.count }

        func isUnchanged(since earlier: any FleetTick) -> Bool {
            version > 0 && (earlier as? Tick)?.version == version
        }

        func fill(rack: Int, into values: inout MutableSpan<Double>) -> RackTick {
            var result = RackTick()
            result.expected = 0xff
            result.reporting = reporting[rack]
            for gpu in 0..<8 where result.reporting & (1 << UInt64(gpu)) != 0 {
                values[gpu] = Double(timeMs) + Double(rack * 8 + gpu) / 100
            }
            return result
        }
    }

    /// Writes down what it is given, and says at once that it is done.
    final class Player: FleetSink {
        struct Seen: Equatable { var timeMs: Int64, values: [[Int: Double]] }
        let slices: Set<Int>
        let windows: ClosedWindows
        let seen = Mutex<[Seen]>([])
        let isStopped = Mutex(false)

        init(_ slices: Set<Int>, _ windows: ClosedWindows) { (self.slices, self.windows) = (slices, windows) }

        var isPlaying: Bool { !isStopped.withLock { $0 } }
        var times: [Int64] { seen.withLock { $0.map(\.timeMs) } }

        /// Windows up to this one are worked out.
        func close(_ window: Int64) {
            var partial = WindowPartial(
                stream: StreamIndex(rawValue: 0), shard: 0, startMs: window * 1_000, resolutionMs: 1_000)
            partial.isLast = true
            windows.publish(partial)
        }

        func offer(_ tick: any FleetTick, stream: StreamIndex, done: @escaping @Sendable () -> Void) {
            var seen = Seen(timeMs: tick.timeMs, values: [])
            for rack in 0..<tick.rackCount {
                var values = Array(repeating: -1.0, count: 64)
                var span = values.mutableSpan
                let state = tick.fill(rack: rack, into: &span)
                #expect(state.reporting & ~state.expected == 0)
                #expect(tick.reporting(rack: rack) == state.reporting)
                let gpus = (0..<64).filter { state.reporting & (1 << UInt64($0)) != 0 }
                seen.values.append(Dictionary(uniqueKeysWithValues: gpus.map { ($0, values[$0]) }))
            }
            self.seen.withLock { $0.append(seen) }
            done()
        }

    }

    final class Fleet: Sendable {
        let divided: DividedFleet
        let made = Locked<[Player]>([])
        let done = Locked(0)

        init(windowsMax: Int = 2, bytesMax: Int = .max) throws {
            let topology = FinalAssemblyTests.topology
            let slices = FleetSlices(topology, slicesMax: 2)
            let fleet = try #require(
                FleetMap(
                    cluster: "test", stream: "sim/test", slices: 2, partitions: 1, windowMs: 1_000, startMs: 0
                ))
            divided = DividedFleet(fleet, windowsMax: windowsMax, bytesMax: bytesMax) { [made] mine in
                let windows = ClosedWindows(
                    fleet: fleet, slices: slices, topology: topology, shardCount: 1)
                let player = Player(mine, windows)
                made.withLock { $0.append(player) }
                return SlicePlayer(windows, core: player, stream: StreamIndex(rawValue: 0)) {
                    player.isStopped.withLock { $0 = true }
                }
            }
        }

        func offer(_ tick: Tick) {
            divided.offer(tick, stream: StreamIndex(rawValue: 0)) { [done] in done.withLock { $0 += 1 } }
        }

        var players: [Player] { made.withLock { $0 } }
        var playing: [Set<Int>] { players.filter(\.isPlaying).map(\.slices) }
        var doneCount: Int { done.withLock { $0 } }
    }

    @Test("the fleet waits while all windows are in no finals, and goes on when one is")
    func room() throws {
        let fleet = try Fleet(windowsMax: 2)
        fleet.divided.hold([1])
        for timeMs in [0, 1_000] { fleet.offer(Tick(timeMs: Int64(timeMs))) }
        #expect(fleet.doneCount == 2 && fleet.divided.count == 1)
        fleet.offer(Tick(timeMs: 2_000))
        #expect(fleet.doneCount == 2 && fleet.divided.count == 2)
        fleet.divided.settle(through: 0)
        #expect(fleet.doneCount == 3 && fleet.divided.firstKeptWindow() == 1)
        fleet.offer(Tick(timeMs: 3_000))
        #expect(fleet.doneCount == 3)
        fleet.divided.stop()
        #expect(fleet.doneCount == 4, "nobody waits for ever")
        #expect(fleet.playing.isEmpty)
    }

    @Test("ticks take so many bytes, those of two windows more; what has not changed takes none")
    func bytes() throws {
        let fleet = try Fleet(windowsMax: 64, bytesMax: 30)
        for timeMs in stride(from: Int64(0), to: 2_000, by: 250) {
            fleet.offer(Tick(timeMs: timeMs, bytes: 10))
        }
        #expect(fleet.doneCount == 8)
        fleet.offer(Tick(timeMs: 2_000, bytes: 10))
        #expect(fleet.doneCount == 8)
        fleet.divided.settle(through: 0)
        #expect(fleet.doneCount == 9)
        fleet.divided.settle(through: 2)
        for timeMs in stride(from: Int64(3_000), to: 9_000, by: 250) {
            fleet.offer(Tick(timeMs: timeMs, version: timeMs < 6_000 ? 1 : 2, bytes: 14))
        }
        #expect(fleet.doneCount == 9 + 24)
        fleet.offer(Tick(timeMs: 9_000, version: 3, bytes: 14))
        #expect(fleet.doneCount == 9 + 24)
        fleet.divided.settle(through: 5)
        #expect(fleet.doneCount == 9 + 25, "what is settled takes none any more")
    }

    @Test("what is in finals before it is played takes no room, and has not caught up")
    func catchingUp() throws {
        let fleet = try Fleet()
        fleet.divided.settle(through: 5)
        for window in 0...6 {
            #expect(fleet.divided.hasCaughtUp == false)
            fleet.offer(Tick(timeMs: Int64(window) * 1_000))
        }
        #expect(fleet.divided.hasCaughtUp && fleet.divided.count == 0 && fleet.doneCount == 7)
        #expect(fleet.divided.lastReadyWindow == 5)
    }

    @Test(
        "whoever takes a slice over gets what its GPUs had told, and all ticks since; who gives it away is stopped"
    )
    func takingOver() throws {
        let fleet = try Fleet(windowsMax: 64)
        fleet.divided.hold([0])
        fleet.offer(Tick(timeMs: 0))
        fleet.offer(Tick(timeMs: 500))
        // GPU 2 of rack 1 falls silent, then GPU 0 of rack 0; that one is back before what is kept.
        fleet.offer(Tick(timeMs: 1_000, reporting: [0xff, 0xfb]))
        fleet.offer(Tick(timeMs: 1_500, reporting: [0xfe, 0xfb]))
        fleet.offer(Tick(timeMs: 2_000, reporting: [0xff, 0xfb]))
        fleet.divided.settle(through: 2)
        for timeMs in [3_000, 3_500, 4_000] { fleet.offer(Tick(timeMs: Int64(timeMs))) }
        fleet.divided.hold([1])
        fleet.offer(Tick(timeMs: 4_500))
        let (first, second) = (fleet.players[0], fleet.players[1])
        #expect(first.slices == [0] && !first.isPlaying)
        #expect(first.times == [0, 500, 1_000, 1_500, 2_000, 3_000, 3_500, 4_000])
        let seen = second.seen.withLock { $0 }
        #expect(second.slices == [1] && seen.map(\.timeMs) == [2_000, 3_000, 3_500, 4_000, 4_500])
        #expect(
            seen[0].values[0]
                == Dictionary(uniqueKeysWithValues: (0..<8).map { ($0, 2_000 + Double($0) / 100) }))
        #expect(seen[0].values[1][2] == 500.1, "its last value")
        #expect(seen[0].values[1][3] == 2_000.11)
        #expect(seen[1].values[1][2] == 3_000.1)
        // Slices that are not held have nothing, and those that are have it once it is worked out.
        #expect(fleet.divided.groups(slice: 0, window: 3).isEmpty)
        #expect(fleet.divided.lastReadyWindow(slice: 1) == 2 && fleet.divided.lastReadyWindow == 2)
        second.close(3)
        #expect(fleet.divided.lastReadyWindow(slice: 1) == 3 && fleet.divided.lastReadyWindow == 3)
        #expect(fleet.divided.lastReadyWindow(slice: 0) == 2)
    }

    @Test("before anything is in finals there is nothing that was told before")
    func beginning() throws {
        let fleet = try Fleet()
        fleet.offer(Tick(timeMs: 0))
        fleet.divided.hold([0, 1])
        #expect(fleet.players.map(\.slices) == [[0, 1]])
        #expect(fleet.players[0].seen.withLock { $0.map(\.timeMs) } == [0])
        fleet.divided.hold([0, 1])
        #expect(fleet.players.count == 1, "it goes on")
    }

    @Test("what comes has a player of its own, and few players have all; those that have nothing are stopped")
    func shares() throws {
        let fleet = try Fleet()
        fleet.divided.hold([0, 1, 2])
        fleet.divided.hold([0, 1, 2, 3])
        #expect(fleet.playing == [[0, 1, 2], [3]])
        fleet.divided.hold([0, 1, 3, 4])
        #expect(fleet.playing == [[0, 1, 2], [3], [4]], "who gives some away goes on with the others")
        fleet.divided.hold([3, 4])
        #expect(fleet.playing == [[3], [4]])
        for count in 5..<20 { fleet.divided.hold(Set(3..<count)) }
        #expect(fleet.playing.count <= DividedFleet.playersMax && fleet.divided.playedCount == 16)
        #expect(fleet.playing.reduce(0) { $0 + $1.count } == 16, "nothing twice")
        fleet.divided.hold([])
        #expect(fleet.playing.isEmpty && fleet.divided.playedCount == 0)
    }

    @Test("once slices have come to rest, one player has what is held, as soon as it is as far as the others")
    func rest() throws {
        let fleet = try Fleet(windowsMax: 64)
        fleet.divided.hold([0, 1, 2])
        for window in 0..<4 { fleet.offer(Tick(timeMs: Int64(window) * 1_000)) }
        fleet.players[0].close(2)
        fleet.divided.hold([0, 1])
        fleet.divided.hold([0, 1, 3])
        fleet.divided.settle(through: 0)
        #expect(fleet.playing == [[0, 1, 2], [3]], "just now some have come")
        fleet.players[1].close(2)
        fleet.divided.settle(through: 1)
        #expect(fleet.playing == [[0, 1, 2], [3], [0, 1, 3]])
        #expect(fleet.players[2].times == [1_000, 2_000, 3_000])
        #expect(fleet.divided.lastReadyWindow(slice: 0) == 2, "who had it before has it still")
        fleet.players[0].close(3)
        fleet.players[2].close(2)
        fleet.divided.settle(through: 2)
        #expect(fleet.playing == [[0, 1, 2], [0, 1, 3]] && fleet.divided.lastReadyWindow(slice: 0) == 3)
        #expect(fleet.divided.lastReadyWindow == 2 && fleet.divided.playedCount == 4)
        fleet.players[2].close(3)
        fleet.offer(Tick(timeMs: 4_000))
        fleet.divided.settle(through: 3)
        #expect(fleet.playing == [[0, 1, 3]] && fleet.divided.playedCount == 3)
        fleet.divided.settle(through: 4)
        #expect(fleet.players.count == 3, "it goes on")
        // Much is kept: nobody plays all that again.
        fleet.divided.hold([0, 1])
        for window in 5..<17 { fleet.offer(Tick(timeMs: Int64(window) * 1_000)) }
        fleet.divided.settle(through: 5)
        fleet.divided.settle(through: 6)
        #expect(fleet.playing == [[0, 1, 3]])
        fleet.divided.settle(through: 7)
        #expect(fleet.playing == [[0, 1, 3], [0, 1]])
    }

    @Test("who works nothing out tells no more progress than two windows behind those in finals")
    func progress() throws {
        let fleet = try Fleet()
        #expect(fleet.divided.progressMs(500) == 500 && fleet.divided.progressMs(9_000) == 2_000)
        fleet.divided.settle(through: 5)
        #expect(fleet.divided.progressMs(20_000) == 8_000)
        fleet.divided.hold([1])
        #expect(fleet.divided.progressMs(20_000) == 20_000)
        fleet.divided.settle(through: .max)
        #expect(fleet.divided.firstKeptWindow() == FleetMap.windowNumberMax + 1)
    }
}
