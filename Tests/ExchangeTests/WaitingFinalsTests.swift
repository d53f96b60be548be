import Telemetry
import TestSupport
import Testing

@testable import Exchange

/// Finals of ingested telemetry on a bus in memory, and a reporter whose store the test plays.
private final class CatchUp {
    struct Seen {
        /// Windows that were closed, with what was said to be received for each.
        var told: [(endMs: Int64, samples: Int64)] = []
        var received: Int64 = 0
    }

    let fleet: IngestedFleet
    let bus = MemoryBus(clock: WallClock { 0 })
    let limits: ExchangeLimits
    let seen = Locked(Seen())
    private(set) var reporter: IngestReporter
    private(set) var bytesMax = 0
    private let topology = Topology(site: "s")
    static let stream = StreamIndex(rawValue: 0)

    init(partitions: Int, bytesMax: Int) throws {
        fleet = try IngestedFleet(partitions: partitions)
        var limits = ExchangeLimits()
        limits.waitingFinalsBytesMax = bytesMax
        self.limits = limits
        reporter = Self.reporter(fleet, topology, bus, limits, seen, reported: nil, from: 1)
    }

    /// Another that has stored nothing yet.
    func reporter(on bus: any Bus) -> IngestReporter {
        Self.reporter(fleet, topology, bus, limits, seen, reported: nil, from: 1)
    }

    private static func reporter(
        _ fleet: IngestedFleet, _ topology: Topology, _ bus: any Bus, _ limits: ExchangeLimits,
        _ seen: Locked<Seen>, reported: Int64?, from sequence: UInt64
    ) -> IngestReporter {
        IngestReporter(
            fleet: fleet.map, topology: topology, stream: stream, reported: reported, reviseMs: 10_000,
            from: sequence, bus: bus, shares: ReportingBus(), coverage: CoverageSink(DropsCloses()),
            clock: WallClock { 0 }, limits: limits,
            account: { ledger, _ in seen.withLock { $0.received += ledger.received } },
            close: { _, endMs in
                seen.withLock { seen in
                    seen.told.append((endMs, seen.received))
                    seen.received = 0
                }
            })
    }

    var windows: [Int64] { seen.withLock { $0.told.map { $0.endMs / fleet.map.windowMs - 1 } } }
    var samples: Int64 { seen.withLock { $0.told.reduce(0) { $0 + $1.samples } } }

    /// A final of which there are `count` samples.
    func publish(_ partition: Int, _ window: Int64, closed: Int64? = nil, revision: UInt32 = 0, count: Int) {
        let groups = fleet.groups((0..<count).map { Double(1 << $0) }, gpus: 1)
        var record = FinalRecord(
            fleet: fleet.map.fingerprint, partition: partition, window: window, writer: 1, resumeSequence: 1,
            slicesPresent: 1, slicesExpected: 1, late: 0, groups: groups)
        record.ingest = IngestedFinal(
            closed: closed ?? window, revision: revision, coverage: 1, consumed: 0, isExact: false,
            origins: [])
        let message = BusMessage(
            stream: .finals, subject: fleet.map.finalSubject(partition), bytes: record.encoded())
        bus.publish(message, expecting: .none) { _ in }
    }

    func tick() {
        reporter.tick()
        bytesMax = max(bytesMax, reporter.status.waitingBytes)
    }

    /// The store has what it was given last.
    func commit() {
        guard let endMs = seen.withLock({ $0.told.last?.endMs }) else { return }
        reporter.committed(throughMs: endMs)
        bytesMax = max(bytesMax, reporter.status.waitingBytes)
    }

    /// As a process that is gone and comes again; what it had not stored it makes again.
    func restart() {
        let status = reporter.status
        reporter.stop()
        let reported = status.reported < 0 ? nil : status.reported
        let storedMs = fleet.map.windowEndMs(status.reported)
        seen.withLock { $0.told.removeAll { $0.endMs > storedMs } }
        reporter = Self.reporter(
            fleet, topology, bus, limits, seen, reported: reported, from: status.resumeSequence)
    }
}

private struct DropsCloses: SummarySink {
    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) { done() }
}

