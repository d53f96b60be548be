import Dispatch

#if canImport(Glibc)
    import Glibc
#endif

/// The sources of one socket that libcurl wants to be told about.
///
/// A descriptor may be closed only when no source watches it any more, and a source stops watching only when its cancel
/// handler runs; libcurl closes its sockets whenever it likes, and some of them (those of attempts to connect that it
/// gave up) without telling `CURLOPT_CLOSESOCKETFUNCTION`. Of each socket a duplicate is therefore watched, which is
/// ours alone.
final class SocketWatch {
    private let queue: DispatchQueue
    private let watched: Int32
    private let ready: @Sendable (_ isReading: Bool) -> Void
    private var reading: Direction?
    private var writing: Direction?

    var isReading: Bool { reading?.isActive ?? false }
    var isWriting: Bool { writing?.isActive ?? false }

    private struct Direction {
        var source: DispatchSource
        var isActive: Bool
    }

    /// Where no descriptor is left nothing is watched, and the request ends by its time limit.
    ///
    /// - Parameter ready: called on the queue.
    init(socket: Int32, queue: DispatchQueue, ready: @escaping @Sendable (Bool) -> Void) {
        self.queue = queue
        self.ready = ready
        watched = fcntl(socket, F_DUPFD_CLOEXEC, 0)
    }

    /// Sources that are not wanted for now are suspended: sending and receiving take turns.
    func want(read: Bool, write: Bool) {
        guard watched >= 0 else { return }
        set(&reading, read, isReading: true)
        set(&writing, write, isReading: false)
    }

    /// Stops watching, and then closes the duplicate.
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
