/// The part of a request's target after `?`: names and values, percent-encoded (RFC 3986).
public struct QueryString: Sendable, Hashable {
    public struct Item: Sendable, Hashable {
        public var name: String
        public var value: String
    }

    public private(set) var items: [Item] = []

    public init() {}

    /// - Throws: `ControlError.badRequest` for broken percent-encoding, text that is not UTF-8, or a name that comes
    ///   twice.
    public init(parsing text: String) throws(ControlError) {
        for part in text.split(separator: "&").prefix(64) {
            let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decode(halves[0]),
                let value = Self.decode(halves.count == 2 ? halves[1] : "")
            else { throw ControlError(.badRequest, "The query \(part) is not percent-encoded UTF-8.") }
            guard self[name] == nil else {
                throw ControlError(
                    .badRequest, "The parameter \(name) is given twice.", hint: "Give it once.")
            }
            items.append(Item(name: name, value: value))
        }
    }

    public subscript(name: String) -> String? { items.first { $0.name == name }?.value }

    /// Adds nothing for `nil`.
    public mutating func add(_ name: String, _ value: String?) {
        if let value { items.append(Item(name: name, value: value)) }
    }

    /// Encoded, with the `?`; empty when there is nothing.
    public var text: String {
        guard !items.isEmpty else { return "" }
        return "?" + items.map { Self.encode($0.name) + "=" + Self.encode($0.value) }.joined(separator: "&")
    }

    /// Everything but the unreserved characters becomes `%XX`: fit for a path segment and for a query.
    public static func encode(_ text: String) -> String {
        let hex = Array("0123456789ABCDEF")
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"):
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                out += "%" + String(hex[Int(byte >> 4)]) + String(hex[Int(byte & 15)])
            }
        }
        return out
    }

    /// `nil` for a `%` without two hexadecimal digits and for bytes that are not UTF-8.
    public static func decode(_ text: some StringProtocol) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(nibble), let low = rest.popFirst().flatMap(nibble)
                else {
                    return nil
                }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+"):
                bytes.append(UInt8(ascii: " "))
            default:
                bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func nibble(_ byte: UInt8) -> UInt8? {
        Character(Unicode.Scalar(byte)).hexDigitValue.map { UInt8($0) }
    }
}
