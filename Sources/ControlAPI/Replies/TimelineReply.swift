/// `colossusctl timeline`: how a stream went, one point for each window that ended.
public struct TimelineReply: Reply, Hashable {
    public static let schemaName = "colossus.timeline/v1"

    public var schema: String = Self.schemaName
    public var stream: String
    /// How far points lie apart where they are closest, as text: see `resolutionMs`.
    public var resolution: String
    /// Oldest first.
    public var points: [TimelineRow]
    /// There were more in the range than the limit let through; these are spread over it or are the newest.
    public var truncated: Bool

    public init(stream: String, resolution: String, points: [TimelineRow], truncated: Bool = false) {
        self.stream = stream
        self.resolution = resolution
        self.points = points
        self.truncated = truncated
    }

    /// There is a point for each window that ended at most, and fewer where old ones were thinned out, so the points
    /// themselves say how far they lie apart; fewer than two are as far apart as was asked for, or as windows are long.
    public static func resolutionMs(_ timesMs: [Int64], stepMs: Int64?, windowMs: Int64?) -> Int64 {
        let closest = zip(timesMs, timesMs.dropFirst()).map { $1 - $0 }.min()
        return max(stepMs ?? 0, closest ?? windowMs ?? 0)
    }
}

/// The four GPU counts of a build-out at a moment, and what it does with them.
public struct TimelineRow: Codable, Sendable, Hashable {
    /// The window's end.
    public var time: UTCTime
    /// Day n since the scenario's day 0; 0 where there is no scenario.
    public var day: Int = 0
    public var phase: String = ""
    public var phaseDay: Int = 0
    public var phaseDays: Int = 0
    public var announced: Int = 0
    public var installed: Int = 0
    public var powered: Int = 0
    public var inTraining: Int = 0
    /// Mean of the reporting GPUs, 0...1.
    public var utilization: Double = 0
    /// Power of the whole facility.
    public var megawatts: Double = 0
    /// Of jobs, since the stream began.
    public var interruptions: Int = 0
    /// Effective training time ratio since the job first started, 0...1. Absent where there is none: before a job, and of
    /// the measured stream.
    public var ettr: Double?

    public init(time: UTCTime) { self.time = time }
}
