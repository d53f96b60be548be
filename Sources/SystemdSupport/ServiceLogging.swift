import Glibc
import Logging

/// Sets up logging for the process: to the journal when standard error is connected to it, else to standard error.
public enum ServiceLogging {
    /// Call once, before the first `Logger` is made.
    public static func bootstrap(threshold: LogThreshold) {
        if stderrIsJournal() {
            LoggingSystem.bootstrap { JournalLogHandler(label: $0, threshold: threshold) }
        } else {
            LoggingSystem.bootstrap { StderrLogHandler(label: $0, threshold: threshold) }
        }
    }

    /// Whether `$JOURNAL_STREAM` names the device and inode of standard error: systemd.exec(5).
    public static func stderrIsJournal() -> Bool {
        guard let value = getenv("JOURNAL_STREAM") else { return false }
        return isJournal(String(cString: value), descriptor: STDERR_FILENO)
    }

    static func isJournal(_ stream: String, descriptor: Int32) -> Bool {
        let parts = stream.split(separator: ":", omittingEmptySubsequences: false)
        var about = stat()
        guard parts.count == 2, let device = UInt64(parts[0]), let inode = UInt64(parts[1]),
            fstat(descriptor, &about) == 0
        else { return false }
        return UInt64(about.st_dev) == device && UInt64(about.st_ino) == inode
    }
}
