public import Telemetry

/// What a shard remembers of counters and sticky gauges, without labels: enough for a process that comes after it to
/// go on adding up increases, and not to tell of an XID again that has been there for long.
///
/// It says what was known when it was made, which may be newer than the windows that are committed with it. Who
/// replays samples from a log starts from the newest checkpoint whose `newestMs` lies before the committed
/// `closedThroughMs`, with the samples that came after it was begun; what is before `closedThroughMs` then counts
/// nothing twice, because its window is closed. Who has no log takes the newest.
public struct ShardCheckpoint: Sendable, Equatable {
    public struct Entry: Sendable, Equatable {
        /// Index in the stream's topology.
        public var gpu: Int32
        public var field: FieldIndex
        /// Event time of the last sample, Unix milliseconds.
        public var lastMs: Int64
        public var lastValue: Double

        public init(gpu: Int32, field: FieldIndex, lastMs: Int64, lastValue: Double) {
            self.gpu = gpu
            self.field = field
            self.lastMs = lastMs
            self.lastValue = lastValue
        }
    }

    public var entries: [Entry]

    public init(entries: [Entry] = []) { self.entries = entries }

    /// The newest event time in it.
    public var newestMs: Int64? { entries.lazy.map(\.lastMs).max() }

    /// Forgets series that have samples of that time or later: who reads a log again meets those samples in it, and
    /// must not find them known already. What such a series said before comes with the log, too.
    public mutating func forget(fromMs timeMs: Int64) { entries.removeAll { $0.lastMs >= timeMs } }

    public func encoded() -> [UInt8] {
        var writer = CheckpointWriter()
        for entry in entries { writer.add(entry) }
        return writer.finish()
    }

    /// - Throws: when the bytes are not what `encoded` makes. Costs no more than the bytes' own length.
    public init(encoded bytes: [UInt8]) throws(CheckpointError) {
        entries = []
        var reader = CheckpointReader(bytes)
        try reader.read(into: &entries)
    }
}

/// Why bytes are no checkpoint.
public enum CheckpointError: Error, Equatable, Sendable {
    case unknownVersion(UInt8)
    case truncated
    /// A number that nothing has, at that byte.
    case badNumber(offset: Int)
    case trailingBytes(Int)
}

/// A checkpoint's bytes: the version 1; the number of fields; for each its DCGM id, the number of its entries and
/// those. An entry is the difference of its GPU and of its time to the entry before (zigzag), and its value: twice
/// the number for whole numbers below 2^52, else 1 and the eight bytes of the double. All numbers are LEB128 varints.
struct CheckpointWriter {
    private struct FieldPart {
        var bytes: [UInt8] = []
        var count = 0
        var lastGPU: Int64 = 0
        var lastMs: Int64 = 0
    }

    static let version: UInt8 = 1
    static let wholeBelow = 4_503_599_627_370_496.0

    /// Indexed by `FieldIndex`.
    private var parts: [FieldPart] = Array(repeating: FieldPart(), count: FieldCatalog.all.count)

    mutating func add(_ entry: ShardCheckpoint.Entry) {
        Self.add(entry, &parts[Int(entry.field.rawValue)])
    }

    private static func add(_ entry: ShardCheckpoint.Entry, _ part: inout FieldPart) {
        append(zigzag(Int64(entry.gpu) - part.lastGPU), &part.bytes)
        append(zigzag(entry.lastMs &- part.lastMs), &part.bytes)
        part.lastGPU = Int64(entry.gpu)
        part.lastMs = entry.lastMs
        part.count += 1
        let value = entry.lastValue
        if value >= 0, value < wholeBelow, value == value.rounded(.down), value.sign == .plus {
            append(UInt64(value) << 1, &part.bytes)
        } else {
            part.bytes.append(1)
            for shift in 0..<8 {
                part.bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> UInt64(shift * 8)))
            }
        }
    }

    func finish() -> [UInt8] {
        var bytes = [Self.version]
        Self.append(UInt64(parts.count { $0.count > 0 }), &bytes)
        for (index, part) in parts.enumerated() where part.count > 0 {
            Self.append(UInt64(FieldCatalog.all[index].id), &bytes)
            Self.append(UInt64(part.count), &bytes)
            bytes += part.bytes
        }
        return bytes
    }

    private static func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }

    private static func append(_ value: UInt64, _ bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }
}

/// Reads what a `CheckpointWriter` made, checking all that can be wrong. Fields that are not known any more are
/// passed over.
struct CheckpointReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func read(into entries: inout [ShardCheckpoint.Entry]) throws(CheckpointError) {
        guard let version = bytes.first else { throw .truncated }
        guard version == CheckpointWriter.version else { throw .unknownVersion(version) }
        position = 1
        for _ in 0..<(try number(below: 65_536)) {
            let id = try number(below: 65_536)
            let count = try number(below: UInt64(bytes.count))
            try read(FieldCatalog.find(id: UInt16(id)), Int(count), into: &entries)
        }
        guard position == bytes.count else { throw .trailingBytes(bytes.count - position) }
    }

    private mutating func read(
        _ field: FieldIndex?, _ count: Int, into entries: inout [ShardCheckpoint.Entry]
    ) throws(CheckpointError) {
        var gpu: Int64 = 0
        var timeMs: Int64 = 0
        for _ in 0..<count {
            let start = position
            gpu &+= Self.unzigzag(try varint())
            timeMs &+= Self.unzigzag(try varint())
            let value = try value()
            guard let index = Int32(exactly: gpu), index >= 0 else { throw .badNumber(offset: start) }
            guard let field else { continue }
            entries.append(.init(gpu: index, field: field, lastMs: timeMs, lastValue: value))
        }
    }

    private mutating func value() throws(CheckpointError) -> Double {
        let start = position
        let raw = try varint()
        if raw & 1 == 0 { return Double(raw >> 1) }
        guard raw == 1 else { throw .badNumber(offset: start) }
        guard position + 8 <= bytes.count else { throw .truncated }
        var bits: UInt64 = 0
        for shift in 0..<8 { bits |= UInt64(bytes[position + shift]) << UInt64(shift * 8) }
        position += 8
        let value = Double(bitPattern: bits)
        guard value.isFinite else { throw .badNumber(offset: start) }
        return value
    }

    private mutating func number(below limit: UInt64) throws(CheckpointError) -> UInt64 {
        let start = position
        let value = try varint()
        guard value < limit else { throw .badNumber(offset: start) }
        return value
    }

    private mutating func varint() throws(CheckpointError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        let start = position
        while true {
            guard position < bytes.count else { throw .truncated }
            let byte = bytes[position]
            position += 1
            guard shift < 63 || byte <= 1 else { throw .badNumber(offset: start) }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
    }

    private static func unzigzag(_ value: UInt64) -> Int64 {
        Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }
}
