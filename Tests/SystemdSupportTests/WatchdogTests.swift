import Dispatch
import Logging
import QueueIsolation
import Synchronization
import SystemdSupport
import Testing

@Suite("WatchdogRounds")
struct WatchdogRoundsTests {
    @Test("the watchdog is fed once a round, when every queue has answered")
    func fed() {
        var rounds = WatchdogRounds()
        #expect(rounds.tick(nowMs: 0, queues: ["a", "b"]) == [.ask(round: 1, queues: ["a", "b"])])
        #expect(rounds.answered(queue: "a", round: 1, nowMs: 1) == [])
        #expect(rounds.answered(queue: "b", round: 1, nowMs: 2) == [])
        #expect(rounds.tick(nowMs: 10, queues: ["a"]) == [.feed, .ask(round: 2, queues: ["a"])])
    }

    @Test(
        "one silent queue stops the feeding, is told once, and is not asked again",
        arguments: ["a", "b", "c"])
    func silent(silent: String) {
        var rounds = WatchdogRounds()
        let queues = ["a", "b", "c"]
        _ = rounds.tick(nowMs: 0, queues: queues)
        for queue in queues where queue != silent {
            #expect(rounds.answered(queue: queue, round: 1, nowMs: 1) == [])
        }
        #expect(rounds.tick(nowMs: 10, queues: queues) == [.late([silent])])
        #expect(rounds.tick(nowMs: 20, queues: queues) == [])
        #expect(rounds.lateQueues == [silent])
        let actions = rounds.answered(queue: silent, round: 1, nowMs: 25)
        #expect(actions == [.back([silent], afterMs: 25), .feed])
        #expect(rounds.lateQueues == [])
        #expect(rounds.tick(nowMs: 30, queues: queues) == [.feed, .ask(round: 2, queues: queues)])
    }

    @Test("an overdue answer does not feed while another queue is still late")
    func twoLate() {
        var rounds = WatchdogRounds()
        _ = rounds.tick(nowMs: 0, queues: ["a", "b"])
        #expect(rounds.tick(nowMs: 10, queues: ["a", "b"]) == [.late(["a", "b"])])
        #expect(rounds.answered(queue: "a", round: 1, nowMs: 11) == [.back(["a"], afterMs: 11)])
        #expect(rounds.answered(queue: "b", round: 1, nowMs: 12) == [.back(["b"], afterMs: 12), .feed])
    }

    @Test("answers of earlier rounds, of strangers, and second answers mean nothing")
    func strangers() {
        var rounds = WatchdogRounds()
        _ = rounds.tick(nowMs: 0, queues: ["a", "b"])
        _ = rounds.answered(queue: "a", round: 1, nowMs: 1)
        #expect(rounds.answered(queue: "a", round: 1, nowMs: 1) == [])
        #expect(rounds.answered(queue: "b", round: 0, nowMs: 1) == [])
        #expect(rounds.answered(queue: "x", round: 1, nowMs: 1) == [])
        #expect(rounds.tick(nowMs: 10, queues: ["a", "b"]) == [.late(["b"])])
    }
}

@Suite("WatchdogFeeder")
struct WatchdogFeederTests {
    /// Counts what is sent, and lets a test wait for it.
    final class Sent: Sendable {
        let count = Mutex(0)
        let arrived = DispatchSemaphore(value: 0)
        func notifier() -> Notifier {
            Notifier(
                send: { @Sendable [self] message in
                    if message == "WATCHDOG=1" { count.withLock { $0 += 1 } }
                    arrived.signal()
                }, monotonicMicroseconds: { 0 })
        }
        /// Waits for one more message; `false` after 10 s.
        func wait() -> Bool { arrived.wait(timeout: .now() + 10) == .success }
    }

    @Test("a blocked queue stops the feeding, and feeding goes on when it answers")
    func blocked() async {
        let sent = Sent()
        let queues = (0..<3).map { MonitoredQueue(label: "q\($0)", queue: DispatchQueue(label: "q\($0)")) }
        let feeder = WatchdogFeeder(
            executor: QueueExecutor(label: "test.events", target: nil), notifier: sent.notifier(),
            timeoutMs: 60,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }), queues: { queues })
        await feeder.start()
        #expect(wait(sent) && wait(sent))

        let gate = DispatchSemaphore(value: 0)
        queues[1].queue.async { gate.wait() }
        while await feeder.lateQueues != ["q1"] { await Task.yield() }
        let before = sent.count.withLock { $0 }
        while sent.arrived.drain() {}
        // The queue stays late, unfed, for as long as it is blocked.
        #expect(await feeder.lateQueues == ["q1"])
        #expect(sent.count.withLock { $0 } == before)
        gate.signal()
        #expect(wait(sent))
        #expect(sent.count.withLock { $0 } > before)
        await feeder.stop()
    }

    /// A wait that may block belongs out of async code, where it is not allowed.
    private func wait(_ sent: Sent) -> Bool { sent.wait() }
}

extension DispatchSemaphore {
    /// Takes a signal that is there already.
    fileprivate func drain() -> Bool { wait(timeout: .now()) == .success }
}
