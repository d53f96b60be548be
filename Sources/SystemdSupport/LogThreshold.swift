public import Logging
import Synchronization

/// The log level of the whole process, which a reload can change under loggers that exist already.
public final class LogThreshold: Sendable {
    private let current: Mutex<Logger.Level>

    public init(_ level: Logger.Level) { current = Mutex(level) }

    public var level: Logger.Level {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }
}

/// What both log handlers do with an event before they print it.
struct LogFields: Sendable {
    /// Sorted by key; without the keys that only the journal has a use for.
    var pairs: [(key: String, value: String)]
    /// The `MESSAGE_ID`, if the event is one that the catalog explains.
    var messageID: String?

    init(_ event: LogEvent, own: Logger.Metadata, provider: Logger.MetadataProvider?) {
        var all = own
        if let provider { all.merge(provider.get()) { $1 } }
        if let metadata = event.metadata { all.merge(metadata) { $1 } }
        if let error = event.error { all["error"] = "\(error)" }
        messageID = all.removeValue(forKey: "message_id")?.description
        if messageID == nil, let name = all[JournalMessage.key]?.description {
            messageID = JournalMessage(rawValue: name)?.id
        }
        pairs = all.map { ($0.key, $0.value.description) }.sorted { $0.key < $1.key }
    }

    /// ` key=value …`, values quoted where they need it; one line, nothing that moves a cursor.
    var suffix: String {
        pairs.reduce(into: "") { text, pair in
            let value = Self.oneLine(pair.value)
            let plain = !value.isEmpty && value.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") }
            let quoted =
                plain
                ? value
                : "\""
                    + value.split(separator: "\"", omittingEmptySubsequences: false)
                    .joined(separator: "\\\"") + "\""
            text += " \(Self.oneLine(pair.key))=\(quoted)"
        }
    }

    /// The text without line ends and other control characters, which could fake lines or drive a terminal.
    static func oneLine(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            return text
        }
        return text.unicodeScalars.reduce(into: "") { line, scalar in
            switch scalar {
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case _ where scalar.properties.generalCategory == .control:
                line += "\\u{" + String(scalar.value, radix: 16) + "}"
            default: line.unicodeScalars.append(scalar)
            }
        }
    }
}
