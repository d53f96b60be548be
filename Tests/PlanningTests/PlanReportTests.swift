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
        #expect(claim.at == "2024-09-03T00:00:00Z" && claim.modelled.median < 100_000)
        #expect(claim.source.contains("EpDC"))
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
    }
}
