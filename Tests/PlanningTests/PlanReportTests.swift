import Planning
import Settings
import Simulation
import TestSupport
import Testing

/// Plans of the shipped scenarios beside the published facts.
@Suite(.computing) struct PlanReportTests {
    @Test(
        "Colossus: the four counts and the power at the dates of the facts, and Grok 3's compute by early January"
    )
    func colossus() throws {
        let plan = try EnsembleTests.plan("colossus.yaml")
        let ensemble = Ensemble(plan: plan, runs: 12, thresholds: PlanReport.thresholds(plan.scenario))
        let report = PlanReport(ensemble)
        func point(_ date: String) throws -> PlanReport.Point {
            try #require(report.curve.first { $0.at == date + "T00:00:00Z" })
        }
        // The end of 2024-07-22: 100,000 announced, and what 43 MW can run: 32,000 at most (D. Patel).
        let july = try point("2024-07-23")
        #expect(july.announced == 100_000 && july.powered <= 32_000)
        // The end of 2024-08-11: 25,000 in training, 44 MW (Epoch AI).
        let august = try point("2024-08-12")
        #expect((23_500...26_500).contains(august.inTraining.median) && august.megawatts.high < 44)
        // The end of day 122.
        let ready = try point("2024-09-02")
        #expect(ready.installed == 100_000)
        let september = try point("2024-09-03")
        #expect((90_000...99_000).contains(september.inTraining.median))
        #expect(september.megawatts.high < 174)
        let december = try point("2024-12-03")
        #expect(december.installed == 200_000 && december.powered < 200_000)
        let february = try point("2025-02-17")
        #expect(february.powered > 195_000 && february.megawatts.high < 349)
        let target = try #require(report.dates.last)
        #expect(target.what.hasPrefix("target") && target.share == 1)
        #expect(try #require(target.median) < "2025-01-06")
        #expect(abs(report.gpuTime.reduce(0) { $0 + $1.share } - 1) < 1e-12)
        #expect(report.gpuTime.contains { $0.name == "reinforcement learning" })
    }

