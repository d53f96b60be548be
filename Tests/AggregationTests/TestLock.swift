import Dispatch

/// A value behind a serial queue: a lock that Thread Sanitizer sees.
final class TestLock<State>: @unchecked Sendable {
    // `@unchecked`: `state` is touched on `queue` only.
    private var state: State
    private let queue = DispatchQueue(label: "test.lock")

    init(_ state: sending State) { self.state = state }

    func withLock<Result>(_ body: (inout State) -> Result) -> Result { queue.sync { body(&state) } }
}
