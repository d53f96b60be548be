import Dispatch
import QueueIsolation
import Synchronization
import Telemetry
import Testing

@testable import Store

@Suite struct DeliveryTests {
    let start: Int64 = 1_700_000_040_000

    func letter(_ id: String, endpoint: String = "a", sequence: Int64 = 1) -> DeadLetter {
        DeadLetter(
            endpoint: endpoint, id: id, sequence: sequence, status: 400, reason: "no",
            body: Array("body".utf8),
            timeMs: 9)
    }

    @Test("a new endpoint starts after the newest window, or at the beginning if it says so")
    func opening() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        var maker = CloseMaker(seed: 1)
        for step in Int64(0)..<3 { await store.commit(maker.close(at: start + step * 10_000)) }
        #expect(await store.openCursor("a", fromBeginning: false) == DeliveryPosition(sequence: 3, parts: 0))
        #expect(await store.openCursor("b", fromBeginning: true) == .start)
        #expect(await store.advance("b", to: 2, parts: 4))
        await store.close()
        store = try sandbox.open()
        #expect(await store.openCursor("b", fromBeginning: true) == DeliveryPosition(sequence: 2, parts: 4))
        #expect(await store.openCursor("a", fromBeginning: true) == DeliveryPosition(sequence: 3, parts: 0))
        await store.close()
    }

    @Test("a window that was half delivered begins again when it is cut in another way")
    func otherCut() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 1)
        for step in Int64(0)..<3 { await store.commit(maker.close(at: start + step * 10_000)) }
        _ = await store.openCursor("a", fromBeginning: true, cut: "racks")
        #expect(await store.advance("a", to: 1, parts: 4))
        let half = DeliveryPosition(sequence: 1, parts: 4)
        #expect(await store.openCursor("a", fromBeginning: true, cut: "racks") == half)
        let again = DeliveryPosition(sequence: 1, parts: 0)
        #expect(await store.openCursor("a", fromBeginning: true, cut: "racks and nodes") == again)
        #expect(await store.advance("a", to: 1, parts: 2))
        let other = DeliveryPosition(sequence: 1, parts: 2)
        #expect(await store.openCursor("a", fromBeginning: true, cut: "racks and nodes") == other)
        await store.close()
    }

    @Test(
        "windows come in the order of committing, as many as asked for, and the scan goes past what is not wanted"
    )
    func reading() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var real = CloseMaker(seed: 1)
        var simulated = CloseMaker(seed: 2)
        simulated.stream = try #require(StreamID.simulated(run: "x"))
        for step in Int64(0)..<4 {
            await store.commit(real.close(at: start + step * 10_000))
            await store.commit(simulated.close(at: start + step * 10_000))
        }
        let all = try #require(await store.windows(after: 0))
        #expect(all.windows.map(\.sequence) == [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(all.scannedThrough == 8)
        let measured = try #require(await store.windows(after: 0, DeliverySelection(), limit: 3))
        #expect(measured.windows.map(\.sequence) == [1, 3, 5])
        #expect(measured.scannedThrough == 5)
        let rest = try #require(await store.windows(after: 5, DeliverySelection(), limit: 3))
        #expect(rest.windows.map(\.sequence) == [7])
        #expect(rest.scannedThrough == 8)
        let none = try #require(
            await store.windows(after: 8, DeliverySelection(streams: .named([.measured]), resolutions: [1])))
        #expect(none.windows.isEmpty)
        #expect(none.scannedThrough == 8)
        let simulatedOnly = try #require(
            await store.windows(after: 0, DeliverySelection(streams: .simulated)))
        #expect(simulatedOnly.windows.map(\.sequence) == [2, 4, 6, 8])
        await store.close()
    }

    @Test("a selection may want the newest revisions only")
    func newestRevisions() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var real = CloseMaker(seed: 1)
        for step in Int64(0)..<4 { await store.commit(real.close(at: start + step * 10_000)) }
        await store.commit(real.close(at: start + 20_000, revision: 1))
        var selection = DeliverySelection()
        #expect(await store.windows(after: 0, selection)?.windows.map(\.sequence) == [1, 2, 3, 4, 5])
        selection.newestRevisions = true
        #expect(await store.windows(after: 0, selection)?.windows.map(\.sequence) == [1, 2, 4, 5])
        await store.close()
    }

    @Test("a selection may want the windows of a time only, and a cursor can be removed and paused")
    func someTime() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        var maker = CloseMaker(seed: 1)
        for step in Int64(0)..<5 { await store.commit(maker.close(at: start + step * 10_000)) }
        var selection = DeliverySelection(resolutions: [10_000])
        selection.startsMs = (start + 10_000)..<(start + 30_000)
        let some = try #require(await store.windows(after: 0, selection))
        #expect(some.windows.map(\.summary.startMs) == [start + 10_000, start + 20_000])
        _ = await store.openCursor("a", fromBeginning: true)
        #expect(await store.advance("a", to: 3))
        try await store.setPaused(endpoint: "a", true)
        await store.close()
        store = try sandbox.open()
        #expect(try await store.endpointRecords().map(\.isPaused) == [true])
        try await store.setPaused(endpoint: "a", false)
        #expect(try await store.endpointRecords().map(\.isPaused) == [false])
        try await store.removeCursor(endpoint: "a")
        #expect(await store.openCursor("a", fromBeginning: true) == .start)
        await store.close()
    }

    @Test("a cursor moves together with its dead letters, or not at all")
    func deadLetters() async throws {
        let sandbox = try Sandbox()
        let fail = Mutex(false)
        struct Injected: Error {}
        let store = try sandbox.open(
            faults: StoreFaults(beforeCommit: { _ in if fail.withLock({ $0 }) { throw Injected() } }))
        var maker = CloseMaker(seed: 1)
        await store.commit(maker.close(at: start))
        _ = await store.openCursor("a", fromBeginning: true)
        fail.withLock { $0 = true }
        #expect(await store.advance("a", to: 1, dead: [letter("1")]) == false)
        fail.withLock { $0 = false }
        #expect(try await store.deadLetters(DeadLetterQuery(endpoint: "a")).isEmpty)
        #expect(try await store.endpointRecords().map(\.position) == [.start])
        #expect(await store.advance("a", to: 1, dead: [letter("1"), letter("2")]))
        #expect(await store.advance("a", to: 1, dead: [letter("2")]))
        let kept = try await store.deadLetters(DeadLetterQuery(endpoint: "a"), bodies: true)
        #expect(kept.map(\.letter) == [letter("1"), letter("2")])
        let record = try #require(try await store.endpointRecords().first)
        #expect(record.position.sequence == 1)
        #expect(record.dead == 2)
        #expect(record.deliveredParts == 2)
        #expect(record.deliveredSamples == 20)
        #expect(record.pending == 0)
        await store.close()
    }

    @Test("what is refused under an id that was refused before is kept and counted, unless it is the same")
    func sameIDs() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        _ = await store.openCursor("a", fromBeginning: true)
        #expect(await store.advance("a", to: 0, dead: [letter("1"), letter("2")]))
        // A second run of that name; its window has another number.
        var second = letter("1", sequence: 9)
        second.body = Array("another".utf8)
        var third = second
        third.body = Array("a third".utf8)
        #expect(await store.advance("a", to: 0, dead: [second, third]))
        // The same once more.
        var again = second
        (again.status, again.reason, again.timeMs) = (422, "still no", 77)
        #expect(await store.advance("a", to: 0, dead: [again]))
        let kept = try await store.deadLetters(DeadLetterQuery(), bodies: true)
        #expect(kept.map(\.letter.id) == ["1", "2", "1~2", "1~3"])
        #expect(kept.map(\.letter.body) == ["body", "body", "another", "a third"].map { Array($0.utf8) })
        #expect(kept.map(\.letter.sequence) == [1, 1, 9, 9])
        #expect(kept.map(\.attempts) == [1, 1, 2, 1])
        #expect(kept[2].letter.status == 422 && kept[2].letter.reason == "still no")
        #expect(kept[2].letter.timeMs == 77)
        #expect(try await store.endpointRecords().map(\.dead) == [4])
        await store.close()
    }

    @Test("what a replay had refused is counted with the endpoint, which may get it after all")
    func lettersOfReplays() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        for name in ["a", "a#replay"] { _ = await store.openCursor(name, fromBeginning: true) }
        #expect(await store.advance("a", to: 0, dead: [letter("1")]))
        var other = letter("1")
        other.body = Array("in another batch".utf8)
        #expect(await store.advance("a#replay", to: 0, dead: [other]))
        #expect(try await store.endpointRecords().map(\.dead) == [2, 0])
        #expect(try await store.deadLetterCounts() == ["a": 2])
        try await store.delivered(deadLetter: 2)
        #expect(try await store.endpointRecords().map(\.dead) == [1, 0])
        await store.close()
    }

    @Test("a cursor never goes back, and an endpoint that was never opened has none")
    func forwardOnly() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 1)
        for step in Int64(0)..<3 { await store.commit(maker.close(at: start + step * 10_000)) }
        _ = await store.openCursor("a", fromBeginning: true)
        #expect(await store.advance("a", to: 2, parts: 3))
        #expect(await store.advance("a", to: 2, parts: 1))
        #expect(await store.advance("a", to: 1, parts: 9))
        let record = try #require(try await store.endpointRecords().first)
        #expect(record.position == DeliveryPosition(sequence: 2, parts: 3))
        #expect(record.pending == 1)
        #expect(await store.advance("stranger", to: 1) == false)
        await store.close()
    }

    @Test("dead letters are bounded, the oldest go")
    func deadLettersMax() async throws {
        let sandbox = try Sandbox()
        var limits = StoreLimits()
        limits.deadLettersMax = 3
        limits.deadLetterBytesMax = 2
        let store = try sandbox.open(limits: limits)
        _ = await store.openCursor("a", fromBeginning: true)
        _ = await store.openCursor("b", fromBeginning: true)
        _ = await store.advance("b", to: 0, dead: [letter("x", endpoint: "b")])
        _ = await store.advance("a", to: 0, dead: (1...5).map { letter("\($0)") })
        let kept = try await store.deadLetters(DeadLetterQuery(endpoint: "a"), bodies: true)
        #expect(kept.map(\.letter.id) == ["3", "4", "5"])
        #expect(kept.map(\.letter.body) == Array(repeating: Array("bo".utf8), count: 3))
        #expect(kept.map(\.bodyBytes) == [4, 4, 4])
        // A body that was cut off cannot be sent again.
        #expect(kept.allSatisfy { !$0.letter.isReplayable })
        #expect(try await store.deadLetters(DeadLetterQuery(endpoint: "b")).count == 1)
        #expect(try await store.deadLetterCounts() == ["a": 3, "b": 1])
        // It is counted for the endpoint, and said once a minute.
        for id in 6...7 { _ = await store.advance("a", to: 0, dead: [letter("\(id)")]) }
        func lost() -> String {
            sandbox.metrics.exposition().split(separator: "\n").filter {
                $0.hasPrefix("colossus_report_lost_dead_letters_total")
            }.joined(separator: " ")
        }
        func said() -> [String] {
            sandbox.log.lines.filter { "\($0.level)" == "warning" && $0.text.contains("dead letters") }.map(
                \.text)
        }
        #expect(lost() == "colossus_report_lost_dead_letters_total{endpoint=\"a\"} 4")
        #expect(said().count == 1 && said()[0].contains("\"count\": 2"))
        sandbox.nowMs.withLock { $0 += 60_000 }
        _ = await store.advance("a", to: 0, dead: [letter("8")])
        #expect(lost() == "colossus_report_lost_dead_letters_total{endpoint=\"a\"} 5")
        #expect(said().count == 2 && said()[1].contains("\"count\": 3"))
        await store.close()
    }

    @Test("dead letters are bounded in bytes as well, and the newest stays whatever its size")
    func deadLettersBytesMax() async throws {
        let sandbox = try Sandbox()
        var limits = StoreLimits()
        limits.deadLettersBytesMax = 9
        let store = try sandbox.open(limits: limits)
        _ = await store.openCursor("a", fromBeginning: true)
        _ = await store.advance("a", to: 0, dead: (1...5).map { letter("\($0)") })
        #expect(try await store.deadLetters(DeadLetterQuery()).map(\.letter.id) == ["4", "5"])
        var large = letter("6")
        large.body = Array(repeating: 7, count: 100)
        _ = await store.advance("a", to: 0, dead: [large])
        let kept = try await store.deadLetters(DeadLetterQuery(), bodies: true)
        #expect(kept.map(\.letter) == [large])
        await store.close()
    }

    @Test("a dead letter is found, refused again, delivered after all, or dropped")
    func workingOff() async throws {
        let sandbox = try Sandbox()
        var store = try sandbox.open()
        for name in ["a", "b"] { _ = await store.openCursor(name, fromBeginning: true) }
        var first = letter("1")
        first.headers = [.init("ce-id", "measured/1: x"), .init("Content-Type", "application/json")]
        first.response = Array("who?\n\u{0}".utf8)
        first.samples = 13
        _ = await store.advance("a", to: 0, dead: [first, letter("2"), letter("3")])
        _ = await store.advance("b", to: 0, dead: [letter("1", endpoint: "b")])
        await store.close()
        store = try sandbox.open()
        let all = try await store.deadLetters(DeadLetterQuery(), bodies: true)
        #expect(all.map(\.number) == [1, 2, 3, 4])
        #expect(all.map(\.letter) == [first, letter("2"), letter("3"), letter("1", endpoint: "b")])
        #expect(
            try await store.deadLetters(DeadLetterQuery(afterNumber: 1, limit: 2)).map(\.number) == [2, 3])
        #expect(try await store.deadLetters(DeadLetterQuery(numbers: [3, 99])).map(\.letter.id) == ["3"])
        try await store.refusedAgain(
            deadLetter: 2, status: 422, reason: "still", response: [1, 2], timeMs: 77)
        let again = try #require(
            try await store.deadLetters(DeadLetterQuery(numbers: [2]), bodies: true).first)
        #expect(again.attempts == 2 && again.letter.status == 422 && again.letter.reason == "still")
        #expect(again.letter.response == [1, 2] && again.letter.timeMs == 77)
        #expect(again.letter.body == letter("2").body)
        try await store.delivered(deadLetter: 1)
        let record = try #require(try await store.endpointRecords().first)
        #expect(record.dead == 2 && record.deliveredSamples == 23 && record.deliveredParts == 2)
        #expect(try await store.dropDeadLetters(DeadLetterQuery(endpoint: "a", numbers: [3, 4])) == 1)
        #expect(try await store.deadLetterCounts() == ["a": 1, "b": 1])
        #expect(try await store.dropDeadLetters(DeadLetterQuery()) == 2)
        #expect(try await store.deadLetters(DeadLetterQuery()).isEmpty)
        await store.close()
    }

    @Test("replies come in the order of the calls, on the store's queue, wherever the work is done")
    func order() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        var maker = CloseMaker(seed: 1, racks: 100)
        for step in Int64(0)..<3 { await store.commit(maker.close(at: start + step * 10_000)) }
        let order = Mutex<[Int]>([])
        let queue = store.writer.executor.queue
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let note = { @Sendable (number: Int) in
                dispatchPrecondition(condition: .onQueue(queue))
                let count = order.withLock { order in
                    order.append(number)
                    return order.count
                }
                if count == 30 { continuation.resume() }
            }
            for round in 0..<10 {
                store.openCursor(endpoint: "a", fromBeginning: true, cut: "") { _ in note(round * 3) }
                store.windows(
                    after: .start, through: nil, selection: DeliverySelection(streams: .all), limit: 10
                ) { _ in note(round * 3 + 1) }
                store.advance(
                    endpoint: "a", to: DeliveryPosition(sequence: 1, parts: round), through: nil, parts: 1,
                    samples: 1, dead: []
                ) { _ in note(round * 3 + 2) }
            }
        }
        #expect(order.withLock { $0 } == Array(0..<30))
        await store.close()
    }

    @Test("handlers hear of new windows, and not of closings without any")
    func notifications() async throws {
        let sandbox = try Sandbox()
        let store = try sandbox.open()
        let heard = Mutex<[Int64]>([])
        store.onCommit { sequence in heard.withLock { $0.append(sequence) } }
        var maker = CloseMaker(seed: 1)
        await store.commit(maker.close(at: start, resolutions: [10_000, 60_000]))
        var quiet = maker.close(at: start + 600_000)
        quiet.windows = []
        await store.commit(quiet)
        await store.close()
        #expect(heard.withLock { $0 } == [2])
    }
}
