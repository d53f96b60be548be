import ArgumentParser
import ControlAPI

struct EndpointsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "endpoints",
        abstract: "Where summaries are pushed to, and how that goes.",
        subcommands: [List.self, Test.self],
        defaultSubcommand: List.self)

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "All endpoints, with what is still to be delivered.",
            discussion: """
                Examples:
                  colossusctl endpoints list
                  colossusctl endpoints list --output csv
                """)

        @OptionGroup var global: GlobalOptions

        func run() throws { try global.show(global.client().endpoints()) }
    }

    struct Test: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sends one harmless request now, and says what came of it.",
            discussion: """
                Ends with 1 when the endpoint cannot be reached or refuses.

                Example:
                  colossusctl endpoints test victoria
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The endpoint's name in the configuration.")
        var name: String

        func run() throws {
            let reply = try global.client(timeout: .seconds(60)).testEndpoint(name: name)
            try global.show(reply)
            if !reply.ok { throw ExitReason.failed }
        }
    }
}
