import ArgumentParser
import ControlAPI

struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Reads the configuration again; returns when it is in force.",
        discussion: """
            A bad configuration changes nothing: the place is printed, the exit status is 78.

            Example:
              colossusctl config check && colossusctl reload
            """)

    @OptionGroup var global: GlobalOptions

    func run() throws { try global.show(global.client(timeout: .seconds(90)).reload()) }
}
