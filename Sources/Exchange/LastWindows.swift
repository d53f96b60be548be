/// For how long a reporter waits for windows of a run that is over, and that another one follows.
public struct LastWindows: Sendable {
    /// When nothing came for so long, nothing comes any more.
    public static let patienceMs: Int64 = 10_000
    private var untold: Int64?
    private var sinceMs: Int64?

    public init() {}

    /// Again and again, until it says so.
    ///
    /// - Parameters:
    ///   - untold: windows that the run has and that are not stored; `nil` where nobody knows.
    ///   - isHeldUp: nothing could be stored, whatever is there; such a time does not count.
    ///   - nowMs: milliseconds that never go back.
    public mutating func isEnough(untold: Int64?, isHeldUp: Bool, nowMs: Int64) -> Bool {
        if untold == 0 { return true }
        guard let sinceMs, !isHeldUp, untold == self.untold else {
            (self.untold, self.sinceMs) = (untold, nowMs)
            return false
        }
        return nowMs - sinceMs >= Self.patienceMs
    }
}
