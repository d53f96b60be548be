import ArgumentParser
import ControlAPI

struct EndpointsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "endpoints",
        abstract: "Where summaries are pushed to, and how that goes.",
        subcommands: [
            List.self, Test.self, Pause.self, Resume.self, Drain.self, Replay.self,
        ],
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

    struct Pause: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets an endpoint rest, also over restarts; windows wait in the store.")

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The endpoint's name in the configuration.")
        var name: String

        func run() throws { try global.show(global.client().changeEndpoint(name: name, .pause)) }
    }

    struct Resume: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Lets an endpoint go on at once: one that rests, waits for a retry, or was disabled by 410.")

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The endpoint's name in the configuration.")
        var name: String

        func run() throws { try global.show(global.client().changeEndpoint(name: name, .resume)) }
    }

    struct Drain: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Waits until an endpoint has got everything there is, and pauses it then.",
            discussion: """
                One that rests goes on for that. Ends with 75 when there is still something left after the time: then it \
                goes on, or rests again where it was paused before.

                Example:
                  colossusctl endpoints drain victoria --timeout 5m
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The endpoint's name in the configuration.")
        var name: String

        @Option(help: "How long to wait: 10s, 5m.")
        var timeout = DurationArgument(seconds: 60)

        func run() throws {
            let client = global.client(timeout: .seconds(60))
            let start = Terminal.now
            var reply = try client.changeEndpoint(name: name, .drain)
            while !reply.done, Terminal.now.ms - start.ms < timeout.milliseconds {
                reply = try client.changeEndpoint(name: name, .drain)
            }
            try global.show(reply)
            if !reply.done { throw ExitReason.tryAgain }
        }
    }

    struct Replay: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Sends windows of the history once more, in order, beside what the endpoint gets anyway.",
            discussion: """
                It goes on in the background as NAME#replay in `endpoints list`, and ends with the daemon.

                Example:
                  colossusctl endpoints replay victoria --from 2024-09-02T10:00:00Z --to 2024-09-02T12:00:00Z
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The endpoint's name in the configuration.")
        var name: String

        @Option(help: "Windows that start at this moment or later: a time, a date (its end), or --from=-1h.")
        var from: TimeArgument

        @Option(help: "Windows that start before this moment.")
        var to = TimeArgument(now: ())

        func run() throws {
            let replay = EndpointReplay(from: from.time, to: to.time)
            try global.show(global.client().changeEndpoint(name: name, .replay(replay)))
        }
    }
}
