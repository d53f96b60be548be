public import FoundationEssentials

/// What the daemon answers with. Every reply says what it is and in which version of its form; a version only ever
/// gains keys.
public protocol Reply: Codable, Sendable {
    /// `colossus.<thing>/v1`.
    static var schemaName: String { get }
    var schema: String { get }
}

/// The one way that requests and replies become JSON: `snake_case` keys in a fixed order, absent instead of null.
public enum ControlJSON {
    /// - Parameter pretty: indented, for people; otherwise one line.
    public static func encode(_ value: some Encodable, pretty: Bool = false) throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting =
            pretty
            ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        // JSON has no such numbers; a reply with one is better than no reply.
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "+Inf", negativeInfinity: "-Inf", nan: "NaN")
        return try encoder.encode(value)
    }

    public static func text(_ value: some Encodable, pretty: Bool = false) throws -> String {
        String(decoding: try encode(value, pretty: pretty), as: UTF8.self)
    }

    public static func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "+Inf", negativeInfinity: "-Inf", nan: "NaN")
        return try decoder.decode(type, from: data)
    }
}
