import ArgumentParser
import ControlAPI

/// `--watch LENGTH`: a reading verb again and again, until Ctrl-C.
struct Watch {
    private let length: DurationArgument

    /// The verbs that only look, by their words.
    private static let verbs = [
        "status", "summary", "timeline", "events", "top series", "trace", "check", "simulate status",
        "simulate truth",
        "simulate export list", "endpoints list", "deadletter list", "deadletter show", "maintenance list",
        "config show", "config diff", "log-level",
    ]

    /// `nil` when nobody wants to watch.
    ///
    /// - Parameter arguments: of the program, parsed already.
    init?(_ arguments: [String]) throws {
        guard let text = Self.value(arguments) else { return nil }
        guard let length = DurationArgument(argument: text) else { return nil }
        let words = VerbCheck.words(of: arguments)
        // `maintenance` alone means `maintenance list`.
        let isKnown = Self.verbs.contains { verb in
            let wanted = verb.split(separator: " ").map(String.init)
            return words.starts(with: wanted)
                || wanted.count == 2 && wanted[1] == "list" && words == [wanted[0]]
        }
        guard isKnown else {
            throw ControlError(
                .badRequest,
                "--watch is for verbs that only look, not for `\(words.joined(separator: " "))`.",
                hint: "There are: \(Self.verbs.joined(separator: ", ")).")
        }
        self.length = length
    }

    private static func value(_ arguments: [String]) -> String? {
        for (index, argument) in arguments.enumerated() {
            if argument == "--watch" { return arguments.dropFirst(index + 1).first }
            if argument.hasPrefix("--watch=") { return String(argument.dropFirst("--watch=".count)) }
        }
        return nil
    }

    /// Bears with a daemon that is away; times such as `-1h` are of each look.
    func run() throws {
        let pause = InterruptibleSleep()
        var isFirst = true
        while true {
            if Terminal.isTerminal {
                Output.writeRaw("\u{1B}[H\u{1B}[2J")
            } else if !isFirst {
                Output.write([""])
            }
            isFirst = false
            do {
                var command = try Colossusctl.parseAsRoot()
                try command.run()
            } catch let error as ControlError where error.code == .unreachable || error.code == .tryAgain {
                Output.complain("colossusctl: " + error.text)
            } catch is ExitReason {
                // It has said everything, as `status` with warnings.
            } catch is ExitCode {
            }
            if pause.sleep(milliseconds: Int(length.milliseconds)) { return }
        }
    }
}
