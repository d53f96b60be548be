public import Telemetry

/// Everything that the configuration of `colossusd` says. The initial values are the defaults;
/// `Config/colossusd.yaml` shows each of them with a comment.
public struct DaemonSettings: Sendable, Equatable {
    public var ingest = Ingest()
    public var web = Web()
    /// Names that requests may give in `Host` besides `localhost`, `127.0.0.1` and `[::1]`, without port.
    public var hosts: [String] = []
    public var inventory = Inventory()
    public var windows = Windows()
    public var aggregation = Aggregation()
    public var store = Store()
    public var alerts = Alerts()
    /// In the order of the files; names are unique.
    public var simulations: [SimulationRun] = []
    /// In the order of the files; names are unique.
    public var endpoints: [Endpoint] = []
    /// `nil`: the daemon works alone.
    public var cluster: Cluster?
    public var log = Log()

    public init() {}

    /// Who may come in at a listener: a name, and by what it is known: secrets, a certificate, or either.
    public struct Token: Sendable, Hashable {
        /// Unique at the listener; the sender's name is made of it.
        public var name: String
        /// A secret a line, or `credential:NAME`.
        public var file: String?
        /// A URI or DNS name in a client's certificate; a common name where it has neither.
        public var certificate: String?
        /// At the ingest listener: may post events, too.
        public var mayTellEvents: Bool

        public init(
            name: String, file: String? = nil, certificate: String? = nil, mayTellEvents: Bool = false
        ) {
            self.name = name
            self.file = file
            self.certificate = certificate
            self.mayTellEvents = mayTellEvents
        }
    }

    /// TLS at a listener. The paths are of files in PEM, or `credential:NAME`.
    public struct ListenerTLS: Sendable, Hashable {
        public enum ClientCertificate: String, CaseIterable, Sendable { case required, optional }

        public var certificate = ""
        public var key = ""
        /// The authorities of clients' certificates; `nil`: clients are not asked for one.
        public var clientCA: String?
        public var clientCertificate = ClientCertificate.required
        /// The lists of what those authorities have revoked; `nil`: nobody looks.
        public var clientCRL: String?
        /// Of the web listener: health and readiness are told without the certificate that all else requires.
        public var healthWithoutCertificate = false
        /// TLS 1.3 and not 1.2.
        public var isTLS13 = false

        public init() {}

        /// Nobody is answered without a certificate.
        public var wantsCertificate: Bool { clientCA != nil && clientCertificate == .required }
    }

    /// An address to listen on. Port 0 takes any free port.
    public struct Listen: Sendable, Hashable, CustomStringConvertible {
        /// `127.0.0.1`, `0.0.0.0`, `::1` (without brackets), `localhost` …
        public var host: String
        public var port: Int

        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }

        /// Only this machine reaches it.
        public var isLoopback: Bool {
            if host == "localhost" || host == "::1" { return true }
            let octets = host.split(separator: ".", omittingEmptySubsequences: false)
            return octets.count == 4 && octets.allSatisfy { UInt8($0) != nil } && octets[0] == "127"
        }

