import ArgumentParser
import ControlAPI

struct DeadLetterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deadletter",
        abstract: "What endpoints refused for good, and what becomes of it.",
        subcommands: [List.self, Show.self, Replay.self, Drop.self],
        defaultSubcommand: List.self)

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Dead letters, oldest first, with status and reason.",
            discussion: """
                Examples:
                  colossusctl deadletter list
                  colossusctl deadletter list --endpoint victoria --output csv
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "Of this endpoint.")
        var endpoint: String?

        @Option(help: "Only those with a greater number.")
        var after: Int64?

        @Option(help: "Most dead letters to print.")
        var limit = 100

        func run() throws {
            var request = DeadLettersRequest()
            request.endpoint = endpoint
            request.after = after
            request.limit = limit
            try global.show(global.client().deadLetters(request))
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One dead letter, with what was sent and what the endpoint said.",
            discussion: """
                Example:
                  colossusctl deadletter show 17 --output json | jq -r .body_base64 | base64 -d >refused.snappy
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "As `deadletter list` prints it.")
        var number: Int64

        func run() throws { try global.show(global.client().deadLetter(number: number)) }
    }

    struct Replay: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sends dead letters again; what is taken is no dead letter any more.",
            discussion: """
                Each is tried once, however many there are; where an endpoint is not there, it ends. \
                Ends with 1 when one of them was refused again or could not be sent. It is sent as it was, \
                beside what the endpoint gets in order; what is for a changed protocol or another endpoint \
                is refused once more, and stays.

                Examples:
                  colossusctl deadletter replay 17 18
                  colossusctl deadletter replay --endpoint victoria
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var chosen: Chosen

        func run() throws {
            let client = global.client(timeout: .seconds(120))
            var line = ProgressLine()
            defer { line.clear() }
            let sum = try client.replayAllDeadLetters(chosen.selection) { done in
                line.show(
                    "\(done.delivered) delivered, \(done.refused) refused again, \(done.skipped) skipped …")
            }
            line.clear()
            try global.show(sum)
            if sum.refused + sum.skipped > 0 { throw ExitReason.failed }
        }
    }

    struct Drop: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Deletes dead letters for good.",
            discussion: """
                Examples:
                  colossusctl deadletter drop 17
                  colossusctl deadletter drop --endpoint gone
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var chosen: Chosen

        func run() throws { try global.show(global.client().dropDeadLetters(chosen.selection)) }
    }

    struct Chosen: ParsableArguments {
        @Argument(help: "As `deadletter list` prints them.")
        var numbers: [Int64] = []

        @Option(help: "All of this endpoint, or those of the numbers that are.")
        var endpoint: String?

        @Flag(help: "All of them.")
        var all = false

        var selection: DeadLetterSelection {
            var selection = DeadLetterSelection()
            if !numbers.isEmpty { selection.numbers = numbers }
            selection.endpoint = endpoint
            if all { selection.all = true }
            return selection
        }

        func validate() throws {
            if numbers.isEmpty, endpoint == nil, !all {
                throw ValidationError("say which: numbers, --endpoint NAME or --all")
            }
            if !numbers.isEmpty, all { throw ValidationError("numbers and --all exclude each other") }
        }
    }
}
