import Foundation
import GRDB
import Telemetry
import Testing

@testable import Store

/// Windows with the fleets that they were closed with, while nodes move.
@Suite struct FleetTests {
    private static let start: Int64 = 1_700_000_040_000

    /// A closing of one window of the fleet as it is.
    private static func close(
        _ maker: inout CloseMaker, _ fleet: TopologySnapshot, at endMs: Int64, revision: Int = 0
    ) -> WindowClose {
        var close = maker.close(at: endMs, revision: revision)
        close.topology = fleet
        for index in close.windows.indices { close.windows[index].topologyVersion = fleet.version }
        return close
    }

    @Test("a revised window has the fleet of before in its row, and a restart goes on with that of now")
    func revised() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 5)
        let fleet = Topology(restoring: maker.topology)
        let before = fleet.snapshot()
        await store.commit(Self.close(&maker, before, at: Self.start))
        _ = fleet.arrange { name, now in
            var place = now
            if name == "node-0-0" { place.rack = "rack1" }
            return place
        }
        let moved = fleet.snapshot()
        await store.commit(Self.close(&maker, moved, at: Self.start + 10_000))

        func window(endMs: Int64) async throws -> StoredWindow? {
            try await store.window(.measured, resolutionMs: 10_000, startMs: endMs - 10_000)
        }
        // Nothing is new since: the revision has the row of its window.
        var revision = Self.close(&maker, moved.arranged(as: before), at: Self.start, revision: 1)
        revision.closedThroughMs = Self.start + 10_000
        await store.commit(revision)
        var found = try #require(try await window(endMs: Self.start))
        #expect(found.summary.revision == 1 && found.summary.topologyVersion == before.version)
        #expect(found.topology.nodeRack == before.nodeRack && found.topology.nodeRack != moved.nodeRack)
        let rows = "SELECT topology FROM windows ORDER BY sequence"
        let pool = try DatabaseQueue(path: sandbox.database)
        #expect(try await pool.read { try Int64.fetchAll($0, sql: rows) } == [1, 2, 1])
        #expect(try await store.topology(.measured)?.nodeRack == moved.nodeRack)
        #expect(try await store.topology(.measured)?.version == moved.version)

        // A rack, and then a node: what a restart goes on with has both, and every node where it stands.
        let rack = fleet.rack(at: Placement(rack: "rack9", array: "a0", hall: "h0", model: "H100"))
        revision = Self.close(&maker, fleet.snapshot().arranged(as: before), at: Self.start, revision: 2)
        revision.closedThroughMs = Self.start + 10_000
        await store.commit(revision)
        found = try #require(try await window(endMs: Self.start))
        #expect(found.topology.rackNames.count == Int(rack) + 1 && found.topology.nodeRack == before.nodeRack)
        fleet.node(
            "late", at: Placement(rack: "rack9", array: "a0", hall: "h0", model: "H100"), gpuCount: 8)
        revision = Self.close(&maker, fleet.snapshot().arranged(as: before), at: Self.start, revision: 3)
        revision.closedThroughMs = Self.start + 10_000
        await store.commit(revision)
        found = try #require(try await window(endMs: Self.start))
        #expect(found.topology.nodeRack == before.nodeRack + [rack])
        #expect(try await store.topology(.measured)?.nodeRack == moved.nodeRack + [rack])
        #expect(try await store.topology(.measured)?.gpuNode == fleet.snapshot().gpuNode)
        #expect(try await window(endMs: Self.start + 10_000)?.topology.nodeRack == moved.nodeRack)
        await store.close()
    }
}
