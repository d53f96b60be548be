/// `colossusctl summary`: one closed window of one stream at one level.
public struct SummaryReply: Reply, Hashable {
    public static let schemaName = "colossus.summary/v1"

    public var schema: String = Self.schemaName
    public var stream: String
    /// Length of the window as text: `10s`, `1m`, `10m`, `1h`.
    public var resolution: String
    /// Windows are [start, end).
    public var windowStart: UTCTime
    public var windowEnd: UTCTime
    /// 0 for the first summary of the window; late data makes 1, 2 …
    public var revision: Int = 0
    /// Share of the expected senders that was heard, 0...1.
    public var coverage: Double = 1
    /// `node`, `rack`, `array`, `hall`, `site` or `job`.
    public var level: String
    public var rows: [SummaryRow] = []
    /// One for each entity of the level that the request asks for.
    public var gpus: [GPURow] = []
    /// More rows matched than the limit let through.
    public var truncated: Bool = false

    public init(
        stream: String, resolution: String, windowStart: UTCTime, windowEnd: UTCTime, level: String
    ) {
        self.stream = stream
        self.resolution = resolution
        self.windowStart = windowStart
        self.windowEnd = windowEnd
        self.level = level
    }
}

/// One field of one entity in the window. Statistics are absent where nothing was heard, quantiles also below the
/// rack.
public struct SummaryRow: Codable, Sendable, Hashable {
    public var entity: String
    /// The field's DCGM name.
    public var field: String
    public var unit: String
    public var count: Int64
    public var mean: Double?
    public var min: Double?
    public var max: Double?
    public var p50: Double?
    public var p90: Double?
    public var p99: Double?

    public init(
        entity: String, field: String, unit: String, count: Int64, mean: Double? = nil, min: Double? = nil,
        max: Double? = nil, p50: Double? = nil, p90: Double? = nil, p99: Double? = nil
    ) {
        self.entity = entity
        self.field = field
        self.unit = unit
        self.count = count
        self.mean = mean
        self.min = min
        self.max = max
        self.p50 = p50
        self.p90 = p90
        self.p99 = p99
    }
}

/// GPUs of one entity in the window.
public struct GPURow: Codable, Sendable, Hashable {
    public var entity: String
    public var expected: Int
    public var reporting: Int
    public var silent: Int
    public var inJob: Int
    public var faulted: Int
    /// Worked on as planned, and counted as nothing else; absent when none is.
    public var maintenance: Int?

    public init(entity: String, expected: Int, reporting: Int, silent: Int, inJob: Int, faulted: Int) {
        self.entity = entity
        self.expected = expected
        self.reporting = reporting
        self.silent = silent
        self.inJob = inJob
        self.faulted = faulted
    }
}
