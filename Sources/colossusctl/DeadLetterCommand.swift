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
                Ends with 1 when one of them was refused again. It is sent as it was, beside what the endpoint gets \
                in order; what is for a changed protocol or another endpoint is refused once more, and stays.

                Examples:
                  colossusctl deadletter replay 17 18
                  colossusctl deadletter replay --endpoint victoria
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var chosen: Chosen

        func run() throws {
            var reply: DeadLettersDoneReply
            var sum = DeadLettersDoneReply()
            let client = global.client(timeout: .seconds(120))
            repeat {
                reply = try client.replayDeadLetters(chosen.selection)
                sum.delivered += reply.delivered
                sum.refused += reply.refused
                sum.skipped += reply.skipped
                sum.problems += reply.problems
                // What was refused stays, and would be tried for ever.
            } while reply.truncated && reply.refused == 0 && reply.skipped == 0
            sum.truncated = reply.truncated
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