    @Test("claims stand beside what the model has at that time")
    func claims() throws {
        let plan = try EnsembleTests.plan("colossus.yaml")
        let report = PlanReport(Ensemble(plan: plan, runs: 3))
        let claim = try #require(report.claims.first { $0.claimed == 100_000 && $0.count == "in_training" })
        let modelled = try #require(claim.modelled)
        #expect(claim.at == "2024-09-03T00:00:00Z" && modelled.median < 100_000)
        #expect(claim.source.contains("EpDC") && claim.note == nil)
        // What was announced is not modelled.
        let announced = report.claims.filter { $0.count == "announced" }
        #expect(
            !announced.isEmpty && announced.allSatisfy { $0.modelled == nil && $0.note == "not modelled" })
    }

    @Test("a claim after the plan's end has no value, and one beside other work says so")
    func claimsWithNotes() throws {
        let plan = try EnsembleTests.plan("small-64.yaml") { scenario in
            let (start, end) = (scenario.startMs, scenario.horizonMs)
            scenario.job.workload = [
                .init(timeMs: start, training: 0.5, reinforcement: 0.375, inference: 0.125)
            ]
            scenario.milestones = [
                .init(timeMs: start + 3_600_000, text: "early", claim: .init(.powered, gpus: 64), source: ""),
                .init(timeMs: end, text: "at the end", claim: .init(.inTraining, gpus: 64), source: ""),
                .init(
                    timeMs: end + 3_600_000, text: "too late", claim: .init(.installed, gpus: 64), source: ""),
            ]
        }
        let report = PlanReport(Ensemble(plan: plan, runs: 2))
        #expect(report.claims.map(\.what) == ["early", "at the end", "too late"])
        #expect(
            report.claims[0].modelled == nil && report.claims[0].note == "before the first day's end")
        #expect(
            report.claims[1].note
                == "besides, 37.5% of the nodes in reinforcement learning and 12.5% in inference")
        #expect(report.claims[1].modelled != nil && report.claims[2].modelled == nil)
        #expect(report.claims[2].note == "after the plan's end")
        #expect(report.notes.contains { $0.contains("50% train, 37.5% do reinforcement learning") })
        #expect(report.workload.count == 1)
    }

    @Test("what does not go together is said: a plan that would end early, a job that never starts")
    func notes() throws {
        let plan = try EnsembleTests.plan("colossus.yaml") { scenario in
            scenario.planUntilMs = scenario.startMs + 86_400_000
            scenario.job.startMs = scenario.endMs
        }
        let rows = ScenarioSummary(plan).rows.filter { $0.name == "note" }.map(\.value)
        #expect(rows.contains { $0.hasPrefix("plan_until (2024-05-03) is before the end of the last phase") })
        #expect(rows.contains { $0.hasPrefix("the job never starts: job.start (2024-12-02)") })
        let shipped = ScenarioSummary(try EnsembleTests.plan("colossus.yaml")).rows
        #expect(!shipped.contains { $0.value.hasPrefix("the job never starts") })
        #expect(shipped.contains { $0.value.hasSuffix("plans go on to 2025-02-17") })
        #expect(shipped.contains { $0.name.hasPrefix("MFU on 200,000 GPUs") })
        #expect(
            ScenarioSummary(try EnsembleTests.plan("small-64.yaml")).rows
                .contains { $0.name == "site power" && $0.value.hasPrefix("no limit; ") })
    }

    @Test(
        "only what was in force at the start or came later is told of the work, and what stands idle",
        arguments: [0.625, 0.5])
    func workloads(training: Double) throws {
        let plan = try EnsembleTests.plan("small-64.yaml") { scenario in
            let start = scenario.startMs
            scenario.job.workload = [
                .init(timeMs: start - 7_200_000, training: 0.9, reinforcement: 0.1, inference: 0),
                .init(timeMs: start - 3_600_000, training: training, reinforcement: 0.25, inference: 0.125),
                .init(timeMs: start + 3_600_000, training: 1, reinforcement: 0, inference: 0),
            ]
        }
        let notes = ScenarioSummary(plan).rows.filter { $0.name == "note" }.map(\.value)
        try #require(notes.count == 2)
        let start = PlanReport.instant(plan.scenario.startMs)
        #expect(
            notes[0].hasPrefix(
                "from \(start): of the nodes that are ready \(training == 0.5 ? "50%" : "62.5%") train"))
        #expect(notes[0].contains("12.5% inference, the rest idle;") == (training == 0.5))
        #expect(notes[1].contains("100% train") && !notes[1].contains("idle"))
    }

    @Test("nothing is reached before the plan starts, and nothing begins before", arguments: Self.scenarios)
    func beginnings(name: String) throws {
        let plan = try EnsembleTests.plan(name)
        let start = PlanReport.instant(plan.scenario.startMs)
        let report = PlanReport(
            Ensemble(plan: plan, runs: 2, thresholds: PlanReport.thresholds(plan.scenario)))
        for time in report.dates.flatMap({ [$0.low, $0.median, $0.high] }).compactMap(\.self) {
            #expect(PlanReport.instant(time) >= start, "\(time)")
            #expect(PlanReport.instant(time) == time.prefix(16).replacing("T", with: " "))
        }
        let dates = try #require(
            PlanPage(report).html.split(separator: "<h2>").first { $0.hasPrefix("Dates") })
        #expect(!dates.contains(PlanReport.moment(plan.scenario.startMs)), "the day before")
        let job = try #require(ScenarioSummary(plan).rows.first { $0.name == "job" })
        let from = try #require(job.value.split(separator: " from ").last)
        #expect(from >= start && from.count == 16, "\(from)")
    }

    private static let scenarios = [
        "colossus.yaml", "small-64.yaml", "small-512.yaml", "live-200k.yaml", "grok-1.yaml", "b200-504.yaml",
    ]

    @Test("what has been taken away by the end of a phase is no part of the job's size")
    func retired() throws {
        let plan = try EnsembleTests.plan("colossus.yaml") { scenario in
            scenario.phases[0].retireMs = scenario.endMs
        }
        #expect(PlanReport(Ensemble(plan: plan, runs: 1)).mfu.map(\.gpus) == [100_000])
        let later = try EnsembleTests.plan("colossus.yaml") { scenario in
            scenario.phases[0].retireMs = scenario.endMs + 1
        }
        #expect(PlanReport(Ensemble(plan: later, runs: 1)).mfu.map(\.gpus) == [100_000, 200_000])
    }

    @Test("the end of a day is that day, and an instant at midnight is the day's beginning")
    func moments() {
        #expect(PlanReport.instant("2024-09-03T00:00:00Z") == "2024-09-03 00:00")
        #expect(PlanReport.instant("2024-09-03T14:30:05Z") == "2024-09-03 14:30")
        #expect(PlanReport.moment("2024-09-03T00:00:00Z") == "2024-09-02")
        #expect(PlanReport.moment("2024-09-03T14:30:05Z") == "2024-09-03 14:30")
        #expect(PlanReport.moment("soon") == "soon")
    }

    @Test("two plans beside each other: dates with their difference, and names that can be told apart")
    func comparison() throws {
        let plan = try EnsembleTests.plan("colossus.yaml")
        let ensemble = Ensemble(plan: plan, runs: 3, thresholds: PlanReport.thresholds(plan.scenario))
        let report = PlanReport(ensemble)
        var later = report
        let target = try #require(report.dates.indices.last)
        later.dates[target].median = "2025-01-03T12:00:00Z"
        var earlier = report
        earlier.dates[target].median = "2025-01-02T00:00:00Z"
        let differences = later.dateDifferences(earlier)
        #expect(differences.count == report.dates.count && differences.last?.days == 1.5)
        #expect(report.names(beside: report) == ("colossus (first)", "colossus (second)"))
        later.changes = ["failures.per_gpu_day=1e-3"]
        #expect(later.names(beside: report) == ("colossus (changed)", "colossus"))
        var seldom = earlier
        seldom.dates[target].share = 0.5
        #expect(later.dateDifferences(seldom).last?.days == nil)
        #expect(PlanPage(later, seldom).html.contains("<td>50.0%</td>"))
        #expect(report.mfu.map(\.gpus) == [100_000, 200_000])
        #expect(report.mfuText?.contains("on 100,000 GPUs") == true)
        let html = PlanPage(later, earlier).html
        #expect(html.contains("colossus (changed)") && html.contains("<td>1.5</td>"))
        #expect(
            html.contains("<b>2025-01-03 12:00</b>target of") && html.contains("MFU, as the scenario says"))
    }

    @Test("the page is one file: no script, nothing from elsewhere, and what the scenario says is escaped")
    func page() throws {
        let plan = try EnsembleTests.plan("small-64.yaml") {
            $0.failures.causes[0].name = "<script>alert(1)</script>"
        }
        let report = PlanReport(Ensemble(plan: plan, runs: 10), sensitivity: [])
        let html = PlanPage(report, report).html
        #expect(html.hasPrefix("<!doctype html>") && html.hasSuffix("</html>\n"))
        for forbidden in ["<script", "src=", "href=", "http://", "https://", "url("] {
            #expect(!html.contains(forbidden), "\(forbidden)")
        }
        #expect(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && html.contains("<svg"))
    }

    @Test("what moves the answer more stands before what moves it less")
    func sensitivity() throws {
        let plan = try EnsembleTests.plan("small-512.yaml")
        let moved = Sensitivity.all(plan.scenario, runs: 5)
        #expect(moved.count == 10 && moved.allSatisfy { $0.kind == .ettr })
        let swings = moved.map { $0.swing ?? 0 }
        #expect(swings == swings.sorted(by: >))
        let rate = try #require(moved.first { $0.parameter == "failures.per_gpu_day" })
        #expect(rate.low.ettr > rate.base.ettr && rate.base.ettr > rate.high.ettr)
    }
}

