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
        if isFast { return ~cingestlog_crc32c_fast(~crc, bytes.baseAddress, bytes.count) }
        return slow(crc, bytes)
    }

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
        fileprivate var head: [UInt8]
        fileprivate var check: UInt32
        /// Of the whole record.
        var count: Int

        init(_ head: JournalHead, body: UnsafeRawBufferPointer) {
            let sender = Array(head.sender.utf8.prefix(255))
            let length = UInt32(sender.count + body.count)
            var bytes: [UInt8] = []
            bytes.reserveCapacity(headBytes + sender.count)
            Self.append(magic, to: &bytes)
            Self.append(length, to: &bytes)
            Self.append(UInt32(0), to: &bytes)
            bytes.append(head.kind.rawValue)
            bytes.append(UInt8(sender.count))
            Self.append(head.format, to: &bytes)
            Self.append(head.timeMs, to: &bytes)
            Self.append(head.newestMs, to: &bytes)
            bytes += sender
            check = bytes.withUnsafeBytes { raw in
                let crc = CRC32C.update(0, UnsafeRawBufferPointer(rebasing: raw[4..<8]))
                return CRC32C.update(
                    CRC32C.update(crc, UnsafeRawBufferPointer(rebasing: raw[12...])), body)
            }
            count = bytes.count + body.count
            self.head = bytes
        }

        private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }

        /// Puts the record at its place.
        func write(_ body: UnsafeRawBufferPointer, at position: Int64, to bytes: inout [UInt8]) {
            let start = bytes.count
            bytes.append(contentsOf: head)
            let placed = check ^ UInt32(truncatingIfNeeded: position)
            for shift in 0..<4 {
                bytes[start + 8 + shift] = UInt8(truncatingIfNeeded: placed >> UInt32(shift * 8))
            }
            bytes.append(contentsOf: body)
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
