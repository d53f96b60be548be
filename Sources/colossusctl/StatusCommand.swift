import ArgumentParser
import ControlAPI

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Is it well, is it keeping up, and where is everything.",
        discussion: """
            Ends with 3 when there are warnings: a stream that falls behind, an endpoint that takes nothing.

            Examples:
              colossusctl status
              colossusctl status --output json | jq '.streams[] | {stream, verdict, lag_seconds}'
            """)

    @OptionGroup var global: GlobalOptions

    func run() throws {
        let reply = try global.client().status()
        try global.show(reply)
        if !reply.warnings.isEmpty { throw ExitReason.warnings }
    }
}
