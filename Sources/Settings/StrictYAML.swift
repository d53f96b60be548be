import Yams

/// Reads YAML so that nothing in the file is silently ignored.
///
/// A key that nobody asks for is an error, and so are a key given twice, an explicit tag, an empty value, and a value
/// of another type; all errors of a file are collected, each with its place. YAML's guesses are not used: only `true`
/// and `false` are truth values, and a text is what is written.
///
/// ```swift
/// let site = try StrictYAML.decode(text, file: "site.yaml") { root in
///     root.read(.mapping { site in
///         Site(
///             name: site.required("name", .text(max: 64), placeholder: ""),
///             halls: site.optional("halls", .int(in: 1...64), default: 1),
///             opened: site.optional("opened", .date)
///         )
///     })
/// }
/// ```
public enum StrictYAML {
    /// Bytes of one file.
    public static let fileBytesMax = 1 << 20
    /// Aliases of one file. An alias repeats what its anchor holds, and may do so again and again; 16 of them can
    /// make at most 3^5 copies.
    public static let aliasesMax = 16
    /// Errors of one file that are kept.
    public static let errorsMax = 50

    /// Reads one document.
    ///
    /// - Parameters:
    ///   - file: how errors name it.
    ///   - decode: makes the value; `nil` only after it has reported an error.
    /// - Throws: all errors that were found, in the order of the file.
    public static func decode<Value>(
        _ text: String, file: String, _ decode: (YAMLValue) -> Value?
    ) throws(SettingsFailure) -> Value {
        let report = YAMLReport(file: file)
        guard let root = compose(text, report) else { throw report.failure }
        guard let value = decode(YAMLValue(node: root, report: report)), report.errors.isEmpty else {
            throw report.failure
        }
        return value
    }

    private static func compose(_ text: String, _ report: YAMLReport) -> Node? {
        guard text.utf8.count <= fileBytesMax else {
            report.add(0, 0, "the file has \(text.utf8.count) bytes", "\(fileBytesMax) at most")
            return nil
        }
        guard checkAliases(text, report) else { return nil }
        do {
            if let root = try Yams.compose(yaml: text, .default, .default, .utf8) { return root }
            report.add(1, 1, "the file is empty", "a mapping of keys to values")
        } catch let error as YamlError {
            report.add(error)
        } catch {
            report.add(1, 1, "cannot be read as YAML: \(error)", "")
        }
        return nil
    }

    /// Counts what looks like an alias, in comments too: guessing which `#` starts a comment could be fooled.
    private static func checkAliases(_ text: String, _ report: YAMLReport) -> Bool {
        var previous = UInt8(ascii: "\n")
        var found = 0
        var line = 1
        var column = 1
        var starred = false
        for byte in text.utf8 {
            if starred, byte > UInt8(ascii: " "), byte != UInt8(ascii: "*") { found += 1 }
            if found > aliasesMax {
                report.add(line, column - 1, "too many aliases", "at most \(aliasesMax) in a file")
                return false
            }
            switch previous {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"),
                UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: ","), UInt8(ascii: ":"):
                starred = byte == UInt8(ascii: "*")
            default:
                starred = false
            }
            previous = byte
            column += 1
            if byte == UInt8(ascii: "\n") { (line, column) = (line + 1, 1) }
        }
        return true
    }
}

/// Gathers the errors of one file. A class, because every value of the file reports to the same one.
final class YAMLReport {
    let file: String
    private(set) var errors: [SettingsError] = []

    init(file: String) { self.file = file }

    func add(_ line: Int, _ column: Int, _ problem: String, _ expected: String) {
        guard errors.count < StrictYAML.errorsMax else { return }
        errors.append(
            SettingsError(file: file, line: line, column: column, problem: problem, expected: expected))
    }

    func add(_ error: YamlError) {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let around = context.map { " (\($0.text.trimmed) that starts in line \($0.mark.line))" } ?? ""
            add(mark.line, mark.column, "not YAML: \(problem)\(around)", "")
        case .duplicatedKeysInMapping(let keys, let context):
            let names = keys.map { "`\($0)`" }.joined(separator: ", ")
            add(context.mark.line, context.mark.column, "\(names) given twice", "each key once")
        case .reader(let problem, let offset, _, _):
            add(1, 1, "not YAML: \(problem)" + (offset.map { " at character \($0)" } ?? ""), "UTF-8 text")
        default:
            add(1, 1, "not YAML: \(error)", "")
        }
    }

    var failure: SettingsFailure {
        SettingsFailure(errors.sorted { ($0.line, $0.column) < ($1.line, $1.column) })
    }
}

extension String {
    fileprivate var trimmed: Substring {
        var text = self[...]
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
