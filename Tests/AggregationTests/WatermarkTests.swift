import Telemetry
import TestSupport
import Testing

@testable import Aggregation

@Suite(.computing) struct WatermarkTests {
    static let plan = WindowPlan()
    static let now: Int64 = 1_700_000_000_000

    private let a = SenderID(rawValue: 1)
    private let b = SenderID(rawValue: 2)

    private func fresh(closedThroughMs: Int64? = nil, startedMs: Int64 = 0) -> Watermark {
        Watermark(
            plan: Self.plan, sendersMax: 3, closedThroughMs: closedThroughMs, startedMs: startedMs)
    }

    @Test("nothing heard, nothing known")
    func nothingHeard() {
        var mark = fresh()
        #expect(mark.advance(nowMs: Self.now) == nil)
        var restarted = fresh(closedThroughMs: Self.now - 600_000)
        #expect(restarted.advance(nowMs: Self.now) == Self.now - 45_000)
    }

    @Test("after a start with a gap behind it, nothing closes until slow senders have had their time")
    func gapAtStart() {
        var alone = fresh(closedThroughMs: Self.now - 600_000, startedMs: Self.now)
        #expect(alone.advance(nowMs: Self.now) == Self.now - 600_000)
        #expect(alone.advance(nowMs: Self.now + 29_999) == Self.now - 600_000)
        #expect(alone.advance(nowMs: Self.now + 30_000) == Self.now - 15_000)

        // A live sender is there first, and one with the backlog of the gap 20 s later.
        var mark = fresh(closedThroughMs: Self.now - 600_000, startedMs: Self.now)
        mark.observed(a, newestMs: Self.now, arrivalMs: Self.now)
        #expect(mark.advance(nowMs: Self.now) == Self.now - 600_000)
        mark.observed(b, newestMs: Self.now - 580_000, arrivalMs: Self.now + 20_000)
        mark.observed(a, newestMs: Self.now + 25_000, arrivalMs: Self.now + 25_000)
        #expect(mark.advance(nowMs: Self.now + 30_000) == Self.now - 595_000)

        // A restart of some seconds costs no wait.
        var quick = fresh(closedThroughMs: Self.now - 60_000, startedMs: Self.now)
        quick.observed(a, newestMs: Self.now, arrivalMs: Self.now)
        #expect(quick.advance(nowMs: Self.now) == Self.now - 15_000)
    }

    @Test("a sender that was asked to wait is not silent, and holds what it has still to bring")
    func refused() {
        var mark = fresh()
        mark.observed(a, newestMs: Self.now - 100_000, arrivalMs: Self.now)
        mark.refused(a, oldestMs: Self.now - 90_000, arrivalMs: Self.now + 25_000)
        #expect(mark.advance(nowMs: Self.now + 50_000) == Self.now - 115_000)
        // One that nobody had heard before.
        var other = fresh()
        other.observed(a, newestMs: Self.now, arrivalMs: Self.now)
        other.refused(b, oldestMs: Self.now - 500_000, arrivalMs: Self.now)
        #expect(other.advance(nowMs: Self.now) == Self.now - 515_000)
        #expect(other.senders.count == 2)
    }

    @Test("one that comes back and is asked to wait has all of its time again")
    func refusedAfterSilence() {
        var mark = fresh()
        mark.observed(a, newestMs: Self.now, arrivalMs: Self.now)
        mark.observed(b, newestMs: Self.now - 2_000_000, arrivalMs: Self.now)
        #expect(mark.advance(nowMs: Self.now) == Self.now - 2_015_000)
        let laterMs = Self.now + 2_000_000
        mark.observed(a, newestMs: laterMs, arrivalMs: laterMs)
        mark.refused(b, oldestMs: Self.now - 1_990_000, arrivalMs: laterMs)
        #expect(mark.advance(nowMs: laterMs) == Self.now - 2_015_000)
    }

    @Test("a clock that is set back makes nobody wait for its old time")
    func clockSetBack() {
        var mark = fresh(closedThroughMs: Self.now - 8_000_000, startedMs: Self.now + 7_200_000)
        mark.observed(a, newestMs: Self.now, arrivalMs: Self.now)
        #expect(mark.advance(nowMs: Self.now) == Self.now - 15_000)
    }

    @Test("the slowest active sender holds it")
    func slowestHolds() {
        var mark = fresh()
        mark.observed(a, newestMs: Self.now - 1_000, arrivalMs: Self.now)
        mark.observed(b, newestMs: Self.now - 9_000, arrivalMs: Self.now)
        #expect(mark.advance(nowMs: Self.now) == Self.now - 24_000)
    }

