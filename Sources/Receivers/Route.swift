import Telemetry

/// Where the samples of a series go, or why they go nowhere. 12 bytes.
struct Route: Sendable, Equatable {
    var slot: UInt32 = 0
    /// 0: the series says nothing about jobs. Else the number of its job, plus one (`NodeJobs`); or `folded`. Of a
    /// passing rejection, with `slot`: the request for which it holds.
    var job: UInt32 = 0
    /// The shard; or the reason, from `firstReason` on.
    private var place: UInt16 = Route.firstReason
    /// When it was used last, in steps of `stampMs`.
    var stamp: UInt16 = 0

    private static let firstReason: UInt16 = 0xFF00
    /// Rejections that hold for one request only.
    private static let firstPassing: UInt16 = 0xFF80
    static let shardsMax = Int(firstReason)
    /// About 8 seconds.
    private static let stampBits: Int64 = 13
    /// The steps after which a series that is beyond a limit asks again: about a minute.
    static let askingSteps = 8

    init() {}

    init(slot: UInt32, job: UInt32, shard: Int) {
        self.slot = slot
        self.job = job
        place = UInt16(shard)
    }

    /// - Parameter isPassing: the next request shall ask again.
    static func rejected(_ reason: DropReason, isPassing: Bool = false) -> Route {
        var route = Route()
        route.place = UInt16(reason.rawValue) + (isPassing ? firstPassing : firstReason)
        return route
    }

    /// In place of a job: the series is beyond a limit, and asks again from time to time whether there is room.
    private static let folded = UInt32.max

    /// Passing, and of no request.
    static let unknown = {
        var route = Route()
        route.place = .max
        return route
    }()
    @inline(__always)
    var isUnknown: Bool { place == .max }

    /// In two words: where it goes, and whether (with the stamp).
    var bits: (target: UInt64, word: UInt32) {
        (UInt64(slot) | UInt64(job) << 32, UInt32(place) | UInt32(stamp) << 16)
    }

    @inline(__always)
    init(target: UInt64, word: UInt32) {
        slot = UInt32(truncatingIfNeeded: target)
        job = UInt32(truncatingIfNeeded: target >> 32)
        place = UInt16(truncatingIfNeeded: word)
        stamp = UInt16(truncatingIfNeeded: word >> 16)
    }

    /// The route of a series that is beyond a limit.
    var beyondLimit: Route {
        var route = self
        route.job = Self.folded
        return route
    }

    @inline(__always)
    var isBeyondLimit: Bool { job == Self.folded }

    @inline(__always)
    var isRejected: Bool { place >= Self.firstReason }
    @inline(__always)
    var shard: Int { Int(place) }
    var isPassing: Bool { place >= Self.firstPassing }
    var rejection: DropReason? { isRejected ? DropReason(rawValue: Int(place & 0x7F)) : nil }

    static func stamp(_ arrivalMs: Int64) -> UInt16 { UInt16(truncatingIfNeeded: arrivalMs >> stampBits) }
    /// How many steps it was not used for; a little below 0 where another lane's clock was ahead, below `idleMin` only
    /// where the clock was set back.
    @inline(__always)
    func idle(_ now: UInt16) -> Int { Int(Int16(bitPattern: now &- stamp)) }
    static let idleMin = -2
    /// How many steps there are in some milliseconds, at least one.
    static func steps(_ milliseconds: Int64) -> UInt16 {
        UInt16(clamping: max(1, milliseconds >> stampBits))
    }
}
