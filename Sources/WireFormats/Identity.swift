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

/// Makes identities: 128 bits out of two independent chains of 64 x 64 -> 128 bit multiplications (the round function
/// of wyhash). All factors are secret, otherwise a chosen word could make a product zero and hide what came before it.
public struct IdentityHasher: Sendable {
    private let keys: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)

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
        keys = (next(0), next(seed.1), next(0), next(seed.1), next(0), next(seed.1))
    }

    /// A hasher with a seed from the system.
    public init() {
        var system = SystemRandomNumberGenerator()
        self.init(seed: (system.next(), system.next()))
    }

    /// - Parameter salt: tells apart who sends (series belong to a sender) and in which format.
    public func identity(_ bytes: RawSpan, _ range: Range<Int>, salt: UInt64) -> SeriesIdentity {
        var first = keys.0 &+ salt
        var second = keys.1 ^ salt &* 0x9E37_79B9_7F4A_7C15
        var third = keys.2
        var fourth = keys.3
        var offset = range.lowerBound
        let end = range.upperBound
        while end &- offset >= 32 {
            let a = bytes.littleEndian(offset, as: UInt64.self)
            let b = bytes.littleEndian(offset &+ 8, as: UInt64.self)
            let c = bytes.littleEndian(offset &+ 16, as: UInt64.self)
            let d = bytes.littleEndian(offset &+ 24, as: UInt64.self)
            first = Self.fold(a ^ keys.4, b ^ first)
            second = Self.fold(b ^ keys.5, a ^ second)
            third = Self.fold(c ^ keys.4, d ^ third)
            fourth = Self.fold(d ^ keys.5, c ^ fourth)
            offset &+= 32
        }
        while end &- offset >= 8 {
            let a = bytes.littleEndian(offset, as: UInt64.self)
            first = Self.fold(a ^ keys.4, first ^ keys.2)
            second = Self.fold(a ^ keys.5, second ^ keys.3)
            offset &+= 8
        }
        var tail: UInt64 = 0
        while offset < end {
            tail = tail << 8 | UInt64(bytes.byte(offset))
            offset &+= 1
        }
        let length = UInt64(truncatingIfNeeded: range.count)
        first = Self.fold(tail ^ keys.4 ^ third, first ^ length)
        second = Self.fold(tail ^ keys.5 ^ fourth, second &+ length)
        return SeriesIdentity(
            high: Self.fold(first ^ keys.0, second ^ keys.1 ^ third),
            low: Self.fold(second ^ keys.2, first ^ keys.3 ^ fourth))
    }

    @inline(__always)
    private static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}
