import CIngestLog
import Telemetry

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as in RFC 3720, appendix B.4.
enum CRC32C {
    private static let isFast = cingestlog_crc32c_is_fast() != 0
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
    }

    /// - Parameter crc: of the bytes before these.
    static func update(_ crc: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        guard isFast, let start = bytes.baseAddress else { return slow(crc, bytes) }
        var done = 0
        let wide = cingestlog_crc32c_wide(~crc, start, bytes.count, shift, &done)
        return ~cingestlog_crc32c_fast(wide, start + done, bytes.count - done)
    }

    /// What becomes of each byte of a check, by its place in it, when 1 KiB of zeros follows.
    private static let shift: [UInt32] = {
        let bits = (0..<32).map { bit in
            (0..<1_024).reduce(UInt32(1) << UInt32(bit)) { crc, _ in crc >> 8 ^ table[Int(crc & 255)] }
        }
        return (0..<1_024).map { index in
            var crc: UInt32 = 0
            for bit in 0..<8 where index >> bit & 1 == 1 { crc ^= bits[index / 256 * 8 + bit] }
            return crc
        }
    }()

    static func slow(_ crc: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        ~bytes.reduce(~crc) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
    }
}

/// The bytes of the ingest log. All numbers are little-endian.
///
/// | bytes of a record | |
/// |---|---|
/// | 0 | `CLR1` |
/// | 4 | length of sender and body |
/// | 8 | CRC-32C of bytes 4 ... 7 and 12 to the end, exclusive-or the low half of the record's position |
/// | 12 | kind, length of the sender, format (2 bytes) |
/// | 16 | time |
/// | 24 | newest event time |
/// | 32 | sender, body |
///
/// With the position in the check, bytes of a record that stand where they were not written are no record.
enum IngestLogCodec {
    static let headBytes = 32
    static let senderBytesMax = 255
    static let magic: UInt32 = 0x3152_4C43
    /// A segment begins with `CLSEG1`, two zeros, its position, and 16 zeros.
    static let segmentHeadBytes = 32
    static let segmentMagic: [UInt8] = Array("CLSEG1".utf8) + [0, 0]

    static func segmentHead(_ start: Int64) -> [UInt8] {
        var bytes = segmentMagic
        for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: start >> Int64(shift * 8))) }
        return bytes + [UInt8](repeating: 0, count: 16)
    }

    /// A record without what depends on its position: made before its place is known.
    struct Prepared {
        private let head: JournalHead
        private let check: UInt32
        /// Of the whole record.
        let count: Int

        /// - Parameter check: what `check` says of the same.
        init(_ head: JournalHead, body: UnsafeRawBufferPointer, check: JournalCheck) {
            self.head = head
            self.check = check.rawValue
            count = headBytes + min(head.sender.utf8.count, senderBytesMax) + body.count
        }

        /// The check of a record, but for its position.
        static func check(_ head: JournalHead, body: UnsafeRawBufferPointer) -> JournalCheck {
            withBytes(of: head, bodyCount: body.count) { raw in
                let crc = CRC32C.update(0, UnsafeRawBufferPointer(rebasing: raw[4..<8]))
                let more = CRC32C.update(crc, UnsafeRawBufferPointer(rebasing: raw[12...]))
                return JournalCheck(rawValue: CRC32C.update(more, body))
            }
        }

        /// Puts the record at its place.
        func write(_ body: UnsafeRawBufferPointer, at position: Int64, to bytes: inout [UInt8]) {
            let placed = check ^ UInt32(truncatingIfNeeded: position)
            Self.withBytes(of: head, bodyCount: body.count, check: placed) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: body)
        }

        /// Head and sender, on the stack: there are tens of thousands a second.
        private static func withBytes<Result>(
            of head: JournalHead, bodyCount: Int, check: UInt32 = 0,
            _ body: (UnsafeRawBufferPointer) -> Result
        ) -> Result {
            withUnsafeTemporaryAllocation(byteCount: headBytes + senderBytesMax, alignment: 8) { raw in
                func put(_ value: some FixedWidthInteger, _ place: Int) {
                    raw.storeBytes(of: value.littleEndian, toByteOffset: place, as: type(of: value))
                }
                var sender = head.sender
                let senderCount = sender.withUTF8 { utf8 in
                    let count = min(utf8.count, senderBytesMax)
                    for place in 0..<count { raw[headBytes + place] = utf8[place] }
                    return count
                }
                put(magic, 0)
                put(UInt32(senderCount + bodyCount), 4)
                put(check, 8)
                put(head.kind.rawValue, 12)
                put(UInt8(senderCount), 13)
                put(head.format, 14)
                put(head.timeMs, 16)
                put(head.newestMs, 24)
                return body(UnsafeRawBufferPointer(rebasing: raw[..<(headBytes + senderCount)]))
            }
        }
    }

    enum Found {
        case record(JournalRecord, count: Int)
        /// It may go on after what is there.
        case cut
        case damaged
    }

    /// The record at an offset of bytes that were read at `position`.
    ///
    /// - Parameter bodyMax: longer ones are taken for damage.
    static func record(
        in bytes: UnsafeRawBufferPointer, at offset: Int, position: Int64, bodyMax: Int
    ) -> Found {
        guard bytes.count - offset >= headBytes else { return .cut }
        func number<T: FixedWidthInteger>(_ place: Int, _: T.Type) -> T {
            T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + place, as: T.self))
        }
        guard number(0, UInt32.self) == magic else { return .damaged }
        let length = Int(number(4, UInt32.self))
        guard length <= bodyMax + 255 else { return .damaged }
        guard bytes.count - offset >= headBytes + length else { return .cut }
        let crc = CRC32C.update(0, UnsafeRawBufferPointer(rebasing: bytes[(offset + 4)..<(offset + 8)]))
        let rest = UnsafeRawBufferPointer(rebasing: bytes[(offset + 12)..<(offset + headBytes + length)])
        let check = CRC32C.update(crc, rest) ^ UInt32(truncatingIfNeeded: position)
        let senderCount = Int(bytes[offset + 13])
        guard check == number(8, UInt32.self), senderCount <= length,
            let kind = JournalHead.Kind(rawValue: bytes[offset + 12])
        else { return .damaged }
        let senderEnd = offset + headBytes + senderCount
        let end = offset + headBytes + length
        let head = JournalHead(
            kind: kind, format: number(14, UInt16.self), timeMs: number(16, Int64.self),
            newestMs: number(24, Int64.self),
            sender: String(decoding: bytes[(offset + headBytes)..<senderEnd], as: UTF8.self))
        let record = JournalRecord(
            head: head, end: LogPosition(rawValue: position + Int64(headBytes + length)),
            body: Array(bytes[senderEnd..<end]))
        return .record(record, count: headBytes + length)
    }
}
