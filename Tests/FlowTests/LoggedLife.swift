import Aggregation
import Exchange
import Foundation
import Logging
import Receivers
import Store
import Synchronization
import Telemetry
import TestSupport
import WireFormats

/// What outlives a process: a folder for its log, and what was committed.
final class Remains: SummarySink {
    struct State {
        var closes: [WindowClose] = []
        var holds = false
        var held: [@Sendable () -> Void] = []
    }

    let path: String
    let state = Mutex(State())

    init() throws {
        path = NSTemporaryDirectory() + "logged-life-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        let isTaken = state.withLock { state in
            guard !state.holds else {
                state.held.append { [weak self] in
                    self?.state.withLock { $0.closes.append(close) }
                    done()
                }
                return false
            }
            state.closes.append(close)
            return true
        }
        if isTaken { done() }
    }

    func hold() { state.withLock { $0.holds = true } }

    /// Commits what was held back, and all that comes.
    func release() {
        let held = state.withLock { state in
            state.holds = false
            defer { state.held = [] }
            return state.held
        }
        for commit in held { commit() }
    }

    var closes: [WindowClose] { state.withLock { $0.closes } }
    var last: WindowClose? { closes.last }

    var logFiles: [String] {
        let names = try? FileManager.default.contentsOfDirectory(atPath: path + "/ingest")
        return (names ?? []).filter { $0.hasSuffix(".log") }
    }

    /// Count and sum of a field over all committed windows of the finest length.
    func total(_ name: String) -> (count: Int, sum: Double) {
        var total = (count: 0, sum: 0.0)
        for window in closes.flatMap(\.windows) where window.resolutionMs == LoggedLife.plan.finestMs {
            for column in window.level(.site)?.columns ?? [] where column.field.field.name == name {
                total.count += column.count.reduce(0) { $0 + Int($1) }
                total.sum += column.sum.reduce(0, +)
            }
        }
        return total
    }
}

/// The way of one process to what remains of it; ends with the process.
final class Lifeline: SummarySink {
    private let remains: Remains
    private let isCut = Mutex(false)

    init(_ remains: Remains) { self.remains = remains }

    func commit(_ close: WindowClose, done: @escaping @Sendable () -> Void) {
        isCut.withLock { isCut in
            if !isCut { remains.commit(close, done: done) }
        }
    }

    func cut() { isCut.withLock { $0 = true } }
}

/// One life of a service: server, core and log as in the daemon, with the store played by `Remains`.
final class LoggedLife: Sendable {
    static let plan = WindowPlan(
        finestMs: 10_000, rollupsMs: [60_000], latenessMs: 2_000, senderSilentMs: 60_000, maxHoldMs: 5_000)

    let log: IngestLog
    let server: IngestServer
    let core: AggregationCore
    let stream: StreamIndex
    let metrics = Metrics()
    private let nowBox: NowBox
    private let lifeline: Lifeline

    init(
        _ remains: Remains, nowMs start: Int64, keepsNew: Bool = true,
        _ change: (inout IngestLogLimits) -> Void = { _ in }
    ) throws {
        let last = remains.last
        let nowBox = NowBox(start)
        lifeline = Lifeline(remains)
        self.nowBox = nowBox
        var limits = IngestLogLimits()
        limits.segmentBytes = 4_096
        limits.freeBytesMin = 0
        limits.retryMs = 5
        change(&limits)
        let quiet = Logger(label: "flow") { _ in SwiftLogNoOpLogHandler() }
        log = try IngestLog(
            directory: remains.path, after: last?.log?.cut ?? .start, limits: limits, metrics: metrics,
            logger: quiet)
        let streams = Streams()
        if let last { streams.open(.measured, restoring: last.topology) }
        core = AggregationCore(
            shardCount: 2, streams: streams, bus: EmbeddedBus(), sink: lifeline,
            clock: WallClock { nowBox.now }, metrics: metrics)
        var spec = StreamSpec(id: .measured, site: "lab", plan: Self.plan)
        spec.closedThroughMs = last?.closedThroughMs
        spec.ledger = last?.ledger ?? Ledger()
        spec.checkpointEveryMs = 20_000
        for bytes in remains.closes.last(where: { !$0.checkpoints.isEmpty })?.checkpoints ?? [] {
            var checkpoint = try ShardCheckpoint(encoded: bytes)
            checkpoint.forget(fromMs: last?.closedThroughMs ?? .max)
            spec.checkpoints.append(checkpoint)
        }
        spec.journal = log
        let (core, stream) = (core, core.openStream(spec))
        self.stream = stream
        var configuration = IngestConfiguration()
        configuration.port = 0
        server = IngestServer(
            configuration: configuration, sink: core, events: core, streams: streams, stream: stream,
            logging: IngestLogging(
                journal: log, sink: core, first: log.first, mark: last?.log, keepsNew: keepsNew),
            account: { core.account($0, stream: $1) }, clock: WallClock { nowBox.now }, metrics: metrics,
            logger: quiet)
    }

    private final class NowBox: Sendable {
        private let value: Mutex<Int64>
        init(_ value: Int64) { self.value = Mutex(value) }
        var now: Int64 { value.withLock { $0 } }
        func set(_ value: Int64) { self.value.withLock { $0 = value } }
    }

    func set(nowMs: Int64) {
        nowBox.set(nowMs)
        core.tick()
    }

    /// Polls, within half a minute.
    func waitFor(_ what: @Sendable () -> Bool) async throws -> Bool {
        for _ in 0..<3_000 {
            if what() { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    func drain() async {
        await withCheckedContinuation { done in core.drain(stream) { done.resume() } }
    }

    /// Closes every window.
    func finish() async {
        await drain()
        await withCheckedContinuation { done in core.finish(stream) { done.resume() } }
        await server.stop(grace: .zero)
        await log.close()
    }

    /// Ends without a word: nothing is drained, closed or committed any more.
    func kill() async {
        lifeline.cut()
        await server.stop(grace: .zero)
        // Its files stay as the kernel has them.
        await log.close()
    }
}
