import Playback
import Testing

@Suite struct ResolutionTests {
    @Test(
        "the resolution follows the pace",
        arguments: [
            (Pace.times(0.5), 10, 10), (.times(1), 10, 10), (.times(60), 10, 60), (.times(240), 10, 600),
            (.times(241), 60, 600), (.times(3_600), 600, 3_600), (.times(14_401), 3_600, 86_400),
            (.times(86_400), 3_600, 86_400), (.times(100_000), 86_400, 86_400), (.max, 86_400, 86_400),
        ])
    func followsPace(_ pace: Pace, _ tickSeconds: Int64, _ windowSeconds: Int64) {
        let resolution = Resolution(pace: pace)
        #expect(resolution.tickMs == tickSeconds * 1_000)
        #expect(resolution.finestWindowMs == windowSeconds * 1_000)
        if case .times(let factor) = pace, factor < 86_401 {
            #expect(factor * 1_000 / Double(resolution.tickMs) <= 24)
        }
    }

    @Test("it says what it is in words")
    func words() {
        #expect("\(Resolution(pace: .times(86_400)))" == "one tick an hour, windows of 1 d")
        #expect(Resolution(pace: .times(1)).tickText == "one tick every 10 s")
        #expect(Resolution(pace: .times(1)).windowText == "windows of 10 s, 1 min, 10 min and 1 h")
        #expect(Resolution(pace: .max).tickText == "one tick a day")
        #expect(Resolution(pace: .times(300)).tickText == "one tick a minute")
        #expect("\(Pace.times(86_400)) \(Pace.times(0.5)) \(Pace.max)" == "86400x 0.5x max")
    }

    @Test("a tick that is given is taken, or the next that divides a day")
    func given() {
        #expect(Resolution(pace: .max, tickMs: 10_000).tickMs == 10_000)
        #expect(Resolution(pace: .max, tickMs: 10_000).finestWindowMs == 86_400_000)
        #expect(Resolution(pace: .times(1), tickMs: 1_000).finestWindowMs == 10_000)
        #expect(Resolution(pace: .times(1), tickMs: 7_000).tickMs == 7_200)
        #expect(Resolution(pace: .times(1), tickMs: 7_200).finestWindowMs == 3_600_000)
        #expect(Resolution(pace: .times(1), tickMs: -5).tickMs == 1)
    }
}
