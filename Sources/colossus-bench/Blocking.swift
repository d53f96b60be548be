import Synchronization

/// Runs async code from the main thread, which has nothing else to do.
enum Blocking {
    static func run<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) throws -> Value {
        let box = Box<Value>()
        Task {
            do {
                let value = try await body()
                box.result.withLock { $0 = .success(value) }
            } catch {
                box.result.withLock { $0 = .failure(error) }
            }
        }
        while true {
            if let done = box.result.withLock({ $0 }) { return try done.get() }
            BenchCore.pause()
        }
    }

    static func wait(_ body: @escaping @Sendable () async -> Void) {
        let done = Signal()
        Task {
            await body()
            done.raise()
        }
        done.wait()
    }

    private final class Box<Value: Sendable>: Sendable {
        let result = Mutex<Swift.Result<Value, any Error>?>(nil)
    }
}
