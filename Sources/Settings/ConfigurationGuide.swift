/// Explains the keys of the configuration out of the commented file `Config/colossusd.yaml`, which shows all of them.
public struct ConfigurationGuide: Sendable {
    public struct Key: Sendable, Hashable {
        /// `windows.lateness`, `endpoints.retry.min`.
        public var path: String
        /// As the file shows it; of a key that is commented out, an example.
        public var value: String
        /// Whether the value is in force when nobody says anything.
        public var isDefault: Bool
        /// What the comments beside and above say; may be empty.
        public var meaning: String
    }

    /// In the order of the file.
    public let keys: [Key]

    public static let shipped = ConfigurationGuide(text)

    /// Reads a commented file. Prose begins with a capital letter or has no key; anything else behind `#` is a key that is
    /// commented out.
    public init(_ text: String) {
        var keys: [Key] = []
        var stack: [(indent: Int, name: String)] = []
        var prose: [String] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            guard let entry = Line(line) else {
                let words = line.drop { $0 == " " || $0 == "#" }
                if line.drop(while: { $0 == " " }).hasPrefix("#"), !words.isEmpty {
                    prose.append(String(words))
                } else {
                    prose = []
                }
                continue
            }
            while let last = stack.last, last.indent >= entry.indent { stack.removeLast() }
            stack.append((entry.indent, entry.name))
            let path = stack.map(\.name).joined(separator: ".")
            var meaning = prose
            if !entry.comment.isEmpty { meaning.append(entry.comment) }
            prose = []
            let key = Key(
                path: path, value: entry.value, isDefault: !entry.isCommentedOut,
                meaning: meaning.joined(separator: " "))
            // The list that is shown as an example stands below the key that says its default.
            if !keys.contains(where: { $0.path == path }) { keys.append(key) }
        }
        self.keys = keys
    }

    /// A key by its path, or all keys of a section.
    public func find(_ path: String) -> [Key] {
        keys.filter { $0.path == path || $0.path.hasPrefix(path + ".") }
    }

    /// One line that has a key.
    private struct Line {
        var indent: Int
        var name: String
        var value: String
        var comment: String
        var isCommentedOut: Bool

        init?(_ line: Substring) {
            let margin = line.prefix { $0 == " " }
            var rest = line.dropFirst(margin.count)
            isCommentedOut = rest.hasPrefix("# ")
            if isCommentedOut { rest = rest.dropFirst(2) }
            let inner = rest.prefix { $0 == " " }
            rest = rest.dropFirst(inner.count)
            indent = margin.count + inner.count
            if rest.hasPrefix("- ") {
                rest = rest.dropFirst(2)
                indent += 2
            }
            let key = rest.prefix { $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "_") }
            let after = rest.dropFirst(key.count)
            guard !key.isEmpty, after.hasPrefix(":"), after.count == 1 || after.hasPrefix(": ") else {
                return nil
            }
            name = String(key)
            let (value, comment) = Self.split(after.dropFirst())
            self.value = value
            self.comment = comment
        }

        private static func split(_ text: Substring) -> (value: String, comment: String) {
            let mark = text.firstRange(of: " # ")
            let value = mark.map { text[..<$0.lowerBound] } ?? text
            let comment = mark.map { text[$0.upperBound...] } ?? ""
            return (String(value.drop { $0 == " " }), String(comment))
        }
    }
}
