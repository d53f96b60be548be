import ArgumentParser
import ControlAPI
import Settings

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Looks at configuration files.",
        subcommands: [Check.self])

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks a configuration file as a start would; needs no running daemon.",
            discussion: """
                Says FILE:LINE:COL: what is wrong, and what was expected, and ends with 78 when something is.

                Examples:
                  colossusctl config check
                  colossusctl config check Config/quickstart.yaml && systemctl reload colossusd
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(
            help: "The file; conf.d/*.yaml beside it is read, too.", completion: .file(extensions: ["yaml"]))
        var file = "/etc/colossusd/colossusd.yaml"

        func run() throws {
            do {
                _ = try loadSettings(path: file)
            } catch {
                // People read the places on stderr; programs get the same as data.
                if global.output != .table {
                    try global.show(ConfigCheckReply(path: file, problems: error.errors.map(\.description)))
                }
                throw error
            }
            try global.show(ConfigCheckReply(path: file))
        }
    }
}
