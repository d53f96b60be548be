public import ControlAPI
public import Planning

extension PlanReport: Presented {
    public static var schemaName: String { "colossus.plan/v1" }

    public var blocks: [Block] {
        var blocks: [Block] = [
            .line(
                "\(scenario): \(Number.grouped(gpus)) GPUs, \(start) to \(end), \(Number.grouped(runs)) runs")
        ]
        if !changes.isEmpty { blocks.append(.line("changed: " + changes.joined(separator: ", "))) }
        blocks += [.blank, .table(quantityTable)]
        if !dates.isEmpty { blocks += [.blank, .table(dateTable)] }
        if !claims.isEmpty { blocks += [.blank, .table(claimTable)] }
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

    /// One of the tables.
    func records(_ table: PlanTable) -> Table {
        switch table {
        case .curve, .comparison: records
        case .quantities: quantityTable
        case .dates: dateTable
        case .claims: claimTable
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

    private var dateTable: Table {
        Table(
            [
                .text("what", "Reached", shrinks: true), .number("share", "In"), .text("p05", "5%"),
                .text("p50", "50%"), .text("p95", "95%"),
            ],
            rows: dates.map { date in
                [.text(date.what), .text(Number.percent(date.share))]
                    + [date.low, date.median, date.high].map { .text($0.map { String($0.prefix(16)) } ?? "") }
            })
    }

    private var claimTable: Table {
        Table(
            [
                .text("at", "At"), .text("what", "What was said", shrinks: true),
                .text("count", "Count", rank: 1), .number("claimed", "Claimed"),
                .number("p05", "Modelled 5%", rank: 2), .number("p50", "50%"),
                .number("p95", "95%", rank: 2),
            ],
            rows: claims.map { claim in
                [
                    .text(String(claim.at.prefix(16))), .text(claim.what), .text(claim.count),
                    .integer(claim.claimed),
                ]
                    + [claim.modelled.low, claim.modelled.median, claim.modelled.high].map {
                        .real($0, decimals: 0)
                    }
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

    var blocks: [Block] { [.table(records)] }
    var records: Table { PlanComparison(plan, other).records }
}

/// `--compare`, for people.
struct PlanComparison {
    let plan: PlanReport
    let other: PlanReport

    init(_ plan: PlanReport, _ other: PlanReport) {
        self.plan = plan
        self.other = other
    }

    func output(_ format: OutputFormat, width: Int?) throws -> [String] {
        ["", "compared with \(other.scenario):"] + records.lines(width: width)
    }

    var records: Table {
        let rows = plan.quantities.compactMap { quantity -> [Cell]? in
            guard let same = other.quantities.first(where: { $0.name == quantity.name }) else { return nil }
            func cell(_ value: Double) -> Cell {
                value >= 1e15 ? .text(PlanReport.scientific(value)) : .statistic(value)
            }
            let ratio = same.band.median != 0 ? quantity.band.median / same.band.median : nil
            return [
                .text(quantity.name), .text(quantity.unit), cell(quantity.band.median),
                cell(same.band.median), .statistic(ratio),
            ]
        }
        return Table(
            [
                .text("name", "Median of"), .text("unit", "Unit"), .number("plan", plan.scenario),
                .number("other", other.scenario), .number("ratio", "Ratio"),
            ], rows: rows)
    }
}
