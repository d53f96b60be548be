/// How much history is kept. Ages are judged on each stream's own clock: a build of 2024 is as young as its own
/// newest window.
public struct StoreLimits: Sendable, Equatable {
    /// Windows of at least this resolution are kept for this long.
    public struct Age: Sendable, Equatable {
        public var resolutionMs: Int64
        public var keepMs: Int64

        public init(resolutionMs: Int64, keepMs: Int64) {
            self.resolutionMs = resolutionMs
            self.keepMs = keepMs
        }
    }

    /// Ascending by resolution; a resolution between two of them is kept as long as the finer one.
    public var ages: [Age]
    /// Events and timeline points are kept for this long. The timeline is thinned: one point in ten minutes beyond
    /// a week, one an hour beyond 90 days.
    public var eventsKeepMs: Int64
    /// Bytes of data in the database file. When it is more, the finest windows go first, delivered or not.
    public var bytesMax: Int64
    /// Windows that some endpoint has not got yet are kept beyond `ages` for this long after they were committed
    /// (wall clock), unless the endpoint has a limit of its own (`HistoryStore.describe`).
    public var undeliveredKeepMs: Int64
    /// Dead letters of one endpoint; the oldest go first.
    public var deadLettersMax: Int
    /// Bytes of the body that is kept with a dead letter. What is longer is cut off and cannot be sent again.
    public var deadLetterBytesMax: Int
    /// Bytes of the bodies of one endpoint's dead letters; the oldest go first.
    public var deadLettersBytesMax: Int64
    /// Cursors of endpoints that nobody opens any more.
    public var cursorsKeepMs: Int64
    /// Resolutions of a stream that has not said which it has (`HistoryStore.openRollups`), ascending.
    public var ladder: [Int64]

    public init() {
        let day: Int64 = 86_400_000
        let hour: Int64 = 3_600_000
        ages = [
            Age(resolutionMs: 10_000, keepMs: 6 * hour), Age(resolutionMs: 60_000, keepMs: 7 * day),
            Age(resolutionMs: 600_000, keepMs: 90 * day), Age(resolutionMs: hour, keepMs: 730 * day),
            Age(resolutionMs: day, keepMs: 730 * day),
        ]
        eventsKeepMs = 730 * day
        bytesMax = 10_000_000_000
        undeliveredKeepMs = day
        deadLettersMax = 10_000
        deadLetterBytesMax = 32 << 20
        deadLettersBytesMax = 256 << 20
        cursorsKeepMs = 7 * day
        ladder = [10_000, 60_000, 600_000, hour, day]
    }

    /// Sketches of arrays, halls, the site and jobs are history from this resolution up.
    public static let sketchHistoryMs: Int64 = 60_000

    /// How long windows of a resolution are kept.
    public func keepMs(resolutionMs: Int64) -> Int64 {
        (ages.last { $0.resolutionMs <= resolutionMs } ?? ages.first)?.keepMs ?? .max
    }

    /// The next coarser resolution of a ladder; `nil` for the coarsest.
    static func parent(of resolutionMs: Int64, in ladder: [Int64]) -> Int64? {
        ladder.filter { $0 > resolutionMs && $0.isMultiple(of: resolutionMs) }.min()
    }

    /// The start of the window that holds a time.
    static func windowStart(_ timeMs: Int64, resolutionMs: Int64) -> Int64 {
        let into = timeMs % resolutionMs
        return timeMs - (into < 0 ? into + resolutionMs : into)
    }
}
