import Exchange
import Telemetry
import TestSupport
import Testing

@Suite("Merging of partials", .computing)
struct WindowMergeTests {
    let fleet: FleetMap
    let source = SampleFleet(seed: 42)

    init() throws { fleet = try fleetMap(slices: 2, partitions: 1) }

    func message(
        slice: Int, window: Int64, origin: UInt64 = 0, epoch: UInt64 = 5, sequence: UInt64, atMs: Int64 = 0,
        lacksStart: Bool = false, lacksEnd: Bool = false, groups: [PartialGroup]? = nil
    ) -> StoredMessage {
        let envelope = PartialEnvelope(
            fleet: fleet.fingerprint, slice: slice, windowStartMs: fleet.windowStartMs(window),
            windowLengthMs: fleet.windowMs, origin: origin, epoch: epoch, lacksStart: lacksStart,
            lacksEnd: lacksEnd, groups: groups ?? source.groups(slice: slice, window: window))
        return StoredMessage(
            subject: fleet.partialSubject(slice), bytes: envelope.chunked()[0], sequence: sequence,
            timestampMs: atMs)
    }

    func power(_ value: Double) -> [PartialGroup] {
        [
            PartialGroup(
                key: .init(level: .site, name: ""), gpus: GroupGPUs(expected: 8, reporting: 5),
                fields: [.init(field: 155, count: 1, sum: value, min: value, max: value)])
        ]
    }

    func merge(limits: ExchangeLimits = .init()) -> WindowMerge {
        WindowMerge(fleet: fleet, partition: 0, closed: -1, resumeSequence: 1, limits: limits)
    }

    @Test("a window is closed by its last slice, and equals the sum of the samples")
    func closes() {
        var merge = merge()
        merge.add(message(slice: 1, window: 0, sequence: 1))
        #expect(!merge.canClose(graceMs: 5_000, isIdle: false))
        merge.add(message(slice: 0, window: 0, sequence: 2))
        #expect(merge.canClose(graceMs: 5_000, isIdle: false))
        let final = merge.nextFinal(writer: 1, lateSinceLast: 0)
        #expect(final.groups == source.oracle(fleet, partition: 0, window: 0))
        #expect(final.coverage == 1 && final.resumeSequence == 3)
    }

    @Test("where no final is known, the first window of which anything is there is the first that closes")
    func begins() {
        var merge = merge()
        for window in Int64(40)..<43 {
            for slice in 0..<2 {
                merge.add(message(slice: slice, window: window, sequence: 1, atMs: window * 1_000))
            }
        }
        // Those before may only be late.
        #expect(!merge.canClose(graceMs: 5_000, isIdle: false))
        for slice in 0..<2 { merge.add(message(slice: slice, window: 43, sequence: 9, atMs: 48_000)) }
        merge.add(message(slice: 0, window: 39, sequence: 10, atMs: 48_000))
        merge.add(message(slice: 1, window: 39, sequence: 11, atMs: 48_000))
        var closed: [Int64] = []
        while merge.canClose(graceMs: 5_000, isIdle: true) {
            let final = merge.nextFinal(writer: 1, lateSinceLast: 0)
            #expect(final.slicesPresent == 2)
            merge.advance(to: final.window)
            closed.append(final.window)
        }
        #expect(closed == [39, 40, 41, 42, 43])
    }

    @Test("copies are counted and not added; a newer epoch replaces, an older one does not")
    func deduplicates() {
        var merge = merge()
        merge.add(message(slice: 0, window: 0, epoch: 5, sequence: 1, groups: power(1)))
        merge.add(message(slice: 0, window: 0, epoch: 5, sequence: 2, groups: power(1)))
        merge.add(message(slice: 0, window: 0, epoch: 9, sequence: 3, groups: power(2)))
        merge.add(message(slice: 0, window: 0, epoch: 5, sequence: 4, groups: power(1)))
        merge.add(message(slice: 1, window: 0, epoch: 7, sequence: 5, groups: power(40)))
        #expect(merge.counters.duplicate == 1 && merge.counters.stale == 1 && merge.counters.merged == 3)
        let final = merge.nextFinal(writer: 1, lateSinceLast: 0)
        #expect(final.groups[0].fields[0].sum == 42)
        #expect(final.groups[0].gpus == GroupGPUs(expected: 16, reporting: 10))
    }

