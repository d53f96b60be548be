/// The pieces that Protocol Buffers messages are made of, read with checks.
enum Proto {
    enum WireType: UInt64 {
        case varint = 0
        case fixed64 = 1
        case bytes = 2
        case fixed32 = 5
    }

    @inline(__always)
    static func tag(_ field: UInt64, _ type: WireType) -> UInt64 { field << 3 | type.rawValue }

    /// A base-128 integer of at most 64 bits.
    @inline(__always)
    static func varint(_ bytes: RawSpan, _ offset: inout Int, _ end: Int) throws(WireError) -> UInt64 {
        guard offset < end else { throw WireError(.truncated, at: offset) }
        let first = bytes.byte(offset)
        offset &+= 1
        return first < 0x80 ? UInt64(first) : try longVarint(UInt64(first & 0x7F), bytes, &offset, end)
    }

    private static func longVarint(
        _ first: UInt64, _ bytes: RawSpan, _ offset: inout Int, _ end: Int
    ) throws(WireError) -> UInt64 {
        let start = offset - 1
        var value = first
        var shift: UInt64 = 7
        while offset < end {
            let byte = bytes.byte(offset)
            offset &+= 1
            // The tenth byte holds the 64th bit and nothing else.
            if shift == 63, byte > 1 { throw WireError(.badVarint, at: start) }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift &+= 7
        }
        throw WireError(.truncated, at: start)
    }

    /// The length of what follows, which lies inside the message.
    @inline(__always)
    static func length(_ bytes: RawSpan, _ offset: inout Int, _ end: Int) throws(WireError) -> Int {
        let start = offset
        let length = try varint(bytes, &offset, end)
        guard length <= UInt64(end &- offset) else { throw WireError(.badLength, at: start) }
        return Int(length)
    }

    /// Steps over a field whose tag has been read. Groups are refused: they left the language in 2008.
    static func skip(
        _ tag: UInt64, _ bytes: RawSpan, _ offset: inout Int, _ end: Int, at start: Int
    ) throws(WireError) {
        guard tag >> 3 > 0 else { throw WireError(.badFieldNumber, at: start) }
        switch WireType(rawValue: tag & 7) {
        case .varint: _ = try varint(bytes, &offset, end)
        case .fixed64:
            guard end - offset >= 8 else { throw WireError(.truncated, at: offset) }
            offset += 8
        case .bytes: offset += try length(bytes, &offset, end)
        case .fixed32:
            guard end - offset >= 4 else { throw WireError(.truncated, at: offset) }
            offset += 4
        case nil: throw WireError(.badWireType, at: start)
        }
    }
}
