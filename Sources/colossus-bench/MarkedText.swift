/// Bytes of a message of which some are set anew for each pass.
struct MarkedText {
    /// A byte as it is, or what stands for one that changes: equal marks are equal bytes at all times.
    private(set) var marks: [UInt32] = []

    static let time: UInt32 = 0x100
    static let generation: UInt32 = 0x0100_0000
    static let value: UInt32 = 0x8000_0000

    mutating func append(_ bytes: [UInt8]) {
        for byte in bytes { marks.append(UInt32(byte)) }
    }

    mutating func append(_ text: String) {
        for byte in text.utf8 { marks.append(UInt32(byte)) }
    }

    /// The six bytes of a time in this century.
    mutating func appendTime() {
        for byte in UInt32(0)..<6 { marks.append(Self.time | byte) }
    }

    /// Eight digits, which are those of the node wherever they stand.
    mutating func appendGeneration(node: Int) {
        for digit in 0..<8 { marks.append(Self.generation + UInt32(node * 8 + digit)) }
    }

    /// The eight bytes of a value, which is like no other one.
    ///
    /// - Parameter varying: how many of them change, the last ones; the others are zero, as those of a whole number are.
    mutating func appendValue(_ number: Int, varying: Int) {
        for byte in 0..<8 {
            marks.append(byte < 8 - varying ? 0 : Self.value | UInt32(number) << 4 | UInt32(byte))
        }
    }
}
