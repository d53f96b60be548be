import Glibc
import Telemetry

extension WallClock {
    static let bench = WallClock {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }
}

extension BenchCore {
    /// 50 microseconds.
    static func pause() { usleep(50) }
}
