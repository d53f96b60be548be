import Telemetry

/// What an endpoint has been sent of streams and resolutions, as far as it takes to know what ends.
struct SeriesMemory: Sendable {
    private struct Key: Hashable {
        var stream: StreamID
        var resolutionMs: Int64
    }

    /// Streams and resolutions of which something is kept; those that had no window for longest go first.
    static let countMax = 32
    /// A window so much older than the last begins its stream anew.
    static let backMs: Int64 = 3_600_000

    /// Milliseconds without a value.
    let staleAfterMs: Int64
    private var ages: [Key: SeriesAges] = [:]
    /// The number of the last window of each.
    private var taken: [Key: Int] = [:]
    private var count = 0

    init(staleAfterMs: Int64) { self.staleAfterMs = staleAfterMs }

    /// Takes a window.
    ///
    /// - Returns: series that end with it. None where it is older than another that was taken.
    mutating func take(_ window: SelectedWindow) -> [EndedLevel] {
        let summary = window.summary
        let key = Key(stream: summary.stream, resolutionMs: summary.resolutionMs)
        var known = ages.removeValue(forKey: key) ?? SeriesAges(endMs: .min)
        if summary.endMs <= known.endMs {
            if known.endMs - summary.endMs < max(Self.backMs, 2 * summary.resolutionMs) {
                ages[key] = known
                return []
            }
            known = SeriesAges(endMs: .min)
        }
        let windows = (staleAfterMs + summary.resolutionMs - 1) / max(1, summary.resolutionMs)
        let ended = known.take(window, after: UInt16(clamping: max(1, windows)))
        ages[key] = known
        count += 1
        taken[key] = count
        if ages.count > Self.countMax, let oldest = taken.min(by: { $0.value < $1.value })?.key {
            (ages[oldest], taken[oldest]) = (nil, nil)
        }
        return ended
    }
}
