import TestSupport
import Testing

@testable import Simulation

@Suite(.computing) struct PhiloxTests {
    struct Known: Sendable {
        var counter: SIMD4<UInt32>
        var key: (UInt32, UInt32)
        var words: SIMD4<UInt32>
    }

    /// `kat_vectors` of Random123 (D. E. Shaw Research), philox 4x32 10.
    static let published = [
        Known(
            counter: SIMD4(0, 0, 0, 0), key: (0, 0),
            words: SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)),
        Known(
            counter: SIMD4(repeating: 0xffff_ffff), key: (0xffff_ffff, 0xffff_ffff),
            words: SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)),
        Known(
            counter: SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344),
            key: (0xa409_3822, 0x299f_31d0),
            words: SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1)),
    ]

    @Test("the published known answers come out", arguments: published)
    func knownAnswers(_ known: Known) {
        #expect(Philox.block(known.counter, key: known.key) == known.words)
    }

    @Test("eight lanes at once give what eight single draws give")
    func lanes() {
        for seed in [0, 1, 0xdead_beef_1234_5678, UInt64.max] {
            let philox = Philox(seed: seed)
            let lanes = philox.draw8(.tick, first: 4_294_967_280, counter: 1_714_694_400_000)
            for lane in 0..<8 {
                let one = philox.draw(
                    .tick, entity: 4_294_967_280 + UInt32(lane), counter: 1_714_694_400_000)
                #expect(one == SIMD4(lanes.0[lane], lanes.1[lane], lanes.2[lane], lanes.3[lane]))
            }
        }
    }

    @Test("seed, purpose, entity and each half of the counter matter")
    func independence() {
        let base = Philox(seed: 7).draw(.failure, entity: 3, counter: 5)
        #expect(Philox(seed: 7).draw(.failure, entity: 3, counter: 5) == base)
        #expect(Philox(seed: 8).draw(.failure, entity: 3, counter: 5) != base)
        #expect(Philox(seed: 7 + 1 << 32).draw(.failure, entity: 3, counter: 5) != base)
        #expect(Philox(seed: 7).draw(.repair, entity: 3, counter: 5) != base)
        #expect(Philox(seed: 7).draw(.failure, entity: 4, counter: 5) != base)
        #expect(Philox(seed: 7).draw(.failure, entity: 3, counter: 6) != base)
        #expect(Philox(seed: 7).draw(.failure, entity: 3, counter: 5 + 1 << 32) != base)
    }

    @Test("uniform numbers are never 0 or 1 and fill the range")
    func units() {
        #expect(SIMD4<UInt32>(0, 0, 0, 0).unit > 0)
        #expect(SIMD4<UInt32>(repeating: .max).unit < 1)
        let philox = Philox(seed: 42)
        let draws = (0..<20_000).map { philox.draw(.cause, entity: $0, counter: 0).unit }
        let mean = draws.reduce(0, +) / Double(draws.count)
        let square = draws.reduce(0) { $0 + $1 * $1 } / Double(draws.count)
        // Four standard errors of the mean, and of the mean of squares.
        #expect(abs(mean - 0.5) < 4 * 0.2887 / 141.4)
        #expect(abs(square - 1.0 / 3) < 4 * 0.2981 / 141.4)
    }
}
