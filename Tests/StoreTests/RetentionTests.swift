import GRDB
import Synchronization
import Telemetry
import Testing

@testable import Store

@Suite struct RetentionTests {
    let start: Int64 = 1_700_000_040_000

    func limits(keepMs: Int64 = 60_000) -> StoreLimits {
        var limits = StoreLimits()
        limits.ages = [
            .init(resolutionMs: 10_000, keepMs: keepMs), .init(resolutionMs: 60_000, keepMs: 3_600_000),
        ]
        limits.ladder = [10_000, 60_000]
        return limits
    }

    /// 10 s and 1 m windows over so many minutes.
    func fill(_ store: HistoryStore, _ maker: inout CloseMaker, minutes: Int64, from: Int64) async {
        for step in 1...(minutes * 6) {
            let end = from + step * 10_000
            await store.commit(
                maker.close(at: end, resolutions: end % 60_000 == 0 ? [10_000, 60_000] : [10_000]))
        }
        await store.settle()
    }

    func starts(_ store: HistoryStore, _ stream: StreamID, _ resolution: Int64) async throws -> [Int64] {
        let selection = DeliverySelection(
            streams: .named([stream]), levels: [.site], resolutions: [resolution])
        return await store.windows(after: 0, selection, limit: 1_000)?.windows.map(\.summary.startMs) ?? []
    }

