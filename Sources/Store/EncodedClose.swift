import FoundationEssentials
import Telemetry

/// A closing as the rows that it becomes. Made once, before the transaction, so that a transaction is short and a
/// second try costs no encoding.
struct EncodedClose: Sendable {
    struct Blob: Sendable {
        /// DCGM's id.
        var field: Int
        var data: Data
    }

    struct Level: Sendable {
        var name: String
        var jobs: Data?
        var gpus: Data
        var columns: [Blob] = []
        /// Kept as history.
        var sketches: [Blob] = []
        /// Kept until the parent rollup closes.
        var rollupState: [Blob] = []
    }

    struct Window: Sendable {
        var resolutionMs: Int64
        var startMs: Int64
        var revision: Int
        var coverage: Double
        var topologyVersion: Int
        var timeline: TimelinePoint?
        var levels: [Level]
        /// End of the parent rollup; `nil` for the coarsest resolution.
        var parentEndMs: Int64?
    }

    var stream: StreamID
    var closedThroughMs: Int64
    var windows: [Window]
    var topology: TopologySnapshot
    var ledger: Ledger
    var events: [EncodedEvent]
    var log: LogMark?
    var alerts: EncodedAlerts
    /// One a shard; empty: those of an earlier closing stay.
    var checkpoints: [Data]

    /// - Parameter ladder: the stream's resolutions, ascending.
    init(_ close: WindowClose, ladder: [Int64], zstd: borrowing Zstd) throws(StoreError) {
        stream = close.stream
        closedThroughMs = close.closedThroughMs
        topology = close.topology
        ledger = close.ledger
        log = close.log
        alerts = try EncodedAlerts(close.alerts)
        windows = []
        for summary in close.windows {
            windows.append(
                try Window(summary, closedThroughMs: close.closedThroughMs, ladder: ladder, zstd: zstd))
        }
        events = []
        for event in close.events { events.append(try EncodedEvent(event, zstd: zstd)) }
        checkpoints = []
        for checkpoint in close.checkpoints { checkpoints.append(Data(try zstd.compress(checkpoint))) }
    }
}

extension EncodedClose.Window {
    init(
        _ summary: WindowSummary, closedThroughMs: Int64, ladder: [Int64], zstd: borrowing Zstd
    ) throws(StoreError) {
        resolutionMs = summary.resolutionMs
        startMs = summary.startMs
        revision = summary.revision
        coverage = summary.coverage
        topologyVersion = summary.topologyVersion
        timeline = summary.timeline
        parentEndMs = StoreLimits.parent(of: summary.resolutionMs, in: ladder).map {
            StoreLimits.windowStart(summary.startMs, resolutionMs: $0) + $0
        }
        let isAwaited = parentEndMs.map { $0 > closedThroughMs } ?? false
        levels = []
        for level in summary.levels {
            let isHistory = resolutionMs >= StoreLimits.sketchHistoryMs && level.level > .rack
            levels.append(
                try EncodedClose.Level(level, isHistory: isHistory, isAwaited: isAwaited, zstd: zstd))
        }
    }
}

extension EncodedClose.Level {
    /// - Parameter isAwaited: whether the window's parent rollup is still open.
    init(
        _ level: LevelSummary, isHistory: Bool, isAwaited: Bool, zstd: borrowing Zstd
    ) throws(StoreError) {
        name = level.level.rawValue
        jobs = level.jobs.isEmpty ? nil : Data(try zstd.compress(SummaryBlob.encode(names: level.jobs)))
        gpus = Data(try zstd.compress(SummaryBlob.encode(level.gpus)))
        columns.reserveCapacity(level.columns.count)
        for column in level.columns {
            let field = Int(column.field.field.id)
            let data = Data(try zstd.compress(SummaryBlob.encode(column)))
            columns.append(EncodedClose.Blob(field: field, data: data))
            guard isHistory || isAwaited, let sketches = try SummaryBlob.encodeSketches(column) else {
                continue
            }
            let blob = EncodedClose.Blob(field: field, data: Data(try zstd.compress(sketches)))
            if isHistory { self.sketches.append(blob) } else { rollupState.append(blob) }
        }
    }
}

/// An event as the row that it becomes.
struct EncodedEvent: Sendable {
    var event: Event
    var identity: Int64
    var nodes: Data?
    var alert: Data?

    init(_ event: Event, zstd: borrowing Zstd) throws(StoreError) {
        self.event = event
        identity = Self.identity(event)
        nodes =
            event.nodes.isEmpty ? nil : Data(try zstd.compress(SummaryBlob.encode(names: event.nodes)))
        if let alert = event.alert { self.alert = try EncodedAlerts.encode(alert) }
    }

    /// FNV-1a over everything that the event says: telling it again makes no second row.
    private static func identity(_ event: Event) -> Int64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func mix(_ text: String) {
            for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
            hash = (hash ^ 0xFF) &* 0x100_0000_01B3
        }
        mix(event.kind.rawValue)
        mix(event.entity)
        mix(event.gpu.map(String.init) ?? "")
        mix(event.job)
        for node in event.nodes { mix(node) }
        mix(event.value.map { String($0.bitPattern) } ?? "")
        mix(event.message)
        mix(event.source.rawValue)
        if let alert = event.alert { mix(alert.id) }
        return Int64(bitPattern: hash)
    }
}

/// Changes of alerts as the rows that they become.
struct EncodedAlerts: Sendable {
    struct Row: Sendable {
        var id: String
        var state: String
        var data: Data
    }

    var saved: [Row] = []
    var removed: [String] = []

    init(_ changes: AlertChanges) throws(StoreError) {
        removed = changes.removed
        for alert in changes.saved {
            saved.append(Row(id: alert.id, state: alert.state.rawValue, data: try Self.encode(alert)))
        }
    }

    static func encode(_ alert: Alert) throws(StoreError) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        // A rule's value may be anything that telemetry is.
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "+Inf", negativeInfinity: "-Inf", nan: "NaN")
        do {
            return try encoder.encode(alert)
        } catch {
            throw StoreError(.malformed, "alert \(alert.id) cannot be written: \(error)")
        }
    }

    static func decode(_ data: Data) throws -> Alert {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "+Inf", negativeInfinity: "-Inf", nan: "NaN")
        return try decoder.decode(Alert.self, from: data)
    }
}
