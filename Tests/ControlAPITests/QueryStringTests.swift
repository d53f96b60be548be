import ControlAPI
import Testing

@Suite struct QueryStringTests {
    @Test(
        "requests survive the way to the server",
        arguments: ["hall 1", "a&b=c", "100%", "ü/ö?", "x+y", "\u{1F600}"])
    func roundTrip(entity: String) throws {
        var request = SummaryRequest()
        request.entity = entity
        request.resolutionMs = 600_000
        request.at = UTCTime(ms: 1_725_287_405_000)
        request.level = "hall"
        request.limit = 7
        let text = String(request.query.text.dropFirst())
        #expect(try SummaryRequest(query: QueryString(parsing: text)) == request)

        var events = EventsRequest()
        events.job = entity
        events.after = 12
        #expect(
            try EventsRequest(query: QueryString(parsing: String(events.query.text.dropFirst()))) == events)

        var timeline = TimelineRequest()
        timeline.from = UTCTime(ms: 0)
        #expect(
            try TimelineRequest(query: QueryString(parsing: String(timeline.query.text.dropFirst())))
                == timeline)
    }

    @Test(
        "bad parameters are refused by name",
        arguments: [
            ("resolution=fast", "resolution"), ("resolution=0s", "resolution"), ("at=now", "at"),
            ("limit=0", "limit"),
            ("limit=-1", "limit"), ("limit=100001", "limit"), ("limit=1e3", "limit"),
            ("level=a&level=b", "level"),
            ("entity=%zz", "entity"), ("entity=%ff", "entity"), ("entity=%4", "entity"),
            ("levle=rack", "levle"),
        ])
    func refused(text: String, name: String) {
        let error = #expect(throws: ControlError.self) {
            try SummaryRequest(query: QueryString(parsing: text))
        }
        #expect(error?.code == .badRequest)
        #expect(error?.message.contains(name) == true)
        #expect(error?.exitReason == .usage)
    }

    @Test("a range that ends before it begins is refused, one of a moment is not")
    func ranges() throws {
        let reversed = "from=2026-11-22T10:00:00Z&to=2026-11-22T09:00:00Z"
        for make in [
            { _ = try TimelineRequest(query: QueryString(parsing: reversed)) },
            { _ = try EventsRequest(query: QueryString(parsing: reversed)) },
        ] {
            let error = #expect(throws: ControlError.self) { try make() }
            #expect(error?.exitReason == .usage)
            #expect(
                error?.message
                    == "The range ends (2026-11-22T09:00:00Z) before it begins (2026-11-22T10:00:00Z).")
        }
        let moment = "from=2026-11-22T10:00:00Z&to=2026-11-22T10:00:00Z"
        #expect(throws: Never.self) { try TimelineRequest(query: QueryString(parsing: moment)) }
    }

    @Test("nothing is an empty query")
    func empty() throws {
        #expect(try QueryString(parsing: "").text == "")
        #expect(try QueryString(parsing: "a&b=")["a"] == "")
    }
}
