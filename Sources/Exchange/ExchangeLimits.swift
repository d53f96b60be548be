/// What bounds everything that comes from, waits for, or goes onto the bus.
public struct ExchangeLimits: Sendable {
    /// Bytes of one partial on the bus; more is cut into chunks.
    public var chunkBytesMax = 32 * 1_024
    /// Chunks of one partial.
    public var chunksMax = 4_096
    /// Groups in one chunk or final.
    public var groupsMax = 65_536
    /// Fields of one group.
    public var fieldsMax = 256
    /// Bytes of a group's name; that of an ingested one says where it stands, too.
    public var nameBytesMax = 10_400
    /// Bytes of one sketch.
    public var sketchBytesMax = 128 * 1_024
    /// Bytes of a final. A NATS server takes 1 MiB unless told otherwise.
    public var finalBytesMax = 900 * 1_024
    /// Bytes of finals that a reporter of ingested telemetry keeps until their windows are told. Those that the next window
    /// waits for are taken beyond it.
    public var waitingFinalsBytesMax = 64 * 1_024 * 1_024
    /// Windows of a partition that wait for their partials. Beyond, the oldest closes with what is there.
    public var openWindowsMax = 1_024
    /// Closed windows whose partials are remembered, to tell a copy from one that is late.
    public var settledWindowsMax = 128
    /// Chunks that one worker has on their way.
    public var inFlightMax = 256
    /// Windows that one slice has on their way.
    public var windowsInFlightMax = 16
    /// How long the brokers keep partials; 0: as long as there is room. What no final covers workers publish again after
    /// half of it.
    public var partialsKeepMs: Int64 = 0
    /// After so long a full stream is asked whether it has room.
    public var fullRetryMs: Int64 = 500
    /// After so long a roll-up that cannot close a window looks whether somebody else has.
    public var rereadMs: Int64 = 2_000
    /// How often a roll-up takes away partials that are in finals.
    public var trimEveryMs: Int64 = 10_000
    /// After so long it asks again brokers that did not let it.
    public var trimRetryMs: Int64 = 60_000

    public init() {}
}
