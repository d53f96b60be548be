import ArgumentParser
import ControlAPI

struct TopSeriesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "series",
        abstract: "Senders, fields and nodes with the most series, and labels with the most values.",
        discussion: """
            Series beyond ingest.limits.series or .series_per_sender are folded into __other__ and shown as FOLDED: \
            those that came within the last minute or two.

            Examples:
              colossusctl top series
              colossusctl top series --by sender --limit 3
              colossusctl top series --output jsonl | jq 'select(.folded > 0)'
            """)

    @OptionGroup var global: GlobalOptions

    @Option(help: "sender, field, node or label. Default: all.")
    var by: SeriesKindArgument?

    @Option(help: "Most rows of each kind.")
    var limit = TopSeriesRequest().limit

    func run() throws {
        var request = TopSeriesRequest()
        request.by = by.flatMap { TopSeriesRow.Kind(rawValue: $0.rawValue) }
        request.limit = limit
        try global.show(global.client().topSeries(request))
    }
}

/// What `--by` takes: the kinds of rows.
enum SeriesKindArgument: String, ExpressibleByArgument, CaseIterable {
    case sender, field, node, label
}
