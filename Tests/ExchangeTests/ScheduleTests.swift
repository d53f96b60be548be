import Exchange
import Glibc
import TestSupport
import Testing

/// The whole protocol under seeded faults. `COLOSSUS_SEED=n` runs one schedule, `COLOSSUS_CAMPAIGN=1` 10,000 of them.
@Suite("Schedules of faults", .computing)
struct ScheduleTests {
    static let windows: Int64 = 8
    static let lanes = 4
    static let schedules = getenv("COLOSSUS_CAMPAIGN") != nil ? 10_000 : 500

    @Test("every schedule of faults gives what one process gives", arguments: 0..<lanes)
    func equalsOracle(lane: Int) throws {
        var seen = (late: UInt64(0), duplicate: UInt64(0), recovered: UInt64(0), adopted: UInt64(0))
        let chosen = getenv("COLOSSUS_SEED").flatMap { UInt64(String(cString: $0)) }
        let seeds =
            chosen.map { [$0] } ?? stride(from: lane, to: Self.schedules, by: Self.lanes).map(UInt64.init)
        for seed in seeds {
            let cluster = SimulatedCluster(seed: seed, fleet: try fleetMap(), windows: Self.windows)
            let ended = cluster.run(windows: Self.windows, limitMs: 120_000)
            let faults = try cluster.faults(windows: Self.windows)
            #expect(ended, "seed \(seed): not all windows closed")
            #expect(faults.isEmpty, "seed \(seed): \(faults.prefix(3))")
            seen.late += cluster.past.late
            seen.duplicate += cluster.past.duplicate
            seen.recovered += cluster.past.recovered
            seen.adopted += cluster.past.adopted
            if !ended || !faults.isEmpty { return }
        }
        guard chosen == nil else { return }
        // The faults did happen.
        #expect(seen.duplicate > 0)
        #expect(seen.recovered > 0)
        #expect(seen.adopted > 0)
        // A window closed with all slices has nothing that could come late.
        #expect(seen.late == 0)
    }
}
