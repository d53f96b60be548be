import ArgumentParser
import ControlAPI

struct SummaryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "summary",
        abstract: "A closed window: statistics of each field, and GPU counts.",
        discussion: """
            Without --at it is the newest window. A date alone means the end of that day (UTC).

            Examples:
              colossusctl summary
              colossusctl summary --level rack --field DCGM_FI_DEV_GPU_TEMP --resolution 1m
              colossusctl summary --stream sim/colossus --at 2024-09-02 --level hall
              colossusctl summary --level job --output csv > jobs.csv
            """)

    @OptionGroup var global: GlobalOptions

    @Option(help: "measured, or sim/RUN. Default: measured if it has windows, else the simulated one.")
    var stream: String?

    @Option(help: "Length of the window: 10s, 1m, 10m, 1h. Default: the finest.")
    var resolution: DurationArgument?

    @Option(
        help: "node, rack, array, hall, site or job.",
        completion: .list(["node", "rack", "array", "hall", "site", "job"]))
    var level = "site"

    @Option(help: "This entity only.")
    var entity: String?

    @Option(help: "This field only, by its DCGM name.")
    var field: String?

    @Option(
        help:
            "The newest window that ends then or before: a time, a date (its end), or --at=-1h for an hour ago."
    )
    var at: TimeArgument?

    @Option(help: "Most rows, 1 to 100000.")
    var limit = ControlLimits.rowsDefault

    @Flag(help: "GPU counts only.")
    var gpus = false

    func run() throws {
        var request = SummaryRequest()
        request.stream = stream
        request.resolutionMs = resolution?.milliseconds
        request.level = level
        request.entity = entity
        request.field = field
        request.at = at?.time
        request.limit = limit
        let reply = try global.client().summary(request)
        if gpus {
            Output.write(try reply.gpuOutput(global.output, width: Terminal.width))
        } else {
            try global.show(reply)
        }
    }
}
