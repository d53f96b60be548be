/// Arithmetic on eight GPUs at once that compiles to plain vector instructions on the baseline processor.
enum LaneMath {
    typealias Floats = SIMD8<Float>
    typealias Doubles = SIMD8<Double>
    typealias Words = Philox.Lanes

    /// Mean 0, standard deviation 1, within ±2.45: the sum of two 16-bit uniforms.
    @inline(__always)
    static func noise(_ word: Words) -> Floats {
        (Floats((word & 0xffff) &+ (word &>> 16)) - 65_535) * (1 / 26_754.9)
    }

    /// Two numbers in [0, 1) from the halves of a word.
    @inline(__always)
    static func low(_ word: Words) -> Floats { Floats(word & 0xffff) * (1 / 65_536) }
    @inline(__always)
    static func high(_ word: Words) -> Floats { Floats(word &>> 16) * (1 / 65_536) }

    /// To the nearest integer for |x| < 2^22, to some integer near by above. `.rounded()` would call the C library
    /// once a lane.
    @inline(__always)
    static func rounded(_ x: Floats) -> Floats { (x + 12_582_912) - 12_582_912 }

    /// Rounds down, for 0 <= x < 2^51.
    @inline(__always)
    static func whole(_ x: Doubles) -> Doubles {
        let near = (x + 0x1.8p52) - 0x1.8p52
        return near.replacing(with: near - 1, where: near .> x)
    }

    /// A share of the GPUs, told by a uniform number of each, has an ever growing number of events, at rates between
    /// 0 and the highest.
    @inline(__always)
    static func events(_ uniform: Floats, _ share: Float, _ most: Float) -> Floats {
        guard share > 0 else { return Floats(repeating: 0) }
        let count = rounded(upper(uniform * (most / share) - 0.5, Floats(repeating: 0)))
        return count.replacing(with: 0, where: uniform .>= share)
    }

    @inline(__always)
    static func lower(_ a: Floats, _ b: Floats) -> Floats { a.replacing(with: b, where: b .< a) }
    @inline(__always)
    static func upper(_ a: Floats, _ b: Floats) -> Floats { a.replacing(with: b, where: b .> a) }
    @inline(__always)
    static func unit(_ x: Floats) -> Floats { lower(upper(x, Floats(repeating: 0)), Floats(repeating: 1)) }
}
