import Telemetry

/// How many series there are, and whose: what an operator asks when there are too many.
public struct SeriesCensus: Sendable {
    public struct Row: Sendable, Hashable {
        public var name: String
        /// Series that have a place of their own now.
        public var series: Int
        /// Series beyond a limit that came within the last minute or two: they are folded into `__other__`.
        public var folded: Int

        public init(name: String, series: Int, folded: Int) {
            self.name = name
            self.series = series
            self.folded = folded
        }
    }

    public var series = 0
    public var seriesMax: Int
    public var seriesPerSenderMax: Int
    public var folded = 0
    /// Samples of such series since the process began.
    public var foldedSamples: Int64 = 0
    public var senders: [Row] = []
    /// By DCGM name.
    public var fields: [Row] = []
    public var nodes: [Row] = []
    /// How many values were met of each label that makes series: where a label has more than there are things, it is
    /// the one to look at.
    public var labels: [Row] = []
}

extension RegistryState {
    /// What a census is made of, copied under the lock.
    struct Counts {
        var ofSender: [Int]
        var ofField: [Int]
        var ofNode: [Int32]
        var inAll: Int
        var folded: FoldedSeries.Step
        var nodeCount: Int
        var uuidCount: Int
        var sourceCount: Int
        var jobCount: Int
    }
}

extension SeriesCensus {
    /// - Parameter rowsMax: of each kind, those with the most series, folded ones included.
    init(
        _ counts: RegistryState.Counts, _ limits: ReceiverLimits, _ senders: SenderTable,
        _ topology: Topology, rowsMax: Int
    ) {
        seriesMax = limits.seriesInAll
        seriesPerSenderMax = limits.seriesPerSender
        series = counts.inAll
        folded = counts.folded.count
        let ofSender = Self.merged(
            counts.ofSender.enumerated().map { (UInt32($0), $1) },
            counts.folded.ofSender.map { ($0.rawValue, $1) })
        self.senders = Self.top(ofSender, rowsMax) { senders.name(SenderID(rawValue: $0)) ?? "?" }
        let ofField = Self.merged(
            counts.ofField.enumerated().map { (UInt8($0), $1) },
            counts.folded.ofField.map { ($0.rawValue, $1) })
        fields = Self.top(ofField, rowsMax) { FieldIndex(rawValue: $0).field.name }
        let ofNode = counts.ofNode.enumerated().filter { $1 > 0 }
            .map { (key: Int32($0), series: Int($1), folded: 0) }
        nodes = Self.top(ofNode, rowsMax) { topology.nodeName($0) }
        labels = [
            ("node", counts.nodeCount), ("UUID", counts.uuidCount), ("source", counts.sourceCount),
            ("job", counts.jobCount),
        ].map { Row(name: $0.0, series: $0.1, folded: 0) }.sorted { $0.series > $1.series }
    }

    private static func merged<Key: Hashable>(
        _ series: [(Key, Int)], _ folded: [(Key, Int)]
    ) -> [(key: Key, series: Int, folded: Int)] {
        var all: [Key: (Int, Int)] = [:]
        for (key, count) in series where count > 0 { all[key, default: (0, 0)].0 += count }
        for (key, count) in folded { all[key, default: (0, 0)].1 += count }
        return all.map { ($0.key, $0.value.0, $0.value.1) }
    }

    private static func top<Key: Comparable>(
        _ all: [(key: Key, series: Int, folded: Int)], _ count: Int, name: (Key) -> String
    ) -> [Row] {
        all.sorted { ($1.series + $1.folded, $0.key) < ($0.series + $0.folded, $1.key) }.prefix(count)
            .map { Row(name: name($0.key), series: $0.series, folded: $0.folded) }
    }
}

extension IngestServer {
    /// Series beyond a limit that came within the last minute or two.
    public var foldedCount: Int {
        core.registry.counts(stamp: Route.stamp(core.clock.nowMs())).folded.count
    }

    /// Counts the series. It holds the registry for as long as its counts take to copy, and no longer.
    public func census(rowsMax: Int) -> SeriesCensus {
        let stamp = Route.stamp(core.clock.nowMs())
        var census = SeriesCensus(
            core.registry.counts(stamp: stamp), core.limits, core.senders, core.topology, rowsMax: rowsMax)
        census.foldedSamples = core.metrics.folded.value
        return census
    }
}
