import Telemetry
import TestSupport
import Testing
import WireFormats

@testable import Receivers

@Suite("How long series pause")
struct SeriesPausesTests {
    @Test(
        "an entry is kept for twice the longest pause of the last ten to twenty minutes, and never for too little or too long"
    )
    func limit() {
        var pauses = SeriesPauses()
        #expect(pauses.idleMax(atMost: 54, now: 65_530) == 2)
        pauses.note(1)
        #expect(pauses.idleMax(atMost: 54, now: 65_531) == 2)
        pauses.note(4)
        pauses.note(3)
        #expect(pauses.idleMax(atMost: 54, now: 65_533) == 8)
        #expect(pauses.idleMax(atMost: 5, now: 65_533) == 5)
        // Beyond the end of the clock's numbers.
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 38) == 8, "that of the period before")
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 75) == 8)
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 76) == 2)
        pauses.note(30)
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 80) == 54)
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 300) == 2, "after a long silence nothing is known")
        pauses.note(6)
        #expect(pauses.idleMax(atMost: 54, now: 9) == 12, "also when the clock was set back")
    }

    @Test("a series that comes back after it was given up is kept for longer next time")
    func back() {
        var pauses = SeriesPauses()
        var random = SeededRandom(seed: 5)
        let gone = (0..<20_000).map { _ in SeriesIdentity(high: random.next(), low: random.next()) }
        for identity in gone { pauses.gaveUp(identity, lastUsed: 65_534) }
        for _ in 0..<20_000 {
            pauses.came(SeriesIdentity(high: random.next(), low: random.next()), now: 3)
        }
        #expect(pauses.idleMax(atMost: 54, now: 3) == 2, "others are no reason")
        for identity in gone { pauses.came(identity, now: 3) }
        #expect(pauses.idleMax(atMost: 54, now: 3) == 10)
    }
}
