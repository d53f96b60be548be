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
        /// Empty means all.
        public var fields: [FieldIndex] = []
        /// Milliseconds that one request may take.
        public var timeoutMs: Int64 = 30_000
        /// Milliseconds before the first retry; later ones wait longer, with jitter.
        public var retryMinMs: Int64 = 1_000
        /// Milliseconds that a retry waits at most, `Retry-After` excepted.
        public var retryMaxMs: Int64 = 60_000
        /// Further request headers, in the order of the file; never secrets.
        public var headers: [Header] = []
        /// A file that holds a bearer token. It is read for each request, so that it can be rotated.
        public var bearerTokenFile: String?
        /// A new endpoint gets the whole history instead of what closes from now on.
        public var fromBeginning = false
        /// Push windows that end after the wall clock. One sample two hours ahead makes a Prometheus refuse
        /// everything after it, so only for receivers that are known to take it.
        public var allowFuture = false

        public init(name: String, destination: Destination) {
            self.name = name
            self.destination = destination
        }
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
    public enum Kind: String, CaseIterable, Sendable {
        case webhook
        case remoteWrite = "remote_write"
        case file
    }

    public enum Destination: Sendable, Hashable {
        /// JSON, one request a part of a window.
        case webhook(url: String)
        /// Prometheus remote write 1.0.
        case remoteWrite(url: String)
        /// JSON lines in a file of the state directory; a relative path starts from there.
        case file(path: String)

        public var kind: Kind {
            switch self {
            case .webhook: .webhook
            case .remoteWrite: .remoteWrite
            case .file: .file
            }
        }

        /// The URL or the path.
        public var target: String {
            switch self {
            case .webhook(let url), .remoteWrite(let url): url
            case .file(let path): path
            }
        }
    }

    public enum Streams: Sendable, Hashable {
        case measured, simulated, all
        case named([StreamID])

        public func contains(_ stream: StreamID) -> Bool {
            switch self {
            case .measured: !stream.isSimulated
            case .simulated: stream.isSimulated
            case .all: true
            case .named(let names): names.contains(stream)
            }
        }
    }
}
