/// `colossusctl cluster capacity`: what fleets of some sizes cost brokers and workers, worked out of measured figures.
public struct ClusterCapacityReply: Reply, Hashable {
    public static let schemaName = "colossus.cluster_capacity/v1"

    public var schema: String = Self.schemaName
    public var windowSeconds: Double
    public var fields: Int
    public var leaseSeconds: Double
    public var figures: ClusterFigures
    public var rows: [ClusterCapacityRow]

    /// - Parameters:
    ///   - gpus: of each fleet, 1 to 100 million.
    ///   - windowSeconds: of the wall clock between two windows.
    ///   - slicesMax: `cluster.slices`.
    public init(
        gpus: [Int], windowSeconds: Double, fields: Int, leaseSeconds: Double, slicesMax: Int,
        figures: ClusterFigures = ClusterFigures()
    ) {
        self.windowSeconds = windowSeconds
        self.fields = fields
        self.leaseSeconds = leaseSeconds
        self.figures = figures
        rows = gpus.map {
            ClusterCapacityRow(
                gpus: $0, windowSeconds: windowSeconds, fields: fields, leaseSeconds: leaseSeconds,
                slicesMax: slicesMax, figures)
        }
    }
}

/// What was measured, on two shared cores.
public struct ClusterFigures: Codable, Sendable, Hashable {
    /// A rack's field in a partial or final: count, sum, extremes and sketch. Of windows of six ticks (`FlowTests`).
    public var fieldBytes: Double = 75
    /// A rack, and a node's GPU counts.
    public var groupBytes: Double = 20
    /// What one stream of three replicas takes in messages of 16 KiB, MB/s, brokers and sender on two shared cores.
    public var brokerMegabytesPerSecond: Double = 120
    /// A fleet's ticks into the core with sketches, GPU-ticks a second of two cores.
    public var gpuTicksPerSecond: Double = 4_400_000
    /// Racks whose finals fit into one message.
    public var racksPerPartition: Int = 96
    public var chunkBytes: Int = 32_768

    public init() {}
}

/// A fleet's bill.
public struct ClusterCapacityRow: Codable, Sendable, Hashable {
    public var gpus: Int
    public var arrays: Int
    public var slices: Int
    public var partitions: Int
    /// Partials and finals together.
    public var messagesPerSecond: Double
    public var renewalsPerSecond: Double
    /// Partials, and finals are as much again.
    public var partialMegabytesPerSecond: Double
    /// Out of the broker that leads the streams: two copies, a roll-up and one reporter.
    public var leaderMegabytesPerSecond: Double
    /// Of the finals kept for 24 hours, on each broker.
    public var finalsGigabytes: Double
    /// 3 while half of what one stream takes is enough, else 5, with several clusters of their own names.
    public var brokers: Int
    /// Cores for the simulation, in a worker that has the whole fleet because the others are gone: at one tick a window.
    public var simulationCores: Double
    /// So that one may die. While all live, each works out the telemetry of its slices.
    public var workers: Int

    init(
        gpus: Int, windowSeconds: Double, fields: Int, leaseSeconds: Double, slicesMax: Int,
        _ figures: ClusterFigures
    ) {
        let racks = (gpus + 63) / 64
        let nodes = (gpus + 7) / 8
        self.gpus = gpus
        arrays = (racks + 7) / 8
        let needed = (racks + figures.racksPerPartition - 1) / figures.racksPerPartition
        slices = max(1, min(arrays, max(slicesMax, needed)))
        partitions = min(slices, needed)
        let bytes =
            Double(racks) * (figures.groupBytes + Double(fields) * figures.fieldBytes)
            + Double(nodes) * figures.groupBytes
        let chunks = (bytes / Double(slices) / Double(figures.chunkBytes)).rounded(.up) * Double(slices)
        messagesPerSecond = (chunks + Double(partitions)) / windowSeconds
        renewalsPerSecond = Double(slices + partitions) * 3 / leaseSeconds
        let megabytes = bytes / windowSeconds / 1e6
        partialMegabytesPerSecond = megabytes
        leaderMegabytesPerSecond = megabytes * 6
        finalsGigabytes = megabytes * 24 * 3.6
        brokers = 2 * megabytes <= figures.brokerMegabytesPerSecond / 2 ? 3 : 5
        simulationCores = 2 * Double(gpus) / windowSeconds / figures.gpuTicksPerSecond
        workers = 2
    }
}
