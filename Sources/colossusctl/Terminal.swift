import ControlAPI
import Glibc

/// What is on the other side of standard output, and what time it is.
enum Terminal {
    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 && GlobalOptions.environment("TERM") != "dumb" }

    /// Columns; `nil` when it is no terminal.
    static var width: Int? {
        guard isatty(STDOUT_FILENO) == 1 else { return nil }
        var size = winsize()
        if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
        return GlobalOptions.environment("COLUMNS").flatMap { Int($0) } ?? 80
    }

    /// Lines of the terminal; 24 when it is none.
    static var height: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0 else { return 24 }
        return Int(size.ws_row)
    }

    static var usesUnicode: Bool {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap(GlobalOptions.environment)
            .first { !$0.isEmpty }
        let name = (locale ?? "").lowercased()
        return name.contains("utf-8") || name.contains("utf8")
    }

    static var now: UTCTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UTCTime(ms: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }
}

/// Standard output and standard error, without buffers: what was written is seen.
enum Output {
    static func write(_ lines: [String]) {
        guard !lines.isEmpty else { return }
        write(lines.joined(separator: "\n") + "\n", to: STDOUT_FILENO)
    }

    static func writeRaw(_ text: String) { write(text, to: STDOUT_FILENO) }

    static func complainRaw(_ text: String) { write(text, to: STDERR_FILENO) }

    static func complain(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    private static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR && errno != EAGAIN {
                // Nobody reads it, or the disk is full: there is nowhere left to say so.
                exit(ExitReason.failed.rawValue)
            }
        }
    }
}

/// Sleeps that Ctrl-C ends.
///
/// SIGINT and SIGTERM are blocked from here on and are taken while sleeping only, so that a request is never cut in two.
struct InterruptibleSleep {
    private var signals = sigset_t()

    init() {
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    /// True when a signal came.
    func sleep(milliseconds: Int) -> Bool {
        var set = signals
        var length = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
        return sigtimedwait(&set, nil, &length) > 0
    }
}

/// Bears with a daemon that is away for a moment: a restart must not end a long watch.
struct Patience {
    private let milliseconds: Int64
    private var since: UTCTime?

    init(seconds: Int64) { milliseconds = seconds * 1000 }

    /// The result, or `nil` while it is worth waiting for one.
    mutating func attempt<Value>(_ request: () throws(ControlError) -> Value) throws(ControlError) -> Value? {
        do throws(ControlError) {
            let value = try request()
            since = nil
            return value
        } catch {
            guard error.code == .unreachable || error.code == .tryAgain else { throw error }
            let start = since ?? Terminal.now
            since = start
            if Terminal.now.ms - start.ms >= milliseconds { throw error }
            return nil
        }
    }
}
