import ArgumentParser
import ControlAPI
import Glibc
import Settings

/// Runs the command, and ends with the exit statuses of the contract (`colossusctl(1)`).
@main
enum Main {
    static func main() {
        do {
            try VerbCheck.check(Array(CommandLine.arguments.dropFirst()), root: Colossusctl.self)
            var command = try Colossusctl.parseAsRoot()
            if let watch = try Watch(Array(CommandLine.arguments.dropFirst())) {
                try watch.run()
            } else {
                try command.run()
            }
        } catch let code as ExitCode {
            // `check` has statuses of its own, and has said everything.
            exit(code.rawValue)
        } catch {
            exit(Self.report(error).rawValue)
        }
    }

    private static func report(_ error: any Error) -> ExitReason {
        switch error {
        case let error as ControlError:
            // A bad configuration comes as FILE:LINE:COL: …, which editors and people want at the line's start.
            Output.complain((error.code == .badConfiguration ? "" : "colossusctl: ") + error.text)
            return error.exitReason
        case let failure as SettingsFailure:
            Output.complain(failure.description)
            return .badConfiguration
        case let status as ExitReason:
            return status
        default:
            return reportParsing(error)
        }
    }

    /// Help and completion scripts end well; everything else that the parser throws is a wrong use.
    private static func reportParsing(_ error: any Error) -> ExitReason {
        let message = Colossusctl.fullMessage(for: error)
        if Colossusctl.exitCode(for: error) == .success {
            Output.write([message])
            return .ok
        }
        Output.complain(message)
        return Colossusctl.exitCode(for: error) == .validationFailure ? .usage : .failed
    }
}

struct Colossusctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "colossusctl",
        abstract: "Asks a running colossusd, and tells it what to do.",
        discussion: """
            Data goes to standard output, errors go to standard error. Times are UTC.

            Exit status: 0 ok, 1 failed, 2 wrong use, 3 warnings, 4 not found, 69 nobody answers, 75 try again, \
            77 not permitted, 78 bad configuration.

            Examples:
              colossusctl status
              colossusctl summary --level rack --field DCGM_FI_DEV_POWER_USAGE
              colossusctl --output jsonl events --follow | jq .message
              colossusctl simulate start colossus.yaml --speed 1d/s
              colossusctl plan colossus.yaml --set failures.per_gpu_day=8e-4
              colossusctl --generate-completion-script bash > colossusctl.bash
            """,
        version: ProgramVersion.text,
        subcommands: [
            StatusCommand.self, TopCommand.self, SummaryCommand.self, TimelineCommand.self,
            EventsCommand.self, AlertsCommand.self, SimulateCommand.self, EndpointsCommand.self,
            DeadLetterCommand.self, InventoryCommand.self, MaintenanceCommand.self, StoreCommand.self,
            TraceCommand.self,
            DebugCommand.self, ClusterCommand.self, ConfigCommand.self, ReloadCommand.self,
            WaitCommand.self, TapCommand.self, CheckCommand.self, LogLevelCommand.self, ScenarioCommand.self,
            PlanCommand.self, ModelCommand.self,
        ])

    @OptionGroup var global: GlobalOptions
}
