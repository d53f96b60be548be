import Dispatch
import Foundation
import Logging
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Store

/// A state directory that goes away with the test, and the stores that were opened on it.
final class Sandbox: Sendable {
    let path: String
    let metrics = Metrics()
    let log = LogCapture()
    let nowMs = Mutex<Int64>(1_700_000_000_000)

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/store-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var database: String { path + "/history.sqlite" }

    func open(limits: StoreLimits = StoreLimits(), faults: StoreFaults = StoreFaults()) throws -> HistoryStore
    {
        try HistoryStore(
            directory: path, limits: limits, clock: WallClock { self.nowMs.withLock { $0 } },
            metrics: metrics,
            logger: Logger(label: "store") { _ in self.log }, faults: faults)
    }

    func files() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

/// Keeps what was logged.
final class LogCapture: LogHandler, Sendable {
    private let kept = Mutex<[(level: Logger.Level, text: String)]>([])

    var lines: [(level: Logger.Level, text: String)] { kept.withLock { $0 } }
    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }
    var logLevel: Logger.Level {
        get { .debug }
        set {}
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }

    func log(event: LogEvent) {
        kept.withLock { $0.append((event.level, "\(event.message) \(event.metadata ?? [:])")) }
    }
}

extension HistoryStore {
    /// Commits and waits for it.
    func commit(_ close: WindowClose) async {
        await withCheckedContinuation { continuation in commit(close) { continuation.resume() } }
    }

    func openCursor(_ endpoint: String, fromBeginning: Bool, cut: String = "") async -> DeliveryPosition? {
        await cursor(endpoint, fromBeginning: fromBeginning, cut: cut)?.position
    }

    func cursor(_ endpoint: String, fromBeginning: Bool = true, cut: String = "") async -> DeliveryCursor? {
        await withCheckedContinuation { continuation in
            openCursor(endpoint: endpoint, fromBeginning: fromBeginning, cut: cut) {
                continuation.resume(returning: $0)
            }
        }
    }

    func windows(
        after sequence: Int64, _ selection: DeliverySelection = DeliverySelection(streams: .all),
        limit: Int = 100, through: Int64? = nil
    ) async -> (windows: [StoredWindow], scannedThrough: Int64)? {
        await withCheckedContinuation { continuation in
            windows(
                after: DeliveryPosition(sequence: sequence, parts: 0), through: through,
                selection: selection, limit: limit
            ) { continuation.resume(returning: $0) }
        }
    }

    func advance(
        _ endpoint: String, to sequence: Int64, parts: Int = 0, delivered: Int = 1, samples: Int = 10,
        dead: [DeadLetter] = [], through: Int64? = nil
    ) async -> Bool {
        await withCheckedContinuation { continuation in
            advance(
                endpoint: endpoint, to: DeliveryPosition(sequence: sequence, parts: parts), through: through,
                parts: delivered, samples: samples, dead: dead
            ) { continuation.resume(returning: $0) }
        }
    }

    func leap(_ endpoint: String, from sequence: Int64, parts: Int = 0, through: Int64) async -> Bool {
        await withCheckedContinuation { continuation in
            leap(
                endpoint: endpoint, from: DeliveryPosition(sequence: sequence, parts: parts), through: through
            ) { continuation.resume(returning: $0) }
        }
    }

    func split(_ endpoint: String, _ through: Int64, at sequence: Int64) async -> Bool {
        await withCheckedContinuation { continuation in
            split(endpoint: endpoint, gapThrough: through, at: sequence) {
                continuation.resume(returning: $0)
            }
        }
    }

    /// Returns when the retention has nothing more to do.
    func settle() async {
        while await withCheckedContinuation({ continuation in
            onWriter { continuation.resume(returning: $0.isRetentionPlanned) }
        }) {}
    }
}

/// Closings as Aggregation makes them, of any size.
struct CloseMaker {
    var random: SeededRandom
    var stream: StreamID = .measured
    var racks = 3
    var nodesPerRack = 2
    var fields = Array(FieldCatalog.defaults.prefix(4))
    var sketches = true
    let topology: TopologySnapshot

    init(seed: UInt64, racks: Int = 3, nodesPerRack: Int = 2) {
        random = SeededRandom(seed: seed)
        self.racks = racks
        self.nodesPerRack = nodesPerRack
        let topology = Topology(site: "site")
        for rack in 0..<racks {
            for node in 0..<nodesPerRack {
                topology.node(
                    "node-\(rack)-\(node)",
                    at: Placement(
                        rack: "rack\(rack)", array: "a\(rack / 8)", hall: "h\(rack / 400)", model: "H100"),
                    gpuCount: 8)
            }
        }
        self.topology = topology.snapshot()
    }

