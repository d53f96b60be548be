/// What a series is recognised by: a seeded hash of the bytes in which a sender names it.
///
/// Many identities may mean one series (another sender, another order of labels). It is never stored: the seed is a
/// new one in each process, so that nobody outside can make two series collide.
public struct SeriesIdentity: Hashable, Sendable {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

/// Makes identities: 128 bits of state in each of four lanes, into which 16 bytes go with one multiplication of
/// 64 x 64 -> 128 bits (the round function of komihash). All starting states are secret, otherwise a chosen word could
/// make a factor zero and hide what came before it.
public struct IdentityHasher: Sendable {
    private let keys: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)

    /// - Parameter seed: 128 random bits, new in each process.
    public init(seed: (UInt64, UInt64)) {
        var state = seed.0
        func next(_ more: UInt64) -> UInt64 {
            // splitmix64 (Steele, Lea, Flood 2014), with the other half of the seed stirred in.
            state = (state ^ more) &+ 0x9E37_79B9_7F4A_7C15
            var word = state
            word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
            word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
            return word ^ word >> 31
        }
        keys = (
            next(0), next(seed.1), next(0), next(seed.1), next(0), next(seed.1), next(0), next(seed.1)
        )
    }

    /// A hasher with a seed from the system.
    public init() {
        var system = SystemRandomNumberGenerator()
        self.init(seed: (system.next(), system.next()))
    }

    /// - Parameter salt: tells apart who sends (series belong to a sender) and in which format.
    public func identity(_ bytes: RawSpan, _ range: Range<Int>, salt: UInt64) -> SeriesIdentity {
        bytes.extracting(range).withUnsafeBytes { buffer in
            // An empty span may have no address; nothing is read then.
            withUnsafeBytes(of: UInt64(0)) { none in
                let start = buffer.baseAddress ?? none.baseAddress
                return start.map { identity($0, buffer.count, salt: salt) } ?? SeriesIdentity(high: 0, low: 0)
            }
        }
    }

    /// The same of `count` bytes in raw memory, for the walks that have checked their bounds already.
    @inline(__always)
    func identity(_ bytes: UnsafeRawPointer, _ count: Int, salt: UInt64) -> SeriesIdentity {
        var first = Lane(x: keys.0 &+ salt, y: keys.1 ^ salt &* 0x9E37_79B9_7F4A_7C15)
        var offset = 0
        if count >= 64 {
            var second = Lane(x: keys.2, y: keys.3)
            var third = Lane(x: keys.4, y: keys.5)
            var fourth = Lane(x: keys.6, y: keys.7)
            repeat {
                first.take(Self.word(bytes, offset), Self.word(bytes, offset &+ 8))
                second.take(Self.word(bytes, offset &+ 16), Self.word(bytes, offset &+ 24))
                third.take(Self.word(bytes, offset &+ 32), Self.word(bytes, offset &+ 40))
                fourth.take(Self.word(bytes, offset &+ 48), Self.word(bytes, offset &+ 56))
                offset &+= 64
            } while count &- offset >= 64
            // The rest of the words go into lanes of their own, too: none waits for the one before.
            let left = count &- offset
            if left >= 16 { second.take(Self.word(bytes, offset), Self.word(bytes, offset &+ 8)) }
            if left >= 32 { third.take(Self.word(bytes, offset &+ 16), Self.word(bytes, offset &+ 24)) }
            if left >= 48 { fourth.take(Self.word(bytes, offset &+ 32), Self.word(bytes, offset &+ 40)) }
            if left & 15 != 0 {
                // These 16 bytes begin in what was seen already, which does no harm: the length goes in as well.
                first.take(Self.word(bytes, count &- 16), Self.word(bytes, count &- 8))
            }
            offset = count
            first.x ^= second.x ^ third.x ^ fourth.x
            first.y ^= second.y ^ third.y ^ fourth.y
        }
        while count &- offset >= 16 {
            first.take(Self.word(bytes, offset), Self.word(bytes, offset &+ 8))
            offset &+= 16
        }
        if offset < count {
            // At the end 8 or 16 bytes may be seen a second time, which does no harm: the length goes in as well.
            if count >= 16 {
                first.take(Self.word(bytes, count &- 16), Self.word(bytes, count &- 8))
            } else if count >= 8 {
                first.take(Self.word(bytes, 0), Self.word(bytes, count &- 8))
            } else {
                var few: UInt64 = 0
                while offset < count {
                    few = few << 8 | UInt64(bytes.load(fromByteOffset: offset, as: UInt8.self))
                    offset &+= 1
                }
                first.take(few, few)
            }
        }
        first.take(UInt64(truncatingIfNeeded: count) ^ keys.2, keys.4)
        first.take(keys.3, keys.5)
        return SeriesIdentity(high: first.x, low: first.y)
    }

    private struct Lane {
        var x: UInt64
        var y: UInt64

        @inline(__always)
        mutating func take(_ a: UInt64, _ b: UInt64) {
            let product = (x ^ a).multipliedFullWidth(by: y ^ b)
            y = y &+ product.high
            x = product.low ^ y
        }
    }

    /// One label out of the identities of its name and its value; labels are added up, so that their order does not
    /// matter.
    @inline(__always)
    func pair(_ name: SeriesIdentity, _ value: SeriesIdentity) -> SeriesIdentity {
        SeriesIdentity(
            high: Self.fold(name.high &+ keys.0, value.high ^ keys.1),
            low: Self.fold(name.low &+ keys.2, value.low ^ keys.3))
    }

    /// A series out of the sum of its labels.
    @inline(__always)
    func series(_ sum: SeriesIdentity, labelCount: Int, salt: UInt64) -> SeriesIdentity {
        var lane = Lane(x: keys.6 &+ salt, y: keys.7 ^ UInt64(truncatingIfNeeded: labelCount))
        lane.take(sum.high, keys.0)
        lane.take(sum.low, keys.1)
        lane.take(keys.2, keys.3)
        return SeriesIdentity(high: lane.x, low: lane.y)
    }

    /// The hash of a text, wherever it stands. No series has it: salts of series are numbers of senders.
    @inline(__always)
    func text(_ bytes: RawSpan, _ range: Range<Int>) -> SeriesIdentity {
        identity(bytes, range, salt: .max)
    }

    /// Joins what was hashed apart, in this order.
    public func joined(_ first: SeriesIdentity, _ second: SeriesIdentity) -> SeriesIdentity {
        SeriesIdentity(
            high: Self.fold(first.high ^ keys.4, second.high &+ keys.3) &+ second.low,
            low: Self.fold(first.low ^ keys.5, second.low &+ keys.1) &+ second.high)
    }

    @inline(__always)
    private static func word(_ bytes: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inline(__always)
    private static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}
