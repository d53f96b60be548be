/// The moment after which waiting ends, on a clock that does not jump.
public struct Deadline: Sendable {
    private let at: ContinuousClock.Instant

    public init(after length: Duration) { at = ContinuousClock.now.advanced(by: length) }

    /// For `poll(2)`: rounded up, 0 when the time is over.
    public var millisecondsLeft: Int32 {
        let left = ContinuousClock.now.duration(to: at)
        guard left > .zero else { return 0 }
        let parts = left.components
        let ms = parts.seconds.multipliedReportingOverflow(by: 1000)
        guard !ms.overflow, ms.partialValue < Int64(Int32.max) - 1001 else { return Int32.max }
        return Int32(ms.partialValue + (parts.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
