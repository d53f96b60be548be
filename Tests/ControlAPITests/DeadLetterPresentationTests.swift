import ControlAPI
import Testing

@Suite struct DeadLetterPresentationTests {
    private var row: DeadLetterRow {
        var row = DeadLetterRow(
            number: 17, endpoint: "victoria", id: "measured/10000/1725235200000/0/0",
            time: UTCTime(ms: 1_725_332_690_000), status: 400, reason: "HTTP 400: out of \u{1B}bounds")
        row.samples = 1
        row.bytes = 1_234
        row.attempts = 2
        return row
    }

    private var letter: DeadLetterReply {
        var letter = DeadLetterReply(row, headers: [DeadLetterHeader(name: "ce-id", value: "x")])
        letter.response = "out of bounds\nsecond line"
        letter.body = "{\"a\":1}"
        return letter
    }

    @Test("the list says number, endpoint, status and reason; the terminal is not steered")
    func list() throws {
        let lines = try DeadLettersReply([row], truncated: true).output(.table, width: 100)
        #expect(lines.count == 3 && lines[0].hasPrefix("NUMBER  ENDPOINT"))
        #expect(lines[1].contains("victoria") && lines[1].contains("400"))
        #expect(!lines[1].contains("\u{1B}") && lines.allSatisfy { $0.count <= 100 })
        #expect(try DeadLettersReply([]).output(.table) == ["no dead letters"])
    }

    @Test("CSV and JSON lines hold a row each")
    func machines() throws {
        let csv = try DeadLettersReply([row]).output(.csv)
        #expect(
            csv == [
                "number,endpoint,time,status,samples,bytes,attempts,replayable,id,reason",
                "17,victoria,2024-09-03T03:04:50Z,400,1,1234,2,true,measured/10000/1725235200000/0/0,"
                    + "HTTP 400: out of \u{1B}bounds",
            ])
        let json = try DeadLettersReply([row, row]).output(.jsonl)
        #expect(json.count == 2)
        #expect(
            json[0].contains("\"schema\":\"colossus.dead_letters/v1\"") && json[0].contains("\"number\":17"))
    }

    @Test("one letter shows what was sent and what was said")
    func show() throws {
        let lines = try letter.output(.table)
        for line in ["ce-id: x", "out of bounds", "second line", "{\"a\":1}"] {
            #expect(lines.contains(line))
        }
        #expect(lines[2] == "1 numbers, 1234 bytes")
        #expect(try letter.output(.json).joined().contains("\"body\" : \"{\\\"a\\\":1}\""))
        #expect(try letter.output(.csv).count == 2)
    }

    @Test("what was done is counted, with the first problems")
    func done() throws {
        var reply = DeadLettersDoneReply()
        #expect(try reply.output(.table) == ["nothing to do"])
        reply.delivered = 3
        reply.refused = 1
        reply.problems = ["18: HTTP 400"]
        #expect(try reply.output(.table) == ["3 delivered, 1 refused again", "18: HTTP 400"])
        #expect(try reply.output(.csv)[1] == "3,1,0,0,false")
    }
}
