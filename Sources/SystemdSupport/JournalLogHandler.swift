import CSystemd
import Glibc
public import Logging

/// Log entries with fields for the journal: sd_journal_sendv(3).
///
/// `PRIORITY`, `MESSAGE` (with the metadata behind it, so that plain `journalctl` shows it), `MESSAGE_ID` for what the
/// catalog explains, `CODE_FILE`, `CODE_LINE`, `CODE_FUNC`, `COLOSSUS_LOGGER`, and each metadata key as
/// `COLOSSUS_<KEY>`. When the journal does not take an entry, it goes to standard error.
public struct JournalLogHandler: LogHandler {
    /// Bytes of one field; the rest is cut off.
    static let fieldBytesMax = 16_384

    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let threshold: LogThreshold
    private var override: Logger.Level?
    private let send: @Sendable ([[UInt8]]) -> Int32
    private let fallback: @Sendable (String) -> Void

    public var logLevel: Logger.Level {
        get { override ?? threshold.level(of: label) }
        set { override = newValue }
    }

    public init(label: String, threshold: LogThreshold) {
        self.init(
            label: label, threshold: threshold, send: Self.sendToJournal,
            fallback: StderrLogHandler.writeToStderr)
    }

    /// - Parameter send: takes fields `NAME=value`; negative for a failure.
    init(
        label: String, threshold: LogThreshold, send: @escaping @Sendable ([[UInt8]]) -> Int32,
        fallback: @escaping @Sendable (String) -> Void
    ) {
        self.label = label
        self.threshold = threshold
        self.send = send
        self.fallback = fallback
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        guard let heldBack = threshold.admit(event) else { return }
        let fields = LogFields(event, own: metadata, provider: metadataProvider, heldBack: heldBack)
        let priority = Self.priority(event.level)
        let message = event.message.description + fields.suffix
        var entry = [
            Self.field("MESSAGE", message), Self.field("PRIORITY", "\(priority)"),
            Self.field("SYSLOG_IDENTIFIER", "colossusd"), Self.field("COLOSSUS_LOGGER", label),
            Self.field("CODE_FILE", event.file), Self.field("CODE_LINE", "\(event.line)"),
            Self.field("CODE_FUNC", event.function),
        ]
        if let id = fields.messageID { entry.append(Self.field("MESSAGE_ID", id)) }
        for pair in fields.pairs { entry.append(Self.field(Self.name(pair.key), pair.value)) }
        // systemd reads the level of a line on standard error from this prefix: sd-daemon(3).
        if send(entry) < 0 { fallback("<\(priority)>\(LogFields.oneLine(message))\n") }
    }

    /// syslog(3) has no trace.
    static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    /// `COLOSSUS_<KEY>`: the journal takes capital letters, digits and underscores, 64 at most.
    static func name(_ key: String) -> String {
        let letters = key.uppercased().utf8.map { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): byte
            default: UInt8(ascii: "_")
            }
        }
        return "COLOSSUS_" + String(decoding: letters.prefix(55), as: UTF8.self)
    }

    private static func field(_ name: String, _ value: String) -> [UInt8] {
        Array("\(name)=".utf8) + value.utf8.prefix(fieldBytesMax)
    }

    static let sendToJournal: @Sendable ([[UInt8]]) -> Int32 = { fields in
        // The vectors point into one buffer that outlives the call; libsystemd only reads.
        let bytes = fields.flatMap(\.self)
        return bytes.withUnsafeBytes { whole in
            var offset = 0
            let vectors = fields.map { field in
                defer { offset += field.count }
                return iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: whole.baseAddress?.advanced(by: offset)),
                    iov_len: field.count)
            }
            return sd_journal_sendv(vectors, Int32(vectors.count))
        }
    }
}
