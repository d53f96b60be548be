/// What came of one attempt to deliver.
enum AttemptOutcome: Sendable, Equatable {
    /// A complete response head. `retryAfterMs` is from now.
    case response(
        status: Int, retryAfterMs: Int64?, reason: String, details: ResponseDetails = ResponseDetails())
    /// No response, or none that is complete.
    case failed(AttemptFailure, reason: String)
    /// A file took the line.
    case written

    var status: Int {
        if case .response(let status, _, _, _) = self { status } else { 0 }
    }

    /// What is in the part may be why it failed: not while the receiver was not reached, or asked for time.
    var mayBeThePart: Bool {
        switch self {
        case .response(let status, let retryAfterMs, _, _): status != 429 && retryAfterMs == nil
        case .failed(let failure, _): failure == .timeout || failure == .transfer
        case .written: false
        }
    }

    /// The beginning of the response's body, for people.
    var responseBody: [UInt8] {
        guard case .response(_, _, _, let details) = self else { return [] }
        return Array(details.body.prefix(ResponseHead.excerptBytesMax))
    }

    /// For people: what went wrong, in a line.
    var text: String {
        switch self {
        case .response(let status, _, let reason, _):
            reason.isEmpty ? "HTTP \(status)" : "HTTP \(status): \(reason)"
        case .failed(let failure, let reason): "\(failure.rawValue): \(reason)"
        case .written: "written"
        }
    }
}

/// What some protocols say in a response besides its status.
struct ResponseDetails: Sendable, Equatable {
    /// As much of the body as is kept.
    var body: [UInt8] = []
    /// A header `X-Prometheus-Remote-Write-…-Written` was there: the receiver knows remote write 2.0.
    var saysWritten = false
    /// `WebHook-Allowed-Origin` and `WebHook-Allowed-Rate` (requests a minute; `nil` without a limit).
    var allowedOrigin: String?
    var allowedRate: Int?
}

/// Why there was no response. The raw value is what users see.
enum AttemptFailure: String, Sendable, Equatable {
    case resolve = "name not resolved"
    case connect = "not connected"
    case timeout = "timed out"
    case tls = "TLS failed"
    case transfer = "connection lost"
    case credentials = "credentials not readable"
    case file = "file not written"
    case handshake = "handshake failed"
}
