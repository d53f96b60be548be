public import Store
public import Telemetry

/// How much goes into one request. A window is cut into parts by these numbers in one way only.
public struct BatchLimits: Sendable, Hashable {
    /// Numbers (statistics of a field, GPU counts) of a part. 1 to 100,000. What cannot be cut (a series; an entity
    /// with all its fields) is sent even when it holds more.
    public var samplesMax: Int
    /// Bytes of a part before compression, by an estimate that is never too low. 1 KiB to 16 MiB.
    public var bytesMax: Int
    /// Windows that may go in one request, where all of them fit into one part. 1 to 64.
    public var windowsMax: Int
    /// How long a window may wait for others to come along, milliseconds. 0 to 1 minute.
    public var waitMs: Int64

    public static let windowsRange = 1...64
    public static let waitRange: ClosedRange<Int64> = 0...60_000
    public static let samplesRange = 1...100_000
    public static let bytesRange = 1_024...16_777_216

    public init(
        samplesMax: Int = 5_000, bytesMax: Int = 1_048_576, windowsMax: Int = 1, waitMs: Int64 = 0
    ) {
        self.windowsMax = windowsMax
        self.waitMs = waitMs
        self.samplesMax = samplesMax
        self.bytesMax = bytesMax
    }
}

/// How long to wait after a failure: decorrelated jitter between `baseMs` and `capMs`.
public struct BackoffLimits: Sendable, Hashable {
    public var baseMs: Int64
    public var capMs: Int64
    /// The longest that a receiver's `Retry-After` is obeyed.
    public var retryAfterMaxMs: Int64

    public init(baseMs: Int64 = 500, capMs: Int64 = 30_000, retryAfterMaxMs: Int64 = 3_600_000) {
        self.baseMs = baseMs
        self.capMs = capMs
        self.retryAfterMaxMs = retryAfterMaxMs
    }
}

/// Where summaries go, and how. Two that are equal need no restart.
public struct EndpointConfiguration: Sendable, Hashable {
    /// Unique; 1 to 64 characters out of `a-z A-Z 0-9 . _ -`.
    public var name: String
    public var kind: EndpointKind
    /// `http` or `https`; for kinds that send requests.
    public var url: String
    /// For `file`: inside one of the reporter's folders. Relative paths start in the first of them.
    public var path: String
    public var selection: DeliverySelection
    /// Of fields; empty means all.
    public var statistics: Set<FieldStatistic>
    /// GPUs expected, reporting, silent, in a job and faulted are sent, too.
    public var hasGPUCounts: Bool
    /// For `remote_write` 2.0 and `otlp`: distributions, where sketches are kept (windows of a minute and more, levels from
    /// the array up).
    public var hasHistograms: Bool
    public var labels: LabelChanges
    /// Time to resolve, connect and shake hands.
    public var connectTimeoutMs: Int64
    /// Time for the whole request.
    public var timeoutMs: Int64
    /// Sent with each request. The kind's own headers cannot be replaced. Values count as secrets.
    public var headers: [String: String]
    public var secrets: EndpointSecrets
    public var tls: EndpointTLS
    /// `nil` is the kind's own: snappy for `remote_write`, gzip for `otlp` and `influx`, none for `webhook`.
    public var compression: Compression?
    /// For `remote_write`: 1 or 2.
    public var protocolVersion: Int
    /// For `otlp`.
    public var payload: PayloadEncoding
    /// For `webhook`.
    public var format: WebhookFormat
    /// For `webhook`: ask first whether events are welcome (CloudEvents HTTP webhooks 1.0, section 4), in this name.
    public var handshakeOrigin: String?
    /// For `webhook`: these kinds of events, each in a request of its own, or in batches in the format `batch`. Empty: none.
    public var eventKinds: Set<EventKind>
    /// For `webhook`: `false` sends events alone.
    public var hasSummaries: Bool
    /// For `alertmanager`: what fires is sent again after so many milliseconds. 1 s to 10 minutes.
    public var resendMs: Int64
    /// For `alertmanager`: where people find out more; empty: not said.
    public var generatorURL: String
    /// For `influx`; empty: not said.
    public var org: String
    public var bucket: String
    public var batch: BatchLimits
    public var backoff: BackoffLimits
    /// A new endpoint gets what the store holds already, and not only what comes from now on.
    public var fromBeginning: Bool
    /// For `remote_write`: send windows that end more than 10 minutes from now. One of them makes a Prometheus
    /// refuse everything that comes after it.
    public var allowFuture: Bool
    /// For `remote_write`: a series without a value for so many milliseconds gets a stale marker; `nil`: never.
    public var staleAfterMs: Int64?
    /// Send later revisions of a window that was sent already. Remote write 1.0 has no way to replace a sample, so
    /// that there it is off unless asked for.
    public var sendsRevisions: Bool
    /// The receiver takes windows in any order: new ones go out at once, beside those that still wait. Else the order is
    /// that of committing, strictly.
    public var takesAnyOrder: Bool
    /// Requests on their way at once, for those that take any order. 1 to 64.
    public var maxInFlight: Int
    /// `ce-source` of a webhook: who sends.
    public var source: String
    /// For `file`: a file that is larger becomes `PATH.1`, that one `PATH.2` and so on; `nil` never.
    public var rotateBytes: Int64?
    /// How many older files are kept.
    public var rotateFiles: Int
    /// For `file`: fsync each line before it counts as delivered. Without it lines survive the process, not the power.
    public var fsync: Bool

