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
    public var sampleCount: UInt32

    public init(identity: SeriesIdentity, labels: Range<Int>, samples: Range<Int>) {
        self.identity = identity
        labelStart = UInt32(labels.lowerBound)
        labelEnd = UInt32(labels.upperBound)
        firstSample = UInt32(samples.lowerBound)
        sampleCount = UInt32(samples.count)
    }

    public var labels: Range<Int> { Int(labelStart)..<Int(labelEnd) }
    public var samples: Range<Int> { Int(firstSample)..<Int(firstSample) + Int(sampleCount) }
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

    public init() {}

    public mutating func removeAll() {
        // A single enormous request must not hold its memory for ever.
        let keep = samples.capacity <= 1 << 17
        runs.removeAll(keepingCapacity: keep)
        samples.removeAll(keepingCapacity: keep)
        histograms = 0
        exemplars = 0
        metadata = 0
    }
}
