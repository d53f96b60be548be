import Exchange
import Synchronization
import Telemetry
import Testing

@Suite struct DividedFleetTests {
    /// Two racks with one field; a GPU's value is the tick's time and its number.
    struct Tick: FleetTick {
        var timeMs: Int64
        var reporting: [UInt64] = [0xff, 0xff]
        var fields: [FieldIndex] { [.powerUsage] }
        var jobs: [String] { [] }
        var rackCount: Int { reporting.count }

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
    final class Player: SlicePlayer {
        struct Seen: Equatable { var timeMs: Int64, values: [[Int: Double]] }
        let slices: Set<Int>
        let windows: ClosedWindows
        let seen = Mutex<[Seen]>([])
        let isStopped = Mutex(false)

        init(_ slices: Set<Int>, _ windows: ClosedWindows) { (self.slices, self.windows) = (slices, windows) }

        func offer(_ tick: any FleetTick, done: @escaping @Sendable () -> Void) {
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

        func stop() { isStopped.withLock { $0 = true } }
    }

    final class Fleet: Sendable {
        let divided: DividedFleet
        let made = Locked<[Player]>([])
        let done = Locked(0)

        init(windowsMax: Int = 2, ticksMax: Int = .max) throws {
            let topology = FinalAssemblyTests.topology
            let slices = FleetSlices(topology, slicesMax: 2)
            let fleet = try #require(
                FleetMap(
                    cluster: "test", stream: "sim/test", slices: 2, partitions: 1, windowMs: 1_000, startMs: 0
                ))
            divided = DividedFleet(fleet, windowsMax: windowsMax, ticksMax: ticksMax) { [made] mine in
                let windows = ClosedWindows(
                    fleet: fleet, slices: slices, topology: topology, shardCount: 1)
                let player = Player(mine, windows)
                made.withLock { $0.append(player) }
                return player
            }
        }

        func offer(_ tick: Tick) {
            divided.offer(tick, stream: StreamIndex(rawValue: 0)) { [done] in done.withLock { $0 += 1 } }
        }

        var players: [Player] { made.withLock { $0 } }
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
        #expect(fleet.players.allSatisfy { $0.isStopped.withLock { $0 } })
    }

    @Test("so many ticks are kept, but always those of two windows")
    func ticks() throws {
        let fleet = try Fleet(windowsMax: 64, ticksMax: 3)
        for timeMs in stride(from: Int64(0), to: 2_000, by: 250) { fleet.offer(Tick(timeMs: timeMs)) }
        #expect(fleet.doneCount == 8)
        fleet.offer(Tick(timeMs: 2_000))
        #expect(fleet.doneCount == 8)
        fleet.divided.settle(through: 0)
        #expect(fleet.doneCount == 9)
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
        #expect(first.slices == [0] && first.isStopped.withLock { $0 })
        #expect(
            first.seen.withLock { $0.map(\.timeMs) } == [0, 500, 1_000, 1_500, 2_000, 3_000, 3_500, 4_000])
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
        #expect(fleet.divided.lastReadyWindow(slice: 1) == -1 && fleet.divided.lastReadyWindow == -1)
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

    @Test("nobody works out what is not held, and a few players have all that is")
    func shares() throws {
        let fleet = try Fleet()
        func playing() -> [Set<Int>] {
            fleet.players.filter { !$0.isStopped.withLock { $0 } }.map(\.slices)
        }
        fleet.divided.hold([0, 1, 2])
        fleet.divided.hold([0, 1, 2, 3])
        #expect(playing() == [[0, 1, 2], [3]])
        fleet.divided.hold([0, 1, 3, 4])
        #expect(
            playing() == [[3], [0, 1, 4]],
            "those that are left of a share have a new player, with what came too")
        for count in 5..<20 { fleet.divided.hold(Set(0..<count)) }
        #expect(playing().reduce(0) { $0 + $1.count } == 19 && playing().count <= DividedFleet.playersMax)
        #expect(playing().reduce(into: Set()) { $0.formUnion($1) } == Set(0..<19))
        fleet.divided.hold([])
        #expect(playing().isEmpty)
    }
}
