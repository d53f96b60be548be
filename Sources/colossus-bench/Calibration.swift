import Glibc

/// What this machine does right now: dependent 64-bit multiplications, plain arithmetic without memory.
enum Calibration {
    /// Millions of SplitMix64 steps a second on one core; takes about 0.1 s.
    static func measure() -> Double {
        let count = 30_000_000
        let began = Stopwatch.nowNs()
        var state: UInt64 = 1
        for _ in 0..<count {
            state = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
            state = (state ^ (state >> 27)) &* 0x94D0_49BB_1331_11EB &+ 0x9E37_79B9_7F4A_7C15
        }
        let seconds = Double(Stopwatch.nowNs() - began) / 1e9
        // The state is used, so that nothing is optimised away.
        return Double(count) / seconds / 1e6 + (state == 0 ? 1e-12 : 0)
    }
}

/// Wall clock and CPU, nanoseconds.
enum Stopwatch {
    /// Monotonic.
    static func nowNs() -> Int64 { read(CLOCK_MONOTONIC) }
    /// CPU of the whole process.
    static func processNs() -> Int64 { read(CLOCK_PROCESS_CPUTIME_ID) }
    /// CPU of the calling thread.
    static func threadNs() -> Int64 { read(CLOCK_THREAD_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
