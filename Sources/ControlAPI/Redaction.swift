/// Takes secrets out of what is given away for others to read. Secrets of the configuration are in files and never shown; this
/// is for what people write where it does not belong: passwords in URLs, tokens in headers and in messages.
public enum Redaction {
    public static let hidden = "[hidden]"

    /// Words whose value, behind `=` or `:`, is nobody's business.
    private static let words = [
        "password", "passwd", "secret", "token", "api_key", "apikey", "api-key", "access_key",
        "authorization", "signature",
        "bearer",
    ]

    /// The value of a key of the configuration.
    public static func value(_ value: String, of key: String) -> String {
        // Header values are no secrets by our rules, which not everybody keeps.
        if key.hasSuffix(".headers") { return hidden }
        return text(value)
    }

    /// A text of any number of lines.
    public static func text(_ text: String) -> String {
        var isCredential = false
        return text.split(separator: "\n", omittingEmptySubsequences: false).map { part in
            if isCredential {
                isCredential = continues(part.utf8)
                return hidden
            }
            guard let value = credential(part.utf8) else { return line(String(part)) }
            isCredential = continues(part.utf8)
            return String(decoding: part.utf8[..<value], as: UTF8.self) + hidden
        }.joined(separator: "\n")
    }

    /// Where the value of `SetCredential=ID:VALUE` begins in a line of a unit.
    private static func credential(_ line: Substring.UTF8View) -> Substring.Index? {
        let word = "SetCredential"
        var rest = line
        while !rest.isEmpty {
            guard rest.starts(with: word.utf8) else {
                rest = rest.dropFirst()
                continue
            }
            rest = rest.dropFirst(word.utf8.count)
            var value = rest.starts(with: "Encrypted".utf8) ? rest.dropFirst(9) : rest
            value = value.drop { $0 == 0x20 || $0 == 0x09 }
            guard value.first == UInt8(ascii: "=") else { continue }
            value = value.dropFirst()
            // The name is no secret; without one, who knows what it is.
            guard let colon = value.firstIndex(of: UInt8(ascii: ":")) else { return value.startIndex }
            return value.index(after: colon)
        }
        return nil
    }

    /// Whether a line of a unit goes on in the next one; comments between its lines do not end it.
    private static func continues(_ line: Substring.UTF8View) -> Bool {
        let first = line.first { $0 != 0x20 && $0 != 0x09 }
        return line.last == UInt8(ascii: "\\") || first == UInt8(ascii: "#") || first == UInt8(ascii: ";")
    }

    private static func line(_ line: String) -> String {
        var bytes = Array(line.utf8)
        bytes = withoutUserInfo(bytes)
        bytes = withoutValues(bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `://user:password@host` becomes `://[hidden]@host`.
    private static func withoutUserInfo(_ bytes: [UInt8]) -> [UInt8] {
        let mark = Array("://".utf8)
        var out: [UInt8] = []
        var index = 0
        while index < bytes.count {
            guard bytes[index...].starts(with: mark) else {
                out.append(bytes[index])
                index += 1
                continue
            }
            out += mark
            index += mark.count
            let authority = bytes[index...].prefix { !" \t/?#\"'<>".utf8.contains($0) }
            if let at = authority.lastIndex(of: UInt8(ascii: "@")) {
                out += Array(hidden.utf8)
                index = at
            }
        }
        return out
    }

    /// `token=abc`, `Authorization: Bearer abc`, `"password": "abc"` lose what is behind.
    private static func withoutValues(_ bytes: [UInt8]) -> [UInt8] {
        let lower = bytes.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        var out: [UInt8] = []
        var index = 0
        while index < bytes.count {
            guard let word = words.first(where: { lower[index...].starts(with: $0.utf8) }),
                let value = value(behind: index + word.utf8.count, of: word, in: lower)
            else {
                out.append(bytes[index])
                index += 1
                continue
            }
            out += bytes[index..<value.lowerBound] + Array(hidden.utf8)
            index = value.upperBound
        }
        return out
    }

    /// Where the value of a word is; `nil` when the word has none.
    private static func value(behind start: Int, of word: String, in bytes: [UInt8]) -> Range<Int>? {
        var index = start
        func skip(_ set: String) { while index < bytes.count, set.utf8.contains(bytes[index]) { index += 1 } }
        skip("\"'")
        let before = index
        skip(" ")
        if index < bytes.count, bytes[index] == UInt8(ascii: "=") || bytes[index] == UInt8(ascii: ":") {
            index += 1
            skip(" \"'")
        } else if word != "bearer" || index == before {
            return nil
        }
        // A scheme goes before the secret.
        for scheme in ["bearer ", "basic ", "token "] where bytes[index...].starts(with: scheme.utf8) {
            index += scheme.utf8.count
        }
        let end = bytes[index...].firstIndex { " \t,;&\"'<>)}]".utf8.contains($0) } ?? bytes.count
        return index < end ? index..<end : nil
    }
}
