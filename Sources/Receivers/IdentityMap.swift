import WireFormats

/// Numbers of texts, by their hashes. Open addressing with linear probing; a hash's low bits are its place.
struct IdentityMap {
    private struct Entry {
        var high: UInt64 = 0
        var low: UInt64 = 0
        /// The number plus one; 0 is an empty place.
        var value: UInt32 = 0
    }

    private var entries = [Entry](repeating: Entry(), count: 64)
    private(set) var count = 0

    @inline(__always)
    subscript(identity: SeriesIdentity) -> UInt32? {
        let entry = entries[place(of: identity)]
        return entry.value == 0 ? nil : entry.value - 1
    }

    /// Sets a number; the largest one may be `UInt32.max - 1`.
    mutating func set(_ identity: SeriesIdentity, _ value: UInt32) {
        // At most 5/8 full: probes stay short.
        if count * 8 >= entries.count * 5 { grow() }
        let place = place(of: identity)
        if entries[place].value == 0 { count += 1 }
        entries[place] = Entry(high: identity.high, low: identity.low, value: value + 1)
    }

    /// Where the identity is, or would be put.
    @inline(__always)
    private func place(of identity: SeriesIdentity) -> Int {
        let mask = entries.count &- 1
        var place = Int(truncatingIfNeeded: identity.low) & mask
        while entries[place].value != 0,
            entries[place].high != identity.high || entries[place].low != identity.low
        {
            place = (place &+ 1) & mask
        }
        return place
    }

    private mutating func grow() {
        let before = entries
        entries = Array(repeating: Entry(), count: before.count * 2)
        for entry in before where entry.value != 0 {
            entries[place(of: SeriesIdentity(high: entry.high, low: entry.low))] = entry
        }
    }
}
