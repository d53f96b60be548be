import Glibc
import TestSupport
import Testing

@testable import Simulation

@Suite(.computing) struct PortableMathTests {
    @Test("log and exp agree with the C library to a few units of the last place")
    func againstLibrary() {
        for step in -400...400 {
            let x = Double(step) * 0.7371
            let power = PortableMath.exp(x)
            #expect(abs(power - Glibc.exp(x)) <= 4 * Glibc.exp(x).ulp)
            #expect(abs(PortableMath.log(power) - Glibc.log(power)) <= 2 * max(abs(x), 1).ulp)
        }
        for denominator in 1...500 {
            let x = 1 / Double(denominator)
            #expect(abs(PortableMath.log(x) - Glibc.log(x)) <= 2 * max(abs(Glibc.log(x)), 0.1).ulp)
        }
        #expect(PortableMath.log(1) == 0)
        #expect(PortableMath.exp(0) == 1)
        #expect(PortableMath.exp(-800) == 0)
    }

    /// NIST/SEMATECH e-Handbook, table of the standard normal distribution; further digits from Abramowitz and Stegun.
    @Test(
        "normal quantiles are those of the tables",
        arguments: [
            (0.5, 0), (0.975, 1.959_963_984_540_054), (0.025, -1.959_963_984_540_054),
            (0.995, 2.575_829_303_548_901), (0.001, -3.090_232_306_167_813), (0.841_344_746_068_543, 1.0),
        ])
    func quantiles(_ probability: Double, _ expected: Double) {
        #expect(abs(PortableMath.normalQuantile(probability) - expected) < 5e-9 * max(1, abs(expected)))
    }
}
