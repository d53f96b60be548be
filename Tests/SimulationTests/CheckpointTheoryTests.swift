import Simulation
import TestSupport
import Testing

@Suite(.computing) struct CheckpointTheoryTests {
    /// Minutes: MTTF, write, restart, and the published optimum, Young's, Daly's and the efficiency, by exact arithmetic.
    static let vectors: [(Double, Double, Double, Double, Double, Double, Double)] = [
        (185.6, 0.33, 10, 10.849, 11.068, 10.849, 0.8922), (185.6, 1, 10, 18.606, 19.267, 18.606, 0.8526),
        (60, 0.5, 5, 7.416, 7.746, 7.416, 0.8063), (18, 0.05, 10, 1.309, 1.342, 1.309, 0.532),
        (1_440, 0.666667, 60, 43.375, 43.818, 43.374, 0.9303),
    ]

    @Test("the optimum is where exact arithmetic has it, to 0.5%", arguments: vectors)
    func optimum(
        _ vector: (
            mttf: Double, write: Double, restart: Double, tau: Double, young: Double, daly: Double,
            efficiency: Double
        )
    ) {
        let exact = CheckpointTheory.exact(write: vector.write, mttf: vector.mttf)
        #expect(abs(exact / vector.tau - 1) < 0.0005)
        #expect(
            abs(CheckpointTheory.young(write: vector.write, mttf: vector.mttf) / vector.young - 1) < 0.0005)
        #expect(abs(CheckpointTheory.daly(write: vector.write, mttf: vector.mttf) / vector.daly - 1) < 0.0005)
        func efficiency(_ tau: Double) -> Double {
            CheckpointTheory.efficiency(
                tau: tau, write: vector.write, mttf: vector.mttf, restart: vector.restart)
        }
        #expect(abs(efficiency(exact) - vector.efficiency) < 0.0005)
        // No neighbour is better.
        for factor in [0.7, 0.9, 0.99, 1.01, 1.1, 1.5] {
            #expect(efficiency(exact * factor) < efficiency(exact))
        }
    }

    @Test("the spare rule covers 99% of the days: 4 of 1,024 machines at the rates that imply it")
    func spares() {
        #expect(CheckpointTheory.spares(nodes: 1_024, failuresPerNodeDay: 0.81e-3) == 4)
        #expect(CheckpointTheory.spares(nodes: 1_024, failuresPerNodeDay: 1.24e-3) == 4)
        #expect(CheckpointTheory.spares(nodes: 1_024, failuresPerNodeDay: 1.3e-3) == 5)
        #expect(CheckpointTheory.spares(nodes: 1_024, failuresPerNodeDay: 0) == 0)
    }
}
