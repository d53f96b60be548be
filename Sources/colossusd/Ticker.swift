import Dispatch
import QueueIsolation

/// The heartbeat of the process on `colossus.events`: the core looks at its watermarks four times a second.
actor Ticker {
    private let executor: QueueExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private var timer: DispatchSource?
    private var count = 0

    private static let intervalMs = 250
    /// Ticks between two of the slow ones: two seconds.
    private static let slowEvery = 8

    init(executor: QueueExecutor) { self.executor = executor }

    func start(core: @escaping @Sendable () -> Void, slow: @escaping @Sendable () -> Void) {
        let timer = DispatchSource.makeTimerSource(queue: executor.queue)
        timer.schedule(
            deadline: .now(), repeating: .milliseconds(Self.intervalMs), leeway: .milliseconds(20))
        timer.setEventHandler { @Sendable [weak self] in
            self?.assumeIsolated { $0.tick(core, slow) }
        }
        timer.activate()
        self.timer = timer as? DispatchSource
    }

    func stop() {
        timer?.cancel()
        timer = nil
    }

    private func tick(_ core: @Sendable () -> Void, _ slow: @Sendable () -> Void) {
        core()
        if count % Self.slowEvery == 0 { slow() }
        count += 1
    }
}
