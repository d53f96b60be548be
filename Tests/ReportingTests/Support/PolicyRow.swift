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
        PolicyRow(.webhook, .renegotiate, [415...415]),
        PolicyRow(.webhook, .dead, [400...407, 409...409, 411...412, 414...414, 416...428, 430...499]),
        // OTLP: 429, 502, 503 and 504, and nothing else; not even 500.
        PolicyRow(.otlp, .delivered, [200...299]),
        PolicyRow(.otlp, .retry, [100...199, 300...399, 429...429, 502...504]),
        PolicyRow(.otlp, .bisect, [400...400, 413...413]),
        PolicyRow(.otlp, .renegotiate, [415...415]),
        PolicyRow(.otlp, .dead, [401...412, 414...414, 416...428, 430...499, 500...501, 505...599]),
        // Alertmanager: what it refuses comes again with the next round; whoever is not let in tries again.
        PolicyRow(.alertmanager, .delivered, [200...299]),
        PolicyRow(
            .alertmanager, .retry,
            [100...199, 300...399, 401...401, 403...404, 407...407, 429...429, 500...599]),
        PolicyRow(.alertmanager, .bisect, [413...413]),
        PolicyRow(
            .alertmanager, .dead,
            [400...400, 402...402, 405...406, 408...412, 414...428, 430...499]),
        // InfluxDB: 422 has stored what was good.
        PolicyRow(.influx, .delivered, [200...299]),
        PolicyRow(.influx, .retry, [100...199, 300...399, 429...429, 500...599]),
        PolicyRow(.influx, .bisect, [400...400, 413...413]),
        PolicyRow(.influx, .renegotiate, [415...415]),
        PolicyRow(.influx, .partial, [422...422]),
        PolicyRow(.influx, .dead, [401...412, 414...414, 416...421, 423...428, 430...499]),
    ]
}

extension EndpointKind {
    /// Those that get summaries.
    static var ofWindows: [EndpointKind] { allCases.filter { $0 != .alertmanager } }
    static var requesting: [EndpointKind] { Array(Set(PolicyRow.all.map(\.kind))) }
}

extension WindowGrid {
    /// In the form that is tried first.
    func body(_ rows: Range<Int>, id: String, part: Int) -> [UInt8] {
        body(rows, id: id, part: part, form: form)
    }
}
