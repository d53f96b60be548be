/// Appends numbers to bytes, little-endian, and varints (LEB128).
struct ByteWriter {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }

    mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        var rest = number
        for _ in 0..<MemoryLayout<Number>.size {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }

    mutating func append(_ number: Double) { append(number.bitPattern) }

    mutating func append(varint number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    /// Bytes with their number before them.
    mutating func append(counted more: [UInt8]) {
        append(varint: UInt64(more.count))
        append(more)
    }

    /// Writes over four bytes that are there already.
    mutating func set(_ number: UInt32, at position: Int) {
        for index in 0..<4 { bytes[position + index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
    }
}

/// Why bytes of the bus are not what they should be.
public enum EnvelopeError: Error, Equatable, Sendable {
    /// They end too early.
    case truncated
    /// They do not begin as ours do.
    case notOurs
    /// A later version, or a flag that this one does not know: never guessed at.
    case unknownVersion
    case checksum
    /// A count, length or number beyond its limit.
    case outOfRange
    /// Bytes after the end.
    case trailingBytes
    /// A sketch that is none.
    case badSketch
    /// A name that is not UTF-8, or a level that does not exist.
    case badName
}

/// Reads what `ByteWriter` wrote, from bytes that nobody vouches for: each read is checked.
struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private(set) var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    var left: Int { bytes.endIndex - position }

    mutating func take(_ count: Int) throws(EnvelopeError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= left else { throw .truncated }
        defer { position += count }
        return bytes[position..<position + count]
    }

    mutating func number<Number: FixedWidthInteger & UnsignedInteger>(
        _: Number.Type = Number.self
    ) throws(EnvelopeError) -> Number {
        var value: Number = 0
        let taken = try take(MemoryLayout<Number>.size)
        for byte in taken.reversed() { value = (value << 8) | Number(byte) }
        return value
    }

    mutating func double() throws(EnvelopeError) -> Double { Double(bitPattern: try number()) }

    mutating func varint() throws(EnvelopeError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let byte: UInt8 = try number()
            guard shift < 63 || byte <= 1 else { throw .outOfRange }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
    }

    mutating func varint(max: UInt64) throws(EnvelopeError) -> UInt64 {
        let value = try varint()
        guard value <= max else { throw .outOfRange }
        return value
    }

    mutating func counted(max: Int) throws(EnvelopeError) -> ArraySlice<UInt8> {
        try take(Int(try varint(max: UInt64(max))))
    }
}
