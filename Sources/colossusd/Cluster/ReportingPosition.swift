import Foundation
import Telemetry

/// Where reading the finals goes on after a restart: only saves reading what is stored already, the store itself knows
/// which windows it has.
final class ReportingPosition: Sendable {
    private struct Kept: Codable {
        var fleet: String
        var startedMs: Int64
        /// Number of the last window before that place.
        var window: Int64
        var sequence: UInt64
    }

    private let path: String
    private let fleet: String
    private let startedMs: Int64
    private let last = Locked<(sequence: UInt64, atMs: Int64)>((0, 0))
    private static let everyMs: Int64 = 10_000

    /// - Parameters:
    ///   - fleet: the fingerprint of its map.
    ///   - startedMs: when its run began; 0 for what is ingested.
    init(_ path: String, fleet: String, startedMs: Int64) {
        self.path = path
        self.fleet = fleet
        self.startedMs = startedMs
    }

    /// Which run was reported here last.
    enum Run { case none, this, another }

    private var written: Kept? {
        guard let data = FileManager.default.contents(atPath: path), data.count < 4_096 else { return nil }
        return try? JSONDecoder().decode(Kept.self, from: data)
    }

    private var kept: Kept? { written.flatMap { $0.fleet == fleet && $0.startedMs == startedMs ? $0 : nil } }

    var run: Run { written == nil ? .none : kept == nil ? .another : .this }

    /// - Parameter next: the first window that the store does not have.
    func read(next: Int64) -> UInt64 {
        guard let kept, kept.window < next else { return 1 }
        return max(1, kept.sequence)
    }

    /// Says whose the history is, from its first window on.
    func begin() {
        if kept == nil { write(Kept(fleet: fleet, startedMs: startedMs, window: -1, sequence: 1)) }
    }

    /// Writes it down now and then.
    func note(_ sequence: UInt64, window: Int64) {
        let nowMs = ClusterMember.nowMs()
        let isDue = last.withLock { last in
            guard nowMs - last.atMs >= Self.everyMs, sequence > last.sequence else { return false }
            last = (sequence, nowMs)
            return true
        }
        guard isDue else { return }
        write(Kept(fleet: fleet, startedMs: startedMs, window: window, sequence: sequence))
    }

    private func write(_ kept: Kept) {
        guard let data = try? JSONEncoder().encode(kept) else { return }
        try? data.write(to: URL(filePath: path), options: .atomic)
    }
}
