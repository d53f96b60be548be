import CSnappy

/// Reads a remote write request with libsnappy and a protobuf walker of its own: nothing of `WireFormats`.
struct RemoteWriteReader {
    struct Series: Hashable {
        /// In the order of the message.
        var labels: [[String]]
        var samples: [Sample]
        var name: String { labels.first { $0[0] == "__name__" }?[1] ?? "" }
        func label(_ name: String) -> String? { labels.first { $0[0] == name }?[1] }
    }

    struct Sample: Hashable {
        var value: Double
        var timeMs: Int64
    }

    struct Corrupt: Error {}

    static func series(_ body: [UInt8]) throws -> [Series] {
        let compressed = body.map { CChar(bitPattern: $0) }
        var length = 0
        guard snappy_uncompressed_length(compressed, compressed.count, &length) == SNAPPY_OK else {
            throw Corrupt()
        }
        var plain = [CChar](repeating: 0, count: max(1, length))
        guard snappy_uncompress(compressed, compressed.count, &plain, &length) == SNAPPY_OK else {
            throw Corrupt()
        }
        let message = plain[..<length].map { UInt8(bitPattern: $0) }
        return try fields(message).filter { $0.number == 1 }.map { field in
            var series = Series(labels: [], samples: [])
            for inner in try fields(field.bytes) {
                let parts = try fields(inner.bytes)
                if inner.number == 1 {
                    series.labels.append(parts.map { String(decoding: $0.bytes, as: UTF8.self) })
                } else if inner.number == 2 {
                    let value = parts.first { $0.number == 1 }?.integer ?? 0
                    let time = parts.first { $0.number == 2 }?.integer ?? 0
                    series.samples.append(
                        Sample(value: Double(bitPattern: value), timeMs: Int64(bitPattern: time)))
                }
            }
            return series
        }
    }

    private struct Field {
        var number: UInt64
        var integer: UInt64 = 0
        var bytes: [UInt8] = []
    }

    private static func fields(_ bytes: [UInt8]) throws -> [Field] {
        var fields: [Field] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let tag = try varint(&rest)
            var field = Field(number: tag >> 3)
            switch tag & 7 {
            case 0: field.integer = try varint(&rest)
            case 1:
                guard rest.count >= 8 else { throw Corrupt() }
                field.integer = rest.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
                rest = rest.dropFirst(8)
            case 2:
                let count = Int(try varint(&rest))
                guard rest.count >= count else { throw Corrupt() }
                field.bytes = Array(rest.prefix(count))
                rest = rest.dropFirst(count)
            default: throw Corrupt()
            }
            fields.append(field)
        }
        return fields
    }

    private static func varint(_ rest: inout ArraySlice<UInt8>) throws -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while let byte = rest.popFirst() {
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw Corrupt()
    }
}
