import Glibc
public import Logging

/// Log lines for people: `2026-11-22T10:00:00Z info message key=value`.
public struct StderrLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let threshold: LogThreshold
    private var override: Logger.Level?
    private let nowSeconds: @Sendable () -> Int
    private let write: @Sendable (String) -> Void

    public var logLevel: Logger.Level {
        get { override ?? threshold.level(of: label) }
        set { override = newValue }
    }

    /// - Parameter threshold: the level of the process, until a logger is given one of its own.
    public init(label: String, threshold: LogThreshold) {
        self.init(label: label, threshold: threshold, nowSeconds: { time(nil) }, write: Self.writeToStderr)
    }

    init(
        label: String = "", threshold: LogThreshold, nowSeconds: @escaping @Sendable () -> Int,
        write: @escaping @Sendable (String) -> Void
    ) {
        self.label = label
        self.threshold = threshold
        self.nowSeconds = nowSeconds
        self.write = write
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        guard let heldBack = threshold.admit(event) else { return }
        let fields = LogFields(event, own: metadata, provider: metadataProvider, heldBack: heldBack)
        let message = LogFields.oneLine(event.message.description)
        write("\(Self.timestamp(nowSeconds())) \(event.level.rawValue) \(message)\(fields.suffix)\n")
    }

    static func timestamp(_ seconds: Int) -> String {
        var seconds = seconds
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T"
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
    }

    /// One write a line, so that lines of several threads do not mix.
    static let writeToStderr: @Sendable (String) -> Void = { line in
        var line = line
        line.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let written = Glibc.write(STDERR_FILENO, rest.baseAddress, rest.count)
                // Nobody is left to tell.
                if written <= 0, errno != EINTR { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(max(0, written)))
            }
        }
    }
}
