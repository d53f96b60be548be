import Foundation
import GRDB
import Logging
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Store

@Suite struct HistoryStoreTests {
    let start: Int64 = 1_700_000_040_000  // a whole minute

    @Test("a window comes back as it was committed")
    func roundTrip() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        let seed = UInt64.random(in: 0...UInt64.max)
        var maker = CloseMaker(seed: seed, racks: 30)
        let close = maker.close(at: start, resolutions: [10_000, 60_000])
        await store.commit(close)
        let fine = try #require(try await store.window(.measured, resolutionMs: 10_000, sketches: true))
        #expect(fine.summary == close.windows[0].withoutSketches(), "seed \(seed)")
        #expect(fine.sequence == 1)
        #expect(fine.topology.rackNames == maker.topology.rackNames)
        let coarse = try #require(
            try await store.window(.measured, resolutionMs: 60_000, startMs: start - 60_000, sketches: true))
        #expect(coarse.summary == close.windows[1].withoutSketches(below: .array), "seed \(seed)")
        #expect(try await store.closedThrough(.measured) == start)
        #expect(try await store.ledger(.measured) == close.ledger)
        #expect(try await store.timeline(.measured) == [close.windows[0].timeline])
        #expect(try await store.resolutions(.measured) == [10_000, 60_000])
        #expect(try await store.window(.measured, resolutionMs: 5) == nil)
        await store.close()
    }

    @Test("what was committed is there after reopening, and the sequence goes on")
    func reopening() async throws {
        let sandbox = try Sandbox()
        var maker = CloseMaker(seed: 2)
        let first = maker.close(at: start)
        var store = try sandbox.open()
        await store.commit(first)
        await store.close()
        store = try sandbox.open()
        #expect(
            try await store.window(.measured, resolutionMs: 10_000)?.summary
                == first.windows[0].withoutSketches())
        await store.commit(maker.close(at: start + 10_000))
        #expect(try await store.window(.measured, resolutionMs: 10_000)?.sequence == 2)
        #expect(try await store.topology(.measured)?.nodeNames == maker.topology.nodeNames)
        await store.close()
    }

    @Test("committing a closing again changes nothing")
    func idempotent() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 3)
        var close = maker.close(at: start, resolutions: [10_000, 60_000])
        close.events = [
            Event(
                stream: .measured, timeMs: start - 1, kind: .xid, entity: "node-0-0", gpu: 3, value: 79,
                source: .ingest),
            Event(
                stream: .measured, timeMs: start - 1, kind: .xid, entity: "node-0-0", gpu: 4, value: 79,
                source: .ingest),
            Event(
                stream: .measured, timeMs: start - 2, kind: .jobStart, job: "j", nodes: ["n1", "n2"],
                message: "starts", source: .ingest),
        ]
        await store.commit(close)
        var again = close
        again.windows[0].coverage = 0
        await store.commit(again)
        let found = try #require(await store.windows(after: 0))
        #expect(found.windows.map(\.sequence) == [1, 2])
        #expect(found.windows[0].summary.coverage == close.windows[0].coverage)
        let events = try await store.events(EventQuery())
        #expect(events.map(\.event) == [close.events[2], close.events[0], close.events[1]])
        #expect(try await store.events(EventQuery(kinds: [.jobStart], newestFirst: true)).count == 1)
        #expect(try await store.events(EventQuery(afterID: 2)).map(\.event.nodes) == [["n1", "n2"]])
        #expect(try await store.events(EventQuery(afterID: 0)).map(\.id) == [1, 2, 3])
        #expect(try await store.events(EventQuery(job: "j")).map(\.event.kind) == [.jobStart])
        #expect(try await store.events(EventQuery(entity: "node-0-0", afterID: 1)).map(\.event.gpu) == [4])
        #expect(try await store.events(EventQuery(stream: .measured, afterID: 1)).map(\.id) == [2, 3])
        #expect(try await store.events(EventQuery(stream: StreamID("sim/x"), afterID: 0)).isEmpty)
        #expect(
            try await store.events(EventQuery(stream: .measured, fromMs: start - 1, afterID: 1)).map(\.id)
                == [2])
        #expect(try await store.events(EventQuery(entity: "x' OR 1=1 --")).isEmpty)
        #expect(try await store.newestEvent() == 3)
        #expect(try await store.events(EventQuery(fromMs: start - 1, limit: 1)).count == 1)
        #expect(try await store.events(EventQuery(stream: StreamID("sim/x"))).isEmpty)
        await store.close()
    }

    @Test("the newest checkpoints are kept, and stay when a closing has none")
    func checkpoints() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        var maker = CloseMaker(seed: 9)
        #expect(try await store.checkpoints(.measured) == [])
        let told: [[[UInt8]]] = [[[1, 2], [], [3]], [[4], [5, 6]], []]
        for (step, checkpoints) in told.enumerated() {
            var close = maker.close(at: start + Int64(step) * 10_000)
            close.checkpoints = checkpoints
            await store.commit(close)
        }
        await store.close()
        store = try sandbox.open()
        #expect(try await store.checkpoints(.measured) == [[4], [5, 6]])
        await store.close()
    }

    @Test("a transaction that fails before COMMIT leaves nothing, and succeeds when tried again, in order")
    func atomic() async throws {
        let sandbox = try Sandbox()
        let failures = Mutex(3)
        struct Injected: Error {}
        let store = try sandbox.open(
            faults: StoreFaults(beforeCommit: { what in
                guard what == .commit else { return }
                let fail = failures.withLock { left in
                    left -= 1
                    return left >= 0
                }
                if fail { throw Injected() }
            }))
        var maker = CloseMaker(seed: 4)
        let closes = (0..<5).map { maker.close(at: start + Int64($0) * 10_000) }
        do {
            let order = Mutex<[Int64]>([])
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                for close in closes {
                    store.commit(close) {
                        let all = order.withLock { order in
                            order.append(close.closedThroughMs)
                            return order
                        }
                        if all.count == closes.count {
                            #expect(all == all.sorted())
                            continuation.resume()
                        }
                    }
                }
            }
        }
        #expect(try await store.closedThrough(.measured) == start + 40_000)
        let found = try #require(await store.windows(after: 0))
        #expect(found.windows.map(\.summary.startMs) == closes.map { $0.windows[0].startMs })
        #expect(found.windows.map(\.sequence) == [1, 2, 3, 4, 5])
        #expect(sandbox.metrics.exposition().contains("colossus_store_errors_total{doing=\"commit\"} 3"))
        await store.close()
    }

    @Test("killed before COMMIT the whole closing is missing, killed after it the whole closing is there")
    func killed() async throws {
        let sandbox = try Sandbox()
        let copies = try Sandbox()
        let count = Mutex(0)
        // A copy of the files at a moment is what a killed process leaves behind.
        let copy = { @Sendable (name: String) throws in
            for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: sandbox.database + suffix)
            {
                try FileManager.default.createDirectory(
                    atPath: copies.path + "/" + name, withIntermediateDirectories: true)
                try FileManager.default.copyItem(
                    atPath: sandbox.database + suffix,
                    toPath: "\(copies.path)/\(name)/history.sqlite\(suffix)")
            }
        }
        let store = try sandbox.open(
            faults: StoreFaults(beforeCommit: { what in
                guard what == .commit else { return }
                let commits = count.withLock { count in
                    count += 1
                    return count
                }
                if commits == 2 { try copy("before") }
            }))
        var maker = CloseMaker(seed: 5)
        await store.commit(maker.close(at: start))
        let second = maker.close(at: start + 10_000, resolutions: [10_000, 60_000])
        await store.commit(second)
        try copy("after")
        await store.close()
        for (name, sequences, closed) in [
            ("before", [Int64(1)], start), ("after", [1, 2, 3], start + 10_000),
        ] {
            let left = try HistoryStore(
                directory: copies.path + "/" + name, clock: WallClock { 0 }, metrics: Metrics(),
                logger: .init(label: "t"))
            #expect(await left.windows(after: 0)?.windows.map(\.sequence) == sequences, "\(name)")
            #expect(try await left.closedThrough(.measured) == closed)
            #expect(try await left.timeline(.measured).count == (name == "before" ? 1 : 2))
            await left.commit(second)
            #expect(await left.windows(after: 0)?.windows.map(\.sequence) == [1, 2, 3])
            await left.close()
        }
    }

    @Test("only the levels and fields that were asked for are read")
    func selection() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 6)
        let close = maker.close(at: start, resolutions: [10_000, 60_000])
        await store.commit(close)
        let fields: Set<FieldIndex> = [maker.fields[1], maker.fields[3]]
        let selection = DeliverySelection(
            streams: .measured, levels: [.rack, .job], resolutions: [60_000], fields: fields)
        let found = try #require(await store.windows(after: 0, selection))
        #expect(
            found.windows.map(\.summary) == [close.windows[1].cut(levels: [.rack, .job], fields: fields)])
        #expect(found.scannedThrough == 2)
        await store.close()
    }

    @Test("a damaged blob that was not asked for hurts nobody")
    func laziness() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 7)
        await store.commit(maker.close(at: start))
        try await store.write(.run) { db in
            try db.execute(sql: "UPDATE field_columns SET data = x'00' WHERE level <> 'rack'")
        }
        #expect(try await store.window(.measured, resolutionMs: 10_000, levels: [.rack]) != nil)
        await #expect(throws: StoreError.self) {
            try await store.window(.measured, resolutionMs: 10_000, levels: [.hall])
        }
        #expect(await store.windows(after: 0) == nil)
        await store.close()
    }

    @Test("summaries of entities over time")
    func summaries() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 8)
        let closes = (1...3).map { maker.close(at: start + Int64($0) * 10_000) }
        for close in closes { await store.commit(close) }
        let query = SummaryQuery(
            stream: .measured, resolutionMs: 10_000, level: .rack, entities: ["rack2"],
            fields: [maker.fields[0]])
        let rows = try await store.summaries(query)
        #expect(rows.map(\.startMs) == closes.map { $0.windows[0].startMs })
        let rack = try #require(closes[1].windows[0].level(.rack))
        #expect(rows[1].entity == "rack2")
        #expect(rows[1].gpusReporting == rack.gpus.reporting[2])
        #expect(rows[1].values.map(\.sum) == [rack.columns[0].sum[2]])
        #expect(rows[1].values.map(\.p90) == [rack.columns[0].p90[2]])
        var newest = query
        newest.limit = 2
        #expect(try await store.summaries(newest).map(\.sequence) == [2, 3])
        var jobs = SummaryQuery(stream: .measured, resolutionMs: 10_000, level: .job)
        #expect(try await store.summaries(jobs).count == 6)
        jobs.fromMs = start + 20_000
        #expect(Set(try await store.summaries(jobs).map(\.startMs)) == [start + 20_000])
        await store.close()
    }

    @Test(
        "open rollups come back with all sketches, in their newest revision, and are gone when the parent closes"
    )
    func openRollups() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        let ladder: [Int64] = [10_000, 60_000, 600_000]
        var maker = CloseMaker(seed: 9)
        let hour: Int64 = 1_700_002_800_000
        #expect(try await store.openRollups(.measured, ladder: ladder).isEmpty)
        var made: [WindowSummary] = []
        for step in 1...15 {
            let end = hour + Int64(step) * 10_000
            let close = maker.close(at: end, resolutions: end % 60_000 == 0 ? [10_000, 60_000] : [10_000])
            made += close.windows
            await store.commit(close)
        }
        let revised = maker.close(at: hour + 150_000, resolutions: [10_000], revision: 1)
        await store.commit(revised)
        await store.close()
        store = try sandbox.open()
        let open = try await store.openRollups(.measured, ladder: ladder)
        let expected =
            made.filter { $0.resolutionMs == 10_000 && $0.startMs >= hour + 120_000 }.dropLast()
            + revised.windows + made.filter { $0.resolutionMs == 60_000 }
        #expect(open == Array(expected))
        let waiting = try await store.read { reader in
            try Int.fetchOne(reader.db, sql: "SELECT count(DISTINCT window) FROM rollup_state") ?? 0
        }
        #expect(waiting == 5)
        await store.commit(maker.close(at: hour + 600_000, resolutions: ladder))
        #expect(try await store.openRollups(.measured, ladder: ladder).isEmpty)
        let left = try await store.read { reader in
            try Int.fetchOne(reader.db, sql: "SELECT count(*) FROM rollup_state") ?? 0
        }
        #expect(left == 0)
        await store.close()
    }

    @Test("two fleets that both say version 7 do not take each other's names")
    func topologyVersions() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        for (step, site) in ["first", "second"].enumerated() {
            let topology = Topology(site: site)
            topology.node("n", at: Placement(), gpuCount: 6)
            let end = start + Int64(step) * 10_000
            let window = WindowSummary(
                stream: .measured, resolutionMs: 10_000, startMs: end - 10_000, topologyVersion: 7, levels: []
            )
            // Another process: it knows nothing of what this one wrote.
            store.onWriter { $0.forget(.measured) }
            await store.commit(
                WindowClose(
                    stream: .measured, closedThroughMs: end, windows: [window], topology: topology.snapshot(),
                    ledger: Ledger()))
        }
        let found = try #require(await store.windows(after: 0))
        #expect(found.windows.map(\.topology.site) == ["first", "second"])
        #expect(found.windows.map(\.topology.version) == [7, 7])
        await store.close()
    }

    @Test("a closing whose columns do not fit is given up and does not hold up the next")
    func malformed() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 10)
        var bad = maker.close(at: start)
        bad.windows[0].levels[0].columns[0].sum.removeLast()
        await store.commit(bad)
        await store.commit(maker.close(at: start + 10_000))
        #expect(await store.windows(after: 0)?.windows.count == 1)
        #expect(sandbox.log.lines.contains { $0.level == .critical })
        await store.close()
    }

    @Test("a full disk holds closings up, in order, until there is room")
    func fullDisk() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 12, racks: 60)
        await store.commit(maker.close(at: start))
        let setPages = { @Sendable (pages: Int) in
            store.onWriter { writer in
                try? writer.pool.writeWithoutTransaction {
                    try $0.execute(sql: "PRAGMA max_page_count = \(pages)")
                }
            }
        }
        setPages(1)  // SQLite takes the size that the file has
        let done = Mutex(0)
        for step in 1...4 {
            store.commit(maker.close(at: start + Int64(step) * 10_000)) { done.withLock { $0 += 1 } }
        }
        await store.settle()
        #expect(await store.windows(after: 0)?.windows.count == 1)
        #expect(done.withLock { $0 } == 0)
        #expect(sandbox.metrics.exposition().contains("colossus_store_queue_length 4"))
        setPages(1_000_000)
        await store.commit(maker.close(at: start + 50_000))
        #expect(done.withLock { $0 } == 4)
        #expect(await store.windows(after: 0)?.windows.map(\.sequence) == [1, 2, 3, 4, 5, 6])
        await store.close()
    }

    @Test("everybody at once: commits, cursors, readers, removal")
    func together() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        let stream = try #require(StreamID.simulated(run: "busy"))
        let start = start
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (seed, own) in [StreamID.measured, stream].enumerated() {
                group.addTask {
                    var maker = CloseMaker(seed: UInt64(seed), racks: 10)
                    maker.stream = own
                    for step in 1...30 { await store.commit(maker.close(at: start + Int64(step) * 10_000)) }
                }
            }
            group.addTask {
                var position = await store.openCursor("e", fromBeginning: true)?.sequence ?? -1
                for _ in 0..<20 {
                    let found = try #require(await store.windows(after: position, limit: 5))
                    #expect(found.windows.map(\.sequence) == found.windows.map(\.sequence).sorted())
                    position = found.scannedThrough
                    #expect(await store.advance("e", to: position))
                }
            }
            group.addTask {
                for _ in 0..<20 {
                    _ = try await store.streams()
                    _ = try await store.summaries(
                        SummaryQuery(stream: .measured, resolutionMs: 10_000, level: .rack, limit: 50))
                    _ = try await store.endpointRecords()
                    _ = try await store.openRollups(.measured, ladder: [10_000, 60_000])
                    _ = store.sizeBytes
                }
            }
            try await group.waitForAll()
        }
        #expect(await store.windows(after: 0)?.windows.map(\.sequence) == Array(1...60))
        await store.close()
    }

    @Test("injections and exports are kept in order, and go with their run")
    func injections() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        let faults = [
            StoredInjection(timeMs: 9, kind: "memory", entity: "r0001-n1/2", forMs: nil),
            StoredInjection(timeMs: 5, kind: "hot", entity: "r0002-n1", forMs: 60_000),
        ]
        for fault in faults { try await store.save(fault, run: "a") }
        try await store.save(faults[0], run: "b")
        try await store.save(StoredExport(name: "x", run: "a", request: "{}"))
        try await store.save(StoredExport(name: "y", run: "b", request: "{}"))
        await store.close()
        store = try sandbox.open()
        #expect(try await store.injections(run: "a") == faults)
        #expect(try await store.exports().map(\.name) == ["x", "y"])
        try await store.remove(#require(StreamID.simulated(run: "a")))
        #expect(try await store.injections(run: "a").isEmpty)
        #expect(try await store.injections(run: "b") == [faults[0]])
        #expect(try await store.exports().map(\.run) == ["b"])
        try await store.removeExport(name: "y")
        #expect(try await store.exports().isEmpty)
        await store.close()
    }

    @Test("runs, senders and the removal of a stream")
    func runs() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var run = SimulationRun(
            name: "c", scenario: "seed: 1", path: "colossus.yaml", seed: .max, speed: "max", state: "running",
            startedMs: 5)
        try await store.save(run, nowMs: 6)
        run.state = "paused"
        try await store.save(run, nowMs: 7)
        #expect(try await store.runs() == [run])
        let stream = try #require(StreamID.simulated(run: "c"))
        try await store.save([SenderRecord(stream: stream, name: "s", seenMs: 1, newestMs: 2)])
        try await store.save([SenderRecord(stream: stream, name: "s", seenMs: 4, newestMs: 1)])
        #expect(
            try await store.senders(stream) == [
                SenderRecord(stream: stream, name: "s", seenMs: 4, newestMs: 2)
            ])
        var maker = CloseMaker(seed: 11)
        maker.stream = stream
        for step in 1...20 { await store.commit(maker.close(at: start + Int64(step) * 10_000)) }
        #expect(try await store.streams().map(\.stream) == [stream])
        try await store.remove(stream)
        #expect(try await store.streams().isEmpty)
        #expect(try await store.runs().isEmpty)
        // The name is free at once, for the same windows.
        await store.commit(maker.close(at: start + 10_000))
        await store.settle()
        #expect(await store.windows(after: 0)?.windows.map(\.sequence) == [21])
        let rows = try await store.read { reader in
            try Int.fetchOne(reader.db, sql: "SELECT count(DISTINCT window) FROM field_columns") ?? 0
        }
        #expect(rows == 1)
        await store.close()
    }
}
