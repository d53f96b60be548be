import Logging
import Synchronization
import Testing

@testable import SystemdSupport

@Suite struct LogGateTests {
    @Test("a burst passes, the rest is held back and counted, and the next interval tells how many")
    func burst() {
        var gate = LogGate()
        gate.burst = 3
        let verdicts = (0..<10).map { gate.admit("a", nowMs: Int64($0)) }
        #expect(verdicts.prefix(3).allSatisfy { $0 == .pass(heldBack: 0) })
        #expect(verdicts.dropFirst(3).allSatisfy { $0 == .hold })
        #expect(gate.admit("b", nowMs: 10) == .pass(heldBack: 0))
        #expect(gate.admit("a", nowMs: 30_000) == .pass(heldBack: 7))
        #expect(gate.admit("a", nowMs: 30_001) == .pass(heldBack: 0))
        #expect(gate.heldTotal == 7)
    }

    @Test("what was held back is told once, also when nothing comes any more")
    func settle() {
        var gate = LogGate()
        gate.burst = 1
        for _ in 0..<5 { _ = gate.admit("a", nowMs: 0) }
        _ = gate.admit("b", nowMs: 0)
        #expect(gate.settle(nowMs: 29_999).isEmpty)
        let told = gate.settle(nowMs: 30_000)
        #expect(told.map(\.name) == ["a"] && told.map(\.heldBack) == [4])
        #expect(gate.settle(nowMs: 90_000).isEmpty)
    }

    @Test("a clock that is set back holds nothing for long, and names beyond the limit share a kind")
    func odd() {
        var gate = LogGate()
        gate.burst = 1
        #expect(gate.admit("a", nowMs: 1_000_000) == .pass(heldBack: 0))
        #expect(gate.admit("a", nowMs: 5) == .pass(heldBack: 0))
        for number in 0..<5_000 { _ = gate.admit("kind \(number)", nowMs: 6) }
        #expect(gate.heldTotal > 3_900)
    }

    @Test("the handlers ask the gate by event, else by text, and say what was held back")
    func handler() {
        let written = Mutex<[String]>([])
        let now = Mutex<Int64>(0)
        let threshold = LogThreshold(.info, nowMs: { now.withLock { $0 } })
        var logger = Logger(label: "test") { _ in
            StderrLogHandler(
                label: "test", threshold: threshold, nowSeconds: { 0 },
                write: { line in written.withLock { $0.append(line) } })
        }
        for number in 0..<60 { logger.warning("late", metadata: ["number": "\(number)"]) }
        #expect(written.withLock { $0.count } == 50)
        now.withLock { $0 = 30_000 }
        logger.warning("late")
        #expect(written.withLock { $0.last }?.hasSuffix(" warning late held_back=10\n") == true)
        // What ends the service is never held back.
        for _ in 0..<60 { logger.critical("gone") }
        #expect(written.withLock { $0.count } == 111)

        threshold.set(.debug, subsystem: "test")
        logger.debug("now it is told")
        #expect(written.withLock { $0.count } == 112)
        threshold.set(.error, subsystem: "test")
        logger.warning("now it is not")
        #expect(written.withLock { $0.count } == 112)
        threshold.set(nil, subsystem: "test")
        #expect(logger.logLevel == .info && threshold.subsystems.isEmpty)
        logger.logLevel = .trace
        #expect(logger.logLevel == .trace)
    }
}
