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

    mutating func end(_ cell: SeriesCell, _ place: [UInt8], _ time: SeriesTime) {
        if !cell.isDistribution { add(cell, place, time, RemoteWriteEncoder.staleMarker) }
    }

    func finish() -> [UInt8] { bytes }

    /// `Label { name = 1; value = 2 }` as field 1 of a series, one after the other; those without a value are left out.
    static func encoded(_ labels: [Label]) -> [UInt8] {
        var proto = ProtoBytes()
        for label in labels where !label.value.isEmpty {
            proto.message(1) {
                $0.text(1, label.name)
                $0.text(2, label.value)
            }
        }
        return proto.bytes
    }

    /// `TimeSeries { labels = 1; samples = 2 }` as field 1 of the request.
    mutating func add(name: [UInt8], labels: [UInt8], timeMs: Int64, value: Double) {
        let time = UInt64(bitPattern: timeMs)
        let timeBytes = max(1, (UInt64.bitWidth - time.leadingZeroBitCount + 6) / 7)
        let sample = 9 + 1 + timeBytes
        var frame = FrameBytes()
        frame.append(0x0A)
        frame.append(varint: UInt64(name.count + labels.count + 2 + sample))
        frame.append(to: &bytes)
        name.withUnsafeBytes { bytes.append(contentsOf: $0) }
        labels.withUnsafeBytes { bytes.append(contentsOf: $0) }
        // `Sample { double value = 1; int64 timestamp = 2 }`.
        frame = FrameBytes()
        frame.append(0x12)
        frame.append(UInt8(sample))
        frame.append(0x09)
        frame.append(fixed: value.bitPattern)
        frame.append(0x10)
        frame.append(varint: time)
        frame.append(to: &bytes)
    }
}

/// A few bytes that are put together without memory of their own: an array would ask for each of them whether it is shared
/// and large enough.
private struct FrameBytes {
    private var bytes = InlineArray<32, UInt8>(repeating: 0)
    private var count = 0

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        bytes[count] = byte
        count += 1
    }

    @inline(__always)
    mutating func append(fixed value: UInt64) {
        for index in 0..<8 { append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
    }

    @inline(__always)
    mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }

    @inline(__always)
    func append(to output: inout [UInt8]) {
        bytes.span.withUnsafeBufferPointer {
            output.append(contentsOf: UnsafeBufferPointer(rebasing: $0.prefix(count)))
        }
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

    /// Of a distribution, too: Prometheus takes a stale sample as the end of whatever the series has.
    mutating func end(_ cell: SeriesCell, _ place: [UInt8], _ time: SeriesTime) {
        add(cell, place, time, RemoteWriteEncoder.staleMarker)
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
