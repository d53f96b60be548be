public import Telemetry

extension DaemonSettings {
    /// Where summaries are pushed to.
    public struct Endpoint: Sendable, Equatable {
        /// Unique; the cursor belongs to it. The same characters as a run's name.
        public var name: String
        public var destination: Destination
        public var streams: Streams = .measured
        /// Empty means all.
        public var levels: [Level] = []
        /// Window lengths in milliseconds; empty means all.
        public var resolutionsMs: [Int64] = []
        /// Longer windows than those in place of what had to go before it was delivered.
        public var takesCoarser = false
        /// Empty means all.
        public var fields: [FieldIndex] = []
        /// Of fields; empty means all.
        public var statistics: [FieldStatistic] = []
        /// GPUs expected, reporting, silent, in a job and faulted, too.
        public var gpuCounts = true
        /// Distributions, where sketches are kept; `nil` is the kind's own.
        public var histograms: Bool?
        /// Labels that are added, with their values.
        public var labelsAdded: [String: String] = [:]
        /// Our labels that are written under other names.
        public var labelsRenamed: [String: String] = [:]
        /// `remote_write`: 1 or 2.
        public var version = 1
        /// `none`, `gzip`, `snappy` or `zstd`; `nil` is the kind's own.
        public var compression: Compression?
        /// `otlp`: JSON instead of protobuf.
        public var isJSON = false
        /// `webhook`.
        public var format = WebhookFormat.binary
        /// `webhook`: ask first whether events are welcome, in this name.
        public var handshakeOrigin: String?
        /// `webhook`: kinds of events; empty: none.
        public var eventKinds: [EventKind] = []
        /// `webhook`: `false` gets events alone.
        public var summaries = true
        /// `alertmanager`: milliseconds between two reminders of what fires.
        public var resendMs: Int64 = 60_000
        /// `alertmanager`.
        public var generatorURL = ""
        /// `influx`.
        public var org = ""
        public var bucket = ""
        /// `file`: rotate at so many bytes.
        public var rotateBytes: Int64?
        public var rotateFiles = 5
        /// `file`: each line is on the disk before it counts.
        public var fsync = false
        /// Numbers and bytes of a request.
        public var batchSamples = 5_000
        public var batchBytes: Int64 = 1 << 20
        /// Windows of a request, and milliseconds that one waits for others.
        public var batchWindows = 1
        public var batchWaitMs: Int64 = 0
        /// The receiver takes windows in any order: new ones do not wait for old ones.
        public var takesAnyOrder = false
        /// Requests on their way at once, where any order is taken.
        public var maxInFlight = 4
        /// Milliseconds that one request may take.
        public var timeoutMs: Int64 = 30_000
        /// Milliseconds before the first retry; later ones wait longer, with jitter.
        public var retryMinMs: Int64 = 1_000
        /// Milliseconds that a retry waits at most, `Retry-After` excepted.
        public var retryMaxMs: Int64 = 60_000
        /// Further request headers, in the order of the file; never secrets.
        public var headers: [Header] = []
        /// A file that holds a bearer token. It is read again when it may have changed. As everywhere below,
        /// `credential:NAME` is a credential of systemd.
        public var bearerTokenFile: String?
        public var basicUser: String?
        public var basicPasswordFile: String?
        /// Headers whose values are in files.
        public var headerFiles: [String: String] = [:]
        /// `webhook`: the key of the signature.
        public var signingKeyFile: String?
        public var tls = TLS()
        /// A new endpoint gets the whole history instead of what closes from now on.
        public var fromBeginning = false
        /// Push windows that end after the wall clock. One sample two hours ahead makes a Prometheus refuse
        /// everything after it, so only for receivers that are known to take it.
        public var allowFuture = false
        /// `remote_write`: milliseconds without a value after which a series gets a stale marker; 0: never.
        public var staleAfterMs: Int64 = 90_000

        public init(name: String, destination: Destination) {
            self.name = name
            self.destination = destination
        }
    }

    /// How both sides of a connection prove who they are.
    public struct TLS: Sendable, Equatable {
        public var caFile: String?
        public var certificateFile: String?
        public var keyFile: String?
        public var isTLS13 = false

        public init() {}
    }

    public struct Header: Sendable, Hashable {
        public var name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }
}

extension DaemonSettings.Endpoint {
    public enum Compression: String, CaseIterable, Sendable { case none, gzip, snappy, zstd }
    public enum WebhookFormat: String, CaseIterable, Sendable { case binary, structured, batch }

    public enum Kind: String, CaseIterable, Sendable {
        case webhook
        case remoteWrite = "remote_write"
        case otlp, influx, alertmanager, file, stdout

        public var isRequesting: Bool { self != .file && self != .stdout }
    }

    public enum Destination: Sendable, Hashable {
        /// JSON, one request a part of a window.
        case webhook(url: String)
        /// Prometheus remote write.
        case remoteWrite(url: String)
        /// OpenTelemetry over HTTP.
        case otlp(url: String)
        /// InfluxDB line protocol.
        case influx(url: String)
        /// Alertmanager's API v2, for alerts only.
        case alertmanager(url: String)
        /// JSON lines in a file of the state directory; a relative path starts from there.
        case file(path: String)
        /// JSON lines on standard output.
        case stdout

        init(_ kind: Kind, _ target: String) {
            self =
                switch kind {
                case .webhook: .webhook(url: target)
                case .remoteWrite: .remoteWrite(url: target)
                case .otlp: .otlp(url: target)
                case .influx: .influx(url: target)
                case .alertmanager: .alertmanager(url: target)
                case .file: .file(path: target)
                case .stdout: .stdout
                }
        }

        public var kind: Kind {
            switch self {
            case .webhook: .webhook
            case .remoteWrite: .remoteWrite
            case .otlp: .otlp
            case .influx: .influx
            case .alertmanager: .alertmanager
            case .file: .file
            case .stdout: .stdout
            }
        }

        /// The URL or the path.
        public var target: String {
            switch self {
            case .webhook(let url), .remoteWrite(let url), .otlp(let url), .influx(let url),
                .alertmanager(let url):
                url
            case .file(let path): path
            case .stdout: ""
            }
        }
    }

    public enum Streams: Sendable, Hashable {
        case measured, simulated, all
        case named([StreamID])

        public func contains(_ stream: StreamID) -> Bool {
            switch self {
            case .measured: stream == .measured
            case .simulated: stream.isSimulated
            case .all: stream != .ingested
            case .named(let names): names.contains(stream)
            }
        }
    }
}
