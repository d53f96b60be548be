import CSystemd
import Dispatch
public import Logging
public import QueueIsolation

/// Feeds systemd's watchdog as long as every queue of the process answers.
///
/// It lives on the queue that it is given (`colossus.events`): when that one is blocked, nothing is fed either.
/// Without a watchdog it still asks, and tells in the log which queue is late.
public actor WatchdogFeeder {
    private let executor: QueueExecutor
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let notifier: Notifier
    private let intervalMs: Int64
    private let queues: @Sendable () -> [MonitoredQueue]
    private let logger: Logger
    private var rounds = WatchdogRounds()
    private var timer: DispatchSource?

    /// Milliseconds that systemd allows between two signs of life (`WatchdogSec=`), or `nil` without a watchdog.
    public static func systemdTimeoutMs() -> Int64? {
        var microseconds: UInt64 = 0
        guard sd_watchdog_enabled(0, &microseconds) > 0, microseconds > 0 else { return nil }
        return Int64(microseconds / 1_000)
    }

    /// - Parameters:
    ///   - executor: of `colossus.events`.
    ///   - timeoutMs: what systemd allows; a third of it is the interval. Without a watchdog, 5 s.
    ///   - queues: the queues as they are now; asked for once a round, on the executor's queue.
    public init(
        executor: QueueExecutor, notifier: Notifier, timeoutMs: Int64?, logger: Logger,
        queues: @escaping @Sendable () -> [MonitoredQueue]
    ) {
        self.executor = executor
        self.notifier = notifier
        self.intervalMs = timeoutMs.map { max(10, $0 / 3) } ?? 5_000
        self.logger = logger
        self.queues = queues
    }

    /// Begins to ask. Call it after READY, or before: it feeds only when there is something to feed.
    public func start() {
        guard timer == nil else { return }
        let timer = DispatchSource.makeTimerSource(queue: executor.queue)
        let interval = DispatchTimeInterval.milliseconds(Int(intervalMs))
        timer.schedule(deadline: .now(), repeating: interval, leeway: .milliseconds(Int(intervalMs / 20)))
        timer.setEventHandler { @Sendable [weak self] in self?.assumeIsolated { $0.tick() } }
        timer.activate()
        self.timer = timer as? DispatchSource
        let labels = labelled(queues()).map(\.label)
        logger.info(
            "the watchdog asks these queues",
            metadata: [
                "queues": "\(labels.joined(separator: ","))", "interval_ms": "\(intervalMs)",
            ])
    }

    /// Stops asking and feeding; at the very end of a drain.
    public func stop() {
        timer?.cancel()
        timer = nil
    }

    /// The queues that are late now, for `status` and `/readyz`.
    public var lateQueues: [String] { rounds.lateQueues }

    private func tick() {
        let now = labelled(queues())
        perform(rounds.tick(nowMs: Self.nowMs(), queues: now.map(\.label)), now)
    }

    private func perform(_ actions: [WatchdogRounds.Action], _ queues: [MonitoredQueue]) {
        for action in actions {
            switch action {
            case .feed: notifier.watchdog()
            case .ask(let round, _): for queue in queues { ask(queue, round) }
            case .late(let labels):
                logger.warning(
                    "a queue does not answer; the watchdog is not fed",
                    metadata: JournalMessage.watchdogLate.metadata([
                        "queues": "\(labels.joined(separator: ","))", "interval_ms": "\(intervalMs)",
                    ]))
            case .back(let labels, let afterMs):
                logger.notice(
                    "a late queue has answered",
                    metadata: JournalMessage.watchdogBack.metadata([
                        "queues": "\(labels.joined(separator: ","))", "after_ms": "\(afterMs)",
                    ]))
            }
        }
    }

    private func ask(_ monitored: MonitoredQueue, _ round: Int) {
        let home = executor.queue
        let label = monitored.label
        monitored.queue.async { @Sendable [weak self] in
            home.async { @Sendable [weak self] in
                self?.assumeIsolated { $0.answered(label, round) }
            }
        }
    }

    private func answered(_ label: String, _ round: Int) {
        perform(rounds.answered(queue: label, round: round, nowMs: Self.nowMs()), [])
    }

    /// Answers are told apart by label, so a label that is there twice gets a number.
    private func labelled(_ queues: [MonitoredQueue]) -> [MonitoredQueue] {
        var seen: [String: Int] = [:]
        return queues.map { queue in
            let count = seen[queue.label, default: 0]
            seen[queue.label] = count + 1
            return count == 0
                ? queue : MonitoredQueue(label: "\(queue.label)#\(count + 1)", queue: queue.queue)
        }
    }

    private static func nowMs() -> Int64 {
        Int64(DispatchTime.now().uptimeNanoseconds / 1_000_000)
    }
}
