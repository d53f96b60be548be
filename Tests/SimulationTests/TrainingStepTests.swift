import TestSupport
import Testing

@testable import Simulation

/// What members of a synchronous job do within one step.
@Suite(.computing) struct TrainingStepTests {
    @Test("a step that waits is as long for who is slow, and each does the work of an ordinary one")
    func heldStep() {
        let step = TrainingStep(seconds: 5.779)
        let rest = TrainingStep.Factors(power: 0.3, tensor: 0, dram: 0.1, nvlink: 0, pcie: 0)
        for permille in [1, 100, 500] as [Int64] {
            let (waiting, slow) = step.held(permille, waiting: rest)
            let pace = 1 - Double(permille) / 1_000
            #expect(waiting.ms == slow.ms && abs(Double(waiting.ms) * pace - 5_779) < 1)
            func work(_ step: TrainingStep) -> Double {
                (0..<step.ms).reduce(0) { $0 + Double(step.factors(at: $1).tensor) } / 5_779
            }
            #expect(abs(work(waiting) - 1) < 1e-3 && abs(work(slow) - 1) < 1e-3)
            #expect(abs(Double(waiting.mean) - (pace + 0.3 * (1 - pace))) < 1e-3)
            #expect(slow.mean > 0.999 && slow.mean < 1.05 && slow.peak == step.peak)
            #expect(abs(waiting.integral(waiting.ms * 3) / (3 * waiting.integral(waiting.ms)) - 1) < 1e-9)
        }
    }
}