    @Test("a newer epoch replaces an older one only when it is whole")
    func incompleteReplacement() throws {
        var merge = merge()
        merge.add(message(slice: 0, window: 0, epoch: 5, sequence: 1, groups: power(1)))
        merge.add(message(slice: 1, window: 0, epoch: 5, sequence: 2, groups: power(1)))
        var limits = ExchangeLimits()
        limits.chunkBytesMax = 120
        var two = power(10)
        two.append(PartialGroup(key: .init(level: .rack, name: "r"), fields: power(10)[0].fields))
        let newer = PartialEnvelope(
            fleet: fleet.fingerprint, slice: 0, windowStartMs: 0, windowLengthMs: 1_000, origin: 0, epoch: 8,
            groups: two
        ).chunked(limits)
        #expect(newer.count == 2)
        for (index, bytes) in newer.enumerated() {
            let sum = merge.nextFinal(writer: 1, lateSinceLast: 0).groups[0].fields[0].sum
            #expect(sum == 2, "before chunk \(index)")
            merge.add(
                StoredMessage(
                    subject: fleet.partialSubject(0), bytes: bytes, sequence: UInt64(3 + index),
                    timestampMs: 0))
        }
        let groups = merge.nextFinal(writer: 1, lateSinceLast: 0).groups
        #expect(groups.first { $0.key.level == .site }?.fields[0].sum == 11)
    }

    @Test("shares of two origins are added up, and the window waits for the one that has its end")
    func origins() {
        var merge = merge()
        merge.add(message(slice: 1, window: 0, sequence: 1, groups: power(100)))
        merge.add(message(slice: 0, window: 0, origin: 7, sequence: 2, lacksEnd: true, groups: power(1)))
        #expect(!merge.canClose(graceMs: 5_000, isIdle: false))
        merge.add(message(slice: 0, window: 0, origin: 8, sequence: 3, lacksStart: true, groups: power(2)))
        #expect(merge.canClose(graceMs: 5_000, isIdle: false))
        let final = merge.nextFinal(writer: 1, lateSinceLast: 0)
        #expect(final.groups[0].fields[0].sum == 103)
        #expect(final.groups[0].gpus == GroupGPUs(expected: 16, reporting: 13), "8 of slice 0 at most")
    }

    @Test("the grace runs in the broker's time, and closes with the coverage that there is")
    func grace() {
        var merge = merge()
        merge.add(message(slice: 0, window: 0, sequence: 1, atMs: 1_000))
        for second in 1...4 {
            merge.add(
                message(
                    slice: 0, window: Int64(second), sequence: UInt64(1 + second),
                    atMs: 1_000 + Int64(second) * 1_000))
            #expect(!merge.canClose(graceMs: 5_000, isIdle: false))
        }
        merge.add(message(slice: 0, window: 5, sequence: 6, atMs: 6_000))
        #expect(merge.canClose(graceMs: 5_000, isIdle: false))
        let final = merge.nextFinal(writer: 1, lateSinceLast: 0)
        #expect(final.slicesPresent == 1 && final.slicesExpected == 2 && final.resumeSequence == 2)
        merge.advance(to: 0)
        #expect(!merge.canClose(graceMs: 5_000, isIdle: false), "the next one has its own grace")
    }

    @Test("time in which the broker stood still is no grace that has passed")
    func brokerPause() {
        var merge = merge()
        merge.add(message(slice: 0, window: 0, sequence: 1, atMs: 1_000))
        merge.add(message(slice: 0, window: 1, sequence: 2, atMs: 61_000))
        #expect(!merge.canClose(graceMs: 5_000, isIdle: false))
        merge.add(message(slice: 1, window: 0, sequence: 3, atMs: 61_050))
        #expect(merge.nextFinal(writer: 1, lateSinceLast: 0).coverage == 1)
    }

    @Test("windows that nobody sent close empty when later ones came, and not otherwise")
    func silentWindows() {
        var merge = merge()
        merge.advance(to: 0)
        #expect(!merge.canClose(graceMs: 5_000, isIdle: true), "nothing says that time passes")
        merge.add(message(slice: 0, window: 3, sequence: 1))
        #expect(merge.canClose(graceMs: 5_000, isIdle: true))
        let final = merge.nextFinal(writer: 1, lateSinceLast: 0)
        #expect(final.window == 1 && final.slicesPresent == 0 && final.groups.isEmpty)
    }