    /// Everything but the destination has a default.
    public init(name: String, kind: EndpointKind, url: String = "", path: String = "") {
        self.name = name
        self.kind = kind
        self.url = url
        self.path = path
        selection = DeliverySelection()
        statistics = []
        hasGPUCounts = true
        hasHistograms = kind == .otlp
        labels = LabelChanges()
        connectTimeoutMs = 5_000
        timeoutMs = 30_000
        headers = [:]
        secrets = EndpointSecrets()
        tls = EndpointTLS()
        compression = nil
        protocolVersion = 1
        payload = .protobuf
        format = .binary
        handshakeOrigin = nil
        eventKinds = []
        hasSummaries = true
        resendMs = 60_000
        generatorURL = ""
        org = ""
        bucket = ""
        batch = BatchLimits()
        backoff = BackoffLimits()
        fromBeginning = false
        allowFuture = false
        // Longer than a minute: so often the slowest senders tell of themselves.
        staleAfterMs = kind == .remoteWrite ? 90_000 : nil
        // The others replace what they have, or say which revision it is.
        sendsRevisions = kind != .remoteWrite && kind != .otlp
        takesAnyOrder = false
        maxInFlight = 4
        source = "/colossusd"
        rotateBytes = nil
        rotateFiles = 5
        fsync = false
    }

    /// What it takes to end series; `nil` where none are ended. Where revisions are sent a marker could stand in the way of a
    /// value.
    var seriesMemory: SeriesMemory? {
        guard kind == .remoteWrite, !sendsRevisions else { return nil }
        return staleAfterMs.map { SeriesMemory(staleAfterMs: $0) }
    }

    /// All that decides where the parts of a window end: settings, and how this program lays out a window. Which streams
    /// are selected is none of it; which resolutions is, because series of several have a label for it.
    var cut: String {
        let levels = selection.levels.map(\.rawValue).sorted().joined(separator: ",")
        let fields = selection.fields.map { String($0.field.id) }.sorted().joined(separator: ",")
        let chosen = statistics.map(\.rawValue).sorted().joined(separator: ",")
        let resolutions = selection.resolutions.sorted().map(String.init).joined(separator: ",")
        return [
            "layout-\(Self.layout)", resolutions,
            kind.rawValue, "\(batch.samplesMax)", "\(batch.bytesMax)", levels, fields, chosen,
            "\(hasGPUCounts)", "\(hasHistograms)", payload.rawValue, format.rawValue, labels.cut,
        ].joined(separator: " ")
    }

    /// Another one whenever rows, or how much they weigh, change: texts of the catalogue count themselves.
    private static let layout =
        "2."
        + String(
            FieldCatalog.all.reduce(0) { $0 + $1.help.utf8.count + $1.unit.utf8.count + $1.name.utf8.count })

    /// Where it goes, without user, password and query: fit for logs.
    public var destination: String {
        switch kind {
        case .file: path
        case .stdout: "standard output"
        case .webhook, .remoteWrite, .otlp, .influx, .alertmanager:
            DestinationURL(url)?.display ?? "(not a URL)"
        }
    }
}

extension EndpointConfiguration: CustomStringConvertible, CustomReflectable {
    /// Without secrets.
    public var description: String { "\(kind.rawValue) \(name) -> \(destination)" }

    /// What a dump or an interpolation shows: without secrets.
    public var customMirror: Mirror { Mirror(reflecting: description) }
}
