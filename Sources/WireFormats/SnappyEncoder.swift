extension Snappy {
    /// Compresses bytes into one block.
    ///
    /// Greedy matching as in the reference encoder: 64 KiB at a time, one hash table of 4-byte words, longer and
    /// longer steps through what does not repeat.
    public static func encode(_ bytes: RawSpan) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(32 + bytes.byteCount + bytes.byteCount / 6)
        appendVarint(UInt64(bytes.byteCount), to: &output)
        var table = [UInt16](repeating: 0, count: tableSize)
        var start = 0
        while start < bytes.byteCount {
            let end = min(bytes.byteCount, start + fragmentBytes)
            encodeFragment(bytes.extracting(start..<end), &table, &output)
            start = end
            if start < bytes.byteCount {
                for index in table.indices { table[index] = 0 }
            }
        }
        return output
    }

    /// Compresses an array.
    public static func encode(_ bytes: [UInt8]) -> [UInt8] { encode(bytes.span.bytes) }

    private static let fragmentBytes = 1 << 16
    private static let tableBits = 14
    private static var tableSize: Int { 1 << tableBits }

    private static func encodeFragment(_ bytes: RawSpan, _ table: inout [UInt16], _ output: inout [UInt8]) {
        let count = bytes.byteCount
        var literalStart = 0
        var position = 1
        var misses = 32
        // Words are read 4 bytes at a time.
        while position + 4 <= count {
            let word = bytes.littleEndian(position, as: UInt32.self)
            let slot = Int((word &* 0x1E35_A7BD) >> UInt32(32 - tableBits))
            let candidate = Int(table[slot])
            table[slot] = UInt16(position)
            guard candidate < position, bytes.littleEndian(candidate, as: UInt32.self) == word else {
                position += misses >> 5
                misses += 1
                continue
            }
            appendLiteral(bytes, literalStart..<position, &output)
            var length = 4
            while position + length < count, bytes.byte(candidate + length) == bytes.byte(position + length) {
                length += 1
            }
            appendCopy(back: position - candidate, length: length, &output)
            position += length
            literalStart = position
            misses = 32
        }
        appendLiteral(bytes, literalStart..<count, &output)
    }

    private static func appendLiteral(_ bytes: RawSpan, _ range: Range<Int>, _ output: inout [UInt8]) {
        guard !range.isEmpty else { return }
        let code = range.count - 1
        if code < 60 {
            output.append(UInt8(code << 2))
        } else if code < 1 << 8 {
            output += [60 << 2, UInt8(code)]
        } else {
            // A fragment has 64 KiB: two bytes are enough.
            output += [61 << 2, UInt8(code & 0xFF), UInt8(code >> 8)]
        }
        bytes.extracting(range).withUnsafeBytes { output.append(contentsOf: $0) }
    }

    private static func appendCopy(back: Int, length: Int, _ output: inout [UInt8]) {
        var rest = length
        // The last piece must have 4 bytes at least, in case that it is of the short kind.
        while rest >= 68 {
            appendPiece(back, 64, &output)
            rest -= 64
        }
        if rest > 64 {
            appendPiece(back, 60, &output)
            rest -= 60
        }
        appendPiece(back, rest, &output)
    }

    private static func appendPiece(_ back: Int, _ length: Int, _ output: inout [UInt8]) {
        if length >= 4, length < 12, back < 2_048 {
            output += [UInt8(1 | (length - 4) << 2 | (back >> 8) << 5), UInt8(back & 0xFF)]
        } else {
            output += [UInt8(2 | (length - 1) << 2), UInt8(back & 0xFF), UInt8(back >> 8)]
        }
    }
}

/// Appends a base-128 integer, as snappy and Protocol Buffers write it.
func appendVarint(_ value: UInt64, to output: inout [UInt8]) {
    var rest = value
    while rest >= 0x80 {
        output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
        rest >>= 7
    }
    output.append(UInt8(rest))
}
