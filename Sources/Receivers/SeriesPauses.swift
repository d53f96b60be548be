import WireFormats

/// How long series pause before they come again, to tell those that pause from those that are gone.
///
/// Labels change all the time in a fleet, and each change leaves a spelling behind that never comes again. An entry is
/// given up when it was silent for twice the longest pause that was met lately. A series whose entry was given up too
/// early comes as a new one; some of those are remembered, so that the limit rises when they are met.
///
/// All times are steps of `Route.stamp`.
struct SeriesPauses {
    private var longest = 0
    /// That of the period before.
    private var before = 0
    private var began: UInt16?
    /// When some that were given up were last used.
    private var left: [SeriesIdentity: UInt16] = [:]

    /// About ten minutes.
    private static let period = 38
    /// Half a minute: however often a series comes, some scrapes may be missed.
    static let least = 2
    private static let leftMax = 16_384
    /// One of so many is remembered.
    private static let rarity: UInt64 = 512

    /// After how many steps of silence an entry is given up.
    ///
    /// - Parameters:
    ///   - most: a route that was not used for longer is worth nothing.
    ///   - now: the step that it is.
    mutating func idleMax(atMost most: Int, now: UInt16) -> Int {
        turn(now)
        return min(most, max(Self.least, 2 * max(longest, before)))
    }

    /// - Parameter steps: the longest pause of those that a lane saw end.
    mutating func note(_ steps: Int) { longest = max(longest, steps) }

    mutating func gaveUp(_ identity: SeriesIdentity, lastUsed: UInt16) {
        guard identity.low % Self.rarity == 0 else { return }
        if left.count >= Self.leftMax { left.removeAll(keepingCapacity: true) }
        left[identity] = lastUsed
    }

    /// A series comes that has no entry.
    @inline(__always)
    mutating func came(_ identity: SeriesIdentity, now: UInt16) {
        if identity.low % Self.rarity == 0, !left.isEmpty { isBack(identity, now) }
    }

    private mutating func isBack(_ identity: SeriesIdentity, _ now: UInt16) {
        guard let lastUsed = left.removeValue(forKey: identity) else { return }
        note(Int(Int16(bitPattern: now &- lastUsed)))
    }

    private mutating func turn(_ now: UInt16) {
        let age = began.map { Int(Int16(bitPattern: now &- $0)) }
        // Also where the clock was set back.
        guard let age, age >= Route.idleMin else {
            began = now
            return
        }
        guard age >= Self.period else { return }
        before = age < 2 * Self.period ? longest : 0
        longest = 0
        began = now
    }
}
