/// What came of one attempt to deliver.
enum AttemptOutcome: Sendable, Equatable {
    /// A complete response head. `retryAfterMs` is from now.
    case response(status: Int, retryAfterMs: Int64?, reason: String)
    /// No response, or none that is complete.
    case failed(AttemptFailure, reason: String)
    /// A file took the line.
    case written

    var status: Int {
        if case .response(let status, _, _) = self { status } else { 0 }
    }

    /// For people: what went wrong, in a line.
    var text: String {
        switch self {
        case .response(let status, _, let reason):
            reason.isEmpty ? "HTTP \(status)" : "HTTP \(status): \(reason)"
        case .failed(let failure, let reason): "\(failure.rawValue): \(reason)"
        case .written: "written"
        }
    }
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
}

/// What to do after an attempt.
enum Verdict: Sendable, Equatable {
    case delivered
    /// Later again, the same part.
    case retry
    /// Refused for good: find out which rows are to blame.
    case bisect
    /// Refused for good, and its pieces would be, too.
    case dead
    /// The endpoint wants nothing any more.
    case disable
}

/// The one table of what is tried again, by kind and status.
///
/// Remote write: "Senders MUST retry write requests on HTTP 5xx … MUST NOT retry on 2xx and 4xx other than 429"
/// (Prometheus Remote-Write 1.0). Webhook: CloudEvents HTTP webhooks 1.0, sections 2.2 (410, 429) and the usual 408.
enum RetryPolicy {
    static func verdict(_ outcome: AttemptOutcome, kind: EndpointKind) -> Verdict {
        switch outcome {
        case .written: .delivered
        // Whoever cannot be reached now may be later: nothing is given up.
        case .failed: .retry
        case .response(let status, _, _): verdict(status: status, kind: kind)
        }
    }

    private static func verdict(status: Int, kind: EndpointKind) -> Verdict {
        switch (kind, status) {
        case (_, 200..<300): .delivered
        case (_, 429), (_, 500...): .retry
        case (.webhook, 408): .retry
        case (.webhook, 410): .disable
        // Too large: halves may pass.
        case (.webhook, 413): .bisect
        // About the request or who sends it, not about what is in it: halves would fare no better.
        case (.remoteWrite, 401), (.remoteWrite, 403...407), (.remoteWrite, 410), (.remoteWrite, 411),
            (.remoteWrite, 415), (.remoteWrite, 431):
            .dead
        case (.remoteWrite, 400..<500): .bisect
        case (_, 400..<500): .dead
        // 1xx and 3xx: redirections are not followed, because a secret would go with them. The operator has to
        // correct the URL, and until then nothing is lost.
        default: .retry
        }
    }
}

/// Waiting times with decorrelated jitter: each is drawn between the base and three times the one before
/// (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
struct Backoff: Sendable {
    private let limits: BackoffLimits
    private var lastMs: Int64
    private var random: SplitMix64

    init(_ limits: BackoffLimits, seed: UInt64) {
        self.limits = limits
        lastMs = limits.baseMs
        random = SplitMix64(seed: seed)
    }

    mutating func nextMs() -> Int64 {
        let upper = min(limits.capMs, max(limits.baseMs, lastMs) * 3)
        lastMs = Int64.random(in: min(limits.baseMs, upper)...upper, using: &random)
        return lastMs
    }

    mutating func reset() { lastMs = limits.baseMs }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: small, and good enough for jitter.
struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
