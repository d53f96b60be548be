/// How to reach a NATS cluster, and as whom.
public struct NATSOptions: Sendable {
    /// `nats://host:port` or `tls://host:port`, of all brokers.
    public var servers: [String]
    /// Shown by the broker's tools.
    public var name: String
    /// Encrypts and checks the broker's certificate, against `authorities` or the system's.
    public var tls = false
    /// PEM file.
    public var authorities: String?
    /// PEM files of our own certificate and key, where the broker asks for one.
    public var certificate: (chain: String, key: String)?
    /// An nkey: the public key, and a file with the seed.
    public var nkey: (publicKey: String, seedFile: String)?
    /// A `.creds` file.
    public var credentials: String?
    /// Servers before 2.11 lose and confuse what leases rest upon; only for tests.
    public var allowsOldServers = false
    /// After so long a request's fate is open.
    public var timeoutMs: Int64 = 2_000

    public init(servers: [String], name: String) {
        self.servers = servers
        self.name = name
    }
}

/// The streams of a cluster on its brokers.
public struct NATSStreams: Sendable {
    public var cluster: String
    /// 1, or 3 for a cluster that survives the loss of a broker.
    public var replicas: Int
    public var partialBytesMax: Int64 = 4 << 30
    public var partialAgeS: Int64 = 24 * 3_600
    public var finalAgeS: Int64 = 48 * 3_600

    public init(cluster: String, replicas: Int) {
        self.cluster = cluster
        self.replicas = replicas
    }
}
