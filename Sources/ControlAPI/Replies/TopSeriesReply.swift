/// `colossusctl top series`: how many series there are, and whose.
public struct TopSeriesReply: Reply, Hashable {
    public static let schemaName = "colossus.top_series/v1"

    public var schema: String = Self.schemaName
    /// Series that have a place of their own, of all senders.
    public var series: Int
    public var seriesMax: Int
    public var seriesPerSenderMax: Int
    /// Series beyond a limit that came within the last minute or two: they are folded into `__other__`.
    public var folded: Int
    /// Samples of such series since the daemon began.
    public var foldedSamples: Int64
    /// The most first, kind by kind.
    public var rows: [TopSeriesRow] = []

    public init(
        series: Int, seriesMax: Int, seriesPerSenderMax: Int, folded: Int = 0, foldedSamples: Int64 = 0
    ) {
        self.series = series
        self.seriesMax = seriesMax
        self.seriesPerSenderMax = seriesPerSenderMax
        self.folded = folded
        self.foldedSamples = foldedSamples
    }
}

/// One sender, field or node with its series; or one label with how many values of it were met.
public struct TopSeriesRow: Codable, Sendable, Hashable {
    public enum Kind: String, Codable, Sendable, Hashable, CaseIterable { case sender, field, node, label }

    public var by: Kind
    public var name: String
    public var series: Int
    public var folded: Int

    public init(by: Kind, name: String, series: Int, folded: Int = 0) {
        self.by = by
        self.name = name
        self.series = series
        self.folded = folded
    }
}
