extension Snappy {
    /// Compresses bytes into one block.
    ///
    /// Greedy matching as in the reference encoder: 64 KiB at a time, one hash table of 4-byte words, longer and
    /// longer steps through what does not repeat.
    public static func encode(_ bytes: RawSpan) -> [UInt8] {
        bytes.withUnsafeBytes { source in
            [UInt8](unsafeUninitializedCapacity: sizeMax(source.count)) { target, filled in
                guard let start = target.baseAddress else { return }
                filled = pack(source, into: UnsafeMutableRawPointer(start))
            }
        }
    }

    /// Compresses an array.
    public static func encode(_ bytes: [UInt8]) -> [UInt8] { encode(bytes.span.bytes) }

    private static let fragmentBytes = 1 << 16
    private static let tableBits = 14

    /// The most bytes that a block of so many bytes has, as the format's own library says, and room to copy 16 bytes where less is
    /// meant. A literal has one byte more than its content up to 60, two up to 256 and three up to 64 KiB; a copy has three bytes
    /// at most, and stands for four at least.
    private static func sizeMax(_ count: Int) -> Int { 32 + count + count / 6 + 16 }

    // From here on raw memory, for speed. Invariants: nothing is read at or after the end of the fragment, and what is written is
    // bounded by `sizeMax`.

    private static func pack(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawPointer) -> Int {
        var written = 0
        var length = UInt64(source.count)
        while length >= 0x80 {
            put(UInt8(truncatingIfNeeded: length) | 0x80, target, &written)
            length >>= 7
        }
        put(UInt8(length), target, &written)
        guard let from = source.baseAddress else { return written }
        withUnsafeTemporaryAllocation(of: UInt16.self, capacity: 1 << tableBits) { table in
            var start = 0
            while start < source.count {
                let count = min(fragmentBytes, source.count - start)
                table.initialize(repeating: 0)
                encodeFragment(from + start, count, table, target, &written)
                start += count
            }
        }
        return written
    }

    private static func encodeFragment(
        _ from: UnsafeRawPointer, _ count: Int, _ table: UnsafeMutableBufferPointer<UInt16>,
        _ to: UnsafeMutableRawPointer, _ written: inout Int
    ) {
        var literalStart = 0
        var position = 1
        var misses = 32
        // Words are read 4 bytes at a time.
        while position &+ 4 <= count {
            let word = from.loadUnaligned(fromByteOffset: position, as: UInt32.self)
            let slot = Int((UInt32(littleEndian: word) &* 0x1E35_A7BD) &>> UInt32(32 &- tableBits))
            let candidate = Int(table[slot])
            table[slot] = UInt16(truncatingIfNeeded: position)
            // `candidate < position`, so that its word ends before the fragment does.
            guard candidate < position,
                from.loadUnaligned(fromByteOffset: candidate, as: UInt32.self) == word
            else {
                position &+= misses &>> 5
                misses &+= 1
                continue
            }
            putLiteral(from, literalStart, position &- literalStart, count, to, &written)
            let length = 4 &+ common(from, candidate &+ 4, position &+ 4, count)
            putCopy(back: position &- candidate, length: length, to, &written)
            position &+= length
            literalStart = position
            misses = 32
        }
        putLiteral(from, literalStart, count &- literalStart, count, to, &written)
    }

    /// How many bytes at `first` are as those at `second`, which comes behind it, up to the end.
    @inline(__always)
    private static func common(_ from: UnsafeRawPointer, _ first: Int, _ second: Int, _ end: Int) -> Int {
        var done = 0
        while second &+ done &+ 8 <= end {
            let one = from.loadUnaligned(fromByteOffset: first &+ done, as: UInt64.self)
            let other = from.loadUnaligned(fromByteOffset: second &+ done, as: UInt64.self)
            let difference = UInt64(littleEndian: one ^ other)
            guard difference == 0 else { return done &+ difference.trailingZeroBitCount &>> 3 }
            done &+= 8
        }
        while second &+ done < end,
            from.load(fromByteOffset: first &+ done, as: UInt8.self)
                == from.load(fromByteOffset: second &+ done, as: UInt8.self)
        {
            done &+= 1
        }
        return done
    }

    @inline(__always)
    private static func put(_ byte: UInt8, _ to: UnsafeMutableRawPointer, _ written: inout Int) {
        to.storeBytes(of: byte, toByteOffset: written, as: UInt8.self)
        written &+= 1
    }

    @inline(__always)
    private static func putLiteral(
        _ from: UnsafeRawPointer, _ start: Int, _ length: Int, _ end: Int,
        _ to: UnsafeMutableRawPointer, _ written: inout Int
    ) {
        guard length > 0 else { return }
        let code = length &- 1
        if code < 60 {
            put(UInt8(truncatingIfNeeded: code &<< 2), to, &written)
        } else if code < 1 << 8 {
            put(60 << 2, to, &written)
            put(UInt8(truncatingIfNeeded: code), to, &written)
        } else {
            // A fragment has 64 KiB: two bytes are enough.
            put(61 << 2, to, &written)
            put(UInt8(truncatingIfNeeded: code), to, &written)
            put(UInt8(truncatingIfNeeded: code &>> 8), to, &written)
        }
        if length <= 16, start &+ 16 <= end {
            // 16 bytes can be read by the condition; the excess is written over, or falls into the room behind.
            (to + written).storeBytes(
                of: from.loadUnaligned(fromByteOffset: start, as: SIMD16<UInt8>.self), as: SIMD16<UInt8>.self)
        } else {
            (to + written).copyMemory(from: from + start, byteCount: length)
        }
        written &+= length
    }

    @inline(__always)
    private static func putCopy(
        back: Int, length: Int, _ to: UnsafeMutableRawPointer, _ written: inout Int
    ) {
        var rest = length
        // The last piece must have 4 bytes at least, in case that it is of the short kind.
        while rest >= 68 {
            putPiece(back, 64, to, &written)
            rest &-= 64
        }
        if rest > 64 {
            putPiece(back, 60, to, &written)
            rest &-= 60
        }
        putPiece(back, rest, to, &written)
    }

    @inline(__always)
    private static func putPiece(
        _ back: Int, _ length: Int, _ to: UnsafeMutableRawPointer, _ written: inout Int
    ) {
        if length < 12, back < 2_048 {
            put(UInt8(truncatingIfNeeded: 1 | (length &- 4) &<< 2 | (back &>> 8) &<< 5), to, &written)
            put(UInt8(truncatingIfNeeded: back), to, &written)
        } else {
            put(UInt8(truncatingIfNeeded: 2 | (length &- 1) &<< 2), to, &written)
            put(UInt8(truncatingIfNeeded: back), to, &written)
            put(UInt8(truncatingIfNeeded: back &>> 8), to, &written)
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
