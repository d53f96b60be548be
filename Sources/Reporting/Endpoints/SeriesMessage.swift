import Telemetry
import WireFormats

/// A remote write 1.0 message of series with one sample each, put together from labels that were encoded before: a
/// label is encoded once a window or once an entity, and not once a series.
struct SeriesMessage: SeriesWriter {
    private var bytes: [UInt8] = []

    init() {}

    func place(_ labels: [Label]) -> [UInt8] { Self.encoded(labels) }

    mutating func add(_ cell: SeriesCell, _ place: [UInt8], _ time: SeriesTime, _ value: Double) {
        add(name: cell.encodedName, labels: place, timeMs: time.endMs, value: value)
    }

    /// Remote write 1.0 as it was published has no histograms.
    func add(_ cell: SeriesCell, _ place: [UInt8], _ time: SeriesTime, _ value: Distribution) {}

    func finish() -> [UInt8] { bytes }

    /// `Label { name = 1; value = 2 }` as field 1 of a series, one after the other; those without a value are left out.
    static func encoded(_ labels: [Label]) -> [UInt8] {
        var bytes: [UInt8] = []
        for label in labels where !label.value.isEmpty {
            var inner: [UInt8] = []
            for (tag, text) in [(UInt8(0x0A), label.name), (0x12, label.value)] {
                inner.append(tag)
                appendVarint(UInt64(text.utf8.count), to: &inner)
                inner.append(contentsOf: text.utf8)
            }
            bytes.append(0x0A)
            appendVarint(UInt64(inner.count), to: &bytes)
            bytes += inner
        }
        return bytes
    }

    /// `TimeSeries { labels = 1; samples = 2 }` as field 1 of the request.
    mutating func add(name: [UInt8], labels: [UInt8], timeMs: Int64, value: Double) {
        let time = UInt64(bitPattern: timeMs)
        let timeBytes = max(1, (UInt64.bitWidth - time.leadingZeroBitCount + 6) / 7)
        let sample = 9 + 1 + timeBytes
        bytes.append(0x0A)
        Self.appendVarint(UInt64(name.count + labels.count + 2 + sample), to: &bytes)
        bytes += name
        bytes += labels
        // `Sample { double value = 1; int64 timestamp = 2 }`.
        bytes.append(0x12)
        bytes.append(UInt8(sample))
        bytes.append(0x09)
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
        bytes.append(0x10)
        Self.appendVarint(time, to: &bytes)
    }

    private static func appendVarint(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

/// A remote write 2.0 message (`io.prometheus.write.v2.Request`): each text once, in a table.
struct SeriesMessage2: SeriesWriter {
    private var symbols: [String] = [""]
    private var references: [String: UInt64] = ["": 0]
    private var series = ProtoBytes()
    /// References of `__name__`, help and unit of cells that were seen, by level and index.
    private var cells: [Level: [Int: CellReferences]] = [:]

    private struct CellReferences {
        /// `__name__` and the name, as two varints.
        var name: [UInt8]
        var metadata: [UInt8]
    }

    mutating func place(_ labels: [Label]) -> [UInt8] {
        var proto = ProtoBytes()
        for label in labels where !label.value.isEmpty {
            proto.varint(reference(label.name))
            proto.varint(reference(label.value))
        }
        return proto.bytes
    }

    mutating func add(_ cell: SeriesCell, _ place: [UInt8], _ time: SeriesTime, _ value: Double) {
        let known = references(of: cell)
        series.message(5) { proto in
            proto.raw(1, known.name + place)
            proto.message(2) {
                $0.double(1, value)
                $0.integer(2, UInt64(bitPattern: time.endMs))
            }
            proto.raw(5, known.metadata)
        }
    }

    mutating func add(_ cell: SeriesCell, _ place: [UInt8], _ time: SeriesTime, _ value: Distribution) {
        let known = references(of: cell)
        series.message(5) { proto in
            proto.raw(1, known.name + place)
            proto.raw(3, value.native(timeMs: time.endMs))
            proto.raw(5, known.metadata)
        }
    }

    func finish() -> [UInt8] {
        var message = ProtoBytes()
        for symbol in symbols { message.text(4, symbol) }
        return message.bytes + series.bytes
    }

    private mutating func references(of cell: SeriesCell) -> CellReferences {
        if let known = cells[cell.level]?[cell.index] { return known }
        var name = ProtoBytes()
        name.varint(reference(Label.metricName))
        name.varint(reference(cell.name))
        var metadata = ProtoBytes()
        metadata.integer(1, cell.isDistribution ? 4 : 2)  // GAUGEHISTOGRAM, GAUGE
        metadata.integer(3, reference(cell.help))
        metadata.integer(4, reference(cell.unit))
        let made = CellReferences(name: name.bytes, metadata: metadata.bytes)
        cells[cell.level, default: [:]][cell.index] = made
        return made
    }

    private mutating func reference(_ text: String) -> UInt64 {
        if let known = references[text] { return known }
        let new = UInt64(symbols.count)
        symbols.append(text)
        references[text] = new
        return new
    }
}
