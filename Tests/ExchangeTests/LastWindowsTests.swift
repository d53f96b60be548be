import Exchange
import TestSupport
import Testing

@Suite("The last windows of a run that another one follows", .computing)
struct LastWindowsTests {
    /// When a reporter goes over that looks each 100 ms; `nil` if not within two minutes.
    private func leaves(_ state: (_ nowMs: Int64) -> (untold: Int64?, isHeldUp: Bool)) -> Int64? {
        var last = LastWindows()
        for nowMs in stride(from: Int64(0), through: 120_000, by: 100) {
            let (untold, isHeldUp) = state(nowMs)
            if last.isEnough(untold: untold, isHeldUp: isHeldUp, nowMs: nowMs) { return nowMs }
        }
        return nil
    }

    @Test("who has stored them goes over at once")
    func stored() {
        #expect(leaves { _ in (0, false) } == 0)
        #expect(leaves { nowMs in (max(0, 30 - nowMs / 1_000), false) } == 30_000)
        #expect(leaves { nowMs in (max(0, 3 - nowMs / 1_000), true) } == 3_000, "held up or not")
    }

    @Test("who knows nothing of the run yet waits as for windows that do not come")
    func unknown() {
        #expect(leaves { _ in (nil, false) } == LastWindows.patienceMs)
        // It has joined just now, and reads the control log.
        #expect(leaves { nowMs in (nowMs < 2_000 ? nil : 400 - nowMs / 100, false) } == 40_000)
    }

    @Test("the time counts from the last window")
    func progress() {
        #expect(leaves { _ in (5, false) } == LastWindows.patienceMs)
        #expect(leaves { nowMs in (nowMs < 9_000 ? 5 : 4, false) } == 9_000 + LastWindows.patienceMs)
    }

    @Test("a time in which nothing could be stored does not count")
    func heldUp() {
        #expect(leaves { _ in (5, true) } == nil)
        #expect(leaves { nowMs in (5, nowMs < 60_000) } == 59_900 + LastWindows.patienceMs)
        #expect(leaves { nowMs in (5, nowMs == 5_000) } == 5_000 + LastWindows.patienceMs)
    }
}
