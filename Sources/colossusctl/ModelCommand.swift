import ArgumentParser
public import ControlAPI
public import Planning

struct ModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model",
        abstract: "Holds the model against what has been published; needs no running daemon.",
        subcommands: [Validate.self])

    struct Validate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Simulates the clusters of published tables and compares.",
            discussion: """
                A calibration shows that the model computes what it was told; a prediction is a number that it was not told. What \
                runs are reference clusters with published rates and simplified operation (no bring-up, and repair at once unless a \
                check is about it), not the files in Config/scenarios. Ends with 1 when a check fails.

                Examples:
                  colossusctl model validate
                  colossusctl --output json model validate | jq '.checks[] | select(.passes | not)'
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "Runs of the ensembles that decide about tails, 100 to 1000000; others are smaller.")
        var runs = 10_000

        func validate() throws {
            guard (100...1_000_000).contains(runs) else {
                throw ValidationError("--runs: expected 100 to 1,000,000")
            }
        }

        func run() throws {
            let bar = ProgressBar(title: "validate", total: ValidationReport.groupNames.count)
            var done = 0
            let report = ValidationReport(runs: runs) { _ in
                bar.show(done)
                done += 1
            }
            bar.clear()
            try global.show(report)
            if !report.failures.isEmpty { throw ExitReason.failed }
        }
    }
}

extension ValidationReport: Presented {
    public static var schemaName: String { "colossus.validation/v1" }

    public var blocks: [Block] {
        let passed = checks.count - failures.count
        let predictions = checks.filter { $0.kind == .prediction }
        let summary =
            "\(passed) of \(checks.count) checks pass; \(predictions.filter(\.passes).count) of \(predictions.count) predictions"
        let reasons = Table(
            [
                .text("table", "Left out"), .text("check", "Check", shrinks: true),
                .text("reason", "Why", shrinks: true),
            ],
            rows: leftOut.map { [.text($0.table), .text($0.check), .text($0.reason)] })
        let blocks: [Block] = [.table(records), .blank, .table(reasons), .blank]
        let scope =
            "\(tablesChecked) of \(tables.count) published tables have checks; the others are left out, for the reasons above"
        let origin =
            "simulated are reference clusters with published rates and simplified operation (no bring-up, and "
            + "repair at once unless a check is about it), not the files in Config/scenarios"
        return blocks + [scope, origin, summary].map { Block.line($0) }
    }

    public var records: Table {
        Table(
            [
                .text("table", "Table"), .text("check", "Check", shrinks: true),
                .number("published", "Published"),
                .number("simulated", "Simulated"), .text("interval", "Interval"), .text("verdict", "Verdict"),
                .text("kind", "Kind"),
            ],
            rows: checks.map { check in
                [
                    .text(check.table), .text(check.check), .text(check.published), .text(check.simulated),
                    .text(check.interval), .text(check.passes ? "pass" : "FAIL"), .text(check.kind.rawValue),
                ]
            })
    }
}
