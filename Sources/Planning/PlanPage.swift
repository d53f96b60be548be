/// A plan as one HTML file that needs nothing else: charts and tables for a meeting.
public struct PlanPage {
    private let plan: PlanReport
    private let other: PlanReport?

    public init(_ plan: PlanReport, _ other: PlanReport? = nil) {
        self.plan = plan
        self.other = other
    }

    public var html: String {
        let title = "Plan: \(plan.scenario)"
        return "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
            + "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
            + "<title>\(Markup.escaped(title))</title><style>\(Self.style)</style></head><body><main>"
            + ([heading(title)] + charts + tables).joined(separator: "\n")
            + "<footer>Bands are 5%, 50% and 95% of the runs. A date without a time is the end of that UTC day."
            + " Announced, installed, powered and in training are four different counts."
            + " Made by colossusctl plan.</footer></main></body></html>\n"
    }

    private func heading(_ title: String) -> String {
        var text =
            "<h1>\(Markup.escaped(title))</h1><p>\(PlanReport.grouped(plan.gpus)) GPUs, \(plan.start.prefix(10)) to "
            + "\(PlanReport.moment(plan.end)), \(PlanReport.grouped(plan.runs)) runs.</p>"
        if !plan.changes.isEmpty {
            text += "<p>Changed: \(Markup.escaped(plan.changes.joined(separator: ", ")))</p>"
        }
        let tiles = ["ETTR", "interruptions", "highest power", "useful training"].compactMap { name in
            plan.quantities.first { $0.name == name }
        }
        let boxes = tiles.map { quantity in
            "<div><b>\(Chart.number(Self.rounded(quantity.band.median))) \(quantity.unit)</b>\(Markup.escaped(quantity.name))"
                + "<small>\(Chart.number(Self.rounded(quantity.band.low))) to \(Chart.number(Self.rounded(quantity.band.high)))</small></div>"
        }
        return text + "<div class=\"tiles\">\(target)\(boxes.joined())</div>"
    }

    /// When the target is reached.
    private var target: String {
        guard let date = plan.target else { return "" }
        var range = "in \(Self.percent(date.share)) of the runs"
        if let low = date.low, let high = date.high {
            range = PlanReport.instant(low) + " to " + PlanReport.instant(high) + ", " + range
        }
        let median = date.median.map { PlanReport.instant($0) } ?? "not reached"
        return "<div><b>\(median)</b>"
            + "\(Markup.escaped(date.what))<small>\(range)</small></div>"
    }

    private static func rounded(_ value: Double) -> Double {
        abs(value) >= 100 ? value.rounded() : (value * 1_000).rounded() / 1_000
    }

    // MARK: Charts

    private var charts: [String] {
        let points = plan.curve
        let times = points.indices.map { Int64($0) }
        func label(_ index: Int64) -> String { PlanReport.moment(points[Int(index)].at) }
        func band(_ name: String, _ color: String, _ value: (PlanReport.Point) -> Band) -> Chart.Line {
            let bands = points.map(value)
            return Chart.Line(
                name: name, color: color, values: bands.map(\.median), low: bands.map(\.low),
                high: bands.map(\.high))
        }
        func count(_ name: String, _ color: String, _ value: (PlanReport.Point) -> Int, dashed: Bool = false)
            -> Chart.Line
        {
            Chart.Line(
                name: name, color: color, values: points.map { Double(value($0)) }, isDashed: dashed)
        }
        var gpus = [
            count("announced", "#999999", \.announced, dashed: true),
            count("installed", "#e69f00", \.installed), count("powered", "#56b4e9", \.powered),
            band("in training", "#009e73", \.inTraining),
        ]
        if let other, other.curve.count == points.count {
            gpus.append(
                Chart.Line(
                    name: "in training, compared: \(plan.names(beside: other).other)", color: "#cc79a7",
                    values: other.curve.map(\.inTraining.median), isDashed: true))
        }
        var charts = [
            Chart(title: "GPUs", unit: "count", times: times, label: label, lines: gpus),
            Chart(
                title: "Facility power", unit: "MW, mean since the sample before", times: times, label: label,
                lines: [band("power", "#d55e00", \.megawatts)]),
        ]
        if points.contains(where: { $0.flop.high > 0 }) {
            var lines = [band("useful training", "#0072b2", \.flop)]
            if let target = plan.targetFLOP {
                lines.append(
                    Chart.Line(
                        name: "target", color: "#999999", values: points.map { _ in target }, isDashed: true))
            }
            charts.append(
                Chart(title: "Useful training", unit: "FLOP", times: times, label: label, lines: lines))
        }
        return charts.map(\.svg)
    }

    // MARK: Tables

