/// What to do after an attempt.
enum Verdict: String, Sendable, Equatable {
    case delivered
    /// Later again, the same part.
    case retry
    /// Refused for good: find out which rows are to blame.
    case bisect
    /// Refused for good, and its pieces would be, too.
    case dead
    /// Some rows were taken and others were not, and the endpoint does not say which: not sent again, and kept as a dead
    /// letter for whoever wants to know.
    case partial
    /// The form is not understood: a simpler one may be. Where there is none, as `dead`.
    case renegotiate
    /// The endpoint wants nothing any more.
    case disable
}

/// A line of the table: what a status of a kind means, and why.
struct RetryRule: Sendable {
    /// `nil` for all kinds.
    var kind: EndpointKind?
    var statuses: ClosedRange<Int>
    var verdict: Verdict
    /// For readers of the table.
    var why: String

    init(_ kind: EndpointKind?, _ statuses: ClosedRange<Int>, _ verdict: Verdict, _ why: String) {
        self.kind = kind
        self.statuses = statuses
        self.verdict = verdict
        self.why = why
    }

    init(_ kind: EndpointKind?, _ status: Int, _ verdict: Verdict, _ why: String) {
        self.init(kind, status...status, verdict, why)
    }
}

/// The one table of what is tried again, by kind and status: the first rule that fits counts.
///
/// Remote write: "Senders MUST retry write requests on HTTP 5xx … MUST NOT retry on 2xx and 4xx other than 429"
/// (Prometheus Remote-Write 1.0). Webhook: CloudEvents HTTP webhooks 1.0, sections 2.2 (410, 429) and the usual 408.
enum RetryPolicy {
    static let rules: [RetryRule] =
        specific + [
            RetryRule(nil, 200...299, .delivered, "taken"),
            RetryRule(nil, 429, .retry, "too many requests, for now"),
            RetryRule(nil, 500...599, .retry, "the receiver's fault"),
            RetryRule(nil, 400...499, .dead, "the request is wrong, and would be so again"),
            // Redirections are not followed, because a secret would go with them. The operator has to correct the
            // URL, and until then nothing is lost. No other status exists.
            RetryRule(nil, 0...999, .retry, "no answer that means anything"),
        ]

    private static let specific: [RetryRule] = [
        // About the request or who sends it, not about what is in it: halves would fare no better.
        RetryRule(.remoteWrite, 401, .dead, "not authenticated"),
        RetryRule(.remoteWrite, 403...407, .dead, "not allowed, or no such address"),
        RetryRule(.remoteWrite, 410...411, .dead, "gone; length required"),
        RetryRule(.remoteWrite, 415, .renegotiate, "version or compression unknown"),
        RetryRule(.remoteWrite, 431, .dead, "headers too large"),
        RetryRule(.remoteWrite, 429, .retry, "too many requests, for now"),
        RetryRule(.remoteWrite, 400...499, .bisect, "a series or sample is refused"),

        // OTLP 1.x: "the client MUST NOT retry" anything but these, not even 500.
        RetryRule(.otlp, 400, .bisect, "data that cannot be taken"),
        RetryRule(.otlp, 413, .bisect, "too large: halves may pass"),
        RetryRule(.otlp, 415, .renegotiate, "compression unknown"),
        RetryRule(.otlp, 502...504, .retry, "the receiver is away or busy"),
        RetryRule(.otlp, 500...599, .dead, "not to be tried again"),

        // InfluxDB v2 API: 400 refuses all lines because of one, 422 has stored the others.
        RetryRule(.influx, 400, .bisect, "a line is refused"),
        RetryRule(.influx, 413, .bisect, "too large: halves may pass"),
        RetryRule(.influx, 415, .renegotiate, "compression unknown"),
        RetryRule(.influx, 422, .partial, "some lines are refused, the others are stored"),

        // Alertmanager's API v2: 400 names what is malformed and takes the other alerts; all of them come again anyway.
        // Nothing is kept of what is refused: whoever is not let in, or has the wrong address, is tried again and said to fail.
        RetryRule(.alertmanager, 401, .retry, "not authenticated, for now"),
        RetryRule(.alertmanager, 403...404, .retry, "not allowed, or no such address, for now"),
        RetryRule(.alertmanager, 407, .retry, "not authenticated by a proxy, for now"),
        RetryRule(.alertmanager, 413, .bisect, "too large: halves may pass"),

        RetryRule(.webhook, 415, .renegotiate, "compression unknown"),
        RetryRule(.webhook, 408, .retry, "the receiver did not wait long enough"),
        RetryRule(.webhook, 410, .disable, "the receiver wants nothing any more"),
        RetryRule(.webhook, 413, .bisect, "too large: halves may pass"),
    ]

    static func rule(status: Int, kind: EndpointKind) -> RetryRule? {
        rules.first { ($0.kind == nil || $0.kind == kind) && $0.statuses.contains(status) }
    }

    static func verdict(_ outcome: AttemptOutcome, kind: EndpointKind) -> Verdict {
        switch outcome {
        case .written: .delivered
        // Whoever cannot be reached now may be later: nothing is given up.
        case .failed: .retry
        case .response(let status, _, _, _): rule(status: status, kind: kind)?.verdict ?? .retry
        }
    }
}
