#if canImport(Glibc)
    import Glibc
#endif

/// Lines on standard output, which somebody else reads at a pace of his own: never waits for longer than a moment, and
/// goes on later in the middle of the line.
struct StandardOutput {
    /// A line, and who wants it there: a replay may send what was sent last.
    private struct Key: Hashable {
        var lane: String
        var line: WrittenLine
    }

    private let descriptor: Int32
    /// A line that is half out.
    private var rest: (key: Key, bytes: ArraySlice<UInt8>)?
    /// The last line of each lane.
    private var last: [String: WrittenLine] = [:]

    /// How long to wait for room, and the most that goes out at once: a pipe that is ready takes so much without waiting.
    private static let waitMs: Int32 = 500
    private static let pieceBytes = 4_096

    init(descriptor: Int32 = STDOUT_FILENO) { self.descriptor = descriptor }

    mutating func write(_ line: [UInt8], id: String, from lane: String) -> AttemptOutcome {
        let key = Key(lane: lane, line: WrittenLine(id: id, line[...]))
        if last[lane] == key.line { return .written }
        if let rest {
            // A line that was begun is ended before another.
            guard drain(rest.bytes, rest.key) else { return stuck }
            if rest.key == key { return .written }
        }
        return drain(line[...], key) ? .written : stuck
    }

    /// What a lane of that name sends from now on is new.
    mutating func forget(_ lane: String) {
        last[lane] = nil
    }

    private var stuck: AttemptOutcome { .failed(.file, reason: "nobody reads standard output") }

    private mutating func drain(_ bytes: ArraySlice<UInt8>, _ key: Key) -> Bool {
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
                if left.count < bytes.count || rest != nil { rest = (key, left) }
                return false
            }
            left = left.dropFirst(count)
        }
        rest = nil
        last[key.lane] = key.line
        return true
    }
}