    @Test("a fast clock closes nothing for others, nor for itself beyond the wall clock")
    func fastClock() {
        var mark = fresh()
        mark.observed(a, newestMs: Self.now + 500_000, arrivalMs: Self.now)
        mark.observed(b, newestMs: Self.now - 5_000, arrivalMs: Self.now)
        #expect(mark.advance(nowMs: Self.now) == Self.now - 20_000)
        mark.observed(a, newestMs: Self.now + 531_000, arrivalMs: Self.now + 31_000)
        #expect(mark.advance(nowMs: Self.now + 31_000) == Self.now + 31_000 - 15_000)
    }

    @Test("a sender that is silent for 30 s no longer holds it; with nobody left the wall clock drives")
    func silence() {
        var mark = fresh()
        mark.observed(a, newestMs: Self.now, arrivalMs: Self.now)
        mark.observed(b, newestMs: Self.now, arrivalMs: Self.now)
        mark.observed(b, newestMs: Self.now + 29_000, arrivalMs: Self.now + 29_000)
        #expect(mark.advance(nowMs: Self.now + 29_999) == Self.now - 15_000)
        #expect(mark.advance(nowMs: Self.now + 30_000) == Self.now + 14_000)
        #expect(mark.advance(nowMs: Self.now + 200_000) == Self.now + 155_000)
    }

    @Test("a sender that comes back with a backlog holds it for 15 minutes at most")
    func backlog() {
        var mark = fresh()
        var now = Self.now
        mark.observed(a, newestMs: now, arrivalMs: now)
        let held = mark.advance(nowMs: now)
        // An hour behind, and never catching up: one second a second.
        while now < Self.now + 1_000_000 {
            now += 1_000
            mark.observed(a, newestMs: now, arrivalMs: now)
            mark.observed(b, newestMs: now - 3_600_000, arrivalMs: now)
            let mark = mark.advance(nowMs: now)
            if now - Self.now <= 900_000 {
                #expect(mark == held)
            } else if now - Self.now > 902_000 {
                #expect(mark == now - 15_000)
            }
        }
    }

    @Test("a backlog that catches up is waited for, and its sender counts again")
    func backlogCatchesUp() {
        var mark = fresh()
        mark.observed(a, newestMs: Self.now, arrivalMs: Self.now)
        #expect(mark.advance(nowMs: Self.now) == Self.now - 15_000)
        for step in 1...60 {
            let now = Self.now + Int64(step) * 1_000
            mark.observed(a, newestMs: now, arrivalMs: now)
            mark.observed(b, newestMs: now - 600_000 + Int64(step) * 10_000, arrivalMs: now)
            _ = mark.advance(nowMs: now)
        }
        #expect(mark.advance(nowMs: Self.now + 60_000) == Self.now + 60_000 - 15_000)
        mark.observed(a, newestMs: Self.now + 70_000, arrivalMs: Self.now + 70_000)
        #expect(mark.advance(nowMs: Self.now + 70_000) == Self.now + 45_000)
    }

    @Test("after a restart a backlog of everybody is taken in order, not skipped")
    func backlogAfterRestart() {
        var mark = fresh(closedThroughMs: Self.now - 3_600_000)
        mark.observed(a, newestMs: Self.now - 3_590_000, arrivalMs: Self.now)
        #expect(mark.advance(nowMs: Self.now) == Self.now - 3_600_000)
        mark.observed(a, newestMs: Self.now - 3_000_000, arrivalMs: Self.now + 1_000)
        #expect(mark.advance(nowMs: Self.now + 1_000) == Self.now - 3_015_000)
    }

    @Test("it never goes back, senders are bounded, odd times do no harm")
    func bounds() {
        var mark = fresh()
        mark.observed(a, newestMs: .min, arrivalMs: Self.now)
        mark.observed(b, newestMs: .max, arrivalMs: Self.now)
        mark.observed(SenderID(rawValue: 3), newestMs: Self.now, arrivalMs: Self.now)
        mark.observed(SenderID(rawValue: 4), newestMs: Self.now, arrivalMs: Self.now)
        #expect(mark.senders.count == 3)
        var last = Int64.min
        for step in 0..<100 {
            let next = mark.advance(nowMs: Self.now + Int64(step) * 50_000) ?? last
            #expect(next >= last)
            last = next
        }
        // Forgotten after an hour.
        #expect(mark.senders.isEmpty)
    }

    @Test("the skew is the median of arrival - event time")
    func skew() {
        var mark = fresh()
        for (index, skew) in [5_000, 4_000, 900_000, 4_500, 6_000].enumerated() {
            let arrival = Self.now + Int64(index) * 1_000
            mark.observed(a, newestMs: arrival - Int64(skew), arrivalMs: arrival)
        }
        #expect(mark.senders[a]?.skewMs == 5_000)
    }
}
