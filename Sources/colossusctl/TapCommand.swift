import ArgumentParser
import ControlAPI

struct TapCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tap",
        abstract: "Summaries and events as they come, one JSON object a line, until Ctrl-C.",
        discussion: """
            Each newly closed window of the stream is one summary with its rows; windows that close between two looks (one a second) \
            are skipped but the newest. Events of all kinds come in between. It bears with a daemon that is away for half a minute.

            Examples:
              colossusctl tap --field DCGM_FI_DEV_POWER_USAGE | jq -c '{window_end, mw: (.rows[0].mean)}'
              colossusctl tap --stream sim/colossus --level hall
            """)

    @OptionGroup var global: GlobalOptions

    @Option(help: "measured, or sim/RUN.")
    var stream = "measured"

    @Option(
        help: "node, rack, array, hall, site or job.",
        completion: .list(["node", "rack", "array", "hall", "site", "job"]))
    var level = "site"

    @Option(help: "This field only, by its DCGM name.")
    var field: String?

    @Option(help: "End after so many lines.")
    var count: Int?

    func run() throws {
        let client = global.client()
        let pause = InterruptibleSleep()
        var patience = Patience(seconds: 30)
        var lines = 0
        var newest: UTCTime?
        var events = EventsRequest()
        events.stream = stream
        while true {
            let page = try patience.attempt { () throws(ControlError) in try look(client, events) }
            if let page {
                // The first page only says where the events are; what happened before is `colossusctl events`.
                if events.after != nil {
                    for object in try page.events.objects() where !done(&lines) { Output.write([object]) }
                }
                events.after = page.events.next
                if let summary = page.summary, summary.windowEnd != newest, !done(&lines) {
                    newest = summary.windowEnd
                    Output.write([try ControlJSON.text(summary)])
                }
            }
            if let count, lines >= count { return }
            if pause.sleep(milliseconds: 1000) { return }
        }
    }

    /// Counts a line, unless there were enough.
    private func done(_ lines: inout Int) -> Bool {
        if let count, lines >= count { return true }
        lines += 1
        return false
    }

    private struct Page {
        var events: EventsReply
        /// `nil` while no window is closed.
        var summary: SummaryReply?
    }

    private func look(_ client: ControlClient, _ events: EventsRequest) throws(ControlError) -> Page {
        var request = SummaryRequest()
        request.stream = stream
        request.level = level
        request.field = field
        let summary: SummaryReply?
        do throws(ControlError) {
            summary = try client.summary(request)
        } catch {
            // No window yet, or no such stream yet.
            guard error.code == .tryAgain || error.code == .notFound else { throw error }
            summary = nil
        }
        var asked = events
        // A stream that is not there yet has no events.
        if summary == nil { asked.stream = nil }
        return Page(events: try client.events(asked), summary: summary)
    }
}