    @Test("what comes after its window is late; a copy of what is in it is not")
    func late() {
        var merge = merge()
        merge.add(message(slice: 0, window: 0, sequence: 1))
        merge.advance(to: 0)
        merge.add(message(slice: 0, window: 0, sequence: 2))
        merge.add(message(slice: 0, window: 0, epoch: 9, sequence: 3))
        merge.add(message(slice: 1, window: 0, sequence: 4))
        #expect(merge.counters.settled == 2 && merge.counters.late == 1)
    }

    @Test("who goes on after another tells copies from what is late by the last final")
    func lateAfterTakeOver() {
        var first = merge()
        first.add(message(slice: 0, window: 0, sequence: 1))
        first.add(message(slice: 1, window: 0, sequence: 2))
        first.add(message(slice: 1, window: 1, sequence: 3))
        let whole = first.nextFinal(writer: 1, lateSinceLast: 0)
        first.advance(to: 0, whole: whole.whole)
        let lacking = first.nextFinal(writer: 1, lateSinceLast: 0)
        #expect(whole.whole == 1 && lacking.whole == 2)
        var second = WindowMerge(
            fleet: fleet, partition: 0, closed: 1, whole: lacking.whole,
            resumeSequence: lacking.resumeSequence)
        second.add(message(slice: 1, window: 0, epoch: 9, sequence: 4))
        second.add(message(slice: 0, window: 1, epoch: 9, sequence: 5))
        second.add(message(slice: 0, window: 0, origin: 3, sequence: 6))
        #expect(second.counters.settled == 1 && second.counters.late == 2)
    }

    @Test("partials of another fleet, partition or window length are refused and counted")
    func foreign() throws {
        let other = try fleetMap(slices: 3, partitions: 1)
        var stranger = WindowMerge(fleet: other, partition: 0, closed: -1, resumeSequence: 1)
        stranger.add(message(slice: 0, window: 0, sequence: 1))
        stranger.add(StoredMessage(subject: Subject("x"), bytes: [1, 2, 3], sequence: 2, timestampMs: 0))
        #expect(stranger.counters.foreign == 1 && stranger.counters.malformed == 1)
        #expect(stranger.openWindows == 0)
    }

    @Test("too many open windows close the oldest, counted")
    func pressure() {
        var limits = ExchangeLimits()
        limits.openWindowsMax = 3
        var merge = merge(limits: limits)
        for window in 0..<4 {
            merge.add(message(slice: 0, window: Int64(window), sequence: UInt64(window + 1)))
        }
        #expect(merge.canClose(graceMs: 5_000, isIdle: false))
        merge.advance(to: 0)
        #expect(merge.counters.forced == 1)
        #expect(!merge.canClose(graceMs: 5_000, isIdle: false))
    }

    @Test(
        "a second reader that starts at the resume sequence makes the same finals",
        arguments: 0..<30 as Range<UInt64>)
    func resumes(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var log = (0..<8).flatMap { window in (0..<2).map { (slice: $0, window: Int64(window)) } }
        for index in log.indices.dropLast(3) {
            log.swapAt(index, index + Int.random(in: 0..<3, using: &random))
        }
        let messages = log.enumerated().map { index, part in
            message(
                slice: part.slice, window: part.window, sequence: UInt64(index + 1), atMs: Int64(index) * 400)
        }
        var first = merge()
        var finals: [FinalRecord] = []
        for message in messages {
            first.add(message)
            while first.canClose(graceMs: 60_000, isIdle: false) {
                finals.append(first.nextFinal(writer: 1, lateSinceLast: 0))
                first.advance(to: finals.count > 0 ? finals[finals.count - 1].window : 0)
            }
        }
        #expect(finals.count == 8)
        for start in 0..<7 {
            var second = WindowMerge(
                fleet: fleet, partition: 0, closed: finals[start].window,
                resumeSequence: finals[start].resumeSequence)
            for message in messages where message.sequence >= finals[start].resumeSequence {
                second.add(message)
            }
            #expect(second.canClose(graceMs: 60_000, isIdle: false), "seed \(seed), after \(start)")
            #expect(second.nextFinal(writer: 1, lateSinceLast: 0).groups == finals[start + 1].groups)
        }
    }
}
