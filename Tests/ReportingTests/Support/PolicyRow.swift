@testable import Reporting

/// The policy as it is promised, written down a second time: by kind, which statuses mean what.
struct PolicyRow: Sendable, CustomStringConvertible {
    var kind: EndpointKind
    var verdict: Verdict
    var statuses: [Int]
    var description: String { "\(kind.rawValue) \(verdict.rawValue) \(statuses.first ?? 0)…" }

    init(_ kind: EndpointKind, _ verdict: Verdict, _ ranges: [ClosedRange<Int>]) {
        self.kind = kind
        self.verdict = verdict
        statuses = ranges.flatMap { Array($0) }
    }

    static let all: [PolicyRow] = [
        // Remote write 1.0: retry on 5xx and 429, never on other 4xx.
        PolicyRow(.remoteWrite, .delivered, [200...299]),
        PolicyRow(.remoteWrite, .retry, [100...199, 300...399, 429...429, 500...599]),
        PolicyRow(.remoteWrite, .dead, [401...401, 403...407, 410...411, 431...431]),
        PolicyRow(.remoteWrite, .renegotiate, [415...415]),
        PolicyRow(
            .remoteWrite, .bisect,
            [400...400, 402...402, 408...409, 412...414, 416...428, 430...430, 432...499]),
        // CloudEvents webhooks: 410 ends it, 408, 429 and 5xx are tried again.
        PolicyRow(.webhook, .delivered, [200...299]),
        PolicyRow(.webhook, .retry, [100...199, 300...399, 408...408, 429...429, 500...599]),
        PolicyRow(.webhook, .disable, [410...410]),
        PolicyRow(.webhook, .bisect, [413...413]),
        PolicyRow(.webhook, .dead, [400...407, 409...409, 411...412, 414...428, 430...499]),
    ]
}

extension EndpointKind {
    static var requesting: [EndpointKind] { Array(Set(PolicyRow.all.map(\.kind))) }
}