    @Test("each stream is judged by its own clock")
    func perStream() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open(limits: limits())
        var real = CloseMaker(seed: 1)
        var old = CloseMaker(seed: 2)
        old.stream = try #require(StreamID.simulated(run: "old"))
        await fill(store, &old, minutes: 1, from: 1_000_000_020_000)
        await fill(store, &real, minutes: 5, from: start)
        #expect(try await starts(store, old.stream, 10_000).count == 6)
        // Kept: what ends less than a minute before the stream's clock, which is at start + 5 minutes.
        #expect(
            try await starts(store, .measured, 10_000) == (0..<6).map { start + 240_000 + $0 * 10_000 })
        #expect(try await starts(store, .measured, 60_000).count == 5)
        #expect(try await store.timeline(.measured).count == 30)
        await store.close()
    }

    @Test(
        "a window waits for the cursors that want it, until the endpoint's limit has passed, and is counted then"
    )
    func cursors() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open(limits: limits())
        _ = await store.openCursor("slow", fromBeginning: true)
        _ = await store.openCursor("coarse", fromBeginning: true)
        store.describe(
            endpoint: "slow",
            limit: EndpointLimit(selection: DeliverySelection(resolutions: [10_000]), keepMs: 1_000_000))
        store.describe(
            endpoint: "coarse",
            limit: EndpointLimit(selection: DeliverySelection(resolutions: [60_000]), keepMs: 1_000_000))
        var maker = CloseMaker(seed: 1)
        await fill(store, &maker, minutes: 5, from: start)
        #expect(try await starts(store, .measured, 10_000).count == 30)
        #expect(await store.advance("slow", to: 10))
        await fill(store, &maker, minutes: 1, from: start + 300_000)
        // Ten sequence numbers: nine windows of 10 s and one of a minute are behind the cursor.
        #expect(try await starts(store, .measured, 10_000).first == start + 90_000)
        sandbox.nowMs.withLock { $0 += 1_000_001 }
        await fill(store, &maker, minutes: 1, from: start + 360_000)
        #expect(try await starts(store, .measured, 10_000).count == 6)
        let records = try await store.endpointRecords()
        #expect(records.map(\.endpoint) == ["coarse", "slow"])
        #expect(records.map(\.dropped) == [0, 27])
        #expect(records.map(\.coarsened) == [0, 0])
        #expect(records.map(\.pending) == [7, 6])
        await store.close()
    }

    @Test("old windows that one endpoint waits for keep no others, however many they are")
    func passesHeld() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open(limits: limits())
        _ = await store.openCursor("gap", fromBeginning: true)
        // Two minutes are left behind: twelve windows of 10 s, more than one step takes.
        #expect(await store.leap("gap", from: 0, through: 14))
        #expect(await store.advance("gap", to: 1_000))
        var maker = CloseMaker(seed: 1)
        await fill(store, &maker, minutes: 10, from: start)
        let held = (0..<12).map { start + $0 * 10_000 }
        let young = (54..<60).map { start + $0 * 10_000 }
        #expect(try await starts(store, .measured, 10_000) == held + young)
        #expect(try await store.endpointRecords().first?.pending == 14)
        await store.close()
    }

    @Test(
        "a step looks at so many, the next one goes on behind them, and then it begins with the oldest again")
    func looksOn() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open(limits: limits(keepMs: 3_600_000))
        var maker = CloseMaker(seed: 1)
        await fill(store, &maker, minutes: 10, from: start)
        let old = limits()
        // Numbers 1 to 21 are those of three minutes: 18 windows of 10 s.
        let gap = DeliveryGap(after: .start, through: 21)
        let done = try await store.writeCounted { writer in
            writer.attempt(.retention) { db -> Int in
                let endpoint = Retention.Endpoint(
                    name: "gap", sequence: 1_000, selection: nil, keepMs: .max, gaps: [gap])
                var places: [Retention.Series: Retention.Place] = [:]
                var done = 0
                for step in 0..<12 {
                    var retention = Retention(
                        db: db, limits: old, nowMs: 0, endpoints: [endpoint], fleetsInUse: [],
                        places: places, looks: 8)
                    if try retention.step() { done |= 1 << step }
                    places = retention.places
                }
                return done
            }
        }
        // The first two steps see nothing but what is held; from the eighth on nothing else is left.
        #expect(done == 0b0111_1100)
        #expect(try await starts(store, .measured, 10_000).count == 24)
        await store.close()
    }

    @Test("events that go because of their age are counted for the cursors that have not passed them")
    func events() async throws {
        let sandbox = try Sandbox()
        var limits = limits()
        limits.eventsKeepMs = 60_000
        func open(_ store: HistoryStore, _ cursors: [String]) async {
            for name in cursors {
                await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                    store.openEventCursor(endpoint: name, fromBeginning: true) { _ in continuation.resume() }
                }
            }
        }
        func advance(_ store: HistoryStore, _ cursor: String, to id: Int64) async -> Bool {
            await withCheckedContinuation { continuation in
                store.advanceEvents(endpoint: cursor, to: id, delivered: 1, dead: []) {
                    continuation.resume(returning: $0)
                }
            }
        }
        var store = try sandbox.open(limits: limits)
        let kinds: [EventKind] = [.xid, .checkpoint, .xid, .xid]
        let events = kinds.enumerated().map { index, kind in
            Event(
                stream: .measured, timeMs: start + Int64(index), kind: kind, entity: "n", source: .ingest)
        }
        try await store.save(events, alerts: AlertChanges(), nowMs: start)
        await open(store, ["all", "gone", "quick", "simulated", "xids"])
        #expect(await advance(store, "quick", to: 4))
        #expect(await advance(store, "xids", to: 1))
        await store.close()
        // The first step of a process looks for them.
        store = try sandbox.open(limits: limits)
        await open(store, ["all", "quick", "simulated", "xids"])
        store.describe(endpoint: "simulated", events: EventSelection(streams: .simulated))
        store.describe(endpoint: "xids", events: EventSelection(streams: .measured, kinds: [.xid]))
        var maker = CloseMaker(seed: 1)
        await fill(store, &maker, minutes: 1, from: start + 300_000)
        #expect(try await store.events(EventQuery()).isEmpty)
        let records = try await store.eventRecords()
        #expect(records.map(\.endpoint) == ["all", "gone", "quick", "simulated", "xids"])
        #expect(records.map(\.dropped) == [4, 0, 0, 0, 2])
        let text = sandbox.metrics.exposition()
        #expect(text.contains("colossus_report_lost_events_total{endpoint=\"all\"} 4\n"))
        #expect(text.contains("colossus_report_lost_events_total{endpoint=\"xids\"} 2\n"))
        let said = sandbox.log.lines.filter { $0.text.contains("events that an endpoint has not got") }
        #expect(said.count == 2)
        await store.close()
    }

    @Test(
        "a fine window that goes undelivered counts as coarsened when a coarser one still waits in its place")
    func coarsened() async throws {
        let sandbox = try Sandbox()
        var limits = limits()
        limits.undeliveredKeepMs = -1
        let store = try sandbox.open(limits: limits)
        _ = await store.openCursor("all", fromBeginning: true)
        var maker = CloseMaker(seed: 1)
        await fill(store, &maker, minutes: 3, from: start)
        let record = try #require(try await store.endpointRecords().first)
        #expect(record.coarsened == 12)
        #expect(record.dropped == 0)
        #expect(record.pending == 9)
        // Counted, and said.
        let text = sandbox.metrics.exposition()
        #expect(
            text.contains(
                "colossus_report_lost_windows_total{endpoint=\"all\",reason=\"coarsened\"} 12\n"))
        #expect(!text.contains("endpoint=\"all\",reason=\"dropped\""))
        let said = sandbox.log.lines.filter { $0.text.contains("windows that an endpoint has not got") }
        #expect(said.count == 1 && "\(said[0].level)" == "warning")
        await store.close()
    }

    @Test(
        "an endpoint of short windows gets long ones in place of those that went, each once, and only if it wants to"
    )
    func standIns() async throws {
        let sandbox = try Sandbox()
        var limits = limits()
        limits.ages = [
            .init(resolutionMs: 10_000, keepMs: 60_000), .init(resolutionMs: 60_000, keepMs: 240_000),
            .init(resolutionMs: 120_000, keepMs: 3_600_000),
        ]
        limits.ladder = [10_000, 60_000, 120_000]
        var store = try sandbox.open(limits: limits)
        var selections: [String: DeliverySelection] = [:]
        for name in ["it's down", "strict", "up"] {
            _ = await store.openCursor(name, fromBeginning: true)
            var selection = DeliverySelection(resolutions: [10_000])
            if name != "strict" { selection.standInsOf = name }
            selections[name] = selection
            store.describe(endpoint: name, limit: EndpointLimit(selection: selection, keepMs: -1))
        }
        var maker = CloseMaker(seed: 1)
        func fill(minutes: ClosedRange<Int64>) async {
            for step in (minutes.lowerBound * 6 - 5)...(minutes.upperBound * 6) {
                let end = start + step * 10_000
                let closing = [10_000, 60_000, 120_000].filter { ((step * 10_000) % $0) == 0 }
                await store.commit(maker.close(at: end, resolutions: closing))
            }
            await store.settle()
        }
        func sent(_ name: String) async throws -> [String] {
            let found = await store.windows(after: 0, try #require(selections[name]), limit: 1_000)
            return try #require(found).windows.map {
                "\($0.summary.resolutionMs / 1_000)s at \(($0.summary.startMs - start) / 1_000)"
            }
        }
        await fill(minutes: 1...1)
        #expect(await store.advance("up", to: 7))
        await fill(minutes: 2...4)
        let fine = (18..<24).map { "10s at \($0 * 10)" }
        // In the order of committing, which is that of their ends.
        #expect(try await sent("it's down") == ["60s at 0", "60s at 60", "60s at 120"] + fine)
        #expect(try await sent("strict") == fine)
        #expect(try await sent("up").suffix(8) == ["60s at 60", "60s at 120"] + fine)
        let records = try await store.endpointRecords()
        #expect(records.map(\.endpoint) == ["it's down", "strict", "up"])
        #expect(records.map(\.coarsened) == [18, 0, 12] && records.map(\.dropped) == [0, 18, 0])
        #expect(records.map(\.pending) == [9, 6, 8])
        // What stands in may have to go in its turn; also after a restart.
        await store.close()
        store = try sandbox.open(limits: limits)
        for (name, selection) in selections {
            store.describe(endpoint: name, limit: EndpointLimit(selection: selection, keepMs: -1))
        }
        await fill(minutes: 5...6)
        #expect(
            try await sent("it's down").prefix(4) == ["120s at 0", "60s at 120", "60s at 180", "60s at 240"])
        // Those that nobody opens any more leave nothing behind.
        try await store.removeCursor(endpoint: "it's down")
        try await store.removeCursor(endpoint: "up")
        #expect(try await store.read { try Int.fetchOne($0.db, sql: "SELECT count(*) FROM stand_ins") } == 0)
        await store.close()
    }

    @Test("what went before it was delivered is said at once, then once a minute, and never twice")
    func losses() {
        func count(_ coarsened: Int64, _ dropped: Int64) -> RetentionLosses.Count {
            RetentionLosses.Count(coarsened: coarsened, dropped: dropped)
        }
        var losses = RetentionLosses()
        // What an earlier process has said is not said again.
        var found = losses.note(["a": count(5, 5)], before: ["a": count(5, 5)], nowMs: 0)
        #expect(found.new.isEmpty && found.say.isEmpty)
        found = losses.note(["a": count(7, 5), "b": count(0, 1)], before: ["b": .none], nowMs: 1_000)
        #expect(found.new == ["a": count(2, 0), "b": count(0, 1)] && found.say == found.new)
        found = losses.note(["a": count(8, 5), "b": count(0, 1)], before: [:], nowMs: 30_000)
        #expect(found.new == ["a": count(1, 0)] && found.say.isEmpty)
        found = losses.note(["a": count(8, 9), "b": count(0, 1)], before: [:], nowMs: 61_000)
        #expect(found.new == ["a": count(0, 4)] && found.say == ["a": count(1, 4)])
        found = losses.note(["b": count(0, 1)], before: [:], nowMs: 200_000)
        #expect(found.new.isEmpty && found.say.isEmpty)
    }

    @Test("when the size bites the finest go first, and the file stops growing")
    func size() async throws {
        let sandbox = try Sandbox()
        var limits = StoreLimits()
        limits.bytesMax = 900_000
        limits.ladder = [10_000, 60_000]
        let store = try sandbox.open(limits: limits)
        _ = await store.openCursor("down", fromBeginning: true)
        var maker = CloseMaker(seed: 1, racks: 100)
        maker.sketches = false
        await fill(store, &maker, minutes: 10, from: start)
        let used = try await store.read { try Retention.usedBytes($0.db) }
        #expect(used <= 900_000)
        let fine = try await starts(store, .measured, 10_000)
        #expect(fine.count < 60)
        #expect(fine.last == start + 590_000)
        #expect(try await starts(store, .measured, 60_000).count == 10)
        let record = try #require(try await store.endpointRecords().first)
        #expect(record.dropped + record.coarsened == Int64(60 - fine.count))
        await store.close()
    }

    @Test("windows of a rollup that is still open stay, however old they are")
    func openRollup() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open(limits: limits(keepMs: 0))
        var maker = CloseMaker(seed: 1)
        for step in 1...5 { await store.commit(maker.close(at: start + Int64(step) * 10_000)) }
        await store.settle()
        #expect(try await starts(store, .measured, 10_000).count == 5)
        #expect(try await store.openRollups(.measured, ladder: [10_000, 60_000]).count == 5)
        await store.commit(maker.close(at: start + 60_000, resolutions: [10_000, 60_000]))
        await store.settle()
        #expect(try await starts(store, .measured, 10_000).isEmpty)
        await store.close()
    }

    @Test("the timeline is thinned with age and events go with the oldest history, by the stream's clock")
    func sweep() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        let day: Int64 = 86_400_000
        let midnight: Int64 = 1_700_006_400_000
        var maker = CloseMaker(seed: 1)
        for minute in 1...30 {
            var close = maker.close(at: midnight + Int64(minute) * 60_000)
            close.events = [
                Event(stream: .measured, timeMs: close.closedThroughMs, kind: .milestone, source: .ingest)
            ]
            await store.commit(close)
        }
        let sweep = Sweep(limits: store.limits, nowMs: 0, opened: [])
        func times() async throws -> [Int64] {
            try await store.timeline(.measured).map { ($0.timeMs - midnight) / 60_000 }
        }
        func pass(_ days: Int64) async throws {
            var quiet = maker.close(at: midnight + days * day + 3_600_000)
            quiet.windows = []
            await store.commit(quiet)
            try await store.write(.run) { try sweep.run($0) }
        }
        #expect(try await times().count == 30)
        try await pass(7)
        #expect(try await times() == [10, 20, 30])
        #expect(try await store.events(EventQuery()).count == 30)
        try await pass(91)
        #expect(try await times().isEmpty)
        try await pass(731)
        #expect(try await store.events(EventQuery()).isEmpty)
        await store.close()
    }

    @Test("a timeline is read in steps, the last point of each, the newest when there are too many")
    func timelineSteps() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 1)
        for step in 1...12 { await store.commit(maker.close(at: start + Int64(step) * 10_000)) }
        func times(step: Int64? = nil, limit: Int = 100) async throws -> [Int64] {
            try await store.timeline(.measured, fromMs: start, stepMs: step, limit: limit)
                .map { ($0.timeMs - start) / 1_000 }
        }
        #expect(try await times(step: 60_000) == [60, 120])
        #expect(try await times(step: 50_000) == [10, 60, 110, 120])
        #expect(try await times(limit: 2) == [110, 120])
        #expect(try await store.timeline(.measured, fromMs: start, toMs: start + 20_000).count == 2)
        await store.close()
    }

    @Test("a cursor that nobody opens is kept for a week, one that is open for ever")
    func cursorsOfStrangers() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        _ = await store.openCursor("gone", fromBeginning: true)
        _ = await store.openCursor("here", fromBeginning: true)
        await store.close()
        store = try sandbox.open()
        _ = await store.openCursor("here", fromBeginning: true)
        let now = sandbox.nowMs.withLock { $0 }
        for (days, left) in [(6, ["gone", "here"]), (8, ["here"])] {
            let sweep = Sweep(limits: store.limits, nowMs: now + Int64(days) * 86_400_000, opened: ["here"])
            try await store.write(.run) { try sweep.run($0) }
            #expect(try await store.endpointRecords().map(\.endpoint) == left)
        }
        await store.close()
    }

    @Test("names of fleets go with the last window that needs them")
    func fleets() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open(limits: limits())
        for size in 1...5 {
            var maker = CloseMaker(seed: 1, racks: size)
            await fill(store, &maker, minutes: 1, from: start + Int64(size) * 60_000)
        }
        let fleets = {
            try await store.read { try Int.fetchOne($0.db, sql: "SELECT count(*) FROM topologies") }
        }
        #expect(try await fleets() == 5)
        var maker = CloseMaker(seed: 1, racks: 6)
        await store.commit(maker.close(at: start + 7_200_000))
        await store.settle()
        #expect(try await fleets() == 1)
        #expect(try await store.topology(.measured)?.rackNames.count == 6)
        await store.close()
    }

    @Test("the database gives space back in steps")
    func autoVacuum() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        let mode = try await store.read { try Int.fetchOne($0.db, sql: "PRAGMA auto_vacuum") }
        #expect(mode == 2)
        await store.close()
    }

    @Test(
        "a resolution is kept as long as the next finer rule says",
        arguments: [
            (10_000, 6), (30_000, 6), (60_000, 168), (3_600_000, 17_520), (7_200_000, 17_520), (1_000, 6),
        ] as [(Int64, Int64)])
    func ages(resolution: Int64, hours: Int64) {
        #expect(StoreLimits().keepMs(resolutionMs: resolution) == hours * 3_600_000)
    }

    @Test("a parent is the next rung that divides evenly")
    func parents() {
        let ladder: [Int64] = [10_000, 25_000, 60_000, 600_000]
        #expect(StoreLimits.parent(of: 10_000, in: ladder) == 60_000)
        #expect(StoreLimits.parent(of: 600_000, in: ladder) == nil)
        #expect(StoreLimits.windowStart(-1, resolutionMs: 10) == -10)
        #expect(StoreLimits.windowStart(20, resolutionMs: 10) == 20)
    }
}
