import Telemetry
import TestSupport
import Testing

@testable import Aggregation

@Suite(.computing) struct CoverageTests {
    private func coverage(_ senders: [CloseStep.Heard], _ fromMs: Int64) -> Double {
        let step = CloseStep(
            throughMs: 0, tickedMs: [], isFleet: false, senders: senders,
            faults: FaultTable(intervalsMax: 1), jobs: JobSnapshot(), jobNames: [], events: PendingEvents(),
            accounted: Ledger(), isFinal: false, decidedAtNs: 0)
        return step.coverage(fromMs: fromMs, toMs: fromMs + 10_000)
    }

    private func heard(_ firstMs: Int64, _ newestMs: Int64, isMissedBefore: Bool = true) -> CloseStep.Heard {
        .init(firstMs: firstMs, newestMs: newestMs, isMissedBefore: isMissedBefore)
    }

    @Test("a window that was cut short by a restart says so")
    func restart() {
        // Both were there before, and told the rest of this window to a process that is no more.
        #expect(coverage([heard(17_000, 60_000), heard(18_000, 60_000)], 10_000) == 0.25)
        #expect(coverage([heard(17_000, 60_000), heard(25_000, 60_000)], 10_000) == 0.15)
        #expect(coverage([heard(17_000, 60_000), heard(18_000, 60_000)], 20_000) == 1)
        #expect(coverage([heard(17_000, 60_000)], 0) == 0)
    }

    @Test("a sender that joins later is not missed before, and one that went is missed after")
    func joining() {
        let old = heard(0, 60_000)
        #expect(coverage([old, heard(40_000, 60_000, isMissedBefore: false)], 10_000) == 1)
        #expect(coverage([old, heard(45_000, 60_000, isMissedBefore: false)], 40_000) == 0.75)
        #expect(coverage([old, heard(0, 12_000)], 10_000) == 1)
        #expect(coverage([old, heard(0, 12_000)], 20_000) == 0.5)
        #expect(coverage([], 20_000) == 1)
    }

    @Test("who is heard within the first half minute was there before; who comes later is new")
    func presence() {
        var mark = Watermark(plan: WindowPlan(), sendersMax: 10, closedThroughMs: nil, startedMs: 0)
        mark.observed(SenderID(rawValue: 1), newestMs: 5_000, arrivalMs: 100_000)
        mark.observed(SenderID(rawValue: 2), newestMs: 4_000, arrivalMs: 129_999)
        mark.observed(SenderID(rawValue: 3), newestMs: 3_000, arrivalMs: 130_000)
        mark.observed(SenderID(rawValue: 1), newestMs: 2_000, arrivalMs: 131_000)
        #expect(mark.heard.map(\.isMissedBefore) == [true, true, false])
        #expect(mark.heard.map(\.firstMs) == [2_000, 4_000, 3_000])
    }

    @Test("a backlog in one request covers the windows that it reaches back to")
    func backlog() {
        var mark = Watermark(plan: WindowPlan(), sendersMax: 10, closedThroughMs: nil, startedMs: 0)
        mark.observed(
            SenderID(rawValue: 1), oldestMs: 400_000, newestMs: 990_000, arrivalMs: 1_000_000)
        #expect(mark.heard.map(\.firstMs) == [400_000])
        #expect(coverage(mark.heard, 500_000) == 1)
        #expect(coverage(mark.heard, 395_000) == 0.5)
        #expect(coverage(mark.heard, 380_000) == 0)
        // What cannot be older than the newest is not believed to be.
        mark.observed(SenderID(rawValue: 2), oldestMs: .max, newestMs: 7, arrivalMs: 1_000_000)
        mark.observed(SenderID(rawValue: 3), oldestMs: .min, newestMs: 7, arrivalMs: 1_000_000)
        #expect(mark.heard.map(\.firstMs) == [400_000, 7, 0])
    }
}
