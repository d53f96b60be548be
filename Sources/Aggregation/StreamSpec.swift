public import Telemetry

/// The windows of a stream. Times are milliseconds; windows are aligned to multiples of their length since 1970.
public struct WindowPlan: Sendable, Hashable {
    public var finestMs: Int64
    /// Ascending; each is a multiple of the one before (and the first of `finestMs`).
    public var rollupsMs: [Int64]
    /// How far the watermark stays behind the newest event time of a sender.
    public var latenessMs: Int64
    /// A sender that was not heard for so long no longer holds the watermark.
    public var senderSilentMs: Int64
    /// How long a sender that delivers a backlog may hold the watermark.
    public var maxHoldMs: Int64
    /// How long after its end a closed window is revised by samples that come late; 0: never. The memory for it is
    /// bounded, see `AggregationLimits.revisionBytesMax`: what was let go of for that is not revised either.
    public var reviseWithinMs: Int64

    public init(
        finestMs: Int64 = 10_000, rollupsMs: [Int64] = [60_000, 600_000, 3_600_000],
        latenessMs: Int64 = 15_000, senderSilentMs: Int64 = 30_000, maxHoldMs: Int64 = 900_000,
        reviseWithinMs: Int64 = 0
    ) {
        self.finestMs = finestMs
        self.rollupsMs = rollupsMs
        self.latenessMs = latenessMs
        self.senderSilentMs = senderSilentMs
        self.maxHoldMs = maxHoldMs
        self.reviseWithinMs = reviseWithinMs
    }

    /// What is wrong with the plan, or `nil`.
    public var problem: String? {
        guard finestMs > 0 else { return "the finest window must be longer than nothing" }
        guard latenessMs >= 0, senderSilentMs > 0, maxHoldMs >= 0, reviseWithinMs >= 0 else {
            return "times must not be negative"
        }
        var below = finestMs
        for length in rollupsMs {
            guard length > below, length % below == 0 else {
                return "a rollup of \(length) ms is not a multiple of \(below) ms"
            }
            below = length
        }
        return nil
    }

    /// Start of the finest window that holds a time.
    @inline(__always)
    func start(_ timeMs: Int64) -> Int64 { floorMultiple(timeMs, finestMs) }
}

/// The greatest multiple of `length` that is not above `value`; right for negative values too.
@inline(__always)
func floorMultiple(_ value: Int64, _ length: Int64) -> Int64 {
    let rest = value % length
    return rest < 0 ? value - rest - length : value - rest
}

/// What the core has to know to open a stream, for the first time or again after a restart.
public struct StreamSpec: Sendable {
    public var id: StreamID
    public var site: String
    public var plan: WindowPlan
    /// Levels of the summaries. Rack and job are made all the same where a rollup needs them.
    public var levels: Set<Level>
    /// Levels whose columns carry sketches; rack and job do all the same where a rollup needs them.
    public var sketchLevels: Set<Level>
    /// Ticks of a fleet feed sketches every so many ticks; count, sum, minimum and maximum are fed by all.
    public var sketchEvery: Int
    /// Distance of a fleet's ticks. Numbers them by time, so that a restart does not shift which feed sketches.
    public var tickMs: Int64?
    /// Nothing before this time is opened again. Unix milliseconds.
    public var closedThroughMs: Int64?
    /// Committed summaries, with sketches at rack and job, whose next longer window is not closed yet.
    public var openRollups: [WindowSummary]
    /// Events that still matter: starts of jobs that have not ended, nodes that are down.
    public var openEvents: [Event]
    /// The totals of the last closing.
    public var ledger: Ledger
    /// How far apart, in event time, closings are that carry checkpoints; `nil`: none do.
    public var checkpointEveryMs: Int64?
    /// What the shards remembered, of any number of them: `WindowClose.checkpoints`, read by `ShardCheckpoint`.
    public var checkpoints: [ShardCheckpoint] = []
    /// Notes the closings among what is received; `nil` without a log.
    public var journal: (any ClosingJournal)?
    /// Whether XIDs that are seen in telemetry become events; off where whoever makes the telemetry tells of them.
    public var tellsDetected = true
    /// Whether shares say which GPUs of a node they are about.
    public var tellsOrdinals = false
    /// Its windows are put together elsewhere and closed by `AggregationCore.close`: no clock and no sender drives them.
    public var isReported = false
    /// Racks of a fleet whose ticks are worked out; `nil`: all of them.
    public var racks: (@Sendable (Int32) -> Bool)?
    /// Where the stream stands at a window's end; without it, the point is worked out from the summary.
    public var timeline: (@Sendable (StreamID, Int64) -> TimelinePoint?)?

    public init(
        id: StreamID, site: String, plan: WindowPlan = WindowPlan(), levels: Set<Level> = Set(Level.allCases),
        sketchLevels: Set<Level> = [.array, .hall, .site, .job], sketchEvery: Int = 1, tickMs: Int64? = nil,
        closedThroughMs: Int64? = nil, openRollups: [WindowSummary] = [], openEvents: [Event] = [],
        ledger: Ledger = Ledger(), timeline: (@Sendable (StreamID, Int64) -> TimelinePoint?)? = nil
    ) {
        self.id = id
        self.site = site
        self.plan = plan
        self.levels = levels
        self.sketchLevels = sketchLevels
        self.sketchEvery = sketchEvery
        self.tickMs = tickMs
        self.closedThroughMs = closedThroughMs
        self.openRollups = openRollups
        self.openEvents = openEvents
        self.ledger = ledger
        self.timeline = timeline
    }
}
