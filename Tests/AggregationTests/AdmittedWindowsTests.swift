import Telemetry
import TestSupport
import Testing

@testable import Aggregation

@Suite(.computing) struct AdmittedWindowsTests {
    static let start = CoreHarness.startMs
    static let plan = WindowPlan(
        finestMs: 10_000, rollupsMs: [], latenessMs: 5_000, senderSilentMs: 30_000, maxHoldMs: 20_000)

    private static var limits: AggregationLimits {
        var limits = AggregationLimits()
        limits.openWindowsMax = 8
        limits.futureMaxMs = 10_000
        return limits
    }

    private static func fresh() -> AdmittedWindows { AdmittedWindows(plan: plan, limits: limits) }

    /// A request of the times from the start of one window to the end of another.
    private static func admit(
        _ windows: inout AdmittedWindows, _ first: Int64, _ last: Int64, closed: Int64? = nil,
        now: Int64 = 100_000, always: Bool = false
    ) -> Bool {
        windows.admit(
            oldestMs: start + first * 10_000, newestMs: start + last * 10_000 + 9_999,
            arrivalMs: start + now * 10_000, closedThroughMs: closed.map { start + $0 * 10_000 },
            always: always)
    }

    @Test("windows are admitted up to the limit, known ones always, and closing makes room")
    func limit() {
        var windows = Self.fresh()
        // (20 s of hold + 5 s of lateness + 10 s ahead) / 10 s + 2 = 5 are held at most; twice of that is more than 8.
        #expect(windows.limit == 10)
        for window: Int64 in 0..<10 { #expect(Self.admit(&windows, window, window)) }
        #expect(!Self.admit(&windows, 10, 10))
        #expect(!Self.admit(&windows, 5_000, 5_000))
        #expect(Self.admit(&windows, 3, 9))
        #expect(!Self.admit(&windows, 9, 10))
        #expect(Self.admit(&windows, 10, 10, always: true))
        #expect(windows.count == 11)
        windows.close(throughMs: Self.start + 20_000)
        #expect(windows.count == 9)
        // What is closed opens nothing, however much of it there is.
        #expect(Self.admit(&windows, -1_000, 2, closed: 2))
        #expect(Self.admit(&windows, 5_000, 5_000, closed: 2))
    }

    @Test(
        "a request with more windows than there ever are is taken when little is open, and then all others wait"
    )
    func giant() {
        var windows = Self.fresh()
        for window: Int64 in 0..<6 { #expect(Self.admit(&windows, window, window)) }
        #expect(!Self.admit(&windows, 0, 499))
        windows.close(throughMs: Self.start + 10_000)
        #expect(Self.admit(&windows, 1, 500))
        #expect(windows.count == 500)
        #expect(!Self.admit(&windows, 501, 501))
    }

    @Test("times without reason open a bounded number of windows, and those ahead of the clock none")
    func hostileTimes() {
        var windows = Self.fresh()
        #expect(Self.admit(&windows, -40_000_000, 0))
        #expect(windows.count == AdmittedWindows.requestMax)
        var ahead = Self.fresh()
        for _ in 0..<20 { #expect(Self.admit(&ahead, 900_000, 900_000, now: 0)) }
        #expect(ahead.count == 0)
        #expect(Self.admit(&ahead, 0, 900_000, now: 0))
        #expect(ahead.count == 2)
        var extreme = Self.fresh()
        for newest in [Int64.min, .max] {
            let isAdmitted = extreme.admit(
                oldestMs: .min, newestMs: newest, arrivalMs: Self.start, closedThroughMs: nil, always: false)
            #expect(isAdmitted)
        }
    }

    private static func samples(_ window: Int64, node: Int = 0) -> [TestSample] {
        (0..<5).map {
            TestSample(
                node: node, gpu: 0, field: .powerUsage, timeMs: start + window * 10_000 + $0 * 2_000,
                value: Double(window))
        }
    }

    @Test(
        "a backlog that comes faster than its windows close waits and loses nothing, nor do live samples beside it"
    )
    func backlog() async {
        let harness = CoreHarness(
            shards: 3, spec: StreamSpec(id: .measured, site: "test", plan: Self.plan), limits: Self.limits)
        let count: Int64 = 200
        // The backlog of one sender, 200 windows, and live windows of another at its end.
        var nowMs = Self.start + count * 10_000
        harness.setNow(nowMs)
        var refused = 0
        var live: Int64 = count
        for window in 0..<count {
            while harness.deliver(Self.samples(window, node: 0), sender: 1) == .full {
                refused += 1
                nowMs += 100
                await harness.advance(toMs: nowMs)
            }
            if nowMs >= Self.start + (live + 1) * 10_000 {
                while harness.deliver(Self.samples(live, node: 2), sender: 2) == .full {
                    nowMs += 100
                    await harness.advance(toMs: nowMs)
                }
                live += 1
            }
        }
        await harness.advance(toMs: nowMs + 200_000)
        let ledger = harness.core.status(harness.stream)?.ledger
        #expect(refused > 10)
        #expect(ledger?.dropped == 0)
        #expect(ledger?.aggregated == live * 5)
        let finest = harness.sink.windows(10_000)
        #expect(finest.filter { $0.level(.site)?.gpus.reporting == [1] }.count == Int(live))
        #expect(finest.map(\.startMs) == finest.map(\.startMs).sorted())
    }

    /// Delivers windows of a node one by one; each that is refused comes again after a tick.
    private static func deliver(
        _ windows: Range<Int64>, node: Int, sender: UInt32, to harness: CoreHarness, _ nowMs: inout Int64
    ) async -> Int {
        var refused = 0
        for window in windows {
            while harness.deliver(samples(window, node: node), sender: sender) == .full, refused < 2_000 {
                refused += 1
                nowMs += 1_000
                await harness.advance(toMs: nowMs)
            }
        }
        return refused
    }

    @Test(
        "one that opened far more than all others and went away stops nobody",
        arguments: [nil, 0] as [Int64?])
    func farAhead(closed: Int64?) async {
        let closedMs = closed.map { Self.start + $0 }
        let harness = CoreHarness(
            spec: StreamSpec(id: .measured, site: "test", plan: Self.plan, closedThroughMs: closedMs),
            limits: Self.limits)
        var nowMs = Self.start + 2_000_000
        harness.setNow(nowMs)
        #expect(harness.deliver(Self.samples(0, node: 0), sender: 1) == .accepted)
        #expect(
            harness.deliver(Self.samples(60, node: 2) + Self.samples(199, node: 2), sender: 2) == .accepted)
        let refused = await Self.deliver(1..<200, node: 0, sender: 1, to: harness, &nowMs)
        #expect((1..<2_000).contains(refused))
        await harness.advance(toMs: nowMs + 200_000)
        let ledger = harness.core.status(harness.stream)?.ledger
        #expect(ledger?.dropped == 0)
        #expect(ledger?.aggregated == 1_010)
    }

    @Test("one that is refused with its first request finds its windows open when there is room")
    func unknownRefused() async {
        let harness = CoreHarness(
            spec: StreamSpec(id: .measured, site: "test", plan: Self.plan, closedThroughMs: Self.start),
            limits: Self.limits)
        var nowMs = Self.start + 2_000_000
        harness.setNow(nowMs)
        #expect(
            harness.deliver(Self.samples(100, node: 2) + Self.samples(199, node: 2), sender: 2) == .accepted)
        #expect(harness.deliver(Self.samples(20, node: 0), sender: 1) == .full)
        // What is held for it is bounded by the time that anybody is waited for: it is quick enough here.
        _ = await Self.deliver(20..<24, node: 0, sender: 1, to: harness, &nowMs)
        await harness.advance(toMs: nowMs + 200_000)
        let ledger = harness.core.status(harness.stream)?.ledger
        #expect(ledger?.dropped == 0)
        #expect(ledger?.aggregated == 30)
    }
}
