#if canImport(Glibc)
    import Glibc
#endif

/// Lines on standard output, which somebody else reads at a pace of his own: never waits for longer than a moment, and
/// goes on later in the middle of the line.
struct StandardOutput {
    private let descriptor: Int32
    /// A line that is half out.
    private var rest: (id: String, bytes: ArraySlice<UInt8>)?
    private var lastID: String?

    /// How long to wait for room, and the most that goes out at once: a pipe that is ready takes so much without waiting.
    private static let waitMs: Int32 = 500
    private static let pieceBytes = 4_096

    init(descriptor: Int32 = STDOUT_FILENO) { self.descriptor = descriptor }

    mutating func write(_ line: [UInt8], id: String) -> AttemptOutcome {
        if lastID == id { return .written }
        var bytes = line[...]
        if let rest {
            // A line that was begun is ended before another.
            guard drain(rest.bytes, id: rest.id) else { return stuck }
            if rest.id == id { return .written }
            bytes = line[...]
        }
        return drain(bytes, id: id) ? .written : stuck
    }

    private var stuck: AttemptOutcome { .failed(.file, reason: "nobody reads standard output") }

    private mutating func drain(_ bytes: ArraySlice<UInt8>, id: String) -> Bool {
        var left = bytes
        while !left.isEmpty {
            var watched = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let isReady = poll(&watched, 1, Self.waitMs) == 1 && watched.revents & Int16(POLLOUT) != 0
            let count =
                isReady
                ? left.prefix(Self.pieceBytes).withUnsafeBytes {
                    Glibc.write(descriptor, $0.baseAddress, $0.count)
                }
                : 0
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count > 0 else {
                // What is not begun can be forgotten; what is, cannot.
                if left.count < bytes.count || rest != nil { rest = (id, left) }
                return false
            }
            left = left.dropFirst(count)
        }
        rest = nil
        lastID = id
        return true
    }
}
