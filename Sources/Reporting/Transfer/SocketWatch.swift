import Dispatch

#if canImport(Glibc)
    import Glibc
#endif

/// The sources of one socket that libcurl wants to be told about.
///
/// A descriptor may be closed only when no source watches it any more, and a source stops watching only when its cancel
/// handler runs. libcurl's own sockets are therefore closed here, after the last cancel handler. Sockets that libcurl
/// opened behind our back (the resolver's wake-up pair) are closed by it whenever it likes: of those a duplicate is
/// watched.
final class SocketWatch {
    private let queue: DispatchQueue
    private let watched: Int32
    private let ready: @Sendable (_ isReading: Bool) -> Void
    private var reading: Direction?
    private var writing: Direction?

    private struct Direction {
        var source: DispatchSource
        var isActive: Bool
    }

    /// - Parameter ready: called on the queue.
    init(socket: Int32, isOwned: Bool, queue: DispatchQueue, ready: @escaping @Sendable (Bool) -> Void) {
        self.queue = queue
        self.ready = ready
        watched = isOwned ? socket : fcntl(socket, F_DUPFD_CLOEXEC, 0)
    }

    /// Sources that are not wanted for now are suspended: a pooled connection will want them again.
    func want(read: Bool, write: Bool) {
        guard watched >= 0 else { return }
        set(&reading, read, isReading: true)
        set(&writing, write, isReading: false)
    }

    /// Stops watching, and then closes the descriptor.
    func close() {
        guard watched >= 0 else { return }
        let descriptor = watched
        let group = DispatchGroup()
        for direction in [reading, writing] {
            guard let direction else { continue }
            group.enter()
            direction.source.setCancelHandler { @Sendable in group.leave() }
            direction.source.cancel()
            // The cancel handler of a suspended source never runs.
            if !direction.isActive { direction.source.resume() }
        }
        reading = nil
        writing = nil
        group.notify(queue: queue) { @Sendable in _ = Self.closeDescriptor(descriptor) }
    }

    private func set(_ direction: inout Direction?, _ isWanted: Bool, isReading: Bool) {
        guard var known = direction else {
            if isWanted { direction = make(isReading: isReading) }
            return
        }
        if isWanted, !known.isActive { known.source.resume() }
        if !isWanted, known.isActive { known.source.suspend() }
        known.isActive = isWanted
        direction = known
    }

    private func make(isReading: Bool) -> Direction? {
        let made =
            isReading
            ? DispatchSource.makeReadSource(fileDescriptor: watched, queue: queue) as? DispatchSource
            : DispatchSource.makeWriteSource(fileDescriptor: watched, queue: queue) as? DispatchSource
        guard let source = made else { return nil }
        let ready = ready
        source.setEventHandler { @Sendable in ready(isReading) }
        source.activate()
        return Direction(source: source, isActive: true)
    }

    private static func closeDescriptor(_ descriptor: Int32) -> Int32 {
        #if canImport(Glibc)
            Glibc.close(descriptor)
        #else
            -1
        #endif
    }
}
