public import Telemetry

/// How large a measured fleet is, for what it costs.
public struct FleetSize: Sendable, Hashable {
    public var gpus: Int
    public var nodes: Int
    public var racks: Int
    public var arrays: Int
    public var halls: Int
    public var jobs: Int
    /// Fields of each GPU.
    public var fields: Int
    /// Milliseconds between two samples of a series.
    public var intervalMs: Int64

    /// A fleet like those of the scenarios: 8 GPUs a node, 8 nodes a rack, 8 racks an array, 25,000 GPUs a hall, one job.
    public init(gpus: Int) {
        self.gpus = gpus
        func groups(_ of: Int) -> Int { gpus == 0 ? 0 : (gpus + of - 1) / of }
        nodes = groups(8)
        racks = groups(64)
        arrays = groups(512)
        halls = groups(25_000)
        jobs = gpus == 0 ? 0 : 1
        fields = FieldCatalog.defaults.count
        intervalMs = 15_000
    }

    /// The fleet of an inventory (CSV with the columns node, rack, array, hall): eight GPUs a node.
    ///
    /// - Throws: when the file cannot be read or has no such columns.
    public init(inventory path: String) throws(SettingsFailure) {
        let lines = try SettingsFiles.text(path).split(whereSeparator: \.isNewline)
            .filter { !$0.hasPrefix("#") }
        let header = lines.first?.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        func column(_ name: String) -> Int? { header?.firstIndex { $0.hasSuffix(name) } }
        guard let node = column("node") else {
            throw SettingsFailure([
                SettingsError(
                    file: path, line: 1, column: 1, problem: "the header has no column `node`",
                    expected: "node,rack,array,hall,model")
            ])
        }
        let rows = lines.dropFirst().map { $0.split(separator: ",", omittingEmptySubsequences: false) }
        func distinct(_ name: String) -> Int {
            guard let column = column(name) else { return 1 }
            return Set(rows.compactMap { column < $0.count ? $0[column] : nil }).count
        }
        self.init(gpus: rows.count { node < $0.count } * 8)
        racks = distinct("rack")
        arrays = distinct("array")
        halls = distinct("hall")
    }

    public func count(_ level: Level) -> Int {
        switch level {
        case .node: nodes
        case .rack: racks
        case .array: arrays
        case .hall: halls
        case .site: gpus == 0 ? 0 : 1
        case .job: jobs
        }
    }
}

/// What a configuration costs with a fleet, before there is one: series, rows and bytes of the history, rates of endpoints.
///
/// Sizes are those of simulated telemetry of 200,000 GPUs and 25 fields, measured in a real store (8 KiB pages, zstd); what
/// changes more from GPU to GPU costs more. The test holds them against a store.
public struct StorageCost: Sendable, Equatable {
    /// One level of windows of one length.
    public struct Row: Sendable, Hashable {
        public var level: Level
        public var resolutionMs: Int64
        /// Rows of tables.
        public var rowsPerDay: Int64
        public var bytesPerDay: Int64
        /// Bytes that are there once windows are let go as fast as they come.
        public var keptBytes: Int64
    }

    public struct EndpointRate: Sendable, Hashable {
        public var name: String
        public var kind: String
        /// Numbers a second, averaged over the longest window that it gets.
        public var samplesPerSecond: Double
        public var requestsPerSecond: Double
    }

    public var fleet: FleetSize
    public var series: Int
    public var samplesPerSecond: Double
    /// Of the core, for its series: 200 bytes each.
    public var memoryBytes: Int64
    /// Finest windows first, levels from the node up.
    public var rows: [Row]
    /// What rollups that are still open need of their parts.
    public var openRollupBytes: Int64
    /// Endpoints that get the measured stream.
    public var endpoints: [EndpointRate]

    public var bytesPerDay: Int64 { rows.reduce(0) { $0 + $1.bytesPerDay } }
    public var keptBytes: Int64 { rows.reduce(openRollupBytes) { $0 + $1.keptBytes } }

    public init(_ settings: DaemonSettings, fleet: FleetSize) {
        self.fleet = fleet
        series = fleet.gpus * fleet.fields
        samplesPerSecond = Double(series) * 1_000 / Double(max(1, fleet.intervalMs))
        memoryBytes = Int64(series) * 200
        let levels = Level.allCases.filter { settings.aggregation.measuredLevels.contains($0) }
        let windows = settings.windows.resolutionsMs
        rows = windows.flatMap { resolution in
            levels.map { Self.row($0, resolution, fleet, settings.store) }
        }
        openRollupBytes = Self.openRollups(windows, fleet)
        endpoints = settings.endpoints.filter { $0.streams.contains(.measured) }.map {
            Self.rate($0, levels, windows, fleet)
        }
    }
}

