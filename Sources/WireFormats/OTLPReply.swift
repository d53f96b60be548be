/// What an OTLP receiver says in protobuf.
public enum OTLPReply {
    /// `ExportMetricsServiceResponse { partial_success = 1 { rejected_data_points = 1 } }`; `nil` for what cannot be read.
    public static func rejectedDataPoints(_ bytes: [UInt8]) -> Int64? {
        guard let fields = fields(bytes[...]) else { return nil }
        guard let partial = fields.last(where: { $0.number == 1 })?.bytes else { return 0 }
        let rejected = self.fields(partial)?.last { $0.number == 1 }?.integer
        return rejected.map { Int64(bitPattern: $0) } ?? 0
    }

    /// `ExportMetricsServiceResponse { partial_success = 1 { error_message = 2 } }`; `nil` for none.
    public static func warning(_ bytes: [UInt8]) -> String? {
        guard let partial = fields(bytes[...])?.last(where: { $0.number == 1 })?.bytes else { return nil }
        return statusMessage(Array(partial))
    }

    /// `google.rpc.Status { message = 2 }`; `nil` for what cannot be read or has no message.
    public static func statusMessage(_ bytes: [UInt8]) -> String? {
        let message = fields(bytes[...])?.last { $0.number == 2 }?.bytes
        return message.flatMap { String(validating: $0, as: UTF8.self) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    private struct Field {
        var number: UInt64
        var integer: UInt64?
        var bytes: ArraySlice<UInt8>?
    }

    private static func fields(_ bytes: ArraySlice<UInt8>) -> [Field]? {
        let array = Array(bytes)
        let span = array.span.bytes
        var offset = 0
        var found: [Field] = []
        do throws(WireError) {
            while offset < array.count {
                let start = offset
                let tag = try Proto.varint(span, &offset, array.count)
                var field = Field(number: tag >> 3)
                switch Proto.WireType(rawValue: tag & 7) {
                case .varint: field.integer = try Proto.varint(span, &offset, array.count)
                case .bytes:
                    let length = try Proto.length(span, &offset, array.count)
                    field.bytes = array[offset..<(offset + length)]
                    offset += length
                default: try Proto.skip(tag, span, &offset, array.count, at: start)
                }
                found.append(field)
            }
            return found
        } catch {
            return nil
        }
    }
}
