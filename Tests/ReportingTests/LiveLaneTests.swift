import Foundation
import Logging
import Store
import Synchronization
import Telemetry
import Testing

@testable import Reporting

/// New windows beside a backlog, at a real socket and with the real store.
@Suite struct LiveLaneTests {
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Stands still until the test moves it: nothing becomes old because the machine is slow.
    private final class Clock: Sendable {
        let nowMs = Mutex(Int64(Date().timeIntervalSince1970 * 1_000))
        var wall: WallClock { WallClock { [self] in nowMs.withLock { $0 } } }
    }

    /// Refuses everything until it is up; then windows of the backlog are answered only when it has been let go.
    private final class Receiver: Sendable {
        struct State {
            var isUp = false
            var isLetGo = false
            var taken: [Int] = []
            var waiting = 0
        }

        let state = Locked(State())
        /// Windows from here on are new.
        static let firstNew = 40

        func answer(_ request: ScriptedServer.Request) -> ScriptedServer.Answer {
            let words = (request.headers["ce-id"] ?? "").split(separator: "/")
            guard words.count > 2, let startMs = Int64(words[2]), state.withLock({ $0.isUp }) else {
                // Too many requests: no part is to blame for that.
                return .status(429)
            }
            let window = Int((startMs - Windows.startMs) / 10_000)
            if window > 0, window < Self.firstNew {
                state.withLock { $0.waiting += 1 }
                while !state.withLock({ $0.isLetGo }) { usleep(2_000) }
                state.withLock { $0.waiting -= 1 }
            }
            state.withLock { $0.taken.append(window) }
            return .status(204)
        }
    }

    private func commit(_ windows: Range<Int>, _ store: HistoryStore) async {
        let topology = Windows.topology(racks: 1)
        for index in windows {
            var window = Windows.window(index, racks: 1)
            window.topologyVersion = topology.version
            let close = WindowClose(
                stream: .measured, closedThroughMs: window.endMs, windows: [window], topology: topology,
                ledger: Ledger())
            await withCheckedContinuation { continuation in store.commit(close) { continuation.resume() } }
        }
    }

    private func folder() throws -> String {
        let folder = NSTemporaryDirectory() + "/lane-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        return folder
    }

    private func endpoint(_ server: ScriptedServer) -> EndpointConfiguration {
        var made = EndpointConfiguration.test(.webhook, url: server.url())
        made.takesAnyOrder = true
        made.timeoutMs = 90_000
        return made
    }

    @Test(
        "after an outage new windows arrive though the backlog does not get on, also after a restart; all of it once"
    )
    func outage() async throws {
        let folder = try folder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let clock = Clock()
        let receiver = Receiver()
        let server = try ScriptedServer { receiver.answer($0) }
        defer {
            receiver.state.withLock { $0.isLetGo = true }
            server.stop()
        }
        let first = Receiver.firstNew
        var store = try HistoryStore(
            directory: folder, clock: clock.wall, metrics: Metrics(), logger: logger)
        let metrics = Metrics()
        var reporter = Reporter(
            store: store, clock: clock.wall, metrics: metrics, logger: logger, seed: 1)
        try await reporter.apply([endpoint(server)])
        await commit(0..<first, store)
        try await eventually(within: .seconds(90), "it is tried") {
            let status = await reporter.status()[0]
            return status.retries >= 3 && status.pendingWindows == Int64(first)
        }
        // What is there has waited for long when the next comes.
        clock.nowMs.withLock { $0 += 60_000 }
        await commit(first..<(first + 2), store)
        receiver.state.withLock { $0.isUp = true }
        try await eventually(within: .seconds(90), "new windows arrive, and the backlog waits") {
            receiver.state.withLock {
                $0.taken.contains(first) && $0.taken.contains(first + 1) && $0.waiting > 0
            }
        }
        #expect(receiver.state.withLock { $0.taken.sorted() } == [0, first, first + 1])
        // The receiver has them a moment before the store knows.
        try await eventually(within: .seconds(90), "only the backlog is left") {
            guard let record = try await store.endpointRecords().first else { return false }
            return record.backlog == Int64(first - 1) && record.pending == record.backlog
                && record.oldestLiveMs == nil && record.oldestPendingMs != nil
        }
        try await eventually(within: .seconds(90), "the lane of new windows rests") {
            await reporter.status()[0].inFlight >= 1
                && metrics.exposition().contains(
                    "colossus_report_gaps{endpoint=\"e\"} 1\n")
        }
        // The process ends without waiting for anybody.
        await reporter.drain(within: .zero)
        await store.close()
        store = try HistoryStore(directory: folder, clock: clock.wall, metrics: Metrics(), logger: logger)
        reporter = Reporter(
            store: store, clock: clock.wall, metrics: Metrics(), logger: logger, seed: 2)
        try await reporter.apply([endpoint(server)])
        await commit((first + 2)..<(first + 4), store)
        try await eventually(within: .seconds(90), "new windows arrive") {
            receiver.state.withLock { $0.taken.contains(first + 3) }
        }
        receiver.state.withLock { $0.isLetGo = true }
        try await eventually(within: .seconds(90), "everything is delivered") {
            let status = await reporter.status()[0]
            return status.state == .idle && status.pendingWindows == 0 && status.gaps == 0
        }
        let taken = receiver.state.withLock { $0.taken }
        #expect(Set(taken) == Set(0..<(first + 4)))
        // What was on its way at the end came twice: one request a lane at most.
        #expect(taken.count - (first + 4) <= 4)
        try await eventually(within: .seconds(90), "the gaps are closed") {
            try await store.endpointRecords()[0].gaps.isEmpty
        }
        await reporter.drain(within: .seconds(90))
        await store.close()
    }

    @Test(
        "a window that is always answered with 500 holds no others, also after a restart, and arrives in the end"
    )
    func poison() async throws {
        let folder = try folder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let taken = Locked<[Int]>([])
        let isHealed = Locked(false)
        let server = try ScriptedServer { request in
            let words = (request.headers["ce-id"] ?? "").split(separator: "/")
            guard words.count > 2, let startMs = Int64(words[2]) else { return .status(400) }
            let window = Int((startMs - Windows.startMs) / 10_000)
            if window == 1, !isHealed.withLock({ $0 }) { return .status(500) }
            taken.withLock { $0.append(window) }
            return .status(204)
        }
        defer { server.stop() }
        let clock = WallClock { Int64(Date().timeIntervalSince1970 * 1_000) }
        for life in 0..<3 {
            let store = try HistoryStore(
                directory: folder, clock: clock, metrics: Metrics(), logger: logger)
            let reporter = Reporter(
                store: store, clock: clock, metrics: Metrics(), logger: logger, seed: UInt64(life))
            try await reporter.apply([endpoint(server)])
            if life == 2 { isHealed.withLock { $0 = true } }
            await commit((life * 3)..<(life * 3 + 3), store)
            let missing: Int64 = life == 2 ? 0 : 1
            try await eventually(within: .seconds(90), "all others arrive") {
                let status = await reporter.status()[0]
                return status.pendingWindows == missing && status.gaps == Int(missing)
                    && taken.withLock { $0.count } == life * 3 + 3 - Int(missing)
            }
            let record = try #require(try await store.endpointRecords().first)
            #expect(record.pending == missing && record.backlog == missing)
            await reporter.drain(within: .seconds(10))
            await store.close()
        }
        #expect(taken.withLock { $0.sorted() } == Array(0..<9))
    }
}
