import ArgumentParser
import ControlAPI

struct LogLevelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log-level",
        abstract: "Shows or changes from which level on the daemon logs, now and until it is restarted.",
        discussion: """
            Subsystems are the values of COLOSSUS_LOGGER in the journal: store, ingest, reporter, simulation, control, \
            ingestlog, watchdog, colossusd.

            Examples:
              colossusctl log-level
              colossusctl log-level debug --subsystem reporter
              colossusctl log-level default --subsystem reporter
            """)

    @OptionGroup var global: GlobalOptions

    @Argument(
        help: "trace, debug, info, notice, warning, error or critical; default ends a subsystem's own.",
        completion: .list(["trace", "debug", "info", "notice", "warning", "error", "critical", "default"]))
    var level: String?

    @Option(help: "Of this subsystem alone.")
    var subsystem: String?

    func validate() throws {
        if level == "default", subsystem == nil {
            throw ValidationError("`default` is for a --subsystem; without one, name a level")
        }
        if level == nil, subsystem != nil {
            throw ValidationError("name a level for the --subsystem, or `default`")
        }
    }

    func run() throws {
        guard let level else { return try global.show(global.client().logLevel()) }
        let change = LogLevelChange(level: level == "default" ? nil : level, subsystem: subsystem)
        try global.show(global.client().setLogLevel(change))
    }
}
