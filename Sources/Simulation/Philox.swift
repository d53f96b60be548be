/// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
///
/// A draw is a pure function of (seed, what for, which entity, which counter): nothing is ever advanced, so anything
/// can be drawn again alone, in any order and on any machine.
struct Philox: Sendable {
    /// What a draw is for. Draws for different purposes are independent.
    enum Purpose: UInt32 {
        case failure, cause, repair, rejection, silicon, wear, tick, step, identity, spread, lemon, jobEvent,
            infant
        case hidden, injection
    }

    typealias Words = SIMD4<UInt32>
    /// The same word of eight entities.
    typealias Lanes = SIMD8<UInt32>

    let key: (UInt32, UInt32)

    init(seed: UInt64) {
        key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    }

    /// Four words for one entity.
    func draw(_ purpose: Purpose, entity: UInt32, counter: Int64) -> Words {
        Self.block(
            Words(
                entity, UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32),
                purpose.rawValue),
            key: key)
    }

    /// Four words for each of eight entities that follow each other.
    ///
    /// - Parameter rounds: 7 are the fewest that pass BigCrush (Salmon et al., table 2), and enough for noise.
    @inline(__always)
    func draw8(
        _ purpose: Purpose, first entity: UInt32, counter: Int64, rounds: Int = 10
    ) -> (Lanes, Lanes, Lanes, Lanes) {
        blocks8(
            Lanes(repeating: entity) &+ Lanes(0, 1, 2, 3, 4, 5, 6, 7),
            Lanes(repeating: UInt32(truncatingIfNeeded: counter)),
            Lanes(repeating: UInt32(truncatingIfNeeded: counter >> 32)),
            Lanes(repeating: purpose.rawValue), rounds: rounds)
    }

    @inline(__always)
    private func blocks8(
        _ c0: Lanes, _ c1: Lanes, _ c2: Lanes, _ c3: Lanes, rounds: Int
    ) -> (Lanes, Lanes, Lanes, Lanes) {
        var (c0, c1, c2, c3) = (c0, c1, c2, c3)
        var (k0, k1) = key
        for _ in 0..<rounds {
            let (high0, low0) = Self.multiply(c0, 0xD251_1F53)
            let (high1, low1) = Self.multiply(c2, 0xCD9E_8D57)
            c0 = high1 ^ c1 ^ Lanes(repeating: k0)
            c1 = low1
            c2 = high0 ^ c3 ^ Lanes(repeating: k1)
            c3 = low0
            k0 = k0 &+ 0x9E37_79B9
            k1 = k1 &+ 0xBB67_AE85
        }
        return (c0, c1, c2, c3)
    }

    /// The block function itself, as published.
    static func block(_ counter: Words, key: (UInt32, UInt32)) -> Words {
        var (c0, c1, c2, c3) = (counter[0], counter[1], counter[2], counter[3])
        var (k0, k1) = key
        for _ in 0..<10 {
            let a = UInt64(c0) &* 0xD251_1F53
            let b = UInt64(c2) &* 0xCD9E_8D57
            c0 = UInt32(truncatingIfNeeded: b >> 32) ^ c1 ^ k0
            c2 = UInt32(truncatingIfNeeded: a >> 32) ^ c3 ^ k1
            c1 = UInt32(truncatingIfNeeded: b)
            c3 = UInt32(truncatingIfNeeded: a)
            k0 = k0 &+ 0x9E37_79B9
            k1 = k1 &+ 0xBB67_AE85
        }
        return Words(c0, c1, c2, c3)
    }

    @inline(__always)
    private static func multiply(_ lanes: Lanes, _ factor: UInt32) -> (high: Lanes, low: Lanes) {
        let wide =
            SIMD8<UInt64>(truncatingIfNeeded: lanes) &* SIMD8<UInt64>(repeating: UInt64(factor))
        return (Lanes(truncatingIfNeeded: wide &>> 32), Lanes(truncatingIfNeeded: wide))
    }
}

extension Philox.Words {
    /// Uniform in (0, 1), 52 bits, never 0 and never 1, from words 0 and 1.
    var unit: Double { Self.unit(self[0], self[1]) }
    /// The same from words 2 and 3.
    var unit2: Double { Self.unit(self[2], self[3]) }

    private static func unit(_ low: UInt32, _ high: UInt32) -> Double {
        let bits = (UInt64(high) << 32 | UInt64(low)) >> 12
        return (Double(bits) + 0.5) * 0x1p-52
    }
}
