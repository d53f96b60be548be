import Telemetry
import TestSupport
import Testing

@testable import Aggregation

/// A core that is killed at any request and repeats its log says what one says that ran through.
@Suite(.computing) struct ReplayTests {
    enum Step {
        case request([TestSample], sender: UInt32, arrivalMs: Int64)
        case tick(Int64)
    }

    /// A log in memory; places are numbers of entries.
    final class MemoryJournal: ClosingJournal {
        enum Entry {
            case request([TestSample], sender: UInt32, arrivalMs: Int64)
            case closing(Int64)
        }

        private let entries = TestLock<[Entry]>([])

        init(_ entries: [Entry] = []) { self.entries.withLock { $0 = entries } }

        var all: [Entry] { entries.withLock { $0 } }
        var end: LogPosition { LogPosition(rawValue: Int64(entries.withLock { $0.count })) }

        func append(_ entry: Entry) -> LogPosition {
            entries.withLock { entries in
                entries.append(entry)
                return LogPosition(rawValue: Int64(entries.count))
            }
        }

        func noteClosing(throughMs: Int64) -> LogPosition { append(.closing(throughMs)) }

        func keepFrom(newestMs: Int64, cut: LogPosition) -> LogPosition {
            let first = all.prefix(Int(cut.rawValue)).firstIndex { entry in
                guard case .request(let samples, _, _) = entry else { return false }
                return samples.contains { $0.timeMs >= newestMs }
            }
            return first.map { LogPosition(rawValue: Int64($0)) } ?? cut
        }

        func release(_ mark: LogMark) {}
    }

    static let plan = WindowPlan(
        finestMs: 10_000, rollupsMs: [], latenessMs: 5_000, senderSilentMs: 30_000, maxHoldMs: 60_000)

    static func steps(seed: UInt64) -> [Step] {
        var random = SeededRandom(seed: seed)
        var steps: [Step] = []
        var nowMs = CoreHarness.startMs
        for _ in 0..<160 {
            nowMs += Int64.random(in: 100...1_500, using: &random)
            let sender = UInt32.random(in: 1...3, using: &random)
            // Two nodes a sender; some samples come twice, some too late, some in the wrong order.
            let samples = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                let ageMs = Int64.random(in: 0...9, using: &random) == 0 ? 20_000 : 3_000 as Int64
                return TestSample(
                    node: Int(sender) * 2 + Int.random(in: 0...1, using: &random),
                    gpu: .random(in: 0...3, using: &random),
                    field: [.powerUsage, .gpuTemp].randomElement(using: &random) ?? .gpuTemp,
                    timeMs: nowMs - Int64.random(in: 0...ageMs, using: &random) / 500 * 500,
                    value: Double(Int.random(in: 0...999, using: &random)))
            }
            steps.append(.request(samples, sender: sender, arrivalMs: nowMs))
            if Bool.random(using: &random) { steps.append(.tick(nowMs)) }
        }
        return steps + [.tick(nowMs + 200_000)]
    }

    static func take(
        _ core: CoreHarness, _ samples: [TestSample], _ sender: UInt32, _ arrivalMs: Int64, isCounted: Bool,
        place: () -> LogPosition
    ) {
        let request = LoggedRequest(
            stream: core.stream, sender: SenderID(rawValue: sender),
            batches: core.batches(samples, sender: sender, arrivalMs: arrivalMs), rejected: Ledger(),
            newestMs: samples.map(\.timeMs).max(), arrivalMs: arrivalMs, isCounted: isCounted)
        #expect(core.core.take(request, place: place) == .accepted)
    }

    static func run(_ steps: some Sequence<Step>, _ core: CoreHarness, _ journal: MemoryJournal) async {
        for step in steps {
            switch step {
            case .tick(let ms): await core.advance(toMs: ms)
            case .request(let samples, let sender, let arrivalMs):
                core.setNow(arrivalMs)
                take(core, samples, sender, arrivalMs, isCounted: false) {
                    journal.append(.request(samples, sender: sender, arrivalMs: arrivalMs))
                }
            }
        }
        await core.settle()
    }

    static func repeatLog(_ core: CoreHarness, _ journal: MemoryJournal, _ mark: LogMark?) async {
        core.core.beginReplay(core.stream)
        let cut = mark?.cut ?? .start
        for (index, entry) in journal.all.enumerated() where index >= mark?.keepFrom.rawValue ?? 0 {
            let end = LogPosition(rawValue: Int64(index) + 1)
            switch entry {
            case .request(let samples, let sender, let arrivalMs):
                take(core, samples, sender, arrivalMs, isCounted: end <= cut) { end }
            case .closing(let throughMs) where end > cut:
                await core.settle()
                #expect(core.core.replayClosing(throughMs: throughMs, stream: core.stream))
                await core.settle()
            case .closing: break
            }
        }
        core.core.endReplay(core.stream)
    }

    static func counts(_ windows: [WindowSummary]) -> [Int64: [String]] {
        Dictionary(
            windows.map { window in
                let columns = window.level(.site)?.columns ?? []
                return (
                    window.startMs,
                    columns.map { "\($0.field.rawValue): \($0.count) \($0.sum) \($0.min) \($0.max)" }.sorted()
                )
            }, uniquingKeysWith: { $0 + ["twice"] + $1 })
    }

    @Test(
        "a core that is killed and repeats its log says what one says that ran through",
        arguments: sized([1, 2, 3, 4] as [UInt64]))
    func equal(seed: UInt64) async throws {
        let steps = Self.steps(seed: seed)
        func spec(_ journal: MemoryJournal) -> StreamSpec {
            var spec = StreamSpec(id: .measured, site: "test", plan: Self.plan)
            spec.journal = journal
            // What was kept for revisions does not outlive its process.
            spec.plan.reviseWithinMs = 0
            return spec
        }
        let journal = MemoryJournal()
        let through = CoreHarness(spec: spec(journal))
        await Self.run(steps, through, journal)
        let expected = Self.counts(through.sink.windows)
        let ledger = try #require(through.core.status(through.stream)?.ledger)
        #expect(expected.values.contains { !$0.isEmpty })
        #expect(ledger.dropped > 0 && ledger.inFlight == 0, "seed \(seed): \(ledger)")

        var random = SeededRandom(seed: seed ^ 99)
        for shards in [1, 2, 7] {
            let killed = Int.random(in: 5..<steps.count, using: &random)
            let log = MemoryJournal()
            let first = CoreHarness(shards: shards, spec: spec(log))
            await Self.run(steps[..<killed], first, log)
            // The last closings may not have reached the store.
            let closes = first.sink.closes.dropLast(Int.random(in: 0...2, using: &random))
            let mark = closes.last?.log
            var again = spec(log)
            again.closedThroughMs = closes.last?.closedThroughMs
            again.ledger = closes.last?.ledger ?? Ledger()
            let second = CoreHarness(shards: 3, spec: again)
            second.setNow(first.nowMs)
            await Self.repeatLog(second, log, mark)
            await Self.run(steps[killed...], second, log)
            let windows = closes.flatMap(\.windows) + second.sink.windows
            #expect(Self.counts(windows) == expected, "seed \(seed), killed before step \(killed)")
            let end = try #require(second.core.status(second.stream)?.ledger)
            // What is dropped may be dropped for another reason: `late` where it was a `duplicate`.
            #expect(
                [end.received, end.aggregated, end.dropped]
                    == [ledger.received, ledger.aggregated, ledger.dropped],
                "seed \(seed), killed before step \(killed): \(end) is not \(ledger)")
        }
    }
}
