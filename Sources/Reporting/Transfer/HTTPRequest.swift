import Telemetry
import WireFormats

/// One request.
struct HTTPRequest: Sendable {
    enum Method: String, Sendable { case post = "POST", options = "OPTIONS" }

    var method = Method.post
    var url: String
    var headers: [HTTPHeader]
    var body: [UInt8]
    var connectTimeoutMs: Int64
    var timeoutMs: Int64
    /// Paths as libcurl opens them.
    var tls = EndpointTLS()
    /// Secrets that may be in it, and are not shown should the receiver repeat them.
    var hidden: [[UInt8]] = []
}

/// What a request brought, or why it brought nothing.
struct HTTPResult: Sendable {
    var outcome: AttemptOutcome
    var seconds: Double
}

/// What is kept of a response: the status, `Retry-After`, and the beginning of the body for people.
struct ResponseHead: Sendable {
    /// The body is read to its end so that the connection can be used again, but not for ever.
    static let bodyBytesMax = 1_048_576
    /// What goes into a log line, what is kept with a dead letter, and what may be looked into.
    static let reasonBytesMax = 512
    static let excerptBytesMax = 4_096
    static let keptBytesMax = 65_536

    private(set) var status = 0
    private(set) var retryAfter: String?
    /// The empty line after the headers has been seen, and it was no interim response.
    private(set) var isComplete = false
    private(set) var bodyBytes = 0
    private var details = ResponseDetails()
    private var isProtobuf = false
    private let hidden: [[UInt8]]

    /// - Parameter hidden: secrets, the longest first.
    init(hidden: [[UInt8]] = []) { self.hidden = hidden }

    /// Takes one line of the head, as libcurl gives them.
    mutating func headerLine(_ line: some Collection<UInt8>) {
        let text = String(decoding: line, as: UTF8.self)
        if text.hasPrefix("HTTP/") {
            let words = text.split(separator: " ", maxSplits: 2)
            status = words.count > 1 ? Int(words[1].prefix { $0.isNumber }) ?? 0 : 0
            retryAfter = nil
            details = ResponseDetails()
            isProtobuf = false
            isComplete = false
        } else if text == "\r\n" || text == "\n" {
            isComplete = status >= 200
        } else if let colon = text.firstIndex(of: ":") {
            header(text[..<colon].lowercased(), text[text.index(after: colon)...])
        }
    }

    private mutating func header(_ name: String, _ value: Substring) {
        if name == "content-type" { isProtobuf = value.contains("application/x-protobuf") }
        if name == "retry-after" { retryAfter = Self.trimmed(value) }
        if name == "webhook-allowed-origin" { details.allowedOrigin = Self.trimmed(value) }
        if name == "webhook-allowed-rate" {
            details.allowedRate = Int(Self.trimmed(value)).flatMap { $0 > 0 ? $0 : nil }
        }
        if name.hasPrefix("x-prometheus-remote-write-"), name.hasSuffix("-written") {
            details.saysWritten = true
        }
    }

    /// - Returns: `false` when enough has been read.
    mutating func bodyBytes(_ bytes: some Collection<UInt8>) -> Bool {
        details.body.append(contentsOf: bytes.prefix(max(0, Self.keptBytesMax - details.body.count)))
        bodyBytes += bytes.count
        return bodyBytes <= Self.bodyBytesMax
    }

    /// What the response means, or `nil` when its head is not complete. A response whose body breaks off has been
    /// given all the same: receivers answer after they have taken the data, and their bodies say nothing we need.
    func outcome(nowMs: Int64) -> AttemptOutcome? {
        guard isComplete else { return nil }
        var details = details
        details.body = masked(details.body)
        return .response(
            status: status, retryAfterMs: retryAfter.flatMap { RetryAfter.delayMs($0, nowMs: nowMs) },
            reason: (200..<300).contains(status) ? "" : reason(details.body),
            details: details
        )
    }

    /// What the body says, in a line. Protocol buffers are taken for a `google.rpc.Status`.
    private func reason(_ body: [UInt8]) -> String {
        if isProtobuf, let message = OTLPReply.statusMessage(body) {
            return Self.line(Array(message.utf8.prefix(Self.reasonBytesMax)))
        }
        return Self.line(Array(body.prefix(Self.reasonBytesMax)))
    }

    private func masked(_ body: [UInt8]) -> [UInt8] {
        var body = body
        for secret in hidden where body.count >= secret.count {
            var rest = body[...]
            var shown: [UInt8] = []
            while let place = rest.firstIndex(of: secret[0]) {
                shown += rest[..<place]
                let isSecret = rest[place...].starts(with: secret)
                // Of the same length: protocol buffers around it stay readable.
                let count = isSecret ? secret.count : 1
                shown += isSecret ? Array(repeating: UInt8(ascii: "*"), count: count) : [secret[0]]
                rest = rest[(place + count)...]
            }
            body = shown + rest
        }
        return body
    }

    /// One line without control characters: it goes to logs and terminals.
    static func line(_ bytes: [UInt8]) -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        let plain = text.unicodeScalars.map { scalar in
            scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) ? " " : Character(scalar)
        }
        return trimmed(Substring(String(plain)))
    }

    private static func trimmed(_ text: Substring) -> String {
        var rest = text
        while let last = rest.last, last.isWhitespace { rest.removeLast() }
        return String(rest.drop { $0.isWhitespace })
    }
}
