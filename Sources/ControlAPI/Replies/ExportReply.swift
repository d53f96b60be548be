/// Body of `POST /v1/exports`: a run's telemetry for somebody else.
public struct ExportStart: Codable, Sendable, Hashable {
    public var run: String
    /// Absent: the run's name.
    public var name: String?
    /// Remote write to this URL; absent: scrape ports.
    public var url: String?
    /// How many nodes; absent: 64, or all there are.
    public var nodes: Int?
    /// The first of them, by name; absent: the first of the fleet.
    public var firstNode: String?
    /// Where the scrape ports are; absent: 127.0.0.1.
    public var host: String?
    /// Of the first node, the others follow; absent: free ones.
    public var port: Int?
    /// Samples carry the simulated time in place of the wall clock's.
    public var simulatedTime: Bool?
    /// `hpc_job` on members of the job.
    public var jobLabels: Bool?

    public init(run: String) { self.run = run }
}

/// One export.
public struct ExportReply: Reply, Hashable {
    public static let schemaName = "colossus.export/v1"

    public var schema: String = Self.schemaName
    public var export: ExportStatus

    public init(_ export: ExportStatus) { self.export = export }
}

/// All exports, by name.
public struct ExportsReply: Reply, Hashable {
    public static let schemaName = "colossus.exports/v1"

    public var schema: String = Self.schemaName
    public var exports: [ExportStatus]

    public init(_ exports: [ExportStatus]) { self.exports = exports }
}

/// Where a run's telemetry goes besides the core.
public struct ExportStatus: Codable, Sendable, Hashable {
    public var name: String
    public var run: String
    /// `scrape` or `remote_write`.
    public var kind: String
    public var nodes: Int
    public var firstNode: String
    public var simulatedTime: Bool
    /// Of `remote_write`.
    public var url: String?
    /// Of `scrape`: one a node, in the order of the nodes.
    public var targets: [ExportTarget]
    /// Scrapes that were answered or not, or requests that were sent.
    public var requests: Int64 = 0
    public var samples: Int64 = 0
    public var bytes: Int64 = 0
    /// Scrapes of silent nodes, or requests that failed.
    public var failed: Int64 = 0
    /// Ticks that were not sent because the one before was on its way.
    public var dropped: Int64 = 0
    public var lastError: String?

    public init(
        name: String, run: String, kind: String, nodes: Int, firstNode: String, simulatedTime: Bool,
        url: String? = nil, targets: [ExportTarget] = []
    ) {
        self.name = name
        self.run = run
        self.kind = kind
        self.nodes = nodes
        self.firstNode = firstNode
        self.simulatedTime = simulatedTime
        self.url = url
        self.targets = targets
    }
}

/// A node that can be scraped.
public struct ExportTarget: Codable, Sendable, Hashable {
    /// `127.0.0.1:9400`.
    public var address: String
    public var node: String
    public var rack: String
    public var array: String
    public var hall: String

    public init(address: String, node: String, rack: String, array: String, hall: String) {
        self.address = address
        self.node = node
        self.rack = rack
        self.array = array
        self.hall = hall
    }
}
