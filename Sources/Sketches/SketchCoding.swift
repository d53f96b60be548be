/// Why bytes are not a sketch.
public enum SketchDecodingError: Error, Equatable, Sendable {
    /// They end inside a number or before the last bucket.
    case truncated
    /// A number has more than 64 bits.
    case oversizedNumber
    /// More buckets than there are keys, or than the bytes can hold.
    case tooManyBuckets(UInt64)
    /// A key beyond the greatest double, or not above the one before it.
    case badKey
    /// A bucket with nothing in it.
    case emptyBucket
    /// Bytes after the last bucket.
    case trailingBytes(Int)
}

/// The binary form of a sketch: nothing at all when it is empty; else, as LEB128 varints, the number of buckets, the
/// first key (zigzag) and its count, then for each further bucket the difference of its key to the one before, less
/// one, and its count. One sketch has one encoding.
public enum SketchCoding {
    /// A value falls into one of so many buckets.
    public static let bucketsMax = 2 * Int(SketchKey.rawMax) + 1

    /// More bytes than an encoding with so many buckets and 32-bit counts takes.
    static func sizeMax(buckets: Int) -> Int { 8 + 8 * buckets }

    static func append(varint value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    static func append(first key: Int32, count: UInt64, to bytes: inout [UInt8]) {
        append(varint: UInt64(UInt32(bitPattern: (key << 1) ^ (key >> 31))), to: &bytes)
        append(varint: count, to: &bytes)
    }

    static func append(next key: Int32, after previous: Int32, count: UInt64, to bytes: inout [UInt8]) {
        append(varint: UInt64(UInt32(bitPattern: key &- previous &- 1)), to: &bytes)
        append(varint: count, to: &bytes)
    }

    /// Reads the buckets of an encoding one by one, checking all that can be wrong.
    static func decode(
        _ bytes: ArraySlice<UInt8>, _ take: (Int32, UInt64) -> Void
    ) throws(SketchDecodingError) {
        guard !bytes.isEmpty else { return }
        let span = bytes.span
        let end = span.count
        var position = 0
        let buckets = try varint(span, &position, end)
        guard buckets >= 1, buckets <= UInt64(bucketsMax), buckets <= UInt64(end) else {
            throw .tooManyBuckets(buckets)
        }
        var key = Int64.min
        for index in 0..<buckets {
            let raw = try varint(span, &position, end)
            guard raw <= UInt64(UInt32.max) else { throw .badKey }
            if index == 0 {
                let bits = UInt32(truncatingIfNeeded: raw)
                key = Int64(Int32(bitPattern: bits >> 1) ^ -Int32(bitPattern: bits & 1))
            } else {
                key += Int64(raw) + 1
            }
            guard abs(key) <= Int64(SketchKey.rawMax) else { throw .badKey }
            let count = try varint(span, &position, end)
            guard count > 0 else { throw .emptyBucket }
            take(Int32(key), count)
        }
        guard position == end else { throw .trailingBytes(end - position) }
    }

    @inline(__always)
    static func varint(
        _ bytes: Span<UInt8>, _ position: inout Int, _ end: Int
    ) throws(SketchDecodingError) -> UInt64 {
        guard position < end else { throw .truncated }
        let first = bytes[position]
        position &+= 1
        if first < 0x80 { return UInt64(first) }
        var value = UInt64(first & 0x7f)
        var shift: UInt64 = 7
        while true {
            guard position < end else { throw .truncated }
            let byte = bytes[position]
            position &+= 1
            guard shift < 63 || byte <= 1 else { throw .oversizedNumber }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
    }
}

extension QuantileSketch {
    /// Reads what `encoded` made; untrusted bytes cost no more than their own length.
    public init(encoded bytes: ArraySlice<UInt8>) throws(SketchDecodingError) {
        var buckets: [Bucket] = []
        try SketchCoding.decode(bytes) { key, count in
            buckets.append(Bucket(key: SketchKey(rawValue: key), count: count))
        }
        self.init(sorted: buckets)
    }

    public init(encoded bytes: [UInt8]) throws(SketchDecodingError) { try self.init(encoded: bytes[...]) }

    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        encode(into: &bytes)
        return bytes
    }

    /// Appends the encoding; see `SketchCoding`.
    public func encode(into bytes: inout [UInt8]) {
        guard let first = buckets.first else { return }
        SketchCoding.append(varint: UInt64(buckets.count), to: &bytes)
        SketchCoding.append(first: first.key.rawValue, count: first.count, to: &bytes)
        var previous = first.key.rawValue
        for bucket in buckets.dropFirst() {
            let key = bucket.key.rawValue
            SketchCoding.append(next: key, after: previous, count: bucket.count, to: &bytes)
            previous = key
        }
    }
}

/// Writes varints into bytes that are there already: appending one by one costs more than all the rest.
struct VarintWriter {
    var position: Int

    @inline(__always)
    mutating func append(_ value: UInt64, to bytes: inout MutableSpan<UInt8>) {
        var rest = value
        while rest >= 0x80 {
            bytes[position] = UInt8(truncatingIfNeeded: rest) | 0x80
            position &+= 1
            rest >>= 7
        }
        bytes[position] = UInt8(truncatingIfNeeded: rest)
        position &+= 1
    }

    /// One bucket, with its key relative to the one before.
    @inline(__always)
    mutating func append(
        _ key: Int32, count: UInt32, after previous: inout Int32?, to bytes: inout MutableSpan<UInt8>
    ) {
        if let previous {
            append(UInt64(UInt32(bitPattern: key &- previous &- 1)), to: &bytes)
        } else {
            append(UInt64(UInt32(bitPattern: (key << 1) ^ (key >> 31))), to: &bytes)
        }
        append(UInt64(count), to: &bytes)
        previous = key
    }
}
