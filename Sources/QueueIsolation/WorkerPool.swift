public import Dispatch

/// The one pool that the queues which never block share: as many threads as cores.
///
/// A serial queue without a target costs a thread as soon as it is busy; with this target it costs none.
public enum WorkerPool {
    public static let shared = DispatchQueue(
        label: "colossus.pool", attributes: .concurrent, target: .global(qos: .utility)
    )
}

/// A queue that the watchdog asks for a sign of life.
public struct MonitoredQueue: Sendable {
    public let label: String
    public let queue: DispatchQueue

    public init(label: String, queue: DispatchQueue) {
        self.label = label
        self.queue = queue
    }
}
