import Exchange
import TestSupport
import Testing

@Suite("Workers and roll-ups", .computing)
struct ClusterTests {
    static var calm: ChaosBus.Faults {
        var faults = ChaosBus.Faults()
        faults.lostRequest = 0
        faults.lostAcknowledgement = 0
        faults.copy = 0
        faults.staleRead = 0
        faults.endedReader = 0
        faults.delayMsMax = 3
        faults.longDelayMsMax = 3
        return faults
    }

    func cluster(windows: Int64, slices: Int = 12, workers: Int = 3) throws -> SimulatedCluster {
        SimulatedCluster(
            seed: 1, fleet: try fleetMap(slices: slices, partitions: 3), windows: windows, leaseMs: 3_000,
            graceMs: 12_000, workers: workers, faults: Self.calm)
    }

    func held(_ cluster: SimulatedCluster) -> [Int] {
        cluster.workers.map { node in
            node.shell.withMachine { $0.status(nowMs: cluster.time.nowMs).slices.count }
        }
    }

    func run(_ cluster: SimulatedCluster, fromMs: Int64, untilMs: Int64) {
        for now in stride(from: fromMs, to: untilMs, by: Int64.Stride(SimulatedCluster.tickMs)) {
            cluster.time.run(untilMs: now)
            for node in cluster.workers { node.tick() }
            for node in cluster.rollups { node.tick() }
            cluster.tellOfRoom()
        }
    }

    @Test("shares even out, a drained worker hands over at once, and no window is lost by it")
    func drain() throws {
        let cluster = try cluster(windows: 30)
        run(cluster, fromMs: 0, untilMs: 6_000)
        #expect(held(cluster) == [4, 4, 4])
        cluster.workers[0].shell.withMachine { $0.drain() }
        run(cluster, fromMs: 6_000, untilMs: 8_500)
        #expect(held(cluster) == [0, 6, 6])
        cluster.workers[0].shell.withMachine { $0.resume() }
        run(cluster, fromMs: 8_500, untilMs: 14_000)
        #expect(held(cluster) == [4, 4, 4])
        #expect(cluster.run(windows: 30, limitMs: 60_000, misfortunes: false))
        #expect(try cluster.faults(windows: 30) == [])
    }

    @Test("a dead worker's slices are taken within the lease and a second, and its windows are made up for")
    func death() throws {
        let cluster = try cluster(windows: 20)
        run(cluster, fromMs: 0, untilMs: 6_000)
        let dead = cluster.workers.remove(at: 1)
        dead.shell.stop()
        run(cluster, fromMs: 6_000, untilMs: 6_000 + 3_000 + 2_000)
        #expect(held(cluster) == [6, 6])
        #expect(cluster.run(windows: 20, limitMs: 60_000, misfortunes: false))
        #expect(try cluster.faults(windows: 20) == [])
    }

    @Test("a broker that stands still for a minute costs no window")
    func brokerPause() throws {
        let cluster = try cluster(windows: 90, slices: 6)
        run(cluster, fromMs: 0, untilMs: 5_500)
        cluster.chaos.pause(forMs: 60_000)
        run(cluster, fromMs: 5_500, untilMs: 67_000)
        #expect(cluster.run(windows: 90, limitMs: 200_000, misfortunes: false))
        #expect(try cluster.faults(windows: 90) == [])
    }

    @Test("a slice that nobody has closes with less coverage after the grace, and the rest is whole")
    func missingSlice() throws {
        let cluster = try cluster(windows: 40, slices: 6)
        // Somebody holds slice 2 for ever and sends nothing.
        let zombie = Subject("clsd.v1.test.lease.slice.2")
        let revision = Revision()
        let memory = cluster.memory
        for second in 0..<80 {
            cluster.time.after(Int64(second) * 1_000) {
                memory.compareAndSet(
                    zombie, LeaseValue(owner: 0xF00, epoch: 1).bytes, expecting: revision.value
                ) { result in
                    if case .success(let sequence) = result { revision.value = sequence }
                }
            }
        }
        _ = cluster.run(windows: 30, limitMs: 60_000, misfortunes: false)
        let finals = try cluster.memory.messages(.finals).map { try FinalRecord(decoding: $0.bytes) }
        let lacking = finals.filter { $0.partition == 2 }
        #expect(lacking.count >= 8)
        #expect(lacking.allSatisfy { $0.slicesPresent == 1 && $0.slicesExpected == 2 && $0.coverage == 0.5 })
        #expect(finals.filter { $0.partition != 2 }.allSatisfy { $0.coverage == 1 })
    }

    // One thread runs the virtual clock; the closures that share it are only called there.
    final class Revision: @unchecked Sendable { var value: UInt64 = 0 }

    @Test("a refused permission is told as what it is, and healed when it is granted")
    func denied() throws {
        let fleet = try fleetMap()
        var worker = WorkerMachine(
            name: "w", incarnation: 1, fleet: fleet, leaseMs: 3_000, source: SampleFleet(seed: 1))
        var tokens: [UInt64] = []
        for action in worker.handle(.tick, nowMs: 0) {
            if case .publish(_, _, let token) = action { tokens.append(token) }
        }
        let heartbeat = try #require(tokens.first)
        _ = worker.handle(
            .published(token: heartbeat, .failure(.denied("publish to clsd.v1.test.lease.worker.w"))),
            nowMs: 1)
        #expect(worker.status(nowMs: 1).problem == "publish to clsd.v1.test.lease.worker.w")
    }
}
