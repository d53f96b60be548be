import ArgumentParser
import ControlAPI
import Glibc
import Planning
import Settings
import Simulation

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Runs a scenario thousands of times and says what to expect; needs no running daemon.",
        discussion: """
            Bands are 5%, 50% and 95% of the runs. A date without a time is the end of that UTC day. The same \
            scenario, first seed and number of runs give the same answer on every machine.

            Examples:
              colossusctl plan Config/scenarios/colossus.yaml
              colossusctl plan colossus.yaml --set failures.per_gpu_day=8e-4 --compare colossus.yaml
              colossusctl plan colossus.yaml --runs 10000 --output html > plan.html
              colossusctl plan colossus.yaml --output csv --table quantities
            """)

    @OptionGroup var global: GlobalOptions

    @OptionGroup var changes: ChangeOptions

    @Argument(help: "A scenario file.", completion: .file(extensions: ["yaml"]))
    var file: String

    @Option(help: "How many runs, 1 to 1000000.")
    var runs = 1_000

    @Option(help: "Seed of the first run, a whole number from 0; the others follow.")
    var seed: UInt64 = 1

    @Option(
        help: ArgumentHelp(
            "Another scenario, run the same way without --set and shown beside.", valueName: "file"),
        completion: .file(extensions: ["yaml"]))
    var compare: String?

    @Option(help: "What --output csv prints: the curve by day (default), or one of the tables.")
    var table: PlanTable?

    @Flag(inversion: .prefixedNo, help: "Find out which parameter moves the answer most.")
    var sensitivity = true

    func validate() throws {
        guard (1...1_000_000).contains(runs) else {
            throw ValidationError("--runs: expected 1 to 1,000,000")
        }
        guard table != .comparison || compare != nil else {
            throw ValidationError("--table comparison needs --compare")
        }
        guard table == nil || global.choice == .csv else {
            throw ValidationError("--table is for --output csv, which prints one table")
        }
    }

    func run() throws {
        var report = try report(file, changes: changes.parsed(), withSensitivity: sensitivity)
        report.changes = changes.changes
        let other = try compare.map { try self.report($0, changes: [], withSensitivity: false) }
        switch global.choice {
        case .html: Output.writeRaw(PlanPage(report, other).html)
        case .table:
            Output.write(try report.output(.table, width: Terminal.width))
            if let other {
                let pair = PlanPair(plan: report, other: other)
                Output.write([""] + (try pair.output(.table, width: Terminal.width)))
            }
        case .json, .jsonl:
            if let other {
                Output.write(try PlanPair(plan: report, other: other).output(global.output))
            } else {
                Output.write(try report.output(global.output))
            }
        case .csv:
            if table == .comparison, let other {
                Output.write(PlanComparison(report, other).records.csv)
            } else {
                Output.write(report.records(table ?? .curve).csv)
            }
        }
    }

    private func report(_ file: String, changes: [ScenarioChange], withSensitivity: Bool) throws -> PlanReport
    {
        let plan = try ScenarioReader.plan(file, changes: changes)
        let bar = ProgressBar(title: plan.scenario.name, total: runs)
        let ensemble = Ensemble(
            plan: plan, runs: runs, firstSeed: seed, thresholds: PlanReport.thresholds(plan.scenario),
            progress: { bar.show($0) })
        var moved: [Sensitivity] = []
        let few = withSensitivity ? min(runs, max(20, runs / 20)) : nil
        if let few {
            let second = ProgressBar(title: "sensitivity", total: 20 * few)
            moved = Sensitivity.all(plan.scenario, runs: few, progress: { second.show($0) })
            second.clear()
        }
        bar.clear()
        var report = PlanReport(ensemble, sensitivity: moved)
        report.sensitivityRuns = few
        return report
    }
}

/// A part of a plan, as CSV.
enum PlanTable: String, ExpressibleByArgument, CaseIterable {
    case curve, quantities, dates, claims, causes, sensitivity, comparison
    case gpuTime = "gpu-time"
}

/// How far a long computation has come, on standard error when that is a terminal.
struct ProgressBar: Sendable {
    private static let width = 40
    private let title: String
    private let total: Int
    private let isShown = isatty(STDERR_FILENO) == 1 && GlobalOptions.environment("TERM") != "dumb"

    init(title: String, total: Int) {
        self.title = title
        self.total = max(1, total)
    }

    func show(_ done: Int) {
        guard isShown else { return }
        let filled = min(Self.width, Self.width * done / total)
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: Self.width - filled)
        write("\r\(title) [\(bar)] \(Number.grouped(done))/\(Number.grouped(total))")
    }

    func clear() {
        if isShown { write("\r\u{1B}[2K") }
    }

    private func write(_ text: String) {
        var bytes = Array(text.utf8)
        _ = Glibc.write(STDERR_FILENO, &bytes, bytes.count)
    }
}
