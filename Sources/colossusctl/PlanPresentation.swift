public import ControlAPI
public import Planning

extension PlanReport: Presented {
    public static var schemaName: String { "colossus.plan/v1" }

    public var blocks: [Block] {
        var blocks: [Block] = [
            .line(
                "\(scenario): \(Number.grouped(gpus)) GPUs, \(start.prefix(10)) to \(Self.moment(end)), "
                    + "\(Number.grouped(runs)) runs")
        ]
        if !changes.isEmpty { blocks.append(.line("changed: " + changes.joined(separator: ", "))) }
        blocks += [.blank, .table(quantityTable)]
        if !dates.isEmpty { blocks += [.blank, .table(dateTable(Self.instant))] }
        if let mfuText { blocks += [.blank, .line(mfuText)] }
        if !claims.isEmpty { blocks += [.blank, .table(claimTable(Self.moment))] }
        if !notes.isEmpty {
            blocks.append(.blank)
            blocks += notes.map { Block.line("note: " + $0) }
        }
        if !causes.isEmpty { blocks += [.blank, .table(causeTable)] }
        blocks += [.blank, .table(timeTable)]
        if !sensitivity.isEmpty {
            blocks += [.blank, .table(sensitivityTable)]
            if let runs = sensitivityRuns {
                blocks.append(.line("each the median of \(Number.grouped(runs)) runs with the same seeds"))
            }
        }
        if spreadSigma == 0 {
            blocks.append(
                .line(
                    "all runs are of one cluster; --set failures.spread_sigma=0.85 adds what differs between "
                        + "published ones"))
        }
        return blocks
    }

    /// One of the tables, for programs: times stay what they are.
    func records(_ table: PlanTable) -> Table {
        switch table {
        case .curve, .comparison: records
        case .quantities: quantityTable
        case .dates: dateTable { $0 }
        case .claims: claimTable { $0 }
        case .causes: causeTable
        case .gpuTime: timeTable
        case .sensitivity: sensitivityTable
        }
    }

    /// The curve by day.
    public var records: Table {
        Table(
            [
                .text("at", "At"), .number("announced", "Announced"), .number("installed", "Installed"),
                .number("powered", "Powered"), .number("in_training_p05", "In training 5%"),
                .number("in_training_p50", "50%"), .number("in_training_p95", "95%"),
                .number("megawatts_p05", "MW 5%"), .number("megawatts_p50", "50%"),
                .number("megawatts_p95", "95%"), .number("flop_p50", "FLOP 50%"),
            ],
            rows: curve.map { point in
                [
                    .text(point.at), .integer(point.announced), .integer(point.installed),
                    .integer(point.powered), .real(point.inTraining.low, decimals: 0),
                    .real(point.inTraining.median, decimals: 0),
                    .real(point.inTraining.high, decimals: 0), .real(point.megawatts.low, decimals: 1),
                    .real(point.megawatts.median, decimals: 1),
                    .real(point.megawatts.high, decimals: 1), .statistic(point.flop.median),
                ]
            })
    }

    private var quantityTable: Table {
        Table(
            [
                .text("name", "Quantity"), .text("unit", "Unit", rank: 1), .number("p05", "5%"),
                .number("p50", "50%"), .number("p95", "95%"),
            ],
            rows: quantities.map { quantity in
                [.text(quantity.name), .text(quantity.unit)] + Self.cells(quantity.band)
            })
    }

    private static func cells(_ band: Band) -> [Cell] {
        [band.low, band.median, band.high].map { value in
            abs(value) >= 1e15 ? .text(scientific(value)) : .statistic(value)
        }
    }

    static func scientific(_ value: Double) -> String {
        var (mantissa, exponent) = (value, 0)
        while abs(mantissa) >= 10 {
            mantissa /= 10
            exponent += 1
        }
        return Number.fixed(mantissa, 2) + "e\(exponent)"
    }

