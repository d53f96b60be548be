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
        var first = keys.0 &+ salt
        var second = keys.1 ^ salt &* 0x9E37_79B9_7F4A_7C15
        var third = keys.2
        var fourth = keys.3
        var offset = 0
        while count &- offset >= 32 {
            let a = Self.word(bytes, offset)
            let b = Self.word(bytes, offset &+ 8)
            let c = Self.word(bytes, offset &+ 16)
            let d = Self.word(bytes, offset &+ 24)
            first = Self.fold(a ^ keys.4, b ^ first)
            second = Self.fold(b ^ keys.5, a ^ second)
            third = Self.fold(c ^ keys.4, d ^ third)
            fourth = Self.fold(d ^ keys.5, c ^ fourth)
            offset &+= 32
        }
        while count &- offset >= 8 {
            let a = Self.word(bytes, offset)
            first = Self.fold(a ^ keys.4, first ^ keys.2)
            second = Self.fold(a ^ keys.5, second ^ keys.3)
            offset &+= 8
        }
        var tail: UInt64 = 0
        if offset < count {
            if count >= 8 {
                // The last 8 bytes: some were seen before, which does no harm, for the length goes in as well.
                tail = Self.word(bytes, count &- 8)
            } else {
                while offset < count {
                    tail = tail << 8 | UInt64(bytes.load(fromByteOffset: offset, as: UInt8.self))
                    offset &+= 1
                }
            }
        }
        let length = UInt64(truncatingIfNeeded: count)
        first = Self.fold(tail ^ keys.4 ^ third, first ^ length)
        second = Self.fold(tail ^ keys.5 ^ fourth, second &+ length)
        return SeriesIdentity(
            high: Self.fold(first ^ keys.0, second ^ keys.1 ^ third),
            low: Self.fold(second ^ keys.2, first ^ keys.3 ^ fourth))
    }

    /// One label out of the identities of its name and its value; labels are added up, so that their order does not
    /// matter.
    @inline(__always)
    func pair(_ name: SeriesIdentity, _ value: SeriesIdentity) -> SeriesIdentity {
        SeriesIdentity(
            high: Self.fold(name.high &+ keys.0, value.high ^ keys.1),
            low: Self.fold(name.low &+ keys.2, value.low ^ keys.3))
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
