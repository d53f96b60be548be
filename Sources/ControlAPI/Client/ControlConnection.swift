import Glibc

/// A two-way stream of bytes to the daemon. A test has its own.
public protocol ControlConnection {
    /// Sends all of it.
    func send(_ bytes: [UInt8], until deadline: Deadline) throws(ControlError)
    /// At least one byte; empty at the end of the stream.
    func receive(until deadline: Deadline) throws(ControlError) -> [UInt8]
}

/// A connection to a unix stream socket, closed when the object goes away. Blocks its caller, never past the deadline.
public final class UnixSocketConnection: ControlConnection {
    private let descriptor: Int32
    private let path: String

    public init(path: String, deadline: Deadline) throws(ControlError) {
        self.path = path
        descriptor = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw Self.failure("open a socket", errno, path) }
        // From here on `deinit` closes the descriptor, also when this initialiser throws.
        try connect(deadline)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private func connect(_ deadline: Deadline) throws(ControlError) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard !path.isEmpty, path.utf8.count < room, !path.utf8.contains(0) else {
            throw ControlError(
                .badRequest, "\"\(path)\" cannot be the path of a unix socket.",
                hint: "Give a path of 1 to \(room - 1) bytes with --socket.")
        }
        // `sun_path` is a tuple of bytes; this is its address, and the path was checked to fit with its final zero.
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            // sockaddr_un is one of the layouts that connect(2) takes behind a sockaddr.
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result != 0 else { return }
        let code = errno
        guard code == EINPROGRESS || code == EINTR else { throw Self.failure("connect", code, path) }
        try wait(for: POLLOUT, deadline)
        var status: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &status, &size)
        if status != 0 { throw Self.failure("connect", status, path) }
    }

    public func send(_ bytes: [UInt8], until deadline: Deadline) throws(ControlError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if sent > 0 {
                rest = rest.dropFirst(sent)
                continue
            }
            let code = errno
            switch code {
            case EINTR: continue
            case EAGAIN: try wait(for: POLLOUT, deadline)
            // The daemon may have answered (413, for example) and closed before it read everything.
            case EPIPE, ECONNRESET: return
            default: throw Self.failure("send", code, path)
            }
        }
    }

    public func receive(until deadline: Deadline) throws(ControlError) -> [UInt8] {
        while true {
            var count = 0
            var code: Int32 = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, initialized in
                // Exactly the bytes that recv(2) wrote are declared initialised.
                count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
                code = errno
                initialized = max(0, count)
            }
            if count >= 0 { return bytes }
            switch code {
            case EINTR: continue
            case EAGAIN: try wait(for: POLLIN, deadline)
            case ECONNRESET: return []
            default: throw Self.failure("receive", code, path)
            }
        }
    }

    private func wait(for what: Int32, _ deadline: Deadline) throws(ControlError) {
        while true {
            var poller = pollfd(fd: descriptor, events: Int16(what), revents: 0)
            let ready = poll(&poller, 1, deadline.millisecondsLeft)
            if ready > 0 { return }
            if ready == 0 {
                throw ControlError(
                    .tryAgain, "colossusd did not answer on \(path) in time.",
                    hint: "Try again; if that lasts, look at `journalctl -u colossusd`.")
            }
            if errno != EINTR { throw Self.failure("wait", errno, path) }
        }
    }

    private static func failure(_ what: String, _ code: Int32, _ path: String) -> ControlError {
        let reason = String(cString: strerror(code))
        switch code {
        case ENOENT, ECONNREFUSED, ENOTSOCK, ENOTDIR, EPROTOTYPE:
            return ControlError(
                .unreachable, "No colossusd answers on \(path) (\(reason)).",
                hint:
                    "Start it with `systemctl start colossusd`, or name the socket of a running one with --socket."
            )
        case EACCES, EPERM:
            return ControlError(
                .notPermitted, "You may not connect to \(path) (\(reason)).",
                hint: "Use sudo, or become a member of the socket's group (`ls -l \(path)` names it).")
        case EAGAIN:
            return ControlError(
                .tryAgain, "colossusd has no room for one more connection on \(path).", hint: "Try again.")
        default:
            return ControlError(.unreachable, "Could not \(what) on \(path): \(reason).")
        }
    }
}
