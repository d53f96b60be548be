import ArgumentParser
import ControlAPI
import Glibc

/// What `--output` takes.
enum OutputChoice: String, ExpressibleByArgument, CaseIterable {
    case table, json, jsonl, csv
    /// Of `plan` only.
    case html
}

/// Before or after the verb.
struct GlobalOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The control socket of the daemon.",
            discussion:
                "Default: $COLOSSUS_SOCKET, else $RUNTIME_DIRECTORY/control.sock, else that of /run/colossusd-operators for whoever may use it, else /run/colossusd/control.sock.",
            valueName: "path"),
        completion: .file())
    var socket: String?

    @Option(
        name: [.customLong("output"), .customShort("o")], help: "How to print; html is for plan only.")
    var choice: OutputChoice = .table

    @Option(help: "Again and again, until Ctrl-C: 500ms, 2s, 1m. For verbs that only look.")
    var watch: DurationArgument?

    /// The format of what is not a plan.
    var output: OutputFormat { OutputFormat(rawValue: choice.rawValue) ?? .table }

    func client(timeout: Duration = .seconds(30)) -> ControlClient {
        ControlClient(socketPath: socket ?? Self.defaultSocket(Self.environment), timeout: timeout)
    }

    static func defaultSocket(_ environment: (String) -> String?) -> String {
        if let path = environment("COLOSSUS_SOCKET"), !path.isEmpty { return path }
        // systemd lists several directories with colons; ours is the first.
        if let directory = environment("RUNTIME_DIRECTORY")?.split(separator: ":").first {
            return directory + "/control.sock"
        }
        // Whoever may change things reaches that one.
        let operators = "/run/colossusd-operators/control.sock"
        return access(operators, W_OK) == 0 ? operators : "/run/colossusd/control.sock"
    }

    static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    /// Prints a reply in the format that was asked for.
    func show(_ reply: some Presented) throws {
        guard choice != .html else { throw ValidationError("--output html is for plan only") }
        Output.write(try reply.output(output, width: Terminal.width))
    }
}

/// A moment: RFC 3339, a bare date (its end), or how long ago (`-1h`).
struct TimeArgument: ExpressibleByArgument {
    let time: UTCTime
    var defaultValueDescription: String { "now" }

    init(now: Void) { time = Terminal.now }

    init?(argument: String) {
        if argument.hasPrefix("-"), let ago = DurationText.milliseconds(String(argument.dropFirst())) {
            time = Terminal.now.adding(ms: -ago)
        } else if argument == "now" {
            time = Terminal.now
        } else if let parsed = UTCTime(argument) {
            time = parsed
        } else {
            return nil
        }
    }
}

/// A length of time: `10s`, `5m`, `1h30m`, or seconds.
struct DurationArgument: ExpressibleByArgument {
    let milliseconds: Int64
    var defaultValueDescription: String { DurationText.text(ms: milliseconds) }

    init(seconds: Int64) { milliseconds = seconds * 1000 }

    init?(argument: String) {
        guard let milliseconds = DurationText.milliseconds(argument), milliseconds > 0 else { return nil }
        self.milliseconds = milliseconds
    }
}
