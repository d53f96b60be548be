/// Waiting times with decorrelated jitter: each is drawn between the base and three times the one before
/// (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
struct Backoff: Sendable {
    private let limits: BackoffLimits
    private var lastMs: Int64
    private var random: SplitMix64

    init(_ limits: BackoffLimits, seed: UInt64) {
        self.limits = limits
        lastMs = limits.baseMs
        random = SplitMix64(seed: seed)
    }

    mutating func nextMs() -> Int64 {
        let upper = min(limits.capMs, max(limits.baseMs, lastMs) * 3)
        lastMs = Int64.random(in: min(limits.baseMs, upper)...upper, using: &random)
        return lastMs
    }

    mutating func reset() { lastMs = limits.baseMs }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: small, and good enough for jitter.
struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
