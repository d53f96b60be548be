/// Builds a remote write 1.0 message, series by series.
///
///     var encoder = RemoteWriteEncoder()
///     encoder.add(labels: [Label("__name__", "up")], samples: [TimedValue(timeMs: 1_700_000_000_000, value: 1)])
///     let body = encoder.finish()            // snappy, ready to be sent
///
/// To be sent with `Content-Type: application/x-protobuf`, `Content-Encoding: snappy` and
/// `X-Prometheus-Remote-Write-Version: 0.1.0`.
public struct RemoteWriteEncoder: Sendable {
    public static let contentType = "application/x-protobuf"
    public static let contentEncoding = "snappy"
    public static let versionHeader = ("X-Prometheus-Remote-Write-Version", "0.1.0")

    /// The value that ends a series: Prometheus' stale marker.
    public static let staleMarker = Double(bitPattern: 0x7FF0_0000_0000_0002)

    /// The message so far, not compressed.
    public private(set) var message: [UInt8] = []
    public private(set) var seriesCount = 0
    public private(set) var sampleCount = 0

    private var labelBytes: [UInt8] = []

    public init() {}

    /// Adds a series. Labels are sorted by name and those without a value are left out, as the specification
    /// demands; samples have to be in the order of their times. A series without samples is left out.
    public mutating func add(labels: [Label], samples: [TimedValue]) {
        guard !samples.isEmpty else { return }
        labelBytes.removeAll(keepingCapacity: true)
        for label in Self.sorted(labels) where !label.value.isEmpty {
            let name = label.name.utf8.count
            let value = label.value.utf8.count
            labelBytes.append(0x0A)
            appendVarint(UInt64(Self.textSize(name) + Self.textSize(value)), to: &labelBytes)
            labelBytes.append(0x0A)
            appendVarint(UInt64(name), to: &labelBytes)
            labelBytes.append(contentsOf: label.name.utf8)
            labelBytes.append(0x12)
            appendVarint(UInt64(value), to: &labelBytes)
            labelBytes.append(contentsOf: label.value.utf8)
        }
        var size = labelBytes.count
        for sample in samples { size += 2 + Self.sampleSize(sample) }
        message.append(0x0A)
        appendVarint(UInt64(size), to: &message)
        message.append(contentsOf: labelBytes)
        for sample in samples { append(sample) }
        seriesCount += 1
        sampleCount += samples.count
    }

    /// The compressed message. The encoder is empty afterwards.
    public mutating func finish() -> [UInt8] {
        let body = Snappy.encode(message)
        message.removeAll(keepingCapacity: true)
        seriesCount = 0
        sampleCount = 0
        return body
    }

    private mutating func append(_ sample: TimedValue) {
        message.append(0x12)
        message.append(UInt8(Self.sampleSize(sample)))
        message.append(0x09)
        withUnsafeBytes(of: sample.value.bitPattern.littleEndian) { message.append(contentsOf: $0) }
        message.append(0x10)
        appendVarint(UInt64(bitPattern: sample.timeMs), to: &message)
    }

    private static func sorted(_ labels: [Label]) -> [Label] {
        // Compared byte by byte, as Prometheus does it, and not as people would sort words.
        labels.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    private static func sampleSize(_ sample: TimedValue) -> Int {
        10 + varintSize(UInt64(bitPattern: sample.timeMs))
    }

    private static func textSize(_ count: Int) -> Int { 1 + varintSize(UInt64(count)) + count }

    private static func varintSize(_ value: UInt64) -> Int {
        max(1, (UInt64.bitWidth - value.leadingZeroBitCount + 6) / 7)
    }
}
