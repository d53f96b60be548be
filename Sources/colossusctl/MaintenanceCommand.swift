import ArgumentParser
import ControlAPI

struct MaintenanceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "maintenance",
        abstract: "Planned work: its GPUs are neither silent nor faulted meanwhile.",
        subcommands: [Start.self, End.self, List.self],
        defaultSubcommand: List.self)

    struct Start: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "From now on somebody works on an entity as planned.",
            discussion: """
                It is kept as an event, and so outlives restarts. What is under maintenance already gets the new \
                reason and the new end.

                Examples:
                  colossusctl maintenance start rack-17 --reason "new manifold" --for 4h
                  colossusctl maintenance start node-17-3/5 --reason "GPU swap"
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "A node, a rack, an array, a hall, the site, or NODE/ORDINAL for one GPU.")
        var entity: String

        @Option(help: "Why; for those who look at it.")
        var reason: String?

        @Option(help: "It ends by itself then: a time, or a date (its end). Default: when somebody says so.")
        var until: TimeArgument?

        @Option(name: .customLong("for"), help: "It ends by itself after so long: 30m, 4h.")
        var length: DurationArgument?

        func validate() throws {
            if until != nil, length != nil {
                throw ValidationError("--until and --for say the same: give one")
            }
        }

        func run() throws {
            let end = until?.time ?? length.map { Terminal.now.adding(ms: $0.milliseconds) }
            let start = MaintenanceStart(entity: entity, reason: reason, until: end)
            try global.show(global.client().startMaintenance(start))
        }
    }

    struct End: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The work is over: what is silent or broken counts again.",
            discussion: """
                The end of a node's is the end of its GPUs', too.

                Example:
                  colossusctl maintenance end rack-17
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "As `maintenance list` prints it.")
        var entity: String

        @Option(help: "A remark; for those who look at it.")
        var reason: String?

        func run() throws {
            try global.show(global.client().endMaintenance(MaintenanceEnd(entity: entity, reason: reason)))
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What is under maintenance, since when, until when, and why.",
            discussion: """
                Example:
                  colossusctl maintenance list -o csv
                """)

        @OptionGroup var global: GlobalOptions

        func run() throws { try global.show(global.client().maintenance()) }
    }
}
