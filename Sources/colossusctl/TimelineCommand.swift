import ArgumentParser
import ControlAPI

struct TimelineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "timeline",
        abstract: "How a stream went: the four GPU counts, utilization, power, interruptions.",
        discussion: """
            Examples:
              colossusctl timeline --stream sim/colossus --resolution 1d
              colossusctl timeline --from 2024-08-01 --to 2024-09-02 --output csv
              colossusctl timeline --stream measured --from=-1h
            """)

    @OptionGroup var global: GlobalOptions

    @Option(help: "measured, or sim/RUN. Default: measured if it has windows, else the simulated one.")
    var stream: String?

    @Option(help: "One point each: 1m, 10m, 1h, 1d; not more than are kept. Default: all that are kept.")
    var resolution: DurationArgument?

    @Option(help: "From this moment: a time, a date (its end), or --from=-1h for an hour ago.")
    var from: TimeArgument?

    @Option(help: "To this moment, written as --from.")
    var to: TimeArgument?

    @Option(help: "Most points, 1 to 100000.")
    var limit = ControlLimits.rowsDefault

    func run() throws {
        var request = TimelineRequest()
        request.stream = stream
        request.resolutionMs = resolution?.milliseconds
        request.from = from?.time
        request.to = to?.time
        request.limit = limit
        try global.show(global.client().timeline(request))
    }
}
