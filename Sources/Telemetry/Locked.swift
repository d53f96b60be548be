import Glibc

/// A value that one thread at a time may touch, for nanoseconds.
///
/// Not `Synchronization.Mutex`: when that is contended it waits in a futex inside the runtime, which Thread
/// Sanitizer does not see, so that it reports races that are none (Swift 6.3.1 on Linux). A pthread mutex it knows,
/// and a real race stays visible. Both cost about 20 ns.
public final class Locked<State>: @unchecked Sendable {
    // `@unchecked` because the compiler cannot see that `state` is touched only while `mutex` is held.
    private var state: State
    // A pointer, because a mutex must not move and Swift's stored properties have no promised address.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>

    public init(_ state: sending State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        let failure = pthread_mutex_init(mutex, nil)
        precondition(failure == 0, "pthread_mutex_init: \(failure)")
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// `body` must not wait for anything, nor take this lock again.
    public func withLock<Result>(_ body: (inout State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&state)
    }
}
