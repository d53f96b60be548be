import Dispatch

/// Keeps queues from going on, by suspending them.
final class QueueGate: Sendable {
    private let queues: [DispatchQueue]
    init(_ queues: [DispatchQueue]) { self.queues = queues }
    func close() { for queue in queues { queue.suspend() } }
    func open() { for queue in queues { queue.resume() } }
}
