import Foundation
import Logging
import Store
import Telemetry
import Testing

@testable import Reporting

/// The reporter on the real store: what is committed arrives once, through restarts of both.
@Suite struct HistoryTests {
    private static let clock = WallClock { Int64(Date().timeIntervalSince1970 * 1_000) }
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func commit(_ windows: Range<Int>, _ store: HistoryStore) async {
        let topology = Windows.topology(racks: 3)
        for index in windows {
            var window = Windows.window(index, racks: 3)
            window.topologyVersion = topology.version
            let close = WindowClose(
                stream: .measured, closedThroughMs: window.endMs, windows: [window], topology: topology,
                ledger: Ledger())
            await withCheckedContinuation { continuation in store.commit(close) { continuation.resume() } }
        }
    }

    @Test(
        "file and webhook get every window once, in order, though reporter and store are started four times")
    func restarts() async throws {
        let folder = NSTemporaryDirectory() + "/history-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let taken = Locked<[String]>([])
        let attempts = Locked(0)
        let server = try ScriptedServer { request in
            let attempt = attempts.withLock {
                $0 += 1
                return $0
            }
            if attempt % 3 == 0 { return .status(500) }
            taken.withLock { $0.append(request.headers["ce-id"] ?? "") }
            return .status(204)
        }
        defer { server.stop() }
        var webhook = EndpointConfiguration.test(.webhook, name: "hook", url: server.url())
        // Two parts a window: the cursor also stands inside of windows.
        webhook.batch.samplesMax = 26
        for life in 0..<4 {
            let store = try HistoryStore(
                directory: folder, clock: Self.clock, metrics: Metrics(), logger: logger)
            let reporter = Reporter(
                store: store, clock: Self.clock, metrics: Metrics(), logger: logger, seed: UInt64(life),
                fileFolders: [folder])
            try await reporter.apply([webhook, .test(.file, name: "file")])
            await commit((life * 5)..<(life * 5 + 5), store)
            // The last life delivers what is left; the others stop wherever they are.
            if life == 3 {
                try await eventually("everything is delivered") {
                    await reporter.status().allSatisfy { $0.position?.sequence == 20 }
                }
            }
            await reporter.drain(within: .seconds(30))
            await store.close()
        }
        let windows = (0..<20).map { "measured/10000/\(Windows.startMs + Int64($0) * 10_000)/0/" }
        #expect(taken.withLock { $0 } == windows.flatMap { [$0 + "0", $0 + "1"] })
        let lines = try String(contentsOfFile: folder + "/out.jsonl", encoding: .utf8).split(separator: "\n")
        let ids = try lines.map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])["id"]
                as? String
        }
        #expect(ids == windows.map { $0 + "0" })
    }
}
