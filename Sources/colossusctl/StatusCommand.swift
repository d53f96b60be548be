import ArgumentParser
import ControlAPI

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Is it well, is it keeping up, and where is everything.",
        discussion: """
            Examples:
              colossusctl status
              colossusctl status --output json | jq '.streams[] | {stream, verdict, lag_seconds}'
            """)

    @OptionGroup var global: GlobalOptions

    func run() throws { try global.show(global.client().status()) }
}
