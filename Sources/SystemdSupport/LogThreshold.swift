import Glibc
public import Logging
import Synchronization

/// The log levels of the process and of its subsystems, which can be changed under loggers that exist already, and the gate
/// that keeps one kind of entry from filling the journal.
public final class LogThreshold: Sendable {
    private struct State: Sendable {
        var level: Logger.Level
        var subsystems: [String: Logger.Level] = [:]
        var gate = LogGate()
    }

    private let state: Mutex<State>
    private let nowMs: @Sendable () -> Int64

    /// - Parameter nowMs: a clock for the gate; how far it is from 1970 does not matter.
    public init(_ level: Logger.Level, nowMs: @escaping @Sendable () -> Int64 = LogThreshold.monotonicMs) {
        state = Mutex(State(level: level))
        self.nowMs = nowMs
    }

    /// Of the subsystems that have none of their own.
    public var level: Logger.Level {
        get { state.withLock { $0.level } }
        set { state.withLock { $0.level = newValue } }
    }

    /// Those that have a level of their own.
    public var subsystems: [String: Logger.Level] { state.withLock { $0.subsystems } }

    public func level(of subsystem: String) -> Logger.Level {
        state.withLock { $0.subsystems.isEmpty ? $0.level : $0.subsystems[subsystem] ?? $0.level }
    }

    /// Gives a subsystem (the label of its logger) a level of its own, or takes it away.
    public func set(_ level: Logger.Level?, subsystem: String) {
        state.withLock { $0.subsystems[subsystem] = level }
    }

    /// How many entries were held back since the process began.
    public var heldBackTotal: Int { state.withLock { $0.gate.heldTotal } }

    /// Whether an entry passes; with the number of its kind that were held back before it, or `nil` when it is held back.
    func admit(_ event: LogEvent) -> Int? {
        guard event.level < .critical else { return 0 }
        let kind = event.metadata?[JournalMessage.key]?.description ?? event.message.description
        let now = nowMs()
        return switch state.withLock({ $0.gate.admit(kind, nowMs: now) }) {
        case .pass(let heldBack): heldBack
        case .hold: nil
        }
    }

    /// Tells of what was held back of kinds that do not come any more. To be called every few seconds.
    public func settle(_ logger: Logger) {
        let now = nowMs()
        for kind in state.withLock({ $0.gate.settle(nowMs: now) }) {
            logger.notice(
                "entries were held back",
                metadata: JournalMessage.heldBack.metadata([
                    "kind": "\(kind.name)", "count": "\(kind.heldBack)",
                ]))
        }
    }

    /// CLOCK_MONOTONIC.
    public static let monotonicMs: @Sendable () -> Int64 = {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }
}

/// What both log handlers do with an event before they print it.
struct LogFields: Sendable {
    /// Sorted by key; without the keys that only the journal has a use for.
    var pairs: [(key: String, value: String)]
    /// The `MESSAGE_ID`, if the event is one that the catalog explains.
    var messageID: String?

    init(
        _ event: LogEvent, own: Logger.Metadata, provider: Logger.MetadataProvider?, heldBack: Int = 0
    ) {
        var all = own
        if let provider { all.merge(provider.get()) { $1 } }
        if let metadata = event.metadata { all.merge(metadata) { $1 } }
        if let error = event.error { all["error"] = "\(error)" }
        if heldBack > 0 { all["held_back"] = "\(heldBack)" }
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
