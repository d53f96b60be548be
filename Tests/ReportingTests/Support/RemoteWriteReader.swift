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

    static func unpacked(_ body: [UInt8]) throws -> [UInt8] {
        let compressed = body.map { CChar(bitPattern: $0) }
        var length = 0
        guard snappy_uncompressed_length(compressed, compressed.count, &length) == SNAPPY_OK else {
            throw Corrupt()
        }
        var plain = [CChar](repeating: 0, count: max(1, length))
        guard snappy_uncompress(compressed, compressed.count, &plain, &length) == SNAPPY_OK else {
            throw Corrupt()
        }
        return plain[..<length].map { UInt8(bitPattern: $0) }
    }

    static func series(_ body: [UInt8]) throws -> [Series] {
        let message = try unpacked(body)
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

    /// One series of remote write 2.0, with the texts that it refers to.
    struct Series2: Hashable {
        var name = ""
        var labels: [String: String] = [:]
        var isSorted = true
        var value: Double?
        var timeMs: Int64 = 0
        var type: UInt64 = 0
        var help = ""
        var unit = ""
        var histogram: Histogram?
    }

    /// A native histogram, its buckets by index.
    struct Histogram: Hashable {
        var count: UInt64 = 0
        var sum = 0.0
        var schema: Int64 = 0
        var zeroCount: UInt64 = 0
        var positive: [Int64: Int64] = [:]
        var negative: [Int64: Int64] = [:]
        var resetHint: UInt64 = 0
        var timeMs: Int64 = 0
    }

    static func series2(_ body: [UInt8]) throws -> [Series2] {
        let message = try fields(unpacked(body))
        let symbols = message.filter { $0.number == 4 }.map { String(decoding: $0.bytes, as: UTF8.self) }
        guard symbols.first == "" else { throw Corrupt() }
        func symbol(_ reference: UInt64) throws -> String {
            guard reference < symbols.count else { throw Corrupt() }
            return symbols[Int(reference)]
        }
        return try message.filter { $0.number == 5 }.map { field in
            var series = Series2()
            for inner in try fields(field.bytes) {
                switch inner.number {
                case 1:
                    var rest = inner.bytes[...]
                    var texts: [String] = []
                    while !rest.isEmpty { texts.append(try symbol(varint(&rest))) }
                    let names = stride(from: 0, to: texts.count, by: 2).map { texts[$0] }
                    series.isSorted = names == names.sorted() && Set(names).count == names.count
                    for place in stride(from: 0, to: texts.count - 1, by: 2) {
                        series.labels[texts[place]] = texts[place + 1]
                    }
                    series.name = series.labels.removeValue(forKey: "__name__") ?? ""
                case 2:
                    let parts = try fields(inner.bytes)
                    series.value = Double(bitPattern: parts.first { $0.number == 1 }?.integer ?? 0)
                    series.timeMs = Int64(bitPattern: parts.first { $0.number == 2 }?.integer ?? 0)
                case 3: series.histogram = try histogram(inner.bytes)
                case 5:
                    let parts = try fields(inner.bytes)
                    series.type = parts.first { $0.number == 1 }?.integer ?? 0
                    series.help = try symbol(parts.first { $0.number == 3 }?.integer ?? 0)
                    series.unit = try symbol(parts.first { $0.number == 4 }?.integer ?? 0)
                default: throw Corrupt()
                }
            }
            return series
        }
    }

    private static func histogram(_ bytes: [UInt8]) throws -> Histogram {
        let parts = try fields(bytes)
        func integer(_ number: UInt64) -> UInt64 { parts.first { $0.number == number }?.integer ?? 0 }
        func signed(_ value: UInt64) -> Int64 {
            Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
        }
        func side(_ spans: UInt64, _ deltas: UInt64) throws -> [Int64: Int64] {
            var rest = (parts.first { $0.number == deltas }?.bytes ?? [])[...]
            var found: [Int64: Int64] = [:]
            var (index, count): (Int64, Int64) = (0, 0)
            for span in parts where span.number == spans {
                let inner = try fields(span.bytes)
                index += signed(inner.first { $0.number == 1 }?.integer ?? 0)
                for _ in 0..<(inner.first { $0.number == 2 }?.integer ?? 0) {
                    count += signed(try varint(&rest))
                    found[index] = count
                    index += 1
                }
            }
            guard rest.isEmpty else { throw Corrupt() }
            return found
        }
        return Histogram(
            count: integer(1), sum: Double(bitPattern: integer(3)), schema: signed(integer(4)),
            zeroCount: integer(6), positive: try side(11, 12), negative: try side(8, 9),
            resetHint: integer(14), timeMs: Int64(bitPattern: integer(15)))
    }

    struct Field {
        var number: UInt64
        var integer: UInt64 = 0
        var bytes: [UInt8] = []
    }

    static func fields(_ bytes: [UInt8]) throws -> [Field] {
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

    static func varint(_ rest: inout ArraySlice<UInt8>) throws -> UInt64 {
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
