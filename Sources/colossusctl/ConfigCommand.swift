import ArgumentParser
import ControlAPI
import Settings

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Looks at configuration files.",
        subcommands: [Check.self, Show.self, Diff.self, Explain.self])

    /// The file that a verb is about.
    struct File: ParsableArguments {
        @Argument(
            help: "The file; conf.d/*.yaml beside it is read, too.", completion: .file(extensions: ["yaml"]))
        var path = "/etc/colossusd/colossusd.yaml"

        func entries() throws(SettingsFailure) -> [ConfigEntry] {
            try EffectiveConfiguration(path: path).entries.map {
                ConfigEntry(key: $0.key, value: $0.value, file: $0.file.isEmpty ? nil : $0.file)
            }
        }
    }

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
        @OptionGroup var file: File

        func run() throws {
            var reply = ConfigCheckReply(path: file.path)
            do throws(SettingsFailure) {
                let settings = try loadSettings(path: file.path)
                if settings.ingest.tls != nil || settings.web.tls != nil {
                    try lookIntoCertificates(&reply)
                }
            } catch {
                // People read the places on stderr; programs get the same as data.
                if global.output != .table {
                    try global.show(
                        ConfigCheckReply(path: file.path, problems: error.errors.map(\.description)))
                }
                throw error
            }
            try global.show(reply)
        }

        /// This program has no OpenSSL; the daemon's has.
        private func lookIntoCertificates(_ reply: inout ConfigCheckReply) throws(SettingsFailure) {
            let checked = ChildProcess.run(
                ChildProcess.daemon, ["--check-config", "--config", file.path], bytesMax: 1 << 20,
                collectsErrors: true)
            guard let checked else {
                reply.warnings.append("Certificates were not looked into: there is no colossusd here.")
                return
            }
            guard checked.status != 0 else { return }
            let lines = String(decoding: checked.output, as: UTF8.self).split(separator: "\n")
            let own = file.path + ": "
            throw SettingsFailure(
                lines.map { line in
                    SettingsError(
                        file: file.path, line: 0, column: 0,
                        problem: String(line.hasPrefix(own) ? line.dropFirst(own.count) : line))
                })
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What the files come to, key by key, and which file says so.",
            discussion: """
                Only what the files say; with --effective the defaults, too; with --running what the daemon runs on.

                Examples:
                  colossusctl config show --effective
                  colossusctl config show --running -o json | jq -r '.entries[] | select(.key == "windows.lateness").value'
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var file: File

        @Flag(help: "All keys: defaults, too.")
        var effective = false

        @Flag(help: "Ask the daemon instead of reading files.")
        var running = false

        func run() throws {
            var reply =
                running
                ? try global.client().configuration()
                : ConfigReply(path: file.path, entries: try file.entries())
            if !effective, !running { reply.entries.removeAll { $0.file == nil } }
            try global.show(reply)
        }
    }

    struct Diff: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What the files say against what the daemon runs on, and what it takes to apply it.",
            discussion: """
                Ends with 0 also when there are differences; with 78 when the files are wrong.

                Example:
                  colossusctl config diff && systemctl reload colossusd
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var file: File

        func run() throws {
            let entries = try file.entries()
            let running = try global.client().configuration()
            try global.show(ConfigDiffReply(path: file.path, running: running.entries, file: entries))
        }
    }

    struct Explain: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What a key means, its default, and whether a change needs a restart.",
            discussion: """
                With --cost: what a configuration costs with a fleet, before there is one: series, rows and bytes a \
                day of the history, rates of endpoints. The fleet is that of inventory.file, unless --gpus or \
                --scenario says another.

                Examples:
                  colossusctl config explain windows.lateness
                  colossusctl config explain endpoints
                  colossusctl config explain --cost --gpus 100000 --file Config/quickstart.yaml
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "A key, or a section. Default: all keys.")
        var key: String?

        @Flag(help: "What the configuration costs, instead of what its keys mean.")
        var cost = false

        @OptionGroup(title: "Of --cost") var fleet: CostOptions

        func validate() throws {
            if cost, key != nil {
                throw ValidationError("--cost is of a whole configuration: leave out the key")
            }
            if !cost, fleet.isGiven {
                throw ValidationError("--gpus, --scenario, --fields and --interval need --cost")
            }
        }

        func run() throws {
            if cost { return try global.show(fleet.reply()) }
            let guide = ConfigurationGuide.shipped
            let found = key.map { guide.find($0) } ?? guide.keys
            if let key, found.isEmpty {
                let near = Suggestion.nearest(to: key, in: guide.keys.map(\.path))
                throw ControlError(
                    .notFound, "There is no key \(key)." + (near.map { " Did you mean \($0)?" } ?? ""),
                    hint: "`colossusctl config explain` lists all keys.")
            }
            try global.show(
                ConfigExplainReply(
                    keys: found.map {
                        .init(
                            key: $0.path, standard: $0.isDefault && !$0.value.isEmpty ? $0.value : nil,
                            example: $0.isDefault || $0.value.isEmpty ? nil : $0.value, meaning: $0.meaning)
                    }))
        }
    }
}
