import Dispatch
import Simulation
import Telemetry
import Testing

@testable import Playback

@Suite("Events of a run that others play")
struct EventFollowerTests {
    private func plan() throws -> FleetPlan {
        try FleetPlan(.fixture { $0.failures.perGPUDay = 2 })
    }

    @Test(
        "whoever has news does not wait until the replay is made, and nothing of it is lost or out of order")
    func doesNotWait() throws {
        let plan = try plan()
        let stream = try #require(StreamID.simulated(run: "r"))
        let (beginMs, hourMs) = (plan.scenario.startMs, Int64(3_600_000))
        func fault(_ hour: Int64) throws -> FaultInjection {
            try plan.injection(
                "node_down", at: "r0001-n\(hour)", timeMs: beginMs + hour * hourMs, forMs: 60_000)
        }
        let faults = try [fault(1), fault(2), fault(3)]
        var alone = EventReplay(plan: plan, stream: stream, pace: .times(60), injections: faults)
        let expected = alone.events(before: beginMs + 5 * hourMs)

        let mayMake = DispatchSemaphore(value: 0)
        let follower = EventFollower(on: DispatchQueue(label: "made")) { injections, turns in
            mayMake.wait()
            return EventReplay(
                plan: plan, stream: stream, pace: .times(60), injections: injections, turns: turns)
        }
        let (order, isOver) = (Locked<[Int]>([]), DispatchSemaphore(value: 0))
        for (number, fault) in faults.enumerated() {
            follower.follow([fault], []) { missed in
                #expect(missed == 0)
                order.withLock { $0.append(number) }
                if number == 2 { isOver.signal() }
            }
        }
        // All three have returned, and it is not made yet.
        #expect(order.withLock { $0 } == [])
        #expect(follower.events(before: beginMs + hourMs) == [])
        mayMake.signal()
        #expect(isOver.wait(timeout: .now() + 60) == .success)
        #expect(order.withLock { $0 } == [0, 1, 2])
        #expect(follower.events(before: beginMs + 5 * hourMs) == expected && expected.count > 5)
        let late = Locked(0)
        follower.follow([try fault(4)], []) { missed in late.withLock { $0 = missed } }
        #expect(late.withLock { $0 } == 1, "it strikes before what is told")
    }
}
