/// How many requests may be on their way at once: one more with each success, half with each failure
/// (additive increase, multiplicative decrease; D.-M. Chiu and R. Jain, Computer Networks and ISDN Systems 17, 1989).
struct InFlightLimit: Sendable, Equatable {
    /// At least 1.
    let max: Int
    private(set) var now: Int

    init(max: Int) {
        self.max = Swift.max(1, max)
        now = min(2, self.max)
    }

    mutating func succeeded() { now = min(max, now + 1) }

    mutating func failed() { now = Swift.max(1, now / 2) }
}
