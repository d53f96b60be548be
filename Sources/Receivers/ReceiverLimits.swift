public import WireFormats

/// What senders may ask of the receivers. Everything that they control is bounded by one of these.
public struct ReceiverLimits: Sendable, Hashable {
    /// Body of one request, as sent and decompressed.
    public var bodyBytes = 32 << 20
    /// Bodies of all requests that are being received or are waiting, as sent.
    public var bodyBytesInAll = 512 << 20
    /// Request line and headers of one request.
    public var headerBytes = 32 << 10
    public var headerCount = 100
    public var connections = 1_024

    /// Samples of one request.
    public var samplesPerRequest = 1_000_000
    /// Batches that one request may become: more come about only when its timestamps jump about by weeks.
    public var batchesPerRequest = 2_048
    /// Batches that are offered to the sink at once: larger requests go in pieces.
    public var batchesPerOffer = 16
    /// A sample that is further ahead of its arrival than this is rejected as `future`, in milliseconds.
    public var aheadMs: Int64 = 600_000

    public var labels = LabelLimits()
    public var seriesPerSender = 5_000_000
    public var seriesInAll = 5_000_000
    /// Spellings of series (and of what is no series of ours) that are remembered, of all lanes together; others are parsed
    /// again each time. Above three quarters of them, those that were not used for a minute are forgotten; below, where there are
    /// a quarter more than series, those that were not used for twice as long as series pause (`SeriesPauses`).
    public var identities = 10_000_000
    /// A lane asks the registry again about a series of which it has not heard for so long, in milliseconds.
    public var routeIdleMs: Int64 = 900_000
    /// Entries that a lane looks at in one go when series are given up, ten times a second.
    public var sweepEntries = 65_536
    public var senders = 65_536
    /// Names of jobs, and of sources (a Prometheus and its scrape job), that are kept.
    public var names = 1_000_000

    public var eventsPerRequest = 10_000
    public var eventLineBytes = 1 << 20
    public var nodesPerEvent = 65_536
    /// Events that lie further back than this are refused: the store would not keep them. Milliseconds.
    public var eventsKeepMs = Int64.max / 4

    /// A connection without any traffic is closed after this.
    public var idleTimeout = Duration.seconds(120)
    /// From the first byte of a request to its last.
    public var requestTimeout = Duration.seconds(60)
    /// How long a request waits for credit before it is answered with 429 and `Retry-After`. Prometheus
    /// sends again after a 5xx, but after a 429 only where `retry_on_http_429` is set in its `queue_config`.
    public var creditTimeout = Duration.seconds(5)

    public init() {}
}

/// Where the receivers listen, and for whom.
public struct IngestConfiguration: Sendable, Hashable {
    /// An address of this machine.
    public var host = "127.0.0.1"
    /// 0: any free one.
    public var port = 9_480
    /// A socket that listens already (from systemd), in place of `host` and `port`. The server closes it.
    public var listeningDescriptor: CInt?
    /// Names in `Host` headers that are known besides the loopback ones and `host`.
    public var hostNames: [String] = []
    /// Threads that receive and decode.
    public var threads = 2
    /// In the names of senders.
    public var listenerName = "ingest"
    public var limits = ReceiverLimits()

    public init() {}
}
