extension DaemonSettings {
    /// One of several daemons that share a fleet over NATS.
    public struct Cluster: Sendable, Equatable {
        public enum Role: String, CaseIterable, Sendable { case worker, rollup, reporter }

        /// Part of subjects and streams on the brokers.
        public var name: String
        /// `nats://host:port` or `tls://host:port`.
        public var servers: [String]
        public var roles = Role.allCases
        /// Of this daemon, unique in the cluster; `nil` takes the host's name.
        public var worker: String?
        /// After so long without a sign of life a member's share is taken over.
        public var leaseMs: Int64 = 10_000
        /// How long a window waits for slices that are missing.
        public var graceMs: Int64 = 30_000
        /// Copies of each stream on the brokers.
        public var replicas = 3
        /// Shares that the fleet is cut into, at most; each is one array at least.
        public var slices = 64
        /// 0: as many as the fleet needs.
        public var partitions = 0
        /// Windows that a worker keeps until they are reported.
        public var windowsMax = 64
        /// Bytes of the stream of partials on each broker.
        public var partialsBytes: Int64 = 4_000_000_000
        /// How long the brokers keep partials for roll-ups that are away; those that are in finals go at once.
        public var partialsKeepMs: Int64 = 24 * 3_600_000
        /// How long the brokers keep closed windows for reporters that are away, and for roll-ups to go on behind; not shorter
        /// than they keep partials.
        public var finalsKeepMs: Int64 = 24 * 3_600_000
        /// Brokers before 2.11, whose copies may disagree.
        public var allowsOldServers = false
        /// A `.creds` file; `credential:NAME` is one of systemd.
        public var credentialsFile: String?
        public var nkey: NKey?
        public var tls = TLS()
        /// What members ingest is put together, instead of each keeping its own; with the role `worker` only.
        public var sharesIngest = false
        /// The fleet that the workers simulate together.
        public var simulation: SimulationRun?

        public struct NKey: Sendable, Equatable {
            /// `U…`.
            public var publicKey: String
            public var seedFile: String

            public init(publicKey: String, seedFile: String) {
                self.publicKey = publicKey
                self.seedFile = seedFile
            }
        }

        public struct TLS: Sendable, Equatable {
            public var caFile: String?
            public var certificateFile: String?
            public var keyFile: String?
            public init() {}
        }

        public init(name: String, servers: [String]) {
            self.name = name
            self.servers = servers
        }
    }
}
