import Exchange
import TestSupport
import Testing

/// Streams that take no more. The broker refuses; nobody may lose a window for it.
@Suite("Full streams", .computing)
struct FullStreamTests {
    private let tests = ClusterTests()

    private func full(_ cluster: SimulatedCluster) -> (workers: Int, rollups: Int) {
        let now = cluster.time.nowMs
        return (
            cluster.workers.reduce(0) { $0 + $1.shell.withMachine { $0.status(nowMs: now).full } },
            cluster.rollups.reduce(0) { $0 + $1.shell.withMachine { $0.status(nowMs: now).full } }
        )
    }

    @Test(
        "a stream of partials that is full for longer than the grace costs no window",
        arguments: [0, 400, 1_500, 4_000])
    func partials(room: Int) throws {
        let cluster = try tests.cluster(windows: 90)
        tests.run(cluster, fromMs: 0, untilMs: 6_400)
        // Some slices' shares of a window find room, and others' do not.
        cluster.memory.limit(.partials, toBytes: room)
        tests.run(cluster, fromMs: 6_400, untilMs: 40_000)
        #expect(full(cluster).workers > 0)
        let told = cluster.workers.compactMap { $0.shell.withMachine { $0.status(nowMs: 40_000).problem } }
        #expect(told.contains { $0.contains("partials is full") && $0.contains("partials_bytes") })
        // Whoever takes over does not know it from the stream.
        cluster.killRollup(0)
        cluster.killRollup(1)
        tests.run(cluster, fromMs: 40_000, untilMs: 70_000)
        cluster.memory.limit(.partials, toBytes: nil)
        #expect(cluster.run(windows: 90, limitMs: 200_000, misfortunes: false))
        #expect(try cluster.faults(windows: 90) == [])
        #expect(full(cluster) == (0, 0))
    }

    @Test("one slice that finds no room is waited for, although time passes with what others say")
    func oneSlice() throws {
        let cluster = try tests.cluster(windows: 90)
        tests.run(cluster, fromMs: 0, untilMs: 6_400)
        cluster.memory.limit(.partials, toBytes: 0, only: cluster.fleet.partialSubject(4))
        tests.run(cluster, fromMs: 6_400, untilMs: 40_000)
        cluster.killRollup(0)
        cluster.killRollup(1)
        tests.run(cluster, fromMs: 40_000, untilMs: 60_000)
        cluster.memory.limit(.partials, toBytes: nil)
        #expect(cluster.run(windows: 90, limitMs: 200_000, misfortunes: false))
        #expect(try cluster.faults(windows: 90) == [])
    }

    @Test("a full stream is asked for room twice a second by a slice, not with all that waits")
    func probes() throws {
        let cluster = try tests.cluster(windows: 90)
        tests.run(cluster, fromMs: 0, untilMs: 6_400)
        cluster.memory.limit(.partials, toBytes: 0)
        tests.run(cluster, fromMs: 6_400, untilMs: 20_000)
        func retried() -> UInt64 {
            cluster.workers.reduce(0) { $0 + $1.shell.withMachine { $0.status(nowMs: 0).retried } }
        }
        let before = retried()
        tests.run(cluster, fromMs: 20_000, untilMs: 30_000)
        let perSliceAndSecond = Double(retried() - before) / 12 / 10
        #expect((0.5...2).contains(perSliceAndSecond))
    }

    @Test("finals that find no room wait, are told of, and nothing is closed twice")
    func finals() throws {
        let cluster = try tests.cluster(windows: 90)
        tests.run(cluster, fromMs: 0, untilMs: 6_400)
        cluster.memory.limit(.finals, toBytes: 0)
        tests.run(cluster, fromMs: 6_400, untilMs: 40_000)
        #expect(full(cluster).rollups == 3)
        let told = cluster.rollups.compactMap { $0.shell.withMachine { $0.status(nowMs: 40_000).problem } }
        #expect(told.contains { $0.contains("finals is full") && $0.contains("finals_keep") })
        cluster.killRollup(0)
        tests.run(cluster, fromMs: 40_000, untilMs: 70_000)
        cluster.memory.limit(.finals, toBytes: nil)
        #expect(cluster.run(windows: 90, limitMs: 200_000, misfortunes: false))
        #expect(try cluster.faults(windows: 90) == [])
        #expect(full(cluster) == (0, 0))
    }

    @Test("what is in finals gives its room to others, and whoever takes over misses nothing")
    func trim() throws {
        let cluster = try tests.cluster(windows: 60)
        tests.run(cluster, fromMs: 0, untilMs: 30_000)
        // Ten seconds of windows, and those since the last time.
        #expect(cluster.memory.messages(.partials).count < 12 * 25)
        let trimmed = cluster.rollups.map { $0.shell.withMachine { $0.status(nowMs: 0).trimmed } }
        #expect(trimmed.reduce(0, +) > 100)
        cluster.killRollup(0)
        cluster.killRollup(1)
        #expect(cluster.run(windows: 60, limitMs: 200_000, misfortunes: false))
        #expect(try cluster.faults(windows: 60) == [])
    }
}
