import Telemetry
import Testing

@testable import Reporting

@Suite struct RetryPolicyTests {
    @Test("the table says by kind and status what is tried again: every status", arguments: PolicyRow.all)
    func table(row: PolicyRow) {
        for status in row.statuses {
            let outcome = AttemptOutcome.response(status: status, retryAfterMs: nil, reason: "")
            #expect(
                RetryPolicy.verdict(outcome, kind: row.kind) == row.verdict, "\(row.kind.rawValue) \(status)")
        }
    }

    @Test("each status of each kind that takes requests has its row here", arguments: EndpointKind.requesting)
    func complete(kind: EndpointKind) {
        let rows = PolicyRow.all.filter { $0.kind == kind }
        #expect(rows.flatMap(\.statuses).sorted() == Array(100...599))
        #expect(RetryPolicy.rules.allSatisfy { !$0.why.isEmpty })
    }

    @Test("whatever has no response is tried again", arguments: EndpointKind.allCases)
    func failures(kind: EndpointKind) {
        for failure in [AttemptFailure.connect, .resolve, .timeout, .tls, .transfer, .credentials, .file] {
            #expect(RetryPolicy.verdict(.failed(failure, reason: ""), kind: kind) == .retry)
        }
    }

    @Test(
        "Retry-After is read in all forms of RFC 9110",
        arguments: [
            ("120", Int64?.some(120_000)), ("0", 0), (" 5 ", 5_000), ("", nil), ("soon", nil), ("-3", nil),
            ("1.5", nil),
            ("99999999999999999999", Int64.max),
            // 784111777 s is 1994-11-06T08:49:37Z, the example of the RFC.
            ("Sun, 06 Nov 1994 08:49:37 GMT", 7_000), ("Sunday, 06-Nov-94 08:49:37 GMT", 7_000),
            ("Sun Nov  6 08:49:37 1994", 7_000), ("Sun, 06 Nov 1994 08:49:20 GMT", 0),
            ("Sun, 31 Feb 1994 08:49:37 GMT", nil), ("Sun, 06 Nox 1994 08:49:37 GMT", nil),
        ] as [(String, Int64?)])
    func retryAfter(text: String, delayMs: Int64?) {
        #expect(RetryAfter.delayMs(text, nowMs: 784_111_770_000) == delayMs)
    }

    @Test(
        "jitter stays between base and cap, starts low and is the same for the same seed",
        arguments: [1, 7, 42])
    func jitter(seed: UInt64) {
        let limits = BackoffLimits(baseMs: 100, capMs: 5_000)
        var backoff = Backoff(limits, seed: seed)
        var again = Backoff(limits, seed: seed)
        var last: Int64 = 100
        var longest: Int64 = 0
        for _ in 0..<1_000 {
            let delay = backoff.nextMs()
            #expect(delay == again.nextMs())
            #expect((100...5_000).contains(delay))
            #expect(delay <= last * 3)
            last = delay
            longest = max(longest, delay)
        }
        #expect(longest > 4_000)
        backoff.reset()
        #expect(backoff.nextMs() <= 300)
    }

    @Test("secrets that a receiver repeats are not shown, whole or next to each other")
    func hidden() {
        var secrets = Secrets()
        secrets.headers = [HTTPHeader("Authorization", "Bearer s3cret-token"), HTTPHeader("X-Scope", "abc")]
        var endpoint = EndpointConfiguration.test(
            .remoteWrite, url: "http://u:pass-word@h/in?key=k3y-k3y&a=b")
        endpoint.headers = ["X-Other": "other-secret"]
        let hidden = Secrets.hidden(secrets, endpoint)
        let texts = hidden.map { String(decoding: $0, as: UTF8.self) }
        #expect(texts.map(\.count) == [19, 15, 12, 12, 9, 7])
        let wanted: Set<String> = [
            "Bearer s3cret-token", "key=k3y-k3y&a=b", "s3cret-token", "other-secret", "pass-word", "k3y-k3y",
        ]
        #expect(Set(texts) == wanted)
        var head = ResponseHead(hidden: hidden)
        for line in ["HTTP/1.1 401 No\r\n", "\r\n"] { head.headerLine(Array(line.utf8)) }
        _ = head.bodyBytes(Array("bad s3cret-to".utf8))
        _ = head.bodyBytes(Array("ken in 'Bearer s3cret-token'; ss3cret-tokens3cret-token of abc".utf8))
        guard case .response(_, _, let reason, let details)? = head.outcome(nowMs: 0) else {
            Issue.record("no outcome")
            return
        }
        let (long, short) = (String(repeating: "*", count: 19), String(repeating: "*", count: 12))
        #expect(reason == "bad \(short) in '\(long)'; s\(short)\(short) of abc")
        #expect(String(decoding: details.body, as: UTF8.self) == reason)
    }

    @Test("what is hidden leaves a reply of OTLP readable")
    func hiddenInProtobuf() {
        // ExportMetricsServiceResponse { partial_success { rejected_data_points: 7, error_message: "no team-alpha" } }
        let text = Array("no team-alpha".utf8)
        let body = [0x0A, UInt8(4 + text.count), 0x08, 0x07, 0x12, UInt8(text.count)] + text
        var head = ResponseHead(hidden: [Array("team-alpha".utf8)])
        for line in ["HTTP/1.1 200 OK\r\n", "\r\n"] { head.headerLine(Array(line.utf8)) }
        _ = head.bodyBytes(body)
        let outcome = head.outcome(nowMs: 0)
        #expect(outcome.flatMap { OTLPEndpoint(configuration: .test(.otlp)).rejected($0) } == 7)
        let shown = outcome?.responseBody ?? []
        #expect(String(decoding: shown, as: UTF8.self).hasSuffix("no **********"))
    }

    @Test("a response head is read line by line, interim responses and control characters included")
    func responseHead() {
        var head = ResponseHead()
        for line in ["HTTP/1.1 100 Continue\r\n", "\r\n"] { head.headerLine(Array(line.utf8)) }
        #expect(head.outcome(nowMs: 0) == nil)
        for line in ["HTTP/1.1 503 Unavailable\r\n", "rEtRy-aFtEr:  7 \r\n"] {
            head.headerLine(Array(line.utf8))
        }
        #expect(head.outcome(nowMs: 0) == nil)
        head.headerLine(Array("\r\n".utf8))
        let wantsMore = head.bodyBytes(Array("no\r\n\u{1B}[31mway".utf8))
        #expect(wantsMore)
        let expected = AttemptOutcome.response(
            status: 503, retryAfterMs: 7_000, reason: "no   [31mway",
            details: ResponseDetails(body: Array("no\r\n\u{1B}[31mway".utf8)))
        #expect(head.outcome(nowMs: 0) == expected)
    }
}
