/// The fields of Protocol Buffers, split plainly: slow, and easy to believe.
enum Fields {
    enum Corrupt: Error {
        /// Any reader must refuse it.
        case broken
        /// We refuse it; others may not.
        case strict
    }

    struct Field {
        var number: UInt64
        var type: UInt64
        var integer: UInt64 = 0
        var bytes: [UInt8] = []
    }

    static func split(_ message: [UInt8]) throws -> [Field] {
        var longTag = false
        return try split(message, &longTag)
    }

    /// - Parameter hasLongTag: set where a tag or a length takes more than four bytes.
    static func split(_ message: [UInt8], _ hasLongTag: inout Bool) throws -> [Field] {
        var rest = message[...]
        var fields: [Field] = []
        func short() throws -> UInt64 {
            let before = rest.count
            let value = try varint(&rest)
            if before - rest.count > 4 { hasLongTag = true }
            return value
        }
        while !rest.isEmpty {
            let tag = try short()
            var field = Field(number: tag / 8, type: tag % 8)
            guard field.number > 0 else { throw Corrupt.strict }
            switch field.type {
            case 0: field.integer = try varint(&rest)
            case 1: field.bytes = try take(8, &rest)
            case 2: field.bytes = try take(Int(clamping: try short()), &rest)
            case 5: field.bytes = try take(4, &rest)
            default: throw Corrupt.strict
            }
            fields.append(field)
        }
        return fields
    }

    static func varint(_ rest: inout ArraySlice<UInt8>) throws -> UInt64 {
        var value: UInt64 = 0
        for position in 0..<10 {
            guard let byte = rest.popFirst() else { throw Corrupt.broken }
            guard position < 9 || byte <= 1 else { throw Corrupt.strict }
            value |= UInt64(byte & 0x7F) << UInt64(7 * position)
            if byte < 0x80 { return value }
        }
        throw Corrupt.strict
    }

    private static func take(_ count: Int, _ rest: inout ArraySlice<UInt8>) throws -> [UInt8] {
        guard count <= rest.count else { throw Corrupt.broken }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    /// Why two readers may say different things of a message.
    struct Judge {
        var hasLongTag = false
        /// There is something that we alone refuse.
        var isStrict = false

        /// Wire types of the known fields: of the message, of a series, of what is in a series.
        private static let types: [Int: [[UInt64: [UInt64]]]] = [
            1: [[1: [2]], [1: [2], 2: [2], 3: [2], 4: [2]]],
            2: [[4: [2], 5: [2]], [1: [0, 2], 2: [2], 3: [2], 4: [2], 5: [2]]],
        ]
        private static let sample: [UInt64: [UInt64]] = [1: [1], 2: [0]]
        private static let label: [UInt64: [UInt64]] = [1: [2], 2: [2]]

        init(_ message: [UInt8], version: Int) {
            let types = Self.types[version] ?? []
            for field in check(message, types[0])
            where field.type == 2 && field.number == (version == 1 ? 1 : 5) {
                let parts = check(field.bytes, types[1])
                for part in parts where part.type == 2 {
                    switch (version, part.number) {
                    case (_, 2): _ = check(part.bytes, Self.sample)
                    case (1, 1): _ = check(part.bytes, Self.label)
                    case (2, 1):
                        var rest = part.bytes[...]
                        do {
                            while !rest.isEmpty { _ = try varint(&rest) }
                        } catch {
                            note(error)
                        }
                    default: break
                    }
                }
            }
        }

        private mutating func note(_ error: any Error) {
            if let corrupt = error as? Corrupt, corrupt == .strict { isStrict = true }
        }

        private mutating func check(_ bytes: [UInt8], _ types: [UInt64: [UInt64]]) -> [Field] {
            do {
                let fields = try split(bytes, &hasLongTag)
                for field in fields {
                    if let known = types[field.number], !known.contains(field.type) { isStrict = true }
                }
                return fields
            } catch {
                note(error)
                return []
            }
        }
    }
}
