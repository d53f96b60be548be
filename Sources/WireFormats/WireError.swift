/// Why bytes could not be read, and where.
public struct WireError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Reason: String, Sendable, Hashable {
        case truncated = "the message ends in the middle of a value"
        case badVarint = "a variable-length integer is longer than 64 bits"
        case badLength = "a length reaches beyond the end of its message"
        case badFieldNumber = "a field has the number 0"
        case badWireType = "a field has a wire type that does not belong there"
        case tooManySamples = "there are more samples than one request may bring"
        case tooManySymbols = "there are more strings than one request may bring"
        case badReference = "a label refers to a string that is not there"
        case oddReferences = "a label has a name and no value"
        case tooLarge = "the message is too large"
    }

    public var reason: Reason
    /// Bytes from the start of the (decompressed) message.
    public var offset: Int

    public init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    public var description: String { "byte \(offset): \(reason.rawValue)" }
}

extension RawSpan {
    // The two loads below are checked against the bounds of the span. "unsafe" in the names of the standard library
    // is about reinterpreting memory, and every bit pattern is a valid integer.

    @inline(__always)
    func byte(_ offset: Int) -> UInt8 { unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

    @inline(__always)
    func littleEndian<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: T.Type) -> T {
        T(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// The bytes as text, or `nil` if they are not UTF-8.
    func text(_ range: Range<Int>) -> String? {
        extracting(range).withUnsafeBytes { String(validating: $0, as: UTF8.self) }
    }
}
