/// Builds `io.prometheus.write.v2.Request` messages, plainly.
public struct Message2 {
    private var symbols: [String]
    private var series: [UInt8] = []
    private let symbolsLast: Bool

    public init(symbols: [String] = [""], symbolsLast: Bool = false) {
        self.symbols = symbols
        self.symbolsLast = symbolsLast
    }

    public static func varint(_ value: UInt64) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F | 0x80)] + varint(value >> 7)
    }

    public static func field(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes
    }

    private mutating func reference(_ text: String) -> UInt64 {
        if let known = symbols.firstIndex(of: text) { return UInt64(known) }
        symbols.append(text)
        return UInt64(symbols.count - 1)
    }

    public mutating func add(
        _ labels: [String: String], _ samples: [(Int64, Double)], more: [UInt8] = [], packed: Bool = true
    ) {
        let references = labels.sorted { $0.key < $1.key }.flatMap {
            [reference($0.key), reference($0.value)]
        }
        var bytes =
            packed
            ? Self.field(1, references.flatMap(Self.varint))
            : references.flatMap { [0x08] + Self.varint($0) }
        for (timeMs, value) in samples {
            let bits = (0..<8).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt64($0))) }
            bytes += Self.field(2, [0x09] + bits + [0x10] + Self.varint(UInt64(timeMs)) + [0x18, 0x05])
        }
        series += Self.field(5, bytes + more)
    }

    public var bytes: [UInt8] {
        let strings = symbols.flatMap { Self.field(4, Array($0.utf8)) }
        return symbolsLast ? series + strings : strings + series
    }
}
