import Telemetry
import TestSupport
import Testing

@testable import Exchange

/// Several runs of one cluster, one behind the other.
@Suite("Runs of a cluster", .computing)
struct RunsTests {
    static func map(_ run: UInt64, slices: Int = 12) throws -> FleetMap {
        try #require(
            FleetMap(
                cluster: "test", stream: "sim/test", slices: slices, partitions: 3, windowMs: 1_000,
                startMs: 0, run: run))
    }

    static func subjects(_ map: FleetMap) -> Set<Subject> {
        var all: Set<Subject> = [map.agreementSubject, map.controlSubject]
        for slice in 0..<map.slices { all.formUnion([map.partialSubject(slice), map.sliceLease(slice)]) }
        for partition in 0..<map.partitions {
            all.formUnion([map.finalSubject(partition), map.partitionLease(partition)])
        }
        for role in ["worker", "rollup"] {
            all.formUnion(["w1", "r2", "2"].map { map.memberSubject(role, $0) })
        }
        return all
    }

    @Test("each has subjects and a fingerprint of its own; the first has those that it always had")
    func apart() throws {
        let maps = try [1, 2, 3, 22].map { try Self.map($0) }
        #expect(Set(maps.map(\.fingerprint)).count == 4)
        // Of the text test|sim/test|12|3|1000|0, as members of earlier versions work it out.
        #expect(maps[0].fingerprint == 0xBA5ED98EE7C84670)
        #expect(maps[0].finalSubject(1).text == "clsd.v1.test.fin.1")
        #expect(maps[1].finalSubject(1).text == "clsd.v1.test.fin.r2.1")
        for (place, one) in maps.enumerated() {
            for other in maps[(place + 1)...] {
                #expect(Self.subjects(one).isDisjoint(with: Self.subjects(other)))
                for (mine, theirs) in [(one, other), (other, one)] {
                    for subject in Self.subjects(theirs) {
                        #expect(!mine.finalSubjects.matches(subject), "\(subject)")
                        let word = mine.leaseWords(subject)?.word ?? ""
                        #expect(!["slice", "roll", "worker", "rollup"].contains(word), "\(subject)")
                        for partition in 0..<3 {
                            #expect(!mine.partialSubjects(in: partition).matches(subject), "\(subject)")
                        }
                        // The watch of the first run gets what later ones write, and looks at none of it.
                        #expect(mine.run == 1 || !mine.leaseSubjects.matches(subject), "\(subject)")
                    }
                }
            }
        }
        for map in maps {
            #expect(map.leaseWords(map.sliceLease(7)).map { "\($0.word) \($0.name)" } == "slice 7")
            #expect(
                map.leaseWords(map.memberSubject("worker", "r2")).map { "\($0.word) \($0.name)" }
                    == "worker r2")
            #expect(map.leaseSubjects.matches(map.sliceLease(7)))
        }
        let earlier = try #require(maps[1].earlierPartialSubjects)
        #expect(earlier.matches(maps[0].partialSubject(7)) && !earlier.matches(maps[1].partialSubject(7)))
        #expect(try #require(maps[2].earlierPartialSubjects).matches(maps[1].partialSubject(7)))
        #expect(maps[0].earlierPartialSubjects == nil)
    }

    @Test("numbers beyond all bounds are refused, and what is ingested has none")
    func numbers() {
        func map(_ stream: String, _ run: UInt64) -> FleetMap? {
            FleetMap(
                cluster: "c", stream: stream, slices: 1, partitions: 1, windowMs: 1_000, startMs: 0, run: run)
        }
        #expect(map("sim/a", 0) == nil && map("sim/a", FleetMap.runsMax + 1) == nil)
        #expect(map("sim/a", FleetMap.runsMax) != nil && map("measured", 2) == nil)
    }

    @Test(
        "who slept through the end of a run and still works on it changes nothing of the next one, which has its very windows",
        arguments: 1...12)
    func sleeper(seed: UInt64) throws {
        let first = SimulatedCluster(
            seed: seed, fleet: try Self.map(1), windows: 15, leaseMs: 3_000, graceMs: 12_000)
        #expect(first.run(windows: 15, limitMs: 60_000, misfortunes: false))
        // Before it has heard of the end: it holds leases, and has chunks on their way.
        first.workers[0].bus.stop()
        first.rollups[0].bus.stop()
        let kept = first.finals
        for node in first.workers.dropFirst() { node.shell.stop() }
        first.rollups[1].shell.stop()
        let second = SimulatedCluster(
            seed: seed &+ 1_000, fleet: try Self.map(2), windows: 15, leaseMs: 3_000, graceMs: 12_000,
            behind: first)
        let beganMs = first.time.nowMs
        let asleep = [first.workers[0].bus, first.rollups[0].bus]
        first.time.after(2_000) { for bus in asleep { bus.go() } }
        for nowMs in stride(
            from: Int64(beganMs), to: beganMs + 60_000, by: Int64.Stride(SimulatedCluster.tickMs))
        {
            second.time.run(untilMs: nowMs)
            first.workers[0].tick()
            first.rollups[0].tick()
            for node in second.workers { node.tick() }
            for node in second.rollups { node.tick() }
            second.tellOfRoom()
            if second.finals.count >= 15 * 3 { break }
        }
        #expect(try second.faults(windows: 15) == [])
        #expect(Array(first.finals.prefix(kept.count)) == kept)
        let shares = second.workers.map { $0.shell.withMachine { $0.status(nowMs: second.time.nowMs).share } }
        #expect(shares == [4, 4, 4], "it is none of the next run's members")
    }
}
