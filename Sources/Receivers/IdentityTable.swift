import Telemetry
import WireFormats

/// Where the samples of a series go, or why they go nowhere.
struct Route: Sendable, Equatable {
    var slot: UInt32 = 0
    /// 0: the series says nothing about jobs. Else the number of its job, plus one (`NodeJobs`).
    var job: UInt32 = 0
    /// -1: nowhere.
    var shard: Int16 = -1
    /// Raw value of the `DropReason`, when there is no shard.
    var reason: UInt8 = 0

    static func rejected(_ reason: DropReason) -> Route { Route(reason: UInt8(reason.rawValue)) }

    var rejection: DropReason? { shard < 0 ? DropReason(rawValue: Int(reason)) : nil }
}

/// Identity -> route, for as many spellings of series as there is room for.
///
/// Two generations: what is looked up in the old one moves to the young one, and when the young one is full the old
/// one is forgotten. So it never holds more than the limit, never stops to clean up, and what is in use stays.
struct IdentityTable {
    private var young = Generation()
    private var old = Generation()
    private let countMax: Int

    init(limit: Int) { countMax = max(16, limit / 2) }

    var count: Int { young.count + old.count }

    mutating func find(_ identity: SeriesIdentity) -> Route? {
        if let route = young.find(identity) { return route }
        guard old.count > 0, let route = old.find(identity) else { return nil }
        insert(identity, route)
        return route
    }

    /// The identity must not be there yet.
    mutating func insert(_ identity: SeriesIdentity, _ route: Route) {
        if young.count >= countMax {
            old = young
            young = Generation()
        }
        young.insert(identity, route)
    }

    /// Open addressing with linear probing. An identity is a hash already; its low bits are the place.
    private struct Generation {
        private struct Entry {
            var high: UInt64 = 0
            var low: UInt64 = 0
            var route = Route()
        }

        private var entries: [Entry] = []
        private(set) var count = 0

        func find(_ identity: SeriesIdentity) -> Route? {
            guard count > 0 else { return nil }
            let place = place(of: identity)
            let entry = entries[place]
            return entry.high == identity.high && entry.low == identity.low ? entry.route : nil
        }

        mutating func insert(_ identity: SeriesIdentity, _ route: Route) {
            // At most 5/8 full: probes stay short.
            if count * 8 >= entries.count * 5 { grow() }
            let place = place(of: identity)
            entries[place] = Entry(high: identity.high, low: identity.low, route: route)
            count += 1
        }

        /// Where the identity is, or would be put. All zero marks an empty place; that a hash of 128 bits is zero
        /// is left to chance: it would be parsed again each time.
        @inline(__always)
        private func place(of identity: SeriesIdentity) -> Int {
            let mask = entries.count &- 1
            var place = Int(truncatingIfNeeded: identity.low) & mask
            while true {
                let (high, low) = (entries[place].high, entries[place].low)
                if high == identity.high, low == identity.low { return place }
                if high == 0, low == 0 { return place }
                place = (place &+ 1) & mask
            }
        }

        private mutating func grow() {
            let before = entries
            entries = Array(repeating: Entry(), count: max(64, before.count * 2))
            for entry in before where entry.high != 0 || entry.low != 0 {
                entries[place(of: SeriesIdentity(high: entry.high, low: entry.low))] = entry
            }
        }
    }
}
