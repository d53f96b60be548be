/// A value at a time.
public struct TimedValue: Sendable, Hashable {
    /// Unix milliseconds.
    public var timeMs: Int64
    public var value: Double

    public init(timeMs: Int64, value: Double) {
        self.timeMs = timeMs
        self.value = value
    }
}

/// The samples that a request brings for one series, in positions of the request's arrays.
public struct SeriesRun: Sendable, Hashable {
    public var identity: SeriesIdentity
    /// Where the labels are in the message. Other fields may stand between them.
    public var labelStart: UInt32
    public var labelEnd: UInt32
    public var firstSample: UInt32
    /// The number of samples; and in the upper 8 bits the length of the one sample field that was guessed to follow
    /// the labels, or 0.
    private var countAndTail: UInt32

    public init(identity: SeriesIdentity, labels: Range<Int>, samples: Range<Int>) {
        self.identity = identity
        labelStart = UInt32(labels.lowerBound)
        labelEnd = UInt32(labels.upperBound)
        firstSample = UInt32(samples.lowerBound)
        precondition(samples.count < 1 << 24, "more samples than any limit allows")
        countAndTail = UInt32(samples.count)
    }

    /// A run of one sample, whose field of `tail` bytes is taken for all that follows the labels.
    @inline(__always)
    init(guess identity: SeriesIdentity, labelStart: Int, labelEnd: Int, tail: UInt32, sample: Int) {
        self.identity = identity
        self.labelStart = UInt32(truncatingIfNeeded: labelStart)
        self.labelEnd = UInt32(truncatingIfNeeded: labelEnd)
        firstSample = UInt32(truncatingIfNeeded: sample)
        countAndTail = 1 | tail &<< 24
    }

    public var labels: Range<Int> { Int(labelStart)..<Int(labelEnd) }
    public var samples: Range<Int> { Int(firstSample)..<Int(firstSample) + sampleCount }
    @inlinable public var sampleCount: Int { Int(count) }
    @usableFromInline var count: UInt32 { countAndTail & 0xFF_FFFF }

    /// Whether nobody has looked yet if there are labels, and nothing but labels, where the run says so.
    public var isGuess: Bool { countAndTail >> 24 != 0 }
    /// Where the series of a guess ends.
    var seriesEnd: Int { Int(labelEnd) + Int(countAndTail >> 24) }

    /// The run, when its guess was found to be right.
    public var confirmed: SeriesRun {
        var run = self
        run.countAndTail &= 0xFF_FFFF
        return run
    }
}

/// What is in a request, whatever its format; meant to be reused, so that it allocates nothing in the long run.
public struct WriteRequest: Sendable {
    /// Series that bring samples, in the order of the message.
    public internal(set) var runs: [SeriesRun] = []
    public internal(set) var samples: [TimedValue] = []
    /// What was there and is not read.
    public internal(set) var histograms = 0
    public internal(set) var exemplars = 0
    public internal(set) var metadata = 0
    /// Only of remote write 2.0: the message's strings.
    var symbols: [Symbol] = []

    /// A string of a message, with its hash.
    struct Symbol: Sendable {
        var start: UInt32
        var count: UInt32
        var identity: SeriesIdentity

        var range: Range<Int> { Int(start)..<Int(start) + Int(count) }
    }

    public init() {}

    public mutating func removeAll() {
        // A single enormous request must not hold its memory for ever.
        let keep = samples.capacity <= 1 << 17 && symbols.capacity <= 1 << 17
        runs.removeAll(keepingCapacity: keep)
        samples.removeAll(keepingCapacity: keep)
        symbols.removeAll(keepingCapacity: keep)
        histograms = 0
        exemplars = 0
        metadata = 0
    }
}
