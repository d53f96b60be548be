import CSystemd
import Glibc

/// Tells systemd how the service is doing: sd_notify(3). Does nothing when it was not started by systemd.
///
/// Safe to use from any thread; a message is one datagram.
public final class Notifier: Sendable {
    private let send: @Sendable (String) -> Void
    private let monotonicMicroseconds: @Sendable () -> UInt64

    /// Sends to `$NOTIFY_SOCKET`.
    public static let systemd = Notifier(
        send: { _ = sd_notify(0, $0) },
        monotonicMicroseconds: {
            var now = timespec()
            clock_gettime(CLOCK_MONOTONIC, &now)
            return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1_000
        }
    )

    /// - Parameters:
    ///   - send: takes one message, lines of `NAME=value`.
    ///   - monotonicMicroseconds: CLOCK_MONOTONIC, for `RELOADING=1`.
    public init(
        send: @escaping @Sendable (String) -> Void,
        monotonicMicroseconds: @escaping @Sendable () -> UInt64
    ) {
        self.send = send
        self.monotonicMicroseconds = monotonicMicroseconds
    }

    /// The start, or a reload, is done.
    public func ready(status: String) { send("READY=1\n" + Self.status(status)) }

    /// A reload has begun. `ready` ends it, whether it succeeded or not.
    public func reloading(status: String) {
        send("RELOADING=1\nMONOTONIC_USEC=\(monotonicMicroseconds())\n" + Self.status(status))
    }

    /// The drain has begun.
    public func stopping(status: String) { send("STOPPING=1\n" + Self.status(status)) }

    /// The line that `systemctl status` shows.
    public func status(_ text: String) { send(Self.status(text)) }

    /// A sign of life. Only `WatchdogFeeder` should have a reason to call it.
    public func watchdog() { send("WATCHDOG=1") }

    /// The start or the run has failed; `code` is shown by `systemctl status`.
    public func failed(errno code: Int32, status: String) { send("ERRNO=\(code)\n" + Self.status(status)) }

    /// Asks for more time to start, reload or stop: from now on, `milliseconds` until the next message of this kind.
    public func extendTimeout(milliseconds: Int64) {
        send("EXTEND_TIMEOUT_USEC=\(max(0, milliseconds) * 1_000)")
    }

    /// One line, whatever the text holds; systemd keeps the last `STATUS=` of a message.
    private static func status(_ text: String) -> String {
        let line = text.prefix(500).map { $0.isNewline || $0 == "\0" ? " " : $0 }
        return "STATUS=" + String(line)
    }
}

/// The directories that systemd made for the service.
public enum ServiceDirectory {
    /// The first path of `$STATE_DIRECTORY`, `$RUNTIME_DIRECTORY` and so on (systemd joins several with colons).
    public static func first(_ variable: String) -> String? {
        guard let value = getenv(variable) else { return nil }
        return String(cString: value).split(separator: ":").first.map(String.init)
    }
}