    private var tables: [String] {
        func texts(_ band: Band) -> [String] {
            [band.low, band.median, band.high].map { Chart.number(Self.rounded($0)) }
        }
        var tables = [
            "<h2>Numbers</h2>"
                + Markup.table(
                    ["Quantity", "Unit", "5%", "50%", "95%"],
                    plan.quantities.map { [$0.name, $0.unit] + texts($0.band) }),
            "<h2>Dates</h2>"
                + Markup.table(
                    ["Reached", "In", "5%", "50%", "95%"],
                    plan.dates.map { date in
                        [date.what, Self.percent(date.share)]
                            + [date.low, date.median, date.high].map { Self.instant($0) }
                    }),
        ]
        if let text = plan.mfuText { tables.append("<p>\(Markup.escaped(text))</p>") }
        if !plan.claims.isEmpty {
            tables.append(
                "<h2>What was said</h2>"
                    + Markup.table(
                        ["At", "What", "Count", "Claimed", "Modelled 5%", "50%", "95%", "Note", "Source"],
                        plan.claims.map { claim -> [String] in
                            let modelled = claim.modelled.map { texts($0) } ?? ["-", "-", "-"]
                            let said = [
                                PlanReport.moment(claim.at), claim.what, claim.count,
                                PlanReport.grouped(claim.claimed),
                            ]
                            return said + modelled + [claim.note ?? "", claim.source]
                        }))
        }
        tables.append(plan.notes.map { "<p>Note: \(Markup.escaped($0)).</p>" }.joined())
        tables += [causes, gpuTime, sensitivity]
        if let other { tables.append(comparison(other)) }
        return tables
    }

    private static func instant(_ text: String?) -> String { text.map { PlanReport.instant($0) } ?? "-" }

    private static func percent(_ share: Double) -> String { "\((share * 1_000).rounded() / 10)%" }

    private var causes: String {
        "<h2>Interruptions by cause</h2>"
            + Markup.table(
                ["Cause", "5%", "50%", "95%"],
                plan.causes.map { cause in
                    let band = cause.interruptions
                    return [cause.name]
                        + [band.low, band.median, band.high].map { Chart.number(Self.rounded($0)) }
                })
    }

    private var gpuTime: String {
        "<h2>Where the GPU time goes</h2>"
            + Markup.table(
                ["Kind", "Share of all GPU time"],
                plan.gpuTime.map { [$0.name, "\(($0.share * 10_000).rounded() / 100)%"] })
    }

    private var sensitivity: String {
        guard let kind = plan.sensitivity.first?.kind else { return "" }
        func text(_ outcome: Sensitivity.Outcome) -> String {
            outcome.answer(kind).map { Chart.number(Self.rounded($0)) } ?? "not reached"
        }
        let what =
            switch kind {
            case .targetDays: "days to the target"
            case .flop: "useful FLOP"
            case .ettr: "ETTR"
            }
        return "<h2>What moves the answer most: \(what)</h2>"
            + Markup.table(
                ["Parameter", "Down", "", "As it is", "Up", ""],
                plan.sensitivity.map { entry in
                    [
                        entry.parameter, entry.low.label, text(entry.low), text(entry.base),
                        entry.high.label, text(entry.high),
                    ]
                })
    }

    private func comparison(_ other: PlanReport) -> String {
        func texts(_ band: Band) -> [String] {
            [band.low, band.median, band.high].map { Chart.number(Self.rounded($0)) }
        }
        let names = plan.names(beside: other)
        let bands = ["5%", "50%", "95%"]
        func head(_ share: [String]) -> [String] {
            [names.plan, names.other].flatMap { name in (share + bands).map { "\(name) \($0)" } }
        }
        let numbers = plan.quantities.compactMap { quantity in
            other.quantities.first { $0.name == quantity.name }.map { same -> [String] in
                [quantity.name, quantity.unit] + texts(quantity.band) + texts(same.band)
            }
        }
        let dates = plan.dateDifferences(other).map { difference -> [String] in
            let (date, same) = (difference.plan, difference.other)
            func cells(_ date: PlanReport.Date) -> [String] {
                [Self.percent(date.share)] + [date.low, date.median, date.high].map { Self.instant($0) }
            }
            let days = difference.days.map { "\(($0 * 10).rounded() / 10)" } ?? "-"
            return [difference.what] + cells(date) + cells(same) + [days]
        }
        return "<h2>\(Markup.escaped(names.plan)) compared with \(Markup.escaped(names.other))</h2>"
            + Markup.table(["Quantity", "Unit"] + head([]), numbers)
            + (dates.isEmpty ? "" : Markup.table(["Reached"] + head(["in"]) + ["Days later"], dates))
    }

    private static let style = """
        :root{color-scheme:light dark;--grid:#8884}body{font:15px/1.45 system-ui,sans-serif;margin:0}\
        main{max-width:920px;margin:2rem auto;padding:0 1rem}figure{margin:1.5rem 0}figcaption{font-weight:600}\
        small{font-weight:400;opacity:.7}svg{width:100%;height:auto}svg text{font-size:11px;fill:currentColor}\
        .grid{stroke:var(--grid)}.legend span{margin-right:1rem;font-size:.85rem}.legend i{display:inline-block;\
        width:.8rem;height:.8rem;margin-right:.3rem;border-radius:2px;vertical-align:-1px}table{border-collapse:collapse;\
        width:100%;font-variant-numeric:tabular-nums}td,th{padding:.25rem .5rem;text-align:left;border-bottom:1px solid var(--grid)}\
        .tiles{display:flex;flex-wrap:wrap;gap:.8rem}.tiles div{flex:1 1 10rem;border:1px solid var(--grid);border-radius:8px;\
        padding:.6rem .9rem}.tiles b{display:block;font-size:1.3rem}.tiles small{display:block}footer{margin:2rem 0;opacity:.7}
        """
}
