import Telemetry

/// What a sample adds to its window. A gauge adds its value; a counter what it has grown by since the sample before
/// it of the same series; a sticky gauge 1 when it has changed to something, and 0 else. So the sum of a counter over
/// windows is its increase, and that of an XID the number of times that one was seen to come: codes are never added.
///
/// The first sample of a series adds 0: what the counter did before, and how long the code has been there, nobody
/// knows. An increase belongs to the window of the later of the two samples.
enum Contribution: UInt8 {
    case gauge, counter, sticky

    /// Indexed by `FieldIndex`.
    static let ofField: [Contribution] = FieldCatalog.all.map { field in
        switch field.kind {
        case .gauge: .gauge
        case .counter: .counter
        case .stickyGauge: .sticky
        }
    }

    /// 2^32: where the counters of 32 bits begin again.
    static let wrapAt = 4_294_967_296.0
    /// A counter that falls from above three quarters of its range to below the first has wrapped; any other fall is
    /// a reset: the driver was loaded again, and counts from 0.
    private static let wrapsFrom = wrapAt * 0.75
    private static let wrapsTo = wrapAt * 0.25

    /// - Parameters:
    ///   - last: the value of the sample before.
    ///   - isWide: its counters have 64 bits, and never wrap.
    func value(_ value: Double, after last: Double, isWide: Bool) -> Double {
        switch self {
        case .gauge: value
        case .sticky: value != 0 && value != last ? 1 : 0
        case .counter: Self.increase(value, last, isWide)
        }
    }

    private static func increase(_ value: Double, _ last: Double, _ isWide: Bool) -> Double {
        if value >= last { return value - last }
        if !isWide, last >= wrapsFrom, last < wrapAt, value >= 0, value < wrapsTo {
            return value + (wrapAt - last)
        }
        return max(0, value)
    }
}
