import Glibc

/// What processes use, as the kernel counts it.
enum ProcessUsage {
    /// Bytes in memory now; 0 when there is no such process.
    static func residentBytes(_ pid: Int32? = nil) -> Double {
        guard let file = fopen("/proc/\(pid.map { "\($0)" } ?? "self")/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, 256, file) != nil else { return 0 }
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let pages = text.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0
        return pages * Double(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// CPU of all threads since the process began, nanoseconds; 0 when there is no such process.
    static func cpuNs(_ pid: Int32) -> Int64 {
        var clock = clockid_t()
        var time = timespec()
        guard clock_getcpuclockid(pid, &clock) == 0, clock_gettime(clock, &time) == 0 else { return 0 }
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