@Suite("Finals that wait are bounded by their bytes", .computing)
struct WaitingFinalsTests {
    /// Bytes of a final with so many samples.
    private func finalBytes(_ count: Int) throws -> Int {
        let run = try CatchUp(partitions: 1, bytesMax: 1)
        run.publish(0, 0, count: count)
        return run.bus.messages(.finals)[0].bytes.count
    }

    @Test("who catches up reads ahead as far as there is room, and on once something is stored")
    func catchesUp() throws {
        let one = try finalBytes(1)
        let run = try CatchUp(partitions: 2, bytesMax: 8 * one)
        for window in Int64(0)..<40 { for partition in 0..<2 { run.publish(partition, window, count: 1) } }
        run.tick()
        #expect(run.windows == [0], "the first is on its way")
        for _ in 0..<5 { run.tick() }
        #expect(run.reporter.status.waitingBytes == 6 * one && run.windows == [0])
        for _ in 0..<40 {
            run.commit()
            run.tick()
        }
        #expect(run.windows == Array(0..<40) && run.samples == 80)
        #expect(run.bytesMax == 8 * one && run.reporter.status.waitingBytes == 0)
        #expect(run.reporter.status.resumeSequence == 81 && run.reporter.status.windows == 40)
    }

    @Test("finals that are longer than all that may wait are taken when nothing else waits")
    func longer() throws {
        let run = try CatchUp(partitions: 2, bytesMax: 10)
        for window in Int64(0)..<5 { for partition in 0..<2 { run.publish(partition, window, count: 3) } }
        for _ in 0..<20 {
            run.tick()
            run.commit()
        }
        #expect(run.windows == Array(0..<5) && run.samples == 30)
        #expect(run.bytesMax <= 2 * (try finalBytes(3)), "one window's")
    }

    @Test("however far a partition is behind in the log, the window that waits for it gets complete")
    func skew() throws {
        let one = try finalBytes(1)
        let run = try CatchUp(partitions: 3, bytesMax: 8 * one)
        for partition in 0..<3 { for window in Int64(0)..<30 { run.publish(partition, window, count: 1) } }
        for _ in 0..<200 {
            run.tick()
            run.commit()
        }
        #expect(run.windows == Array(0..<30) && run.samples == 90)
        #expect(run.bytesMax <= 11 * one, "beyond the bound only what the next window waits for")
    }

