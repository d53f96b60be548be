import ArgumentParser
import ControlAPI

struct WaitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Waits until something is so.",
        discussion: """
            ready: the daemon serves. drained: nothing is in flight, and every endpoint that is neither paused nor disabled \
            has got everything. window>=TIME: every window up to that time is closed and stored.

            Ends with 0 when it is so, with 75 when it was not in time, with 69 when nobody answered.

            Examples:
              colossusctl wait ready --timeout 60s && colossusctl status
              colossusctl wait drained --timeout 5m
              colossusctl wait 'window>=2024-09-02' --stream sim/colossus --timeout 10m
            """)

    @OptionGroup var global: GlobalOptions

    @Argument(
        help: "ready, drained or window>=TIME (a time, a date (its end), now, or -1h).",
        completion: .list(["ready", "drained"]))
    var condition: Condition

    @Option(help: "Of the window: measured, or sim/RUN.")
    var stream = "measured"

    @Option(help: "How long at most: 10s, 5m, 1h30m.")
    var timeout = DurationArgument(seconds: 30)

    enum Condition: ExpressibleByArgument {
        case ready, drained
        case window(UTCTime)

        init?(argument: String) {
            switch argument {
            case "ready": self = .ready
            case "drained": self = .drained
            case _ where argument.hasPrefix("window>="):
                guard let time = TimeArgument(argument: String(argument.dropFirst(8)))?.time else {
                    return nil
                }
                self = .window(time)
            default: return nil
            }
        }
    }

    func run() throws {
        let deadline = Deadline(after: .milliseconds(timeout.milliseconds))
        let pause = InterruptibleSleep()
        while true {
            // A request gets what is left of the time, but enough to be answered, and not all: the daemon may come back.
            let patience = Int64(max(200, min(deadline.millisecondsLeft, 5000)))
            let client = global.client(timeout: .milliseconds(patience))
            let problem: ControlError
            switch Result(catching: { () throws(ControlError) in try ask(client) }) {
            case .success(nil): return try global.show(global.client().ready())
            case .success(let obstacle?):
                problem = ControlError(
                    .tryAgain,
                    "It is not so after \(DurationText.text(ms: timeout.milliseconds)): \(obstacle).",
                    hint: "Wait longer with --timeout, or look at `colossusctl status`.")
            case .failure(let error) where error.code == .unreachable || error.code == .tryAgain:
                problem = error
            case .failure(let error): throw error
            }
            guard deadline.millisecondsLeft > 0 else { throw problem }
            if pause.sleep(milliseconds: 100) { throw ExitReason.tryAgain }
        }
    }

    /// What stands in the way; `nil` when it is so.
    private func ask(_ client: ControlClient) throws(ControlError) -> String? {
        switch condition {
        case .ready:
            let reply = try client.ready()
            return reply.ready ? nil : "colossusd is not ready: \(reply.reason ?? reply.state.rawValue)"
        case .drained: return try client.status().undrained
        case .window(let time): return try client.status().unclosed(time, of: stream)
        }
    }
}
