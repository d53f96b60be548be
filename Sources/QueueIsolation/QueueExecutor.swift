public import Dispatch

/// A serial dispatch queue that is also the executor of the actors that live on it.
///
/// swift-corelibs-libdispatch has no `DispatchSerialQueue`, which has this conformance on Apple's systems.
public final class QueueExecutor: SerialExecutor {
    private static let current = DispatchSpecificKey<ObjectIdentifier>()

    public let queue: DispatchQueue

    /// - Parameter target: the pool for queues that never block; `nil` gives the queue a thread of its own, for
    ///   work that may block (write, fsync, SQLite).
    public init(label: String, target: DispatchQueue?) {
        queue = DispatchQueue(label: label, target: target)
        queue.setSpecific(key: Self.current, value: ObjectIdentifier(self))
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    public func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }

    public func isIsolatingCurrentContext() -> Bool? {
        DispatchQueue.getSpecific(key: Self.current) == ObjectIdentifier(self)
    }
}