/// The sizes, in bytes.
extension StorageCost {
    /// Of a row, its key and its share of pages that are not full.
    private static let rowBytes = 70.0
    /// Of a packed column, without entities.
    private static let columnBytes = 45.0

    /// Of one field of one entity in a column: count, sum, least and greatest; with quantiles from the rack up.
    private static func entityBytes(_ level: Level) -> Double { level == .node ? 3.05 : 4.1 }

    /// Of the sketch of one field of one entity that is kept as history: they widen with the window.
    private static func sketchBytes(_ level: Level, _ resolutionMs: Int64) -> Double {
        guard level.keepsSketches, resolutionMs >= 60_000 else { return 0 }
        let wide = level == .hall ? 1.6 : 1
        return wide * (resolutionMs < 600_000 ? 22 : resolutionMs < 3_600_000 ? 65 : 110)
    }

    private static func row(
        _ level: Level, _ resolutionMs: Int64, _ fleet: FleetSize, _ store: DaemonSettings.Store
    ) -> Row {
        let entities = Double(fleet.count(level))
        let fields = Double(fleet.fields)
        let windowsPerDay = Double(UTC.dayMs) / Double(resolutionMs)
        var rows = fields + 1
        var bytes = fields * (rowBytes + columnBytes + entities * entityBytes(level)) + rowBytes + columnBytes
        let sketch = sketchBytes(level, resolutionMs)
        if sketch > 0 {
            rows += fields
            bytes += fields * (rowBytes + 45 + entities * sketch)
        }
        if entities == 0 { (rows, bytes) = (0, 0) }
        let keepMs = store.keepMs(resolutionMs: resolutionMs)
        return Row(
            level: level, resolutionMs: resolutionMs, rowsPerDay: Int64(rows * windowsPerDay),
            bytesPerDay: Int64(bytes * windowsPerDay),
            keptBytes: Int64(bytes * windowsPerDay * Double(keepMs) / Double(UTC.dayMs)))
    }

    /// Each window keeps its sketches of racks until the next longer one is closed: half of them on average.
    private static func openRollups(_ windows: [Int64], _ fleet: FleetSize) -> Int64 {
        let each = Double(fleet.fields) * (Double(fleet.racks) * 14 + 100)
        return zip(windows, windows.dropFirst()).reduce(0) { sum, pair in
            sum + Int64(each * Double(pair.1 / pair.0) / 2)
        }
    }

    private static func rate(
        _ endpoint: DaemonSettings.Endpoint, _ kept: [Level], _ windows: [Int64], _ fleet: FleetSize
    ) -> EndpointRate {
        let levels = kept.filter { endpoint.levels.isEmpty || endpoint.levels.contains($0) }
        let fields = endpoint.fields.isEmpty ? fleet.fields : min(endpoint.fields.count, fleet.fields)
        let statistics = endpoint.statistics.isEmpty ? FieldStatistic.allCases : endpoint.statistics
        var perWindow = 0
        for level in levels {
            let own = level == .node ? statistics.filter { !$0.isOfQuantiles } : statistics
            perWindow += fleet.count(level) * (fields * own.count + (endpoint.gpuCounts ? 5 : 0))
        }
        let taken = windows.filter {
            endpoint.resolutionsMs.isEmpty || endpoint.resolutionsMs.contains($0)
        }
        let perSecond = taken.reduce(0.0) { $0 + Double(perWindow) * 1_000 / Double($1) }
        return EndpointRate(
            name: endpoint.name, kind: "\(endpoint.destination.kind.rawValue)", samplesPerSecond: perSecond,
            requestsPerSecond: perSecond / Double(max(1, endpoint.batchSamples)))
    }
}

extension Level {
    /// Sketches of these levels are history; those of racks are kept until the next rollup only.
    fileprivate var keepsSketches: Bool { self != .node && self != .rack }
}

extension FieldStatistic {
    fileprivate var isOfQuantiles: Bool { self == .p50 || self == .p90 || self == .p99 }
}
