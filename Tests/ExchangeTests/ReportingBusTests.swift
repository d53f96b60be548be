import Exchange
import Telemetry
import TestSupport
import Testing

private final class KeepsCloses: SummarySink {
    let kept = Locked<[WindowClose]>([])

    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        kept.withLock { $0.append(close) }
        done()
    }
}

@Suite("A stream that is reported, and is not any more", .computing)
struct ReportingBusTests {
    static let stream = StreamIndex(rawValue: 1)

    static func partial(_ shard: Int, startMs: Int64 = 0, isLast: Bool = false) -> WindowPartial {
        var partial = WindowPartial(stream: stream, shard: shard, startMs: startMs, resolutionMs: 1_000)
        partial.isLast = isLast
        return partial
    }

    @Test(
        "what the shards say counts again once it is reported no more, and no share of before comes with it")
    func shares() {
        let bus = ReportingBus()
        let heard = Locked<[Int]>([])
        bus.subscribe { partial in heard.withLock { $0.append(partial.shard) } }
        func said() -> [Int] {
            heard.withLock { heard in
                defer { heard = [] }
                return heard
            }
        }
        bus.report(Self.stream)
        bus.add([Self.partial(10), Self.partial(11, startMs: 1_000)])
        bus.publish(Self.partial(0))
        bus.publish(Self.partial(0, isLast: true))
        #expect(said() == [10, 0], "the first window's share, and the word that there are no more")
        bus.unreport(Self.stream)
        bus.add([Self.partial(12, startMs: 1_000)])
        bus.publish(Self.partial(0, startMs: 1_000))
        bus.publish(Self.partial(0, startMs: 1_000, isLast: true))
        #expect(said() == [0, 0])
        bus.report(Self.stream)
        bus.publish(Self.partial(0, startMs: 2_000, isLast: true))
        #expect(said() == [0], "nothing of the first time is left")
    }

    @Test("its closings say of themselves how much is in them, and nobody is told")
    func coverage() throws {
        let stream = try #require(StreamID.simulated(run: "a"))
        let sink = KeepsCloses()
        let coverage = CoverageSink(sink)
        let told = Locked<[Int64]>([])
        coverage.report(stream, finestMs: 1_000) { throughMs in told.withLock { $0.append(throughMs) } }
        coverage.note(stream, startMs: 0, coverage: 0.5)
        let window = WindowSummary(
            stream: stream, resolutionMs: 1_000, startMs: 0, topologyVersion: 1, levels: [])
        let close = WindowClose(
            stream: stream, closedThroughMs: 1_000, windows: [window],
            topology: Topology(site: "s").snapshot(),
            ledger: Ledger())
        coverage.commit(close) {}
        coverage.forget(stream)
        coverage.commit(close) {}
        #expect(sink.kept.withLock { $0.map { $0.windows[0].coverage } } == [0.5, 1])
        #expect(told.withLock { $0 } == [1_000])
    }
}
