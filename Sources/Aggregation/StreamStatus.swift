public import Telemetry

/// Where a stream stands right now.
public struct StreamStatus: Sendable, Equatable {
    /// Who delivers to it.
    public struct Sender: Sendable, Equatable {
        public var id: SenderID
        /// Newest event time. Unix milliseconds.
        public var newestMs: Int64
        /// Wall clock when it was last heard.
        public var lastArrivalMs: Int64
        /// Median of arrival - event time: the way, and how far its clock is behind (or, negative, ahead).
        public var skewMs: Int64
    }

    public var stream: StreamID
    /// Complete up to here; `nil` before anything was heard.
    public var watermarkMs: Int64?
    /// Windows up to here are closed or on their way to the sink.
    public var closedThroughMs: Int64?
    /// Wall clock - watermark for the measured stream; 0 for simulated ones.
    public var lagMs: Int64
    /// By their numbers.
    public var senders: [Sender]
    public var seriesCount: Int
    public var openWindowCount: Int
    /// Windows that are over and wait for the sink.
    public var unclosedWindowCount: Int
    /// Records on their way to the shards.
    public var recordsInFlight: Int
    /// Totals since the stream began, those before a restart included. `received` includes what is in flight.
    public var ledger: Ledger
}