@Suite(.computing) struct ValidationReportTests {
    @Test("Llama 3 and RSC: the published numbers lie where the model has them")
    func quick() {
        let report = ValidationReport(runs: 150, only: ["llama3", "meta_rsc"])
        #expect(report.failures.map(\.check) == [])
        #expect(report.checks.count > 30 && report.checks.contains { $0.kind == .prediction })
    }

    @Test("every open table is either checked or left out with a reason")
    func complete() {
        let left = Set(PublishedTables.leftOut.map(\.table))
        let report = ValidationReport(runs: 100, only: ["mfu", "between clusters"])
        #expect(report.tables.count == 30)
        #expect(report.checks.allSatisfy { check in report.tables.contains { $0.key == check.table } })
        // Checked by groups that take longer here.
        let elsewhere: Set = [
            "llama3_table5", "llama3_run", "megascale", "byterobust_table1", "byterobust_table3",
            "byterobust_table7_8",
            "delta_xid", "fireflyer_xid", "hpn", "superbench", "repair_lanl", "checkpoint_theory",
            "goodput_defs",
        ]
        let covered = left.union(elsewhere).union(report.checks.map(\.table))
        #expect(Set(report.tables.map(\.key)).subtracting(covered) == [])
        #expect(PublishedTables.leftOut.allSatisfy { !$0.reason.isEmpty })
        // The README counts these apart from the 21 that have checks.
        let without: Set = [
            "acme_jobs", "byterobust_table2", "crusoe_h200", "greyhound_probing", "philly",
            "summit_ampere_mem", "titan_lifetimes", "unicron", "xid_dictionary",
        ]
        #expect(without.isSubset(of: left) && report.tables.count - without.count == 21)
        #expect(without.isDisjoint(with: elsewhere.union(report.checks.map(\.table))))
        #expect(report.tablesChecked == Set(report.checks.map(\.table)).count)
    }
}
