import Dispatch
import Playback
import Synchronization

/// A clock that stands until it is turned.
final class VirtualClock: PlaybackClock {
    private struct State {
        var nowNs: Int64 = 0
        var waiting: [(dueNs: Int64, queue: DispatchQueue, work: @Sendable () -> Void)] = []
    }

    private let state = Mutex(State())

    func nowNs() -> Int64 { state.withLock { $0.nowNs } }

    func after(nanoseconds: Int64, on queue: DispatchQueue, _ work: @escaping @Sendable () -> Void) {
        state.withLock { $0.waiting.append(($0.nowNs + nanoseconds, queue, work)) }
    }

    /// Lets that much time pass in one leap, and runs what became due.
    func turn(seconds: Double) {
        let due = state.withLock { state in
            state.nowNs += Int64(seconds * 1e9)
            let now = state.nowNs
            let due = state.waiting.filter { $0.dueNs <= now }
            state.waiting.removeAll { $0.dueNs <= now }
            return due
        }
        for item in due.sorted(by: { $0.dueNs < $1.dueNs }) { item.queue.async(execute: item.work) }
    }
}
