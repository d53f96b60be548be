/// `colossusctl cluster status`: the whole cluster, as the member that was asked sees it.
public struct ClusterReply: Reply, Hashable {
    public static let schemaName = "colossus.cluster/v1"

    public var schema: String = Self.schemaName
    public var cluster: String
    /// Who answers.
    public var member: String
    /// Whether it reaches a broker.
    public var connected: Bool
    /// What keeps it from its work; absent when nothing does.
    public var problem: String?
    /// What the members simulate together, from here on; absent before it has joined.
    public var stream: String?
    public var speed: String?
    public var started: UTCTime?
    public var windowSeconds: Double?
    public var slices: Int = 0
    /// Slices that somebody works on.
    public var slicesHeld: Int = 0
    public var partitions: Int = 0
    /// Every window that ends here or before is closed in all partitions.
    public var closedThrough: UTCTime?
    /// What was asked of the run, by whomever; absent before a worker plays it.
    public var control: ClusterControl?
    /// How far the copies of the brokers are behind, messages by stream.
    public var replicaLag: [String: UInt64] = [:]
    /// By name; those that are gone, too, as they were last heard.
    public var members: [ClusterMemberStatus] = []

    public init(cluster: String, member: String, connected: Bool, problem: String? = nil) {
        self.cluster = cluster
        self.member = member
        self.connected = connected
        self.problem = problem
    }
}

/// What was asked of a cluster's run: `colossusctl simulate speed`, `pause`, `resume`, `stop` and `inject`, at any member.
public struct ClusterControl: Codable, Sendable, Hashable {
    /// How often something was asked.
    public var entries: Int
    /// Every worker plays by all of it, as far as members have told.
    public var isKnown: Bool
    /// No worker plays beyond this simulated time before it has asked the brokers again.
    public var playsThrough: UTCTime
    /// The last one, from here on: `speed 120.0`, `inject node_down r0001-n1 -`.
    public var last: String?
    /// The member that was asked, and when.
    public var member: String?
    public var asked: UTCTime?
    /// Simulated: what is after this time is changed by it.
    public var after: UTCTime?

    public init(entries: Int, isKnown: Bool, playsThrough: UTCTime) {
        self.entries = entries
        self.isKnown = isKnown
        self.playsThrough = playsThrough
    }
}

/// One member of a cluster.
public struct ClusterMemberStatus: Codable, Sendable, Hashable {
    public enum State: String, Codable, Sendable, Hashable {
        case active, draining, silent, left
    }

    public var name: String
    public var state: State
    /// worker, rollup, reporter
    public var roles: [String]
    public var version: String
    /// Since it was heard last.
    public var heardSeconds: Double
    /// Slices that it has, and how many it should have.
    public var slices: Int = 0
    public var share: Int = 0
    /// Every window that ends here or before is simulated.
    public var readyThrough: UTCTime?
    /// How much of what was asked of the run it plays or reports by; absent where it shares no simulated run.
    public var control: Int?
    /// Windows that wait until they are reported.
    public var windowsKept: Int = 0
    public var partials: UInt64 = 0
    public var partialsRetried: UInt64 = 0
    public var leaseLosses: UInt64 = 0
    /// Partitions whose windows it closes.
    public var partitions: Int = 0
    public var windowsClosed: UInt64 = 0
    public var windowsIncomplete: UInt64 = 0
    public var partialsLate: UInt64 = 0
    /// Every window that ends here or before is in its store.
    public var reportedThrough: UTCTime?
    /// From the storing of a window's last final by the brokers to its commit.
    public var reportLagSeconds: Double = 0
    public var problem: String?

    public init(name: String, state: State, roles: [String], version: String, heardSeconds: Double) {
        self.name = name
        self.state = state
        self.roles = roles
        self.version = version
        self.heardSeconds = heardSeconds
    }
}

/// `colossusctl cluster workers`: the members that work on slices, one row each.
public struct ClusterWorkersReply: Reply, Hashable {
    public static let schemaName = "colossus.cluster_workers/v1"

    public var schema: String = Self.schemaName
    public var members: [ClusterMemberStatus]

    public init(_ reply: ClusterReply) { members = reply.members.filter { $0.roles.contains("worker") } }
}

/// `colossusctl cluster slices`: who works on what.
public struct ClusterSlicesReply: Reply, Hashable {
    public static let schemaName = "colossus.cluster_slices/v1"

    public var schema: String = Self.schemaName
    public var slices: [ClusterSliceRow]

    public init(_ slices: [ClusterSliceRow]) { self.slices = slices }
}

/// A share of the fleet.
public struct ClusterSliceRow: Codable, Sendable, Hashable {
    public var slice: Int
    public var partition: Int
    /// Absent while nobody has it.
    public var member: String?
    /// Of the lease: grows with each owner.
    public var epoch: UInt64?
    public var arrays: [String]

    public init(slice: Int, partition: Int, arrays: [String]) {
        self.slice = slice
        self.partition = partition
        self.arrays = arrays
    }
}

/// What came of `cluster drain` or `cluster rebalance`.
public struct ClusterChangeReply: Reply, Hashable {
    public static let schemaName = "colossus.cluster_change/v1"

    public var schema: String = Self.schemaName
    public var members: [ClusterMemberChange]
    /// Of a drain: whether the worker has no slice any more.
    public var done: Bool

    public init(_ members: [ClusterMemberChange], done: Bool) {
        self.members = members
        self.done = done
    }
}

/// The answer of one member.
public struct ClusterMemberChange: Codable, Sendable, Hashable {
    public var member: String
    public var ok: Bool
    public var message: String
    /// Slices that it has.
    public var slices: Int

    public init(member: String, ok: Bool, message: String, slices: Int) {
        self.member = member
        self.ok = ok
        self.message = message
        self.slices = slices
    }
}

/// A cluster, seen from one member, in a line of its status.
public struct ClusterStatus: Codable, Sendable, Hashable {
    public var cluster: String
    public var member: String
    public var roles: [String]
    public var connected: Bool
    /// Members that tell of themselves.
    public var members: Int = 0
    /// Slices of this member, and of the fleet.
    public var slices: Int = 0
    public var slicesTotal: Int = 0
    public var problem: String?

    public init(cluster: String, member: String, roles: [String], connected: Bool) {
        self.cluster = cluster
        self.member = member
        self.roles = roles
        self.connected = connected
    }
}