    private func dateTable(_ time: (String) -> String) -> Table {
        Table(
            [
                .text("what", "Reached", shrinks: true), .number("share", "In"), .text("p05", "5%"),
                .text("p50", "50%"), .text("p95", "95%"),
            ],
            rows: dates.map { date in
                [.text(date.what), .text(Number.percent(date.share))]
                    + [date.low, date.median, date.high].map { .text($0.map(time) ?? "") }
            })
    }

    private func claimTable(_ time: (String) -> String) -> Table {
        Table(
            [
                .text("at", "At"), .text("what", "What was said", shrinks: true),
                .text("count", "Count", rank: 2), .number("claimed", "Claimed"),
                .number("p05", "Modelled 5%", rank: 3), .number("p50", "Modelled 50%"),
                .number("p95", "Modelled 95%", rank: 3), .text("note", "Note", rank: 1, shrinks: true),
            ],
            rows: claims.map { claim -> [Cell] in
                let band = claim.modelled
                let modelled = [band?.low, band?.median, band?.high].map { value -> Cell in
                    value.map { .real($0, decimals: 0) } ?? .missing
                }
                let said: [Cell] = [
                    .text(time(claim.at)), .text(claim.what), .text(claim.count),
                    .integer(claim.claimed),
                ]
                return said + modelled + [.text(claim.note ?? "")]
            })
    }

    private var causeTable: Table {
        Table(
            [
                .text("cause", "Interruptions by cause", shrinks: true), .number("p05", "5%"),
                .number("p50", "50%"), .number("p95", "95%"),
            ],
            rows: causes.map { [.text($0.name)] + Self.cells($0.interruptions) })
    }

    private var timeTable: Table {
        Table(
            [.text("kind", "GPU time, mean of the runs"), .number("share", "Share")],
            rows: gpuTime.map { [.text($0.name), .text(Number.fixed($0.share * 100, 2) + "%")] }
                + [
                    [
                        .text("together"),
                        .text(Number.fixed(gpuTime.reduce(0) { $0 + $1.share } * 100, 2) + "%"),
                    ]
                ])
    }

    private var sensitivityTable: Table {
        let unit =
            switch sensitivity.first?.kind {
            case .targetDays: "days to the target"
            case .flop: "useful FLOP"
            case .ettr, nil: "ETTR"
            }
        return Table(
            [
                .text("parameter", "What moves the \(unit)"), .text("low", "Down"),
                .number("low_value", ""), .number("base", "As it is"), .text("high", "Up"),
                .number("high_value", ""),
            ],
            rows: sensitivity.map { entry in
                func cell(_ outcome: Sensitivity.Outcome) -> Cell {
                    let value =
                        switch entry.kind {
                        case .targetDays: outcome.targetDays
                        case .flop: outcome.flop
                        case .ettr: outcome.ettr
                        }
                    guard let value else { return .text("not reached") }
                    return value >= 1e15 ? .text(Self.scientific(value)) : .statistic(value)
                }
                return [
                    .text(entry.parameter), .text(entry.low.label), cell(entry.low), cell(entry.base),
                    .text(entry.high.label), cell(entry.high),
                ]
            })
    }
}

extension ScenarioSummary: Presented {
    public static var schemaName: String { "colossus.scenario/v1" }
    public var blocks: [Block] { [.line(scenario), .table(records)] }
    public var records: Table {
        Table(
            [.text("name", "What"), .text("value", "Value")],
            rows: rows.map { [.text($0.name), .text($0.value)] })
    }
}

/// Two plans beside each other.
struct PlanPair: Presented {
    static let schemaName = "colossus.plan_comparison/v1"
    var schema = Self.schemaName
    var plan: PlanReport
    var other: PlanReport

    init(plan: PlanReport, other: PlanReport) {
        self.plan = plan
        self.other = other
    }

    var blocks: [Block] { PlanComparison(plan, other).blocks }
    var records: Table { PlanComparison(plan, other).records }
}

/// `--compare`: numbers, and dates with the share of the runs that has them.
struct PlanComparison {
    let plan: PlanReport
    let other: PlanReport
    private let names: (plan: String, other: String)

