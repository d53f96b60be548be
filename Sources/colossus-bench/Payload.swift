/// A request body whose times, values and labels can be set anew.
struct Payload {
    private(set) var bytes: [UInt8]
    let sampleCount: Int
    /// Where the three highest bytes of whole numbers stand, and the eight of what else is measured.
    private let short: [UInt32]
    private let long: [UInt32]
    private let times: [(place: UInt32, byte: UInt8)]
    /// Digits of a node's label that changes when its series are spelled anew.
    private let generations: [(node: UInt32, place: UInt32, digit: UInt8)]

    /// Bytes that change of a whole number below 4,096, and of any other.
    static let shortWidth = 3
    static let longWidth = 8

    /// - Parameter widths: of the values, in their order.
    init(_ text: MarkedText, widths: [Int]) {
        let baker = SnappyBaker(text, widths: widths)
        bytes = baker.block
        sampleCount = widths.count
        var (short, long): ([UInt32], [UInt32]) = ([], [])
        // Values are never copies: there is a place for each, in their order.
        for (place, width) in zip(baker.values, widths) {
            if width == Self.shortWidth { short.append(place) } else { long.append(place) }
        }
        (self.short, self.long) = (short, long)
        times = baker.times
        generations = baker.generations
    }

    /// What the bodies of a pass say.
    struct Pass {
        let timeMs: Int64
        /// The eight digits of each node's label, the first one lowest.
        fileprivate let spellings: [UInt64]
        /// Noise: the bits of so many numbers, which samples take in turn.
        fileprivate let short: [UInt64]
        fileprivate let long: [UInt64]
        fileprivate static let numbers = 256

        /// - Parameter churnEvery: in each pass one of so many nodes gets another generation; 0 is never.
        init(_ pass: Int, timeMs: Int64, nodes: Int, churnEvery: Int) {
            self.timeMs = timeMs
            spellings = (0..<nodes).map { node in
                // The last pass in which it was this node's turn: all bodies of a pass say the same.
                var rest = churnEvery > 0 ? max(0, pass - (pass + node) % churnEvery) : 0
                var digits: UInt64 = 0
                for _ in 0..<8 {
                    digits = digits << 8 | UInt64(0x30 + rest % 10)
                    rest /= 10
                }
                return digits
            }
            // A level for each, and another number in each pass.
            short = (0..<Self.numbers).map { number in
                let value = 100 + number * 37 % 64 + (number * 31 + pass * 29) % 64
                return Double(value).bitPattern >> 40
            }
            long = (0..<Self.numbers).map { number in
                let value = 400_000 + number * 37 % 64 + (number * 31 + pass * 29) % 50_000
                return (Double(value) * 0.001).bitPattern.littleEndian
            }
        }
    }

    /// - Parameter salt: of this body: at the same place in another one stand other numbers.
    mutating func set(_ pass: Pass, salt: Int = 0) {
        let (times, short, long, generations) = (times, short, long, generations)
        bytes.withUnsafeMutableBytes { bytes in
            for (place, byte) in times {
                let bits = UInt64(pass.timeMs) >> (7 * UInt64(byte)) & 0x7F
                bytes[Int(place)] = UInt8(bits) | (byte < 5 ? 0x80 : 0)
            }
            for (node, place, digit) in generations {
                bytes[Int(place)] = UInt8(
                    truncatingIfNeeded: pass.spellings[Int(node)] >> (8 * UInt64(digit)))
            }
            pass.short.withUnsafeBufferPointer { numbers in
                for (number, place) in short.enumerated() {
                    let bits = numbers[(number &+ salt) & (Pass.numbers - 1)]
                    bytes.storeBytes(
                        of: UInt16(truncatingIfNeeded: bits), toByteOffset: Int(place), as: UInt16.self)
                    bytes[Int(place) + 2] = UInt8(truncatingIfNeeded: bits >> 16)
                }
            }
            pass.long.withUnsafeBufferPointer { numbers in
                for (number, place) in long.enumerated() {
                    bytes.storeBytes(
                        of: numbers[(number &+ salt) & (Pass.numbers - 1)], toByteOffset: Int(place),
                        as: UInt64.self)
                }
            }
        }
    }
}
