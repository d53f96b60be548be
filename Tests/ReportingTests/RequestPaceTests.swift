import Logging
import Store
import Telemetry
import Testing

@testable import Reporting

/// How fast requests follow each other, also when the wall clock is stepped.
@Suite struct RequestPaceTests {
    @Test(
        "without a rate nothing waits, wherever the clock goes", arguments: [-1_800_000, -1, 0, 1, 1_800_000])
    func unlimited(stepMs: Int64) {
        var pace = RequestPace()
        #expect(pace.waitMs(nowMs: 5_000_000) == 0)
        pace.asked(nowMs: 5_000_000)
        #expect(pace.waitMs(nowMs: 5_000_000 + stepMs) == 0)
    }

    @Test(
        "a pause is rounded up to milliseconds, for rates as large as a receiver may say",
        arguments: [
            (1, 60_000), (7, 8_572), (59_999, 2), (60_000, 1), (60_001, 1), (Int.max, 1),
        ] as [(Int, Int64)])
    func pauses(ratePerMinute: Int, pauseMs: Int64) {
        var pace = RequestPace()
        pace.allow(ratePerMinute: ratePerMinute)
        pace.asked(nowMs: 5_000_000)
        #expect(pace.waitMs(nowMs: 5_000_000) == pauseMs)
    }

    @Test("a clock that was set back costs one pause and no more")
    func setBack() {
        var pace = RequestPace()
        pace.allow(ratePerMinute: 60)
        pace.asked(nowMs: 5_000_000)
        #expect(pace.waitMs(nowMs: 5_000_400) == 600 && pace.waitMs(nowMs: 5_001_000) == 0)
        #expect(pace.waitMs(nowMs: 3_200_000) == 1_000)
        #expect(pace.waitMs(nowMs: 3_200_700) == 300)
        #expect(pace.waitMs(nowMs: 3_201_000) == 0)
    }

    @Test(
        "windows go on to be delivered when the clock was set back by half an hour", arguments: [false, true])
    func delivery(anyOrder: Bool) async throws {
        let server = try ScriptedServer { _ in .status(204) }
        defer { server.stop() }
        let store = FakeStore()
        let now = Locked<Int64>(1_725_300_000_000)
        let reporter = Reporter(
            store: store, clock: WallClock { now.withLock { $0 } }, metrics: Metrics(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, seed: 7)
        var endpoint = EndpointConfiguration.test(.webhook, url: server.url())
        endpoint.takesAnyOrder = anyOrder
        try await reporter.apply([endpoint])
        store.commit([Windows.window(0, racks: 1)], Windows.topology(racks: 1))
        try await eventually("the first window is there") { store.cursor("e")?.sequence == 1 }
        now.withLock { $0 -= 1_800_000 }
        store.commit([Windows.window(1, racks: 1)], Windows.topology(racks: 1))
        try await eventually("one from after the step") { store.cursor("e")?.sequence == 2 }
        #expect(server.requests.count == 2)
        await reporter.drain(within: .seconds(30))
    }
}
