import GRDB
import Synchronization
import Telemetry
import Testing

@testable import Store

/// What an endpoint has not got although it has got later windows.
@Suite struct GapTests {
    let start: Int64 = 1_700_000_040_000

    private func gap(_ sequence: Int64, parts: Int = 0, through: Int64) -> DeliveryGap {
        DeliveryGap(after: DeliveryPosition(sequence: sequence, parts: parts), through: through)
    }

    private func filled(_ sandbox: Sandbox, windows: Int64 = 10) async throws -> HistoryStore {
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 1)
        for step in 0..<windows { await store.commit(maker.close(at: start + step * 10_000)) }
        return store
    }

    @Test("a leap leaves a gap with the parts that were done, and both are there after a restart")
    func leap() async throws {
        let sandbox = try Sandbox()
        var store = try await filled(sandbox)
        #expect(await store.cursor("a") == DeliveryCursor(position: .start, newest: 10))
        #expect(await store.advance("a", to: 2, parts: 3))
        #expect(await store.leap("a", from: 2, parts: 3, through: 8))
        // From further on than the store knows: what is between was not selected.
        #expect(await store.leap("a", from: 9, through: 10))
        await store.close()
        #expect(try StoreFile.verify(sandbox.database).problems == [])
        store = try sandbox.open()
        let cursor = try #require(await store.cursor("a"))
        #expect(cursor.position == DeliveryPosition(sequence: 10, parts: 0))
        #expect(cursor.gaps == [gap(2, parts: 3, through: 8), gap(9, through: 10)])
        // Cut in another way, parts begin again.
        #expect(await store.cursor("a", cut: "other")?.gaps == [gap(2, through: 8), gap(9, through: 10)])
        let record = try #require(try await store.endpointRecords().first)
        #expect(record.pending == 7 && record.backlog == 7 && record.oldestLiveMs == nil)
        #expect(record.gaps.count == 2)
        #expect((1...11).filter { record.isBehind($0) } == [1, 2, 9])
        await store.close()
    }

    @Test("a gap is worked off by itself, never goes back, and is gone when nothing is left in it")
    func advance() async throws {
        let sandbox = try Sandbox()
        let store = try await filled(sandbox)
        _ = await store.cursor("a")
        #expect(await store.leap("a", from: 0, through: 8))
        #expect(await store.advance("a", to: 3, parts: 2, through: 8))
        #expect(await store.advance("a", to: 1, through: 8))
        #expect(await store.advance("a", to: 9))
        #expect(await store.cursor("a")?.gaps == [gap(3, parts: 2, through: 8)])
        #expect(
            await store.windows(after: 3, limit: 100, through: 8)?.windows.map(\.sequence) == [4, 5, 6, 7, 8])
        #expect(await store.windows(after: 3, limit: 100, through: 8)?.scannedThrough == 8)
        #expect(await store.windows(after: 3, limit: 2, through: 8)?.scannedThrough == 5)
        let record = try #require(try await store.endpointRecords().first)
        #expect(record.pending == 6 && record.backlog == 5 && record.oldestLiveMs != nil)
        #expect(await store.advance("a", to: 8, through: 8))
        #expect(await store.cursor("a")?.gaps == [])
        #expect(await store.cursor("a")?.position == DeliveryPosition(sequence: 9, parts: 0))
        await store.close()
    }

    @Test("a gap is split in two, the parts stay with the first, and no split or leap goes astray")
    func split() async throws {
        let sandbox = try Sandbox()
        let store = try await filled(sandbox)
        _ = await store.cursor("a")
        #expect(await store.leap("a", from: 0, parts: 2, through: 8))
        #expect(await store.split("a", 8, at: 3))
        let gaps = [gap(0, parts: 2, through: 3), gap(3, through: 8)]
        #expect(await store.cursor("a")?.gaps == gaps)
        for (through, at) in [(Int64(8), Int64(3)), (8, 8), (7, 5), (3, 0)] {
            #expect(await store.split("a", through, at: at) == false)
        }
        #expect(await store.leap("a", from: 7, through: 9) == false)
        #expect(await store.leap("a", from: 9, through: 9) == false)
        #expect(await store.cursor("a")?.gaps == gaps)
        try await store.removeCursor(endpoint: "a")
        #expect(await store.cursor("a") == DeliveryCursor(position: .start, newest: 10))
        await store.close()
    }

    @Test("gaps of an endpoint are bounded")
    func bounded() async throws {
        let sandbox = try Sandbox()
        let store = try await filled(sandbox, windows: 1)
        _ = await store.cursor("a")
        for number in 0..<Int64(DeliveryGap.countMax) {
            #expect(await store.leap("a", from: number, through: number + 1))
        }
        #expect(await store.leap("a", from: 64, through: 65) == false)
        #expect(await store.split("a", 64, at: 63) == false)
        await store.close()
    }

    @Test("windows in a gap are held for the endpoint, others are not")
    func retention() async throws {
        let sandbox = try Sandbox()
        var limits = StoreLimits()
        limits.ages = [.init(resolutionMs: 10_000, keepMs: 20_000)]
        let store = try sandbox.open(limits: limits)
        _ = await store.cursor("a")
        #expect(await store.leap("a", from: 0, through: 3))
        #expect(await store.advance("a", to: 1, through: 3))
        #expect(await store.leap("a", from: 3, through: 50))
        #expect(await store.advance("a", to: 50, through: 50))
        var maker = CloseMaker(seed: 1)
        for step in Int64(0)..<10 { await store.commit(maker.close(at: start + step * 10_000)) }
        await store.settle()
        // 2 and 3 are in the gap; the newest are young.
        let kept = try #require(await store.windows(after: 0)?.windows.map(\.sequence))
        #expect(kept.prefix(2) == [2, 3] && kept.count < 6)
        #expect(await store.advance("a", to: 3, through: 3))
        await store.commit(maker.close(at: start + 100_000))
        await store.settle()
        #expect(await store.windows(after: 0)?.windows.first?.sequence ?? 0 > 3)
        await store.close()
    }

    @Test("a long backlog is not counted each time, except for whoever wants to know it by now")
    func recentCounts() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        _ = await store.cursor("far")
        _ = await store.cursor("near")
        #expect(await store.leap("far", from: 0, through: 3_000))
        var maker = CloseMaker(seed: 1)
        func commit(_ steps: Range<Int64>) async {
            for step in steps { await store.commit(maker.close(at: start + step * 10_000)) }
        }
        func recent() async throws -> [Int64] { try await store.recentEndpointRecords().map(\.pending) }
        await commit(0..<10)
        #expect(try await recent() == [10, 10])
        await commit(10..<15)
        // Where little can be pending it is counted.
        #expect(try await recent() == [10, 15])
        #expect(try await store.recentEndpointRecords().first?.backlog == 10)
        #expect(try await store.endpointRecords().map(\.pending) == [15, 15])
        #expect(try await recent() == [15, 15])
        await commit(15..<16)
        sandbox.nowMs.withLock { $0 += WaitingWindows.keepMs - 1 }
        #expect(try await recent() == [15, 16])
        sandbox.nowMs.withLock { $0 += 1 }
        #expect(try await recent() == [16, 16])
        // It wants something else now.
        store.describe(
            endpoint: "far",
            limit: EndpointLimit(selection: DeliverySelection(resolutions: [60_000]), keepMs: 1_000_000))
        #expect(try await recent() == [0, 16])
        await store.close()
    }

    @Test("who was paused is known without counting anything")
    func paused() async throws {
        let sandbox = try Sandbox()
        let store = try await filled(sandbox, windows: 1)
        _ = await store.cursor("a")
        _ = await store.cursor("b")
        for name in ["a", "alertmanager"] { try await store.setPaused(endpoint: name, true) }
        #expect(try await store.pausedEndpoints() == ["a", "alertmanager"])
        try await store.setPaused(endpoint: "a", false)
        #expect(try await store.pausedEndpoints() == ["alertmanager"])
        await store.close()
    }

    @Test("who reads gets to the end, though the newest windows are gone")
    func newestGone() async throws {
        let sandbox = try Sandbox()
        var store = try await filled(sandbox, windows: 6)
        await store.close()
        let queue = try DatabaseQueue(path: sandbox.database)
        try await queue.write { try $0.execute(sql: "DELETE FROM windows WHERE sequence > 4") }
        try queue.close()
        store = try sandbox.open()
        let found = try #require(await store.windows(after: 0))
        #expect(found.windows.map(\.sequence) == [1, 2, 3, 4] && found.scannedThrough == 6)
        #expect(await store.cursor("a")?.newest == 6)
        await store.close()
    }

    @Test("gaps that cannot be are found")
    func verification() async throws {
        let sandbox = try Sandbox()
        let store = try await filled(sandbox)
        _ = await store.cursor("a")
        #expect(await store.advance("a", to: 6))
        await store.close()
        let queue = try DatabaseQueue(path: sandbox.database)
        try await queue.write { db in
            for values in ["'a', 4, 1, 0", "'a', 5, 3, 0", "'a', 7, 8, 0", "'b', 2, 1, 0", "'a', 3, -1, 0"] {
                try db.execute(
                    sql: "INSERT INTO endpoint_gaps (endpoint, through, sequence, parts) VALUES (\(values))")
            }
        }
        try queue.close()
        let problems = try StoreFile.verify(sandbox.database).problems
        #expect(
            problems == [
                "a gap of endpoint a ends before it begins",
                "a gap of endpoint a begins at window 1, within the one before",
                "a gap of endpoint a begins at window 3, within the one before",
                "a gap of endpoint a ends before it begins",
                "a gap of endpoint a ends at window 7, behind its cursor",
                "a gap of endpoint b belongs to no cursor",
            ])
    }
}
