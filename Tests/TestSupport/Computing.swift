public import Testing

/// Tests that compute for seconds take turns, so that they never hold all threads of Swift's pool.
///
/// That pool has one thread a core, and a test gives its thread back only where it awaits something. On two cores two
/// such tests at once would let a server under test in the same process answer nothing for a minute.
public struct ComputingTrait: SuiteTrait, TestTrait, TestScoping {
    public var isRecursive: Bool { true }

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        await Turn.shared.take()
        do {
            try await function()
        } catch {
            await Turn.shared.give()
            throw error
        }
        await Turn.shared.give()
    }
}

extension Trait where Self == ComputingTrait {
    /// Takes turns with all other tests that compute much.
    public static var computing: Self { Self() }
}

/// Whose turn it is, in the order of asking.
private actor Turn {
    static let shared = Turn()
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func take() async {
        guard isTaken else {
            isTaken = true
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    func give() {
        if waiting.isEmpty { isTaken = false } else { waiting.removeFirst().resume() }
    }
}