    init(_ plan: PlanReport, _ other: PlanReport) {
        self.plan = plan
        self.other = other
        names = plan.names(beside: other)
    }

    var blocks: [Block] {
        var blocks: [Block] = [
            .line("\(names.plan) compared with \(names.other):"),
            .table(
                Table(
                    numberHead + [.number("ratio", "Ratio")],
                    rows: numbers.map { $0.name + $0.values + [$0.ratio] })),
        ]
        let rows = dates(PlanReport.instant).map { row in
            [row.name[0], row.shares[0]] + row.values[..<3] + [row.shares[1]] + row.values[3...]
                + [Self.cell(row.days) { ($0 * 10).rounded() / 10 }]
        }
        if !rows.isEmpty { blocks += [.blank, .table(Table(dateHead, rows: rows))] }
        return blocks
    }

    /// For programs: one table, in which times stay what they are.
    var records: Table {
        let rows = numbers + dates { $0 }
        return Table(
            numberHead + [
                .number("ratio", "Ratio"), .number("days", "Days later"),
                .number("plan_share", "\(names.plan) in"), .number("other_share", "\(names.other) in"),
            ],
            rows: rows.map { $0.name + $0.values + [$0.ratio, Self.cell($0.days) { $0 }] + $0.shares })
    }

    private var numberHead: [Table.Column] {
        [
            .text("name", "What", shrinks: true), .text("unit", "Unit", rank: 1),
            .number("plan_p05", names.plan + " 5%", rank: 2), .number("plan", names.plan + " 50%"),
            .number("plan_p95", names.plan + " 95%", rank: 2),
            .number("other_p05", names.other + " 5%", rank: 3), .number("other", names.other + " 50%"),
            .number("other_p95", names.other + " 95%", rank: 3),
        ]
    }

    private var dateHead: [Table.Column] {
        [
            .text("name", "Reached", shrinks: true), .number("plan_share", "In"),
            .text("plan_p05", names.plan + " 5%", rank: 1), .text("plan", names.plan + " 50%"),
            .text("plan_p95", names.plan + " 95%", rank: 1), .number("other_share", "In"),
            .text("other_p05", names.other + " 5%", rank: 2), .text("other", names.other + " 50%"),
            .text("other_p95", names.other + " 95%", rank: 2), .number("days", "Days later"),
        ]
    }

    private struct Row {
        /// What it is, and its unit.
        var name: [Cell]
        /// 5, 50 and 95% of the plan, and of the other one.
        var values: [Cell]
        var ratio = Cell.missing
        var days: Double?
        var shares: [Cell] = [.missing, .missing]
    }

    private static func cell(_ days: Double?, _ rounded: (Double) -> Double) -> Cell {
        days.map { .real(rounded($0), decimals: 1) } ?? .missing
    }

    private var numbers: [Row] {
        func cell(_ value: Double) -> Cell {
            value >= 1e15 ? .text(PlanReport.scientific(value)) : .statistic(value)
        }
        func cells(_ band: Band) -> [Cell] { [cell(band.low), cell(band.median), cell(band.high)] }
        return plan.quantities.compactMap { quantity in
            guard let same = other.quantities.first(where: { $0.name == quantity.name }) else { return nil }
            let ratio = same.band.median != 0 ? quantity.band.median / same.band.median : nil
            return Row(
                name: [.text(quantity.name), .text(quantity.unit)],
                values: cells(quantity.band) + cells(same.band), ratio: .statistic(ratio))
        }
    }

    private func dates(_ time: (String) -> String) -> [Row] {
        plan.dateDifferences(other).map { difference in
            let (date, same) = (difference.plan, difference.other)
            let times = [date.low, date.median, date.high, same.low, same.median, same.high]
            return Row(
                name: [.text(difference.what), .text("date")],
                values: times.map { .text($0.map(time) ?? "") },
                days: difference.days,
                shares: [date.share, same.share].map { .text(Number.percent($0)) })
        }
    }
}
