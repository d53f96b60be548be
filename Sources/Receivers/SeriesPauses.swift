import WireFormats

/// How long series pause before they come again, to tell those that pause from those that are gone.
///
/// Labels change all the time in a fleet, and each change leaves a spelling behind that never comes again. Where there are
/// more entries than series, an entry is given up when it was silent for twice as long as nearly all pauses of the last
/// ten to twenty minutes. A series whose entry was given up too early comes as a new one: that is as right, and takes a
/// microsecond. At most one pause in `share` ends so, for such pauses count, too.
///
/// All times are steps of `Route.stamp`.
struct SeriesPauses {
    /// How many pauses there were, by their steps; the last counts longer ones, too.
    typealias Counts = InlineArray<112, Int>

    private var counts = Counts(repeating: 0)
    /// Those of the period before.
    private var before = Counts(repeating: 0)
    private var began: UInt16?
    /// When some that were given up were last used.
    private var left: [SeriesIdentity: UInt16] = [:]

    /// About ten minutes.
    private static let period = 76
    /// Twenty seconds: however often a series comes, some scrapes may be missed.
    static let least = 2
    static let share = 64
    /// All are remembered until there are so many, then one in `rarity`, until there are `leftMax`.
    private static let fewLeft = 1_024
    private static let leftMax = 16_384
    private static let rarity: UInt64 = 512

    /// After how many steps of silence an entry is given up, where there are many that nobody needs.
    ///
    /// - Parameters:
    ///   - most: a route that was not used for longer is worth nothing.
    ///   - now: the step that it is.
    mutating func idleMax(atMost most: Int, now: UInt16) -> Int {
        turn(now)
        var sum = 0
        for steps in counts.indices { sum += counts[steps] + before[steps] }
        var (longer, steps) = (0, counts.count - 1)
        while steps > 0 {
            longer += counts[steps] + before[steps]
            if longer * Self.share > sum { break }
            steps -= 1
        }
        return min(most, max(Self.least, 2 * steps))
    }

    /// Pauses that a lane saw end.
    mutating func note(_ ended: Counts) {
        for steps in ended.indices { counts[steps] += ended[steps] }
    }

    mutating func gaveUp(_ identity: SeriesIdentity, lastUsed: UInt16) {
        guard left.count < Self.fewLeft || identity.low % Self.rarity == 0 else { return }
        if left.count >= Self.leftMax { left.removeAll(keepingCapacity: true) }
        left[identity] = lastUsed
    }

    /// A series comes that has no entry.
    ///
    /// - Parameter most: what paused for longer could not have been kept.
    @inline(__always)
    mutating func came(_ identity: SeriesIdentity, now: UInt16, atMost most: Int) {
        if !left.isEmpty { isBack(identity, now, most) }
    }

    private mutating func isBack(_ identity: SeriesIdentity, _ now: UInt16, _ most: Int) {
        guard let lastUsed = left.removeValue(forKey: identity) else { return }
        let steps = Int(Int16(bitPattern: now &- lastUsed))
        guard steps > 0, steps <= most else { return }
        // It stands for those that are not remembered.
        counts[min(steps, counts.count - 1)] += identity.low % Self.rarity == 0 ? Int(Self.rarity) : 1
    }

    private mutating func turn(_ now: UInt16) {
        let age = began.map { Int(Int16(bitPattern: now &- $0)) }
        // Also where the clock was set back.
        guard let age, age >= Route.idleMin else {
            began = now
            return
        }
        guard age >= Self.period else { return }
        before = age < 2 * Self.period ? counts : Counts(repeating: 0)
        counts = Counts(repeating: 0)
        began = now
    }
}