    @Test(
        "a partition that says nothing more holds up the others until too many windows wait, as without a bound",
        arguments: [(2, 0), (2, 1), (3, 0), (3, 3), (3, 100)])
    func dead(partitions: Int, finalsMax: Int) throws {
        var limits = ExchangeLimits()
        limits.waitingFinalsBytesMax = finalsMax * (try finalBytes(1))
        let run = try CatchUp(partitions: partitions, bytesMax: 1)
        var assembly = IngestAssembly(
            fleet: run.fleet.map, reported: nil, reviseMs: 0, waitingMax: 4, limits: limits)
        for window in Int64(0)..<10 {
            for partition in 0..<partitions - 1 { run.publish(partition, window, count: 1) }
        }
        var told: [MergedWindow] = []
        var from: UInt64? = 1
        while let first = from {
            for message in run.bus.messages(.finals) where message.sequence >= first {
                assembly.add(message)
                while let window = assembly.take() { told.append(window) }
            }
            from = assembly.takeReread(isIdle: true)
        }
        #expect(told.map(\.window) == Array(0..<6), "four wait for it")
        #expect(
            told.allSatisfy { $0.partitions.count == partitions - 1 }, "what is there to be read is in them")
    }

    @Test("revisions count among what waits, and nothing is told twice when it is read again")
    func revisions() throws {
        let one = try finalBytes(1)
        let run = try CatchUp(partitions: 2, bytesMax: 4 * one)
        for window in Int64(0)..<20 {
            run.publish(0, window, count: 1)
            for revision in 1..<4 {
                run.publish(0, window, revision: UInt32(revision), count: 1 + revision)
            }
        }
        for window in Int64(0)..<20 { run.publish(1, window, count: 2) }
        // Something that takes the last revisions along.
        for partition in 0..<2 { run.publish(partition, 20, count: 1) }
        for _ in 0..<200 {
            run.tick()
            run.commit()
        }
        #expect(run.windows == Array(0...20) && run.samples == 20 * 6 + 2)
        #expect(run.reporter.status.skipped == 0)
    }

    @Test("who stops while something is to be read again goes on there, not where what waits begins")
    func resumes() throws {
        let run = try CatchUp(partitions: 2, bytesMax: 4 * (try finalBytes(1)))
        for window in Int64(0)..<5 { run.publish(1, window, count: 1) }
        // The other has nothing of the windows before.
        run.publish(0, 4, count: 1)
        let bus = ScriptedBus()
        let reporter = run.reporter(on: bus)
        reporter.tick()
        bus.opened[0].deliver(.messages(run.bus.messages(.finals)))
        for window in Int64(0)..<4 {
            reporter.tick()
            reporter.committed(throughMs: run.fleet.map.windowEndMs(window))
        }
        #expect(
            bus.starts == [.sequence(1), .sequence(5)], "it was told of the fifth, and has not got it yet")
        #expect(run.windows == Array(0..<4) && reporter.status.waiting == 1)
        #expect(reporter.status.resumeSequence == 5)
    }

    @Test("what is no final of this fleet is counted once, however often it is read")
    func foreign() throws {
        let one = try finalBytes(1)
        let run = try CatchUp(partitions: 2, bytesMax: 2 * one)
        for window in Int64(0)..<10 {
            run.publish(0, window, count: 1)
            run.bus.publish(
                BusMessage(stream: .finals, subject: run.fleet.map.finalSubject(0), bytes: [1, 2, 3]),
                expecting: .none
            ) { _ in }
        }
        for window in Int64(0)..<10 { run.publish(1, window, count: 1) }
        for _ in 0..<100 {
            run.tick()
            run.commit()
        }
        #expect(run.windows == Array(0..<10) && run.reporter.status.foreign == 10)
    }

    @Test(
        "any order of partitions, any bound, any restarts: each window once and in order, with all its samples",
        arguments: 0..<40 as Range<UInt64>)
    func anyOrder(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let partitions = Int.random(in: 1...4, using: &random)
        let restarts = Bool.random(using: &random)
        let one = try finalBytes(1)
        let run = try CatchUp(
            partitions: partitions, bytesMax: Int.random(in: 1...(20 * one), using: &random))
        var next = [Int64](repeating: 0, count: partitions)
        var counts: [Int: [Int64: Int]] = [:]
        let windowCount = Int64.random(in: 1...40, using: &random)
        // How much each partition is preferred: the more they differ, the further one is behind.
        let weights = (0..<partitions).map { _ in Double.random(in: 0.02...1, using: &random) }
        var steps = 0
        while next.contains(where: { $0 < windowCount }) || run.windows.count < Int(windowCount) {
            steps += 1
            guard steps < 20_000 else { break }
            let partition = Int.random(in: 0..<partitions, using: &random)
            let isChosen = Double.random(in: 0..<1, using: &random) < weights[partition]
            if isChosen, next[partition] < windowCount {
                let window = next[partition]
                let count = Int.random(in: 1...5, using: &random)
                run.publish(partition, window, count: count)
                counts[partition, default: [:]][window] = count
                next[partition] += 1
                // Not behind the last window: nothing would take it along. After a restart it would be late.
                if !restarts, window + 1 < windowCount, Int.random(in: 0..<4, using: &random) == 0 {
                    let old = Int64.random(in: max(0, window - 8)...window, using: &random)
                    let more = (counts[partition]?[old] ?? 0) + Int.random(in: 0...3, using: &random)
                    run.publish(partition, old, closed: window, revision: 1, count: more)
                    counts[partition]?[old] = more
                }
            }
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4: run.tick()
            case 4..<8: run.commit()
            case 8 where restarts: run.restart()
            default: break
            }
        }
        #expect(run.windows == Array(0..<windowCount), "seed \(seed)")
        let all = counts.values.reduce(0) { $0 + $1.values.reduce(0, +) }
        #expect(run.samples == Int64(all), "seed \(seed)")
        #expect(run.reporter.status.skipped == 0 && run.reporter.status.foreign == 0)
    }
}
