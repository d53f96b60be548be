/// CRC-32C (Castagnoli), as in RFC 3720, appendix B.4: what guards envelopes against bytes that are not ours.
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in
            value & 1 == 1 ? (value >> 1) ^ 0x82F6_3B78 : value >> 1
        }
    }

    static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        let table = table.span
        var crc = UInt32.max
        let span = bytes.span
        for index in 0..<span.count {
            crc = (crc >> 8) ^ table[Int((crc ^ UInt32(span[index])) & 0xFF)]
        }
        return ~crc
    }
}
