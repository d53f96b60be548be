import Telemetry
import TestSupport
import Testing
import WireFormats

@testable import Receivers

@Suite("How long series pause")
struct SeriesPausesTests {
    private static func counts(_ steps: [Int: Int]) -> SeriesPauses.Counts {
        var counts = SeriesPauses.Counts(repeating: 0)
        for (steps, count) in steps { counts[steps] = count }
        return counts
    }

    @Test("an entry is kept for twice what nearly all pauses last, never for too little or too long")
    func limit() {
        var pauses = SeriesPauses()
        #expect(pauses.idleMax(atMost: 54, now: 65_530) == 2)
        pauses.note(Self.counts([1: 1_000]))
        #expect(pauses.idleMax(atMost: 54, now: 65_531) == 2)
        pauses.note(Self.counts([4: 15]))
        #expect(pauses.idleMax(atMost: 54, now: 65_533) == 2, "few are learned again")
        pauses.note(Self.counts([3: 2]))
        #expect(pauses.idleMax(atMost: 54, now: 65_533) == 6, "17 of 1,017")
        pauses.note(Self.counts([63: 20]))
        #expect(pauses.idleMax(atMost: 54, now: 65_533) == 54)
        pauses.note(Self.counts([5: 900]))
        #expect(pauses.idleMax(atMost: 9, now: 65_533) == 9)
        // Beyond the end of the clock's numbers.
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 75) == 10)
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 76) == 10, "that of the period before")
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 151) == 10)
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 152) == 2)
        pauses.note(Self.counts([20: 1]))
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 160) == 40)
        #expect(pauses.idleMax(atMost: 54, now: 65_530 &+ 600) == 2, "after a long silence nothing is known")
        pauses.note(Self.counts([6: 1]))
        #expect(pauses.idleMax(atMost: 54, now: 9) == 12, "also when the clock was set back")
    }

    @Test(
        "series that come back after they were given up are kept for longer next time",
        arguments: [50, 20_000])
    func back(count: Int) {
        var pauses = SeriesPauses()
        var random = SeededRandom(seed: 5)
        let gone = (0..<count).map { _ in SeriesIdentity(high: random.next(), low: random.next()) }
        pauses.note(Self.counts([1: count]))
        for identity in gone { pauses.gaveUp(identity, lastUsed: 65_534) }
        for _ in 0..<count {
            pauses.came(SeriesIdentity(high: random.next(), low: random.next()), now: 3, atMost: 54)
        }
        #expect(pauses.idleMax(atMost: 54, now: 3) == 2, "others are no reason")
        for identity in gone { pauses.came(identity, now: 3, atMost: 4) }
        #expect(pauses.idleMax(atMost: 54, now: 3) == 2, "nor is what could not have been kept")
        for identity in gone { pauses.gaveUp(identity, lastUsed: 65_534) }
        for identity in gone { pauses.came(identity, now: 3, atMost: 54) }
        #expect(pauses.idleMax(atMost: 54, now: 3) == 10)
    }
}
