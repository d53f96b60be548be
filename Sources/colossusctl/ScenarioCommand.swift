import ArgumentParser
import ControlAPI
import Glibc
import Planning
import Settings
import Simulation

struct ScenarioCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scenario",
        abstract: "Checks, shows and explains scenario files; needs no running daemon.",
        subcommands: [Check.self, Show.self, Explain.self])

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks scenario files as strictly as a run would.",
            discussion: """
                Says FILE:LINE:COL: what is wrong, and what was expected, and ends with 78 when something is, and with 4 \
                when a file is not there.

                Example:
                  colossusctl scenario check Config/scenarios/*.yaml
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "Scenario files.", completion: .file(extensions: ["yaml"]))
        var files: [String]

        func run() throws {
            var problems: [SettingsError] = []
            var missing: [(file: String, error: ControlError)] = []
            var reply = ScenarioCheckReply()
            for file in files {
                var found: [String] = []
                do {
                    _ = try ScenarioReader.plan(file, changes: [])
                } catch let failure as SettingsFailure {
                    problems += failure.errors
                    found = failure.errors.map(\.description)
                } catch let error as ControlError {
                    found = [error.message]
                    missing.append((file, error))
                }
                reply.files.append(ScenarioCheckReply.File(path: file, ok: found.isEmpty, problems: found))
            }
            // People read the places on stderr; programs get the same as data.
            try global.show(reply)
            if !problems.isEmpty {
                throw SettingsFailure(
                    problems
                        + missing.map { file, error in
                            SettingsError(file: file, line: 0, column: 0, problem: error.message)
                        })
            }
            if let first = missing.first {
                let text = missing.map { $0.error.message }.joined(separator: " ")
                throw ControlError(first.error.code, text, hint: first.error.hint)
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "What a scenario comes to, in numbers: counts, dates, rates, expectations in closed form.",
            discussion: """
                Examples:
                  colossusctl scenario show Config/scenarios/colossus.yaml
                  colossusctl scenario show llama3-405b.yaml --set job.checkpoint_policy=exact
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var changes: ChangeOptions

        @Argument(help: "A scenario file.", completion: .file(extensions: ["yaml"]))
        var file: String

        func run() throws {
            let plan = try ScenarioReader.plan(file, changes: changes.parsed())
            try global.show(ScenarioSummary(plan))
        }
    }

    struct Explain: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What a key of scenario files means, its unit and its default.",
            discussion: """
                Examples:
                  colossusctl scenario explain job.checkpoint_policy
                  colossusctl scenario explain failures
                  colossusctl scenario explain failures.repair.median_h
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "A key, as --set takes it, or a section. Default: all keys.")
        var key = ""

        func run() throws {
            let found = ScenarioKey.find(key)
            guard !found.isEmpty else {
                throw ControlError(
                    .notFound, "Scenario files have no key \(key).",
                    hint: ScenarioKey.nearest(to: key).map { "Did you mean \($0)?" }
                        ?? "Without a key, all of them are listed.")
            }
            try global.show(ScenarioKeysReply(keys: found))
        }
    }
}

/// `--set`, as often as wanted.
struct ChangeOptions: ParsableArguments {
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp(
            "Takes the place of a value of the file, for example job.restart_s=300 or phases.0.days=100.",
            valueName: "key=value"))
    var changes: [String] = []

    func parsed() throws -> [ScenarioChange] {
        try changes.map { text in
            guard let change = ScenarioChange(text) else {
                throw ValidationError("--set \(text): expected key=value")
            }
            return change
        }
    }
}

/// From a file to a plan; all that is wrong with it comes as `SettingsFailure`, and `notFound` when it is not there.
enum ScenarioReader {
    static func plan(_ file: String, changes: [ScenarioChange]) throws -> FleetPlan {
        guard access(file, F_OK) == 0 else {
            throw ControlError(
                .notFound, "The scenario \(file) cannot be read: \(String(cString: strerror(errno))).",
                hint: "Check the path.")
        }
        let scenario = try loadScenario(path: file, changes: changes)
        do throws(ScenarioProblem) {
            return try FleetPlan(scenario)
        } catch {
            throw SettingsFailure([
                SettingsError(
                    file: file, line: 0, column: 0, problem: "\(error.key) \(error.found)",
                    expected: error.expected)
            ])
        }
    }
}

/// `colossusctl scenario check`: one document for all files.
struct ScenarioCheckReply: Presented {
    struct File: Codable, Sendable {
        var path: String
        var ok: Bool
        /// `FILE:LINE:COL: what, and what was expected`.
        var problems: [String]
    }

    static let schemaName = "colossus.scenario_check/v1"
    var schema = Self.schemaName
    var files: [File] = []

    /// What is right; what is wrong goes to standard error.
    var blocks: [Block] { files.filter(\.ok).map { .line("\($0.path): ok") } }

    var records: Table {
        Table(
            [.text("path", ""), .text("ok", ""), .text("problem", "")],
            rows: files.flatMap { file -> [[Cell]] in
                let problems = file.problems.isEmpty ? [""] : file.problems
                return problems.map { [.text(file.path), .flag(file.ok), .text($0)] }
            })
    }

    func objects() throws -> [String] { try rowObjects(files) }
}

/// `colossusctl scenario explain`.
struct ScenarioKeysReply: Presented {
    struct Key: Codable, Sendable {
        var path: String
        var unit: String
        var standard: String
        var meaning: String
    }

    static let schemaName = "colossus.scenario_keys/v1"
    var schema = Self.schemaName
    var keys: [Key]

    init(keys: [ScenarioKey]) {
        self.keys = keys.map {
            Key(path: $0.path, unit: $0.unit, standard: $0.standard, meaning: $0.meaning)
        }
    }

    var blocks: [Block] { [.table(records)] }

    var records: Table {
        Table(
            [
                .text("path", "Key"), .text("unit", "Unit, range", rank: 1, shrinks: true),
                .text("standard", "Default", rank: 2, shrinks: true),
                .text("meaning", "Meaning", shrinks: keys.count > 1),
            ],
            rows: keys.map { key in
                [
                    .text(key.path), .text(key.unit),
                    .text(key.standard.isEmpty ? "must be given" : key.standard), .text(key.meaning),
                ]
            })
    }
}
