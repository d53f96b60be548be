import Sketches
import Telemetry
import TestSupport
import Testing

@testable import Exchange

/// A fleet of ingested telemetry, and messages of its workers.
struct IngestedFleet {
    let map: FleetMap
    var sequence: UInt64 = 0

    init(partitions: Int = 1) throws {
        map = try #require(
            FleetMap(
                cluster: "test", stream: "measured", slices: 4, partitions: partitions, windowMs: 1_000,
                startMs: 0))
    }

    static let rack = PlacedName.rack(hall: "h", array: "a", rack: "r")
    static let node = PlacedName.node("n1", rack: rack, model: "H100")

    /// What one worker heard of some GPUs of one node of eight.
    func groups(_ values: [Double], gpus: UInt64, job: String = "") -> [PartialGroup] {
        var field = FieldStatistics(
            field: 155, count: UInt64(values.count), sum: values.reduce(0, +), min: values.min() ?? 0,
            max: values.max() ?? 0, sketch: QuantileSketch(values))
        let count = UInt32(gpus.nonzeroBitCount)
        let rack = PartialGroup(
            key: .init(level: .rack, name: Self.rack, job: job),
            gpus: GroupGPUs(reporting: count, inJob: job.isEmpty ? 0 : count), fields: [field])
        field.sketch = .init()
        var node = PartialGroup(
            key: .init(level: .node, name: Self.node),
            ordinals: GPUOrdinals(known: gpus, reporting: gpus, inJob: job.isEmpty ? 0 : gpus),
            fields: [field])
        node.countOrdinals()
        return [node, rack]
    }

    mutating func share(
        _ window: Int64, _ origin: UInt64, epoch: UInt64 = 1, atMs: Int64 = 0, _ groups: [PartialGroup]
    ) -> StoredMessage {
        let slice = map.slice(hall: "h", array: "a")
        let envelope = PartialEnvelope(
            fleet: map.fingerprint, slice: slice, windowStartMs: map.windowStartMs(window),
            windowLengthMs: map.windowMs, origin: origin, epoch: epoch << 16, groups: groups)
        return stored(map.partialSubject(slice), envelope.chunked()[0], atMs)
    }

    mutating func mark(
        _ window: Int64, _ origin: UInt64, epoch: UInt64 = 1, atMs: Int64 = 0, coverage: Double = 1
    ) -> StoredMessage {
        let mark = OriginMark(
            fleet: map.fingerprint, partition: 0, window: window, origin: origin, epoch: epoch << 16,
            weight: 1,
            coverage: coverage)
        return stored(map.partialSubject(0), mark.encoded(), atMs)
    }

    private mutating func stored(_ subject: Subject, _ bytes: [UInt8], _ atMs: Int64) -> StoredMessage {
        sequence += 1
        return StoredMessage(subject: subject, bytes: bytes, sequence: sequence, timestampMs: atMs)
    }
}

@Suite("Merging of what is ingested", .computing)
struct OriginMergeTests {
    var fleet: IngestedFleet

    init() throws { fleet = try IngestedFleet() }

    func merge(after last: FinalRecord? = nil, reviseMs: Int64 = 60_000) -> OriginMerge {
        OriginMerge(fleet: fleet.map, partition: 0, last: last, reviseMs: reviseMs)
    }

    /// Closes whatever may close without waiting.
    func finals(_ merge: inout OriginMerge) -> [FinalRecord] {
        var found: [FinalRecord] = []
        while merge.canClose(graceMs: 10_000, isIdle: false) {
            let record = merge.nextFinal(writer: 1, lateSinceLast: 0)
            merge.advance(by: record, isOwn: true)
            found.append(record)
        }
        return found
    }

    func rack(_ final: FinalRecord) -> PartialGroup? { final.groups.first { $0.key.level == .rack } }
    func node(_ final: FinalRecord) -> PartialGroup? { final.groups.first { $0.key.level == .node } }

    /// A window of both workers, closed.
    mutating func both(_ merge: inout OriginMerge, _ window: Int64 = 100) -> [FinalRecord] {
        merge.add(fleet.share(window, 1, fleet.groups([1, 2], gpus: 0b0011)))
        merge.add(fleet.mark(window, 1))
        merge.add(fleet.share(window, 2, fleet.groups([4, 8], gpus: 0b1100)))
        merge.add(fleet.mark(window, 2))
        return finals(&merge)
    }

