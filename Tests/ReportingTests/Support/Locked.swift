import Foundation

/// A value behind a lock that Thread Sanitizer understands.
///
/// A contended `Synchronization.Mutex` waits in a kernel futex, of which the sanitizer sees nothing: it then reports
/// races between blocks that do exclude each other.
// `@unchecked`: the value is reached through the lock only.
final class Locked<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        try lock.withLock { try body(&value) }
    }
}