        public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    }

    /// Where real telemetry arrives.
    public struct Ingest: Sendable, Equatable {
        public var listen = Listen(host: "127.0.0.1", port: 9_480)
        /// Who may send; none: whoever reaches the address.
        public var tokens: [Token] = []
        /// Other machines may reach it although nobody is asked for a token.
        public var insecure = false
        /// `nil`: plain HTTP.
        public var tls: ListenerTLS?
        /// When what is taken counts as kept.
        public var durability = Durability.process
        public var limits = Limits()

        public enum Durability: String, CaseIterable, Sendable { case process, disk, none }

        /// What one peer, or all of them together, can cost.
        public struct Limits: Sendable, Equatable {
            /// Bytes of the ingest log; more gives 503.
            public var ingestLogBytes: Int64 = 10_000_000_000
            /// Bytes of a request's body as received; more gives 413.
            public var bodyBytes: Int64 = 32 << 20
            /// Bytes of a request's body after decompression; more gives 413.
            public var decompressedBytes: Int64 = 32 << 20
            /// Connections at a time.
            public var connections = 512
            /// Milliseconds that a connection may be idle, or a request may take to arrive.
            public var idleMs: Int64 = 120_000
            /// Series that are known at a time; further ones are folded into `__other__`.
            public var series = 5_000_000
            /// The same for each sender.
            public var seriesPerSender = 5_000_000
            /// Senders that are known at a time.
            public var senders = 10_000

            public init() {}
        }

        public init() {}
    }

    /// The read-only web listener: `/metrics`, `/healthz`, `/readyz`.
    public struct Web: Sendable, Equatable {
        public var listen = Listen(host: "127.0.0.1", port: 9_481)
        /// Who may read; none: whoever reaches the address.
        public var tokens: [Token] = []
        /// Other machines may reach it although nobody is asked for a token.
        public var insecure = false
        /// `nil`: plain HTTP.
        public var tls: ListenerTLS?
        public init() {}
    }

    /// What is known of the measured fleet beforehand.
    public struct Inventory: Sendable, Equatable {
        /// A CSV file `node,rack,array,hall,model`; `nil` places entities by their labels alone.
        public var file: String?
        /// The name of the measured stream's site.
        public var site = "site"
        public init() {}
    }

    /// Event-time windows of the measured stream. All times are milliseconds.
    public struct Windows: Sendable, Equatable {
        public var finestMs: Int64 = 10_000
        /// Coarser windows, made by merging, each a multiple of the one before.
        public var rollupsMs: [Int64] = [60_000, 600_000, 3_600_000]
        /// How far the watermark stays behind the newest event time of a sender.
        public var latenessMs: Int64 = 15_000
        /// A sender that is silent for this long no longer holds the watermark back.
        public var senderSilentMs: Int64 = 30_000
        /// How long windows wait after a start, or for a sender that comes back with a backlog.
        public var maxHoldMs: Int64 = 900_000
        /// How long after its end a closed window is revised by samples that come late.
        public var reviseWithinMs: Int64 = 300_000
        /// Samples further ahead of the wall clock than this are counted as future and dropped.
        public var futureMaxMs: Int64 = 300_000

        /// The finest window and the rollups, ascending.
        public var resolutionsMs: [Int64] { [finestMs] + rollupsMs }

        public init() {}
    }

    public struct Aggregation: Sendable, Equatable {
        /// 0 means one a core.
        public var shards = 0
        public var measuredLevels = Level.allCases
        public var simulatedLevels: [Level] = [.rack, .array, .hall, .site, .job]
        public init() {}
    }

    public struct Store: Sendable, Equatable {
        /// How long windows of a length are kept, by event time; ascending by length.
        public var retention: [Retention] = [
            Retention(resolutionMs: 10_000, keepMs: 6 * 3_600_000),
            Retention(resolutionMs: 60_000, keepMs: 7 * UTC.dayMs),
            Retention(resolutionMs: 600_000, keepMs: 90 * UTC.dayMs),
            Retention(resolutionMs: 3_600_000, keepMs: 730 * UTC.dayMs),
        ]
        public var eventsKeepMs: Int64 = 730 * UTC.dayMs
        /// How long windows that an endpoint has not got are kept for it beyond `retention`, from their commit.
        public var undeliveredKeepMs: Int64 = 3 * UTC.dayMs
        /// Bytes of the database file at which the oldest of the finest windows are removed before their time.
        public var bytesMax: Int64 = 10_000_000_000

        public struct Retention: Sendable, Hashable {
            public var resolutionMs: Int64
            public var keepMs: Int64

            public init(resolutionMs: Int64, keepMs: Int64) {
                self.resolutionMs = resolutionMs
                self.keepMs = keepMs
            }
        }

        /// How long windows of that length are kept: as the next shorter length of the table, or as its shortest.
        /// (A simulated stream has window lengths of its own.)
        public func keepMs(resolutionMs: Int64) -> Int64 {
            let shorter = retention.last { $0.resolutionMs <= resolutionMs }
            return (shorter ?? retention.first)?.keepMs ?? eventsKeepMs
        }

        public init() {}
    }

    /// A simulation that the configuration knows of.
    public struct SimulationRun: Sendable, Equatable {
        /// The stream is `sim/RUN`.
        public var run: String
        /// Path of the scenario file, absolute or from the folder of the configuration file that names it.
        public var scenario: String
        public var speed: Speed = .times(1)
        /// `nil` takes the scenario's own.
        public var seed: UInt64?
        /// Start with the daemon; otherwise `colossusctl simulate start` does.
        public var autostart = true

        public init(run: String, scenario: String) {
            self.run = run
            self.scenario = scenario
        }

        public enum Speed: Sendable, Hashable, CustomStringConvertible {
            /// Simulated seconds a second.
            case times(Double)
            case max

            public var description: String {
                switch self {
                case .times(let factor): "\(factor)"
                case .max: "max"
                }
            }
        }
    }

    public struct Log: Sendable, Equatable {
        public enum Level: String, CaseIterable, Sendable {
            case trace, debug, info, notice, warning, error, critical
        }

        public var level = Level.info
        public init() {}
    }
}