    @Test("a node whose GPUs two workers hear is one node: samples add up, each GPU counts once")
    mutating func splitNode() throws {
        var merge = merge()
        let closed = both(&merge)
        let final = try #require(closed.first)
        #expect(closed.count == 1 && final.window == 100 && final.coverage == 1)
        let field = try #require(rack(final)?.fields.first)
        #expect(field.count == 4 && field.sum == 15 && field.min == 1 && field.max == 8)
        #expect(field.sketch == QuantileSketch([1, 2, 4, 8]))
        #expect(node(final)?.gpus == GroupGPUs(expected: 4, reporting: 4))
    }

    @Test("a GPU that both workers hear counts once at its node, and in its job")
    mutating func sameGPU() throws {
        var merge = merge()
        for origin in [UInt64(1), 2] {
            merge.add(fleet.share(5, origin, fleet.groups([1], gpus: 0b0110, job: "j")))
            merge.add(fleet.mark(5, origin))
        }
        let final = try #require(finals(&merge).first)
        #expect(node(final)?.gpus == GroupGPUs(expected: 2, reporting: 2, inJob: 2))
        #expect(rack(final)?.gpus.reporting == 2, "as many as its node has")
        #expect(rack(final)?.fields.first?.count == 2, "a sample that two have taken is two")
    }

    @Test("a share that comes again replaces what its worker said, and nothing else")
    mutating func replaces() throws {
        var merge = merge()
        merge.add(fleet.share(5, 1, fleet.groups([1], gpus: 1)))
        merge.add(fleet.share(5, 2, fleet.groups([10], gpus: 2)))
        merge.add(fleet.share(5, 1, epoch: 2, fleet.groups([1, 3], gpus: 1)))
        merge.add(fleet.share(5, 1, epoch: 1, fleet.groups([99], gpus: 1)))
        merge.add(fleet.mark(5, 2))
        merge.add(fleet.mark(5, 1, epoch: 2))
        let final = try #require(finals(&merge).first)
        #expect(rack(final)?.fields.first?.sum == 14)
        #expect(merge.counters.stale == 1)
    }

