import Telemetry
import WireFormats

/// One column of a level's grid: what a series is called besides the place of its entity.
struct SeriesCell: Sendable {
    /// The same for the same name, within a grid.
    var index: Int
    var level: Level
    /// `DCGM_FI_…` or `colossus_gpus`.
    var field: String
    let statistic: String
    var unit: String
    var help: String
    /// `level:field:statistic`
    let name: String
    /// `name` as an encoded label.
    let encodedName: [UInt8]
    let isDistribution: Bool

    static let distribution = "distribution"

    init(index: Int, level: Level, field: String, statistic: String, unit: String, help: String) {
        self.index = index
        self.level = level
        self.field = field
        self.statistic = statistic
        isDistribution = statistic == Self.distribution
        self.unit = unit
        self.help = help
        name = "\(level.rawValue):\(field):\(statistic)"
        encodedName = SeriesMessage.encoded([Label(Label.metricName, name)])
    }
}

/// When a series' value was.
struct SeriesTime: Sendable {
    var startMs: Int64
    var endMs: Int64
}

/// Puts series into the body of a request. What is the same for all series of an entity is made once.
protocol SeriesWriter {
    associatedtype Place
    mutating func place(_ labels: [Label]) -> Place
    mutating func add(_ cell: SeriesCell, _ place: Place, _ time: SeriesTime, _ value: Double)
    mutating func add(_ cell: SeriesCell, _ place: Place, _ time: SeriesTime, _ value: Distribution)
    /// There is no value any more.
    mutating func end(_ cell: SeriesCell, _ place: Place, _ time: SeriesTime)
    mutating func finish() -> [UInt8]
}

extension SeriesWriter {
    mutating func end(_ cell: SeriesCell, _ place: Place, _ time: SeriesTime) {}
}

/// Bytes of protocol buffers, appended.
struct ProtoBytes {
    private(set) var bytes: [UInt8] = []

    mutating func tag(_ field: Int, _ type: UInt8) { varint(UInt64(field) << 3 | UInt64(type)) }

    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    static func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }

    mutating func integer(_ field: Int, _ value: UInt64) {
        tag(field, 0)
        varint(value)
    }

    mutating func signed(_ field: Int, _ value: Int64) { integer(field, Self.zigzag(value)) }

    mutating func fixed(_ field: Int, _ value: UInt64) {
        tag(field, 1)
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func double(_ field: Int, _ value: Double) { fixed(field, value.bitPattern) }

    mutating func raw(_ field: Int, _ more: [UInt8]) {
        tag(field, 2)
        varint(UInt64(more.count))
        bytes += more
    }

    mutating func text(_ field: Int, _ text: String) { raw(field, Array(text.utf8)) }

    mutating func message(_ field: Int, _ fill: (inout ProtoBytes) -> Void) {
        var inner = ProtoBytes()
        fill(&inner)
        raw(field, inner.bytes)
    }

    mutating func packed(_ field: Int, _ values: some Sequence<UInt64>) {
        var inner = ProtoBytes()
        for value in values { inner.varint(value) }
        if !inner.bytes.isEmpty { raw(field, inner.bytes) }
    }
}