    mutating func close(at endMs: Int64, resolutions: [Int64] = [10_000], revision: Int = 0) -> WindowClose {
        var ledger = Ledger()
        ledger.received = endMs / 1_000
        ledger.aggregated = ledger.received - 3
        ledger[.late] = 2
        ledger[.blank] = 1
        let windows = resolutions.map { window(endMs - $0, $0, revision: revision) }
        return WindowClose(
            stream: stream, closedThroughMs: endMs, windows: windows, topology: topology, ledger: ledger)
    }

    mutating func window(_ startMs: Int64, _ resolutionMs: Int64, revision: Int = 0) -> WindowSummary {
        var point = TimelinePoint(timeMs: startMs + resolutionMs)
        point.day = Int.random(in: 0..<300, using: &random)
        point.phase = "phase 1"
        point.megawatts = Double.random(in: 0..<150, using: &random)
        let jobs = ["pretrain", "rl-\(Int.random(in: 0..<9, using: &random))"]
        return WindowSummary(
            stream: stream, resolutionMs: resolutionMs, startMs: startMs, revision: revision,
            topologyVersion: topology.version, coverage: Double.random(in: 0...1, using: &random),
            levels: Level.allCases.map { level($0, jobs: level_jobs($0, jobs)) }, timeline: point)
    }

    private func level_jobs(_ level: Level, _ jobs: [String]) -> [String] { level == .job ? jobs : [] }

    private mutating func level(_ level: Level, jobs: [String]) -> LevelSummary {
        let entities = level == .job ? jobs.count : topology.count(level)
        var gpus = GPUCounts(entityCount: entities)
        for entity in 0..<entities {
            gpus.expected[entity] = 8
            gpus.reporting[entity] = UInt32.random(in: 0...8, using: &random)
        }
        var columns: [FieldColumn] = []
        for field in fields { columns.append(column(field, entities, level)) }
        return LevelSummary(level: level, jobs: jobs, columns: columns, gpus: gpus)
    }

    private mutating func column(_ field: FieldIndex, _ entities: Int, _ level: Level) -> FieldColumn {
        var column = FieldColumn(field: field, entityCount: entities)
        for entity in 0..<entities {
            column.count[entity] = UInt32.random(in: 0..<100, using: &random)
            column.min[entity] = Double(Int.random(in: 0..<50, using: &random))
            column.max[entity] = column.min[entity] + 20
            column.sum[entity] = Double.random(in: 0..<1e6, using: &random)
        }
        guard level.hasQuantiles else { return column }
        column.p50 = column.min.map { $0 + 1.1 }
        column.p90 = column.min.map { $0 + 2.2 }
        column.p99 = column.max
        guard sketches else { return column }
        column.sketchOffsets = [0]
        for _ in 0..<entities {
            for _ in 0..<Int.random(in: 0..<40, using: &random) {
                column.sketchBytes.append(UInt8.random(in: 0...255, using: &random))
            }
            column.sketchOffsets.append(UInt32(column.sketchBytes.count))
        }
        return column
    }
}

extension WindowSummary {
    func withoutSketches(below level: Level? = nil) -> WindowSummary {
        var copy = self
        for index in copy.levels.indices where level.map({ copy.levels[index].level < $0 }) ?? true {
            for column in copy.levels[index].columns.indices {
                copy.levels[index].columns[column].sketchOffsets = []
                copy.levels[index].columns[column].sketchBytes = []
            }
        }
        return copy
    }

    /// Only some levels and fields, as a selection would leave them.
    func cut(levels: Set<Level>, fields: Set<FieldIndex>) -> WindowSummary {
        var copy = withoutSketches()
        copy.levels = copy.levels.filter { levels.isEmpty || levels.contains($0.level) }
        for index in copy.levels.indices {
            copy.levels[index].columns.removeAll { !fields.isEmpty && !fields.contains($0.field) }
        }
        return copy
    }
}

extension Sandbox {
    /// Overwrites pages in the middle of the database: the schema and the newest rows stay readable.
    func damageMiddle() throws {
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: database))
        let size = try file.seekToEnd()
        try file.seek(toOffset: size / 8_192 / 2 * 8_192)
        try file.write(contentsOf: Data(repeating: 0x5A, count: 8 * 8_192))
        try file.close()
    }
}
