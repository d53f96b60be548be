/// Writes the little-endian forms that the store's blobs are made of.
struct ByteWriter {
    private(set) var bytes: [UInt8] = []

    init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    mutating func byte(_ value: UInt8) { bytes.append(value) }

    /// LEB128.
    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func count(_ value: Int) { varint(UInt64(value)) }

    /// Small magnitudes of either sign in few bytes.
    mutating func zigzag(_ value: Int64) { varint(UInt64(bitPattern: (value << 1) ^ (value >> 63))) }

    mutating func fixed64(_ value: UInt64) {
        for shift in stride(from: UInt64(0), to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    mutating func raw(_ more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }

    mutating func text(_ text: String) {
        count(text.utf8.count)
        bytes.append(contentsOf: text.utf8)
    }

    mutating func texts(_ texts: [String]) {
        count(texts.count)
        for text in texts { self.text(text) }
    }

    /// Appends `count` zero bytes to be filled in place: `fill` gets all bytes and where the new ones start.
    mutating func block(_ count: Int, fill: (inout MutableSpan<UInt8>, Int) -> Void) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: count))
        var whole = bytes.mutableSpan
        fill(&whole, start)
    }
}

/// Reads them back; every count is checked against what is there before anything is allocated.
struct ByteReader {
    private let bytes: [UInt8]
    private(set) var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var remaining: Int { bytes.count - offset }
    var isAtEnd: Bool { remaining == 0 }

    static func damage(_ what: String) -> StoreError {
        StoreError(.damaged, "a blob of the history is damaged: \(what)")
    }

    mutating func byte() throws(StoreError) -> UInt8 {
        guard offset < bytes.count else { throw Self.damage("it ends too early") }
        offset += 1
        return bytes[offset - 1]
    }

    mutating func varint() throws(StoreError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            let next = try byte()
            let bits = UInt64(next & 0x7F)
            if shift == 63, bits > 1 { break }
            value |= bits << shift
            if next < 0x80 { return value }
        }
        throw Self.damage("a number is too long")
    }

    /// A count of things of which each takes at least `bytesEach` bytes of what remains.
    mutating func count(bytesEach: Int = 1) throws(StoreError) -> Int {
        let value = try varint()
        guard value <= UInt64(remaining / max(bytesEach, 1)) else {
            throw Self.damage("a count is too large")
        }
        return Int(value)
    }

    mutating func zigzag() throws(StoreError) -> Int64 {
        let value = try varint()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    mutating func fixed64() throws(StoreError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 8) { value |= UInt64(try byte()) << shift }
        return value
    }

    mutating func raw(_ count: Int) throws(StoreError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remaining else { throw Self.damage("it ends too early") }
        offset += count
        return bytes[offset - count..<offset]
    }

    mutating func text() throws(StoreError) -> String {
        let length = try count()
        return String(decoding: try raw(length), as: UTF8.self)
    }

    mutating func texts() throws(StoreError) -> [String] {
        let number = try count()
        var texts: [String] = []
        texts.reserveCapacity(number)
        for _ in 0..<number { texts.append(try text()) }
        return texts
    }
}
