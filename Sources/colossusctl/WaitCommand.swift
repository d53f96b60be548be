import ArgumentParser
import ControlAPI

struct WaitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Waits until something is so.",
        subcommands: [Ready.self])

    struct Ready: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Waits until the daemon is ready.",
            discussion: """
                Ends with 0 when it is, with 75 when it runs but was not ready in time, with 69 when nobody answered.

                Example:
                  colossusctl wait ready --timeout 60s && colossusctl status
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "How long at most: 10s, 5m, 1h30m.")
        var timeout = DurationArgument(seconds: 30)

        func run() throws {
            let deadline = Deadline(after: .milliseconds(timeout.milliseconds))
            let pause = InterruptibleSleep()
            while true {
                let problem: ControlError
                switch Result(catching: { () throws(ControlError) in try ask(deadline) }) {
                case .success(let reply) where reply.ready: return try global.show(reply)
                case .success(let reply): problem = notReady(reply)
                case .failure(let error) where error.code == .unreachable || error.code == .tryAgain:
                    problem = error
                case .failure(let error): throw error
                }
                guard deadline.millisecondsLeft > 0 else { throw problem }
                if pause.sleep(milliseconds: 100) { throw ExitReason.tryAgain }
            }
        }

        /// A request gets what is left of the time, but enough to be answered, and not all: the daemon may come back.
        private func ask(_ deadline: Deadline) throws(ControlError) -> ReadyReply {
            let patience = Int64(max(200, min(deadline.millisecondsLeft, 5000)))
            return try global.client(timeout: .milliseconds(patience)).ready()
        }

        private func notReady(_ reply: ReadyReply) -> ControlError {
            ControlError(
                .tryAgain,
                "colossusd is not ready after \(DurationText.text(ms: timeout.milliseconds)): "
                    + "\(reply.reason ?? reply.state.rawValue).",
                hint: "Wait longer with --timeout, or look at `journalctl -u colossusd`.")
        }
    }
}
