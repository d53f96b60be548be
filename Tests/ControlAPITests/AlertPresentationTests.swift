import ControlAPI
import Testing

@Suite struct AlertPresentationTests {
    private var row: AlertRow {
        var row = AlertRow(
            alert: "GPUSilent", state: "firing", severity: "warning", stream: "measured", entity: "r1",
            since: UTCTime(ms: 1_725_332_690_000), value: 64, summary: "64 GPUs of rack r1 are \u{1B}silent")
        row.labels = ["rack": "r1", "myTeam": "x"]
        return row
    }

    @Test("the list says state, alert and entity; the terminal is not steered")
    func list() throws {
        var reply = AlertsReply([row])
        reply.suppressed = 7
        let lines = try reply.output(.table, width: 120)
        #expect(lines.count == 3 && lines[0].hasPrefix("STATE"))
        #expect(lines[1].hasPrefix("firing") && lines[1].contains("GPUSilent") && lines[1].contains("r1"))
        #expect(!lines[1].contains("\u{1B}") && lines[2] == "7 more are not opened: there are too many")
        #expect(try AlertsReply([]).output(.table) == ["no alerts"])
    }

    @Test("JSON keeps the names of labels as they are, there and back")
    func labels() throws {
        let reply = AlertsReply([row])
        let text = try ControlJSON.text(reply)
        #expect(text.contains("\"myTeam\":\"x\"") && text.contains("colossus.alerts/v1"))
        #expect(try ControlJSON.decode(AlertsReply.self, from: ControlJSON.encode(reply)) == reply)
        let lines = try reply.output(.jsonl)
        #expect(lines.count == 1 && lines[0].contains("\"schema\":\"colossus.alerts/v1\""))
    }

    @Test("rules say what they look for")
    func rules() throws {
        var rule = AlertRuleRow(
            name: "Hot", builtin: false, enabled: true, condition: "p99 of X > 85", forMs: 120_000,
            severity: "critical")
        rule.level = "rack"
        rule.firing = 2
        let csv = try AlertRulesReply([rule], streams: "measured").output(.csv)
        #expect(csv.last == "Hot,false,true,rack,p99 of X > 85,2m,,critical,2,0")
    }

    @Test("a request survives the way through a query, and nonsense is refused")
    func request() throws {
        var request = AlertsRequest()
        request.rule = "a b"
        request.severity = "critical"
        request.all = true
        let query = try QueryString(parsing: String(request.query.text.dropFirst()))
        #expect(try AlertsRequest(query: query) == request)
        for text in ["severity=bad", "all=maybe", "nonsense=1"] {
            #expect(throws: ControlError.self) { try AlertsRequest(query: QueryString(parsing: text)) }
        }
    }
}
