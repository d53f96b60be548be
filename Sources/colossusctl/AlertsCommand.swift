import ArgumentParser
import ControlAPI

struct AlertsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alerts",
        abstract: "What is wrong now, and what is looked for.",
        subcommands: [List.self, Rules.self],
        defaultSubcommand: List.self)

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Alerts that fire or are about to.",
            discussion: """
                Examples:
                  colossusctl alerts
                  colossusctl alerts list --severity critical
                  colossusctl alerts list --all --output json | jq -r '.alerts[] | .alert + " " + .entity'
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "Of this rule.")
        var rule: String?

        @Option(help: "Of this stream: measured, or sim/RUN.")
        var stream: String?

        @Option(help: "Of this severity: info, warning or critical.")
        var severity: String?

        @Flag(help: "Also those that were resolved in the last hour.")
        var all = false

        @Option(help: "Most alerts to print.")
        var limit = ControlLimits.rowsDefault

        func run() throws {
            var request = AlertsRequest()
            request.rule = rule
            request.stream = stream
            request.severity = severity
            request.all = all
            request.limit = limit
            try global.show(global.client().alerts(request))
        }
    }

    struct Rules: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What is looked for: built-in alerts and the rules of the configuration.",
            discussion: """
                Examples:
                  colossusctl alerts rules
                  colossusctl alerts rules --output csv
                """)

        @OptionGroup var global: GlobalOptions

        func run() throws { try global.show(global.client().alertRules()) }
    }
}
