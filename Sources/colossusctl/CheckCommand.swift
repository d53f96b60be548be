import ArgumentParser
import ControlAPI
import Glibc

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "One line for Nagios, Icinga and their like.",
        discussion: """
            Ends with 0 (OK), 1 (WARNING: a stream falls behind, an endpoint takes nothing), 2 (CRITICAL: not ready, or nobody \
            answers) or 3 (UNKNOWN: not permitted, or another failure), and prints a line with numbers behind a bar.

            Example:
              colossusctl check
            """)

    @OptionGroup var global: GlobalOptions

    func run() throws {
        let (status, line): (Int32, String)
        do throws(ControlError) {
            (status, line) = try global.client(timeout: .seconds(10)).status().verdict
        } catch {
            let isGone = error.code == .unreachable || error.code == .tryAgain
            status = isGone ? 2 : 3
            line = "COLOSSUSD \(isGone ? "CRITICAL" : "UNKNOWN") - \(error.message)"
        }
        Output.write([line])
        throw ExitCode(status)
    }
}