    @Test(
        "a window waits for a worker that was there, closes after the grace with what it lacks, and is revised"
    )
    mutating func revision() throws {
        var merge = merge()
        #expect(both(&merge).count == 1)
        for window in Int64(101)...120 {
            merge.add(fleet.share(window, 1, atMs: (window - 100) * 1_000, fleet.groups([1], gpus: 1)))
            merge.add(fleet.mark(window, 1, atMs: (window - 100) * 1_000))
            if window == 109 { #expect(finals(&merge) == []) }
        }
        let lacking = finals(&merge)
        #expect(lacking.map(\.window) == Array(101...120), "the other one is silent: nobody waits for it now")
        #expect(lacking.allSatisfy { $0.coverage == 0.5 && $0.slicesPresent == 1 && $0.slicesExpected == 2 })
        merge.add(fleet.share(103, 2, epoch: 9, atMs: 21_000, fleet.groups([2], gpus: 2)))
        #expect(finals(&merge) == [], "not before it has said all")
        merge.add(fleet.mark(103, 2, epoch: 9, atMs: 21_000))
        let revised = finals(&merge)
        #expect(revised.map(\.window) == [103] && revised[0].ingest?.revision == 1)
        #expect(revised[0].coverage == 1 && revised[0].closedThrough == 120)
        #expect(rack(revised[0])?.fields.first?.sum == 3)
        merge.add(fleet.mark(103, 2, epoch: 9, atMs: 21_000))
        #expect(finals(&merge) == [], "a copy revises nothing")
        #expect(merge.counters.revised == 1 && merge.counters.late == 0)
    }

    @Test("what comes after the time of revisions is counted as late, and changes nothing")
    mutating func late() {
        var merge = merge(reviseMs: 5_000)
        for window in Int64(0)...20 {
            merge.add(fleet.mark(window, 1))
            _ = finals(&merge)
        }
        merge.add(fleet.share(15, 2, fleet.groups([1], gpus: 1)))
        merge.add(fleet.mark(15, 2))
        #expect(finals(&merge) == [] && merge.counters.late == 2)
        merge.add(fleet.mark(16, 2))
        #expect(finals(&merge).map(\.window) == [16])
    }

    @Test("a window of the future is refused, and neither delays nor closes others")
    mutating func ahead() {
        var merge = merge()
        merge.add(fleet.share(400, 1, fleet.groups([1], gpus: 1)))
        merge.add(fleet.mark(400, 1))
        #expect(finals(&merge) == [] && merge.counters.ahead == 2 && merge.openWindows == 0)
        merge.add(fleet.mark(299, 1))
        #expect(finals(&merge).map(\.window) == [299])
        merge.add(fleet.mark(400, 1, atMs: 101_000))
        #expect(finals(&merge).map(\.window) == [400] && merge.counters.ahead == 2)
    }

    @Test("shares that nobody marks are kept up to a bound")
    mutating func bounded() {
        var limits = ExchangeLimits()
        limits.openWindowsMax = 2
        var merge = OriginMerge(fleet: fleet.map, partition: 0, last: nil, reviseMs: 0, limits: limits)
        for window in Int64(0)..<20 { merge.add(fleet.share(window, 1, fleet.groups([1], gpus: 1))) }
        #expect(merge.openWindows == 8 && merge.counters.ahead == 12)
        merge.add(fleet.mark(7, 1))
        #expect(finals(&merge).map(\.window) == [7])
    }

    @Test("a roll-up that goes on revises with what the one before had read, and misses whom that one missed")
    mutating func takeover() throws {
        var first = merge()
        var messages = [
            fleet.share(7, 1, fleet.groups([1], gpus: 1)), fleet.mark(7, 1),
            fleet.share(7, 2, fleet.groups([2], gpus: 2)), fleet.mark(7, 2),
            fleet.share(8, 1, atMs: 20_000, fleet.groups([5], gpus: 1)), fleet.mark(8, 1, atMs: 20_000),
        ]
        for second in Int64(1)...12 { messages.append(fleet.mark(8, 1, atMs: 20_000 + second * 1_000)) }
        for message in messages { first.add(message) }
        let last = try #require(finals(&first).last)
        #expect(last.window == 8 && last.coverage == 0.5 && last.resumeSequence == 1)
        var second = merge(after: try FinalRecord(decoding: last.encoded()))
        for message in messages { second.add(message) }
        #expect(finals(&second) == [], "what is in finals is not told again")
        second.add(fleet.share(8, 2, epoch: 3, atMs: 33_000, fleet.groups([9], gpus: 2)))
        second.add(fleet.mark(8, 2, epoch: 3, atMs: 33_000))
        let revised = finals(&second)
        #expect(revised.map(\.window) == [8])
        #expect(revised.first.flatMap(rack)?.fields.first?.sum == 14)
    }

    @Test("where the brokers have let go of what a window was made of, it is not revised: it would lose that")
    mutating func trimmed() throws {
        var first = merge()
        let closed = both(&first, 7)
        let last = try #require(closed.last)
        var second = merge(after: last)
        second.add(fleet.share(7, 2, epoch: 3, fleet.groups([9], gpus: 2)))
        second.add(fleet.mark(7, 2, epoch: 3))
        #expect(finals(&second) == [] && second.counters.late == 2)
    }

    @Test("a mark and a final survive their bytes; others are refused")
    func coding() throws {
        let mark = OriginMark(
            fleet: 7, partition: 3, window: 12, origin: 5, epoch: 9 << 16 | 2, weight: 40, coverage: 0.25)
        let bytes = mark.encoded()
        #expect(try OriginMark(decoding: bytes) == mark)
        for index in bytes.indices {
            var broken = bytes
            broken[index] ^= 0x10
            #expect(throws: EnvelopeError.self) { try OriginMark(decoding: broken) }
        }
        var final = FinalRecord(
            fleet: 1, partition: 0, window: 4, writer: 2, resumeSequence: 8, slicesPresent: 1,
            slicesExpected: 2, late: 0, groups: fleet.groups([1, 2], gpus: 3, job: "j"))
        final.ingest = IngestedFinal(
            closed: 9, revision: 2, coverage: 0.5, consumed: 44, isExact: true,
            origins: [OriginState(origin: 5, first: 1, progress: 9, weight: 12)])
        #expect(try FinalRecord(decoding: final.encoded()) == final)
    }
}
